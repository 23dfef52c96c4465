"""The one error tree of Labdock.

    LabdockError
    ├── RequestError            the request itself is wrong; sending it again changes nothing
    │   ├── InvalidOptions      an option is unknown, missing or of the wrong type
    │   ├── InvalidName         a name is not allowed
    │   ├── InvalidFrame        a table is malformed or does not fit (duplicate columns, missing `needs`)
    │   ├── NotFound            no such environment, module, model, job, index, lookup
    │   ├── Conflict            the name is taken, or the state does not allow it
    │   ├── Unauthenticated     no token, or a wrong one
    │   ├── Forbidden           a right is missing
    │   ├── ModelRefused        an uploaded model failed a check; names the check
    │   ├── LimitExceeded       a limit of size, rows or time was reached; names the limit and its setting
    │   └── SearchError         a search cannot be parsed or planned; carries the position
    ├── ModuleError             the user's code failed: module, function, cell, line, traceback
    │   ├── ModuleTimeout       it ran past its deadline
    │   ├── ModuleOutOfMemory   it reached its memory limit
    │   └── ModuleCrashed       its process died (signal, `os._exit`)
    ├── LaunchError             an environment could not be started or reached; carries the last log lines
    │   ├── RuntimeUnavailable  the runtime (Docker Engine, Kubernetes) does not answer
    │   ├── ImageMissing        the image does not exist; names those that do
    │   ├── StartTimeout        it did not become ready in time
    │   └── Exited              it ended by itself
    ├── StorageError            a file could not be written or read
    │   └── DiskFull            no space left
    ├── Busy                    it cannot be answered now, but soon; names the seconds to wait
    └── TransportError          the connection failed before an answer came

Every error has a `code` that never changes, a message that says what was wrong and where, and a `remedy` that
says what to do. Errors travel as RFC 9457 problem details (`to_problem`) and come back as the same class
(`from_problem`), so `except labdock.ModuleError` works in-process and remotely. No HTTP status is known here: each
web layer owns one table from code to status.
"""

from typing import Any, ClassVar

PROBLEM_TYPE = "urn:labdock:error:"
_BY_CODE: dict[str, type["LabdockError"]] = {}


class LabdockError(Exception):
    """Base of every error that Labdock raises on purpose.

    `details` are JSON values that programs read (`name`, `nearest`, `column`, `position`, `log`); people read
    `message` and `remedy`.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details: dict[str, Any] = details

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _BY_CODE.setdefault(cls.code, cls)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_problem, (self.to_problem(),))

    def to_problem(self) -> dict[str, Any]:
        """The error as RFC 9457 problem details, without `status` (the web layer adds it)."""
        return {
            "type": PROBLEM_TYPE + self.code,
            "title": self.code.replace("-", " ").capitalize(),
            "detail": self.message,
            "code": self.code,
            "remedy": self.remedy,
            "details": self.details,
        }


class RequestError(LabdockError):
    code = "bad-request"


class InvalidOptions(RequestError):
    code = "invalid-options"


class InvalidName(RequestError):
    code = "invalid-name"


class InvalidFrame(RequestError):
    code = "invalid-frame"


class NotFound(RequestError):
    """`details`: `kind`, `name` and `nearest` (the known name that looks most alike, or None)."""

    code = "not-found"


class Conflict(RequestError):
    code = "conflict"


class Unauthenticated(RequestError):
    code = "unauthenticated"


class Forbidden(RequestError):
    code = "forbidden"


class ModelRefused(RequestError):
    """`details`: `check` (its name) and `found`."""

    code = "model-refused"


class LimitExceeded(RequestError):
    """`details`: `limit` (its name), `value`, `setting` (how to raise it)."""

    code = "limit-exceeded"


class SearchError(RequestError):
    """`details`: `position` (0-based offset in the search), `length`, `command`."""

    code = "search-error"


class ModuleError(LabdockError):
    """`details`: `module`, `function`, `cell` (1-based, None outside notebooks), `line` (in that cell or in the
    module file), `traceback` (text, user frames only), `output` (what the code printed, capped)."""

    code = "module-error"


class ModuleTimeout(ModuleError):
    code = "module-timeout"


class ModuleOutOfMemory(ModuleError):
    code = "module-out-of-memory"


class ModuleCrashed(ModuleError):
    code = "module-crashed"


class LaunchError(LabdockError):
    """`details`: `environment`, `log` (the last lines)."""

    code = "launch-error"


class RuntimeUnavailable(LaunchError):
    code = "runtime-unavailable"


class ImageMissing(LaunchError):
    code = "image-missing"


class StartTimeout(LaunchError):
    code = "start-timeout"


class Exited(LaunchError):
    code = "exited"


class StorageError(LabdockError):
    code = "storage-error"


class DiskFull(StorageError):
    """`details`: `path` (relative to the home), `needed` and `free` in bytes."""

    code = "disk-full"


class Busy(LabdockError):
    """`details`: `retry_after` in seconds. The same request may succeed then."""

    code = "busy"


class TransportError(LabdockError):
    code = "transport-error"


def from_problem(problem: dict[str, Any]) -> LabdockError:
    """The error that `to_problem` described; an unknown code gives a plain `LabdockError` that keeps it."""
    code = str(problem.get("code") or "error")
    cls = _BY_CODE.get(code, LabdockError)
    message = str(problem.get("detail") or problem.get("title") or code)
    details = problem.get("details")
    error = cls(message, remedy=str(problem.get("remedy") or ""), **(details if isinstance(details, dict) else {}))
    if cls is LabdockError and code != "error":
        error.details["code"] = code
    return error
