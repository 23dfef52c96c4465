"""Jobs: what environments are working on and what they did lately."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from labdock.answers import Response
from labdock.connection import segment
from labdock.errors import ModuleError, from_problem
from labdock.events import Event, parse

if TYPE_CHECKING:
    from labdock.environment import Environment

Finish = Callable[[Any, dict[str, Any]], Any]  # an answer's table and info -> what the caller gets

ENDED = ("done", "failed", "cancelled")


class Job:
    """A stage, fit or apply in an environment. `record` is what the environment said last; `refresh` asks again."""

    def __init__(self, environment: "Environment", record: dict[str, Any], finish: Finish | None = None) -> None:
        self.environment = environment
        self.record = record
        self._finish = finish

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def status(self) -> str:
        """`queued`, `running`, `done`, `failed` or `cancelled`, as of the last answer."""
        return str(self.record.get("status", ""))

    @property
    def done(self) -> bool:
        """Whether it has ended, however; asks the environment unless that is known."""
        return self.status in ENDED or self.refresh().status in ENDED

    @property
    def error(self) -> Exception | None:
        """Why it failed, or None."""
        return self.error_of(self.record)

    @staticmethod
    def error_of(record: dict[str, Any]) -> Exception | None:
        """The error in a job's record, or None."""
        problem = record.get("error")
        if not problem:
            return None
        return from_problem(problem) if isinstance(problem, dict) else ModuleError(str(problem))

    def refresh(self) -> "Job":
        """Ask the environment again."""
        self.record = self.environment.call("GET", self._path)
        return self

    def result(self) -> Any:
        """Wait for the end and give what the request would have: a `FittedModel`, a table, a dict.

        Raises what the job failed with. Results are kept for an hour or until 50 newer ones exist.
        """
        from labdock.actions import fetch  # noqa: PLC0415 - needs pyarrow

        table, info = fetch(self.environment, self.id)
        return self._finish(table, info) if self._finish else _plain(self, table, info)

    def cancel(self) -> None:
        """End it; a job that has ended already stays as it is."""
        self.environment.call("DELETE", self._path)

    def events(self, opened: Callable[[Response], None] | None = None) -> Iterator[Event]:
        """What it prints (`log`), how far it is (`progress`) and its `status`, until it ends.

        `opened` is given the open stream, for who wants to end it from another thread.
        """
        response = self.environment.request("GET", f"{self._path}/events", headers={"Accept": "text/event-stream"})
        if opened:
            opened(response)
        yield from parse(response.lines())

    @property
    def _path(self) -> str:
        return f"jobs/{segment(self.id)}"

    def __repr__(self) -> str:
        what = " ".join(str(self.record[k]) for k in ("kind", "module", "model") if self.record.get(k))
        return f"<Job {self.id} {what}: {self.status}>"


def _plain(job: Job, table: Any, info: dict[str, Any]) -> Any:
    """The result of a job that another caller started: pandas, and a `FittedModel` for a fit."""
    from labdock import frames  # noqa: PLC0415 - needs pandas
    from labdock.actions import finish_fit, with_info  # noqa: PLC0415

    kind = job.record.get("kind") or job.refresh().record.get("kind")
    if kind == "stage":
        return info
    if kind == "fit":
        return finish_fit(job.environment, [], [], frames.take_over)(table, info)
    return with_info(frames.take_over(table), info)
