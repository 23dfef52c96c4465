"""The door of the search room: `Engine.search`, `explain`, `complete`, `parse`."""

import time
from typing import Any, TypedDict, Unpack

from labdock.errors import RequestError
from labdock_search.completion import Completion, complete
from labdock_search.database import Database, too_deep
from labdock_search.explain import Explanation, explain
from labdock_search.faults import Span
from labdock_search.frame import Frame
from labdock_search.pipeline import Pipeline, parse, run_steps
from labdock_search.plan import Host, Plan, Request
from labdock_search.protocols import Caller, Clock, Environments, Indexes, Lookups, Models
from labdock_search.result import Result
from labdock_search.settings import Limits, Settings
from labdock_search.spares import Spares
from labdock_search.times import resolve, zone


class Asked(TypedDict, total=False):
    """What comes with a search besides its text and user. `capabilities` narrow what the user may (`Caller`)."""

    app: str
    capabilities: frozenset[str] | None
    earliest: str
    latest: str
    timezone: str


class SystemClock:
    def now(self) -> float:
        return time.time()


class Engine:
    """Runs searches. Safe for threads; one engine serves all users.

    Everything that a search may reach comes from the host objects, which answer for the caller of each search.
    """

    def __init__(
        self,
        indexes: Indexes,
        lookups: Lookups,
        environments: Environments,
        models: Models,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = settings or Settings()
        self.host = Host(indexes, lookups, environments, models, clock or SystemClock(), settings, Spares(settings))

    def search(self, text: str, *, user: str, limits: Limits | None = None, **asked: Unpack[Asked]) -> Result:
        """Parse and plan a search and give its `Result`. Raises `SearchError`, `NotFound`, `Forbidden`.

        Where the search trains or applies a module, what comes after is planned when the result is read.
        """
        request = self._request(user, asked)
        request.limits = limits or Limits()
        return start(self.host, request, parse(text, self.host.settings))

    def close(self) -> None:
        """Give back what the engine keeps ready."""
        if self.host.spares is not None:
            self.host.spares.close()

    def parse(self, text: str, **asked: Unpack[Asked]) -> Pipeline:
        """The parsed commands. Raises `SearchError`, for a zone or time range that is none as well."""
        self._request("", asked)
        return parse(text, self.host.settings)

    def explain(self, text: str, *, user: str, dialect: str = "duckdb", **asked: Unpack[Asked]) -> Explanation:
        """The plan and its SQL (`dialect`: `duckdb`, which runs, or `spark`), without running anything."""
        request = self._request(user, asked)
        request.explain = True
        return explain(self.host, request, parse(text, self.host.settings), dialect)

    def _request(self, user: str, asked: Asked) -> Request:
        """Who asks, about which time. Raises `SearchError` for a zone or time that is none, whatever is searched."""
        caller = Caller(user, asked.get("app", "search"), asked.get("capabilities"))
        request = Request(caller, asked.get("earliest", ""), asked.get("latest", ""), asked.get("timezone", "UTC"))
        zone(request.timezone)
        for written in (request.earliest, request.latest):
            resolve(written, self.host.clock.now(), request.timezone, Span(0))
        return request

    def complete(
        self, text: str, position: int, *, user: str, app: str = "search", capabilities: frozenset[str] | None = None
    ) -> list[Completion]:
        """What can be written at a position: commands, functions, options, fields, indexes, lookups, models."""
        return complete(self.host, Caller(user, app, capabilities), text, position)


def start(host: Host, request: Request, pipeline: Pipeline) -> Result:
    """Plan at once where nothing has to run in between, else when the result is read."""
    state: dict[str, Any] = {}

    def notice(text: str) -> None:
        state["result"].note(text)

    plan = Plan(host, request, notice)
    plan.origin = pipeline.origin
    database = Database(plan)
    plan.executor = database

    def finish() -> Frame:
        if "frame" not in state or not plan.relations:
            try:
                state["frame"] = run_steps(pipeline.steps, plan)
            except RecursionError:
                raise too_deep() from None
        found: Frame = state["frame"]
        return found

    limits = request.limits
    result = state["result"] = Result(database, finish, limits.seconds, limits.rows)
    if not any(step.command.runs for step in pipeline.steps):
        try:
            finish()
        except RequestError:
            result.close()
            raise
    return result
