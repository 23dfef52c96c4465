"""Errors as RFC 9457 problem details, and the table from code to status."""

import json
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from labdock.errors import InvalidOptions, LabdockError, NotFound, RequestError, Unauthenticated
from labdock.wire import PROBLEM

INFERENCE = "/v2"
log = structlog.get_logger("labdock.web")

STATUS: dict[str, int] = {
    "error": 500,
    "bad-request": 400,
    "invalid-options": 422,
    "invalid-name": 422,
    "invalid-frame": 422,
    "not-found": 404,
    "conflict": 409,
    "unauthenticated": 401,
    "forbidden": 403,
    "model-refused": 422,
    "limit-exceeded": 429,
    "search-error": 422,
    "module-error": 422,
    "module-timeout": 422,
    "module-out-of-memory": 422,
    "module-crashed": 422,
    "launch-error": 502,
    "runtime-unavailable": 503,
    "image-missing": 422,
    "start-timeout": 504,
    "exited": 502,
    "storage-error": 500,
    "disk-full": 507,
    "busy": 503,
    "transport-error": 502,
}

# The framework's own refusals as ours.
_FRAMEWORK: dict[int, tuple[type[LabdockError], str]] = {
    401: (Unauthenticated, "Send a token."),
    404: (NotFound, "See docs/interfaces.md for what there is."),
    405: (RequestError, "Use a method named in the header Allow."),
    422: (InvalidOptions, "See /api/openapi.json for what is expected."),
}


class Problem(HTTPException):
    """A `LabdockError` with a status of its own; needed where a framework swallows other exceptions."""

    def __init__(self, error: LabdockError, status: int) -> None:
        super().__init__(status, error.message)
        self.error = error


def status_of(error: LabdockError) -> int:
    return STATUS[error.code]


def respond(
    error: LabdockError, request_id: str, status: int | None = None, headers: Any = None, *, path: str = ""
) -> Response:
    """The answer that says what was wrong; below `/v2` in the Open Inference Protocol's words besides."""
    status = status_of(error) if status is None else status
    content = {**error.to_problem(), "status": status, "request_id": request_id}
    media = PROBLEM
    if path == INFERENCE or path.startswith(f"{INFERENCE}/"):
        content["error"], media = f"{error.message} {error.remedy}".strip(), "application/json"
    answer = Response(json.dumps(content), status, dict(headers or {}), media_type=media)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status in (408, 413):
        answer.headers["Connection"] = "close"  # the rest of the body is not read
    if "retry_after" in error.details:
        answer.headers["Retry-After"] = str(error.details["retry_after"])
    return answer


ErrorPage = Callable[[HTTPConnection, LabdockError, int, str], Response | None]


def install(app: FastAPI, error_page: ErrorPage = lambda *_: None) -> None:
    """Every error of every route becomes problem details, the framework's included; for people `error_page` first."""

    def answer(
        connection: HTTPConnection, error: LabdockError, status: int | None = None, headers: Any = None
    ) -> Response:
        status = status_of(error) if status is None else status
        shown = error_page(connection, error, status, request_id(connection))
        path = connection.scope["path"]
        return shown or respond(error, request_id(connection), status, headers, path=path)

    async def labdock(connection: HTTPConnection, error: Exception) -> Response:
        assert isinstance(error, LabdockError)  # noqa: S101 - what it is registered for
        return answer(connection, error)

    async def framework(connection: HTTPConnection, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if isinstance(error, Problem):
            return answer(connection, error.error, error.status_code)
        kind, remedy = _FRAMEWORK.get(error.status_code, (RequestError, "Correct the request."))
        details = {"kind": "address", "name": connection.scope["path"], "nearest": None} if kind is NotFound else {}
        made = kind(f"{error.detail}: {shown(connection)}.", remedy=remedy, **details)
        return answer(connection, made, error.status_code, error.headers)

    async def invalid(connection: HTTPConnection, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return answer(connection, from_validation(error))

    async def unexpected(connection: HTTPConnection, error: Exception) -> Response:
        log.error("unexpected error", request_id=request_id(connection), path=connection.scope["path"], exc_info=error)
        made = LabdockError("The controller failed.", remedy=f"See its log for request {request_id(connection)}.")
        return answer(connection, made)

    app.add_exception_handler(LabdockError, labdock)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def from_validation(error: RequestValidationError) -> InvalidOptions:
    """Name each field and what is wrong with it; values are left out, they may be secret."""
    found = [
        {"field": ".".join(str(part) for part in one["loc"] if part != "body") or "body", "problem": str(one["msg"])}
        for one in error.errors()
    ]
    first = found[0] if found else {"field": "body", "problem": "invalid"}
    return InvalidOptions(
        f"{first['field']}: {first['problem']}.",
        remedy="Correct the fields named in details.fields.",
        fields=found,
    )


def request_id(connection: HTTPConnection) -> str:
    return str(connection.scope.get("state", {}).get("request_id", ""))


def shown(connection: HTTPConnection) -> str:
    """Method and path, short and printable."""
    path = connection.scope["path"]
    return f"{connection.scope.get('method', 'WebSocket')} {ascii(path if len(path) <= 80 else path[:79] + '…')[1:-1]}"
