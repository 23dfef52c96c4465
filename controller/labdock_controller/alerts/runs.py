"""One run of an alert: its search with its owner's rights of that moment, the condition, throttling, the actions."""

import secrets
import threading
import time
from typing import Any

import pyarrow as pa
import structlog

from labdock.errors import LabdockError
from labdock_controller.access.rights import Principal, decide
from labdock_controller.access.users import Users
from labdock_controller.alerts.actions import SENT_ROWS, Actions, Fired
from labdock_controller.alerts.definition import Definition
from labdock_controller.alerts.records import Run, SavedSearch, SavedSearches
from labdock_controller.searches import pages
from labdock_controller.searches.jobs import SearchJob, SearchRequest
from labdock_controller.searches.rights import principal
from labdock_controller.searches.service import Searches
from labdock_search import Engine
from labdock_search.protocols import Caller, LookupTable

log = structlog.get_logger("labdock.alerts")
TICK = 0.5
RESULT = "result"


class Runs:
    """Runs alerts, whoever asks. `closing` cancels what runs."""

    def __init__(
        self, saved: SavedSearches, users: Users, searches: Searches, actions: Actions, closing: threading.Event
    ) -> None:
        self._saved, self._users, self._searches, self._actions = saved, users, searches, actions
        self._closing = closing

    def run(self, saved: SavedSearch, link: str = "") -> Run:
        """Run it now: the search, the condition, throttling, the actions. Keeps the run whatever happens."""
        started = time.time()
        throttled = {key: until for key, until in saved.throttled.items() if until > started}
        job: SearchJob | None = None
        outcome: dict[str, Any] = {"status": "quiet", "rows": 0, "error": None, "actions": []}
        try:
            owner = principal(self._users, Caller(saved.owner, saved.app))
            decide(owner, "search")
            decide(owner, "schedule_search")
            saved.definition.check()
            job = self._search(saved, owner)
            found = self._matching(saved, pages.read(job.path))
            if found.num_rows or not saved.definition.condition.get("search"):
                outcome = self._act(saved, found, job, throttled, started, link)
        except LabdockError as error:
            outcome |= {"status": "failed", "error": error.to_problem()}
        run = Run(
            id=secrets.token_hex(6),
            saved_id=saved.id,
            started=started,
            duration=time.time() - started,
            job=job.id if job else "",
            **outcome,
        )
        self._saved.note(saved, run, throttled)
        return run

    def _search(self, saved: SavedSearch, owner: Principal) -> SearchJob:
        what = saved.definition
        request = SearchRequest(
            what.search, saved.app, what.earliest, what.latest, what.timezone, max_seconds=what.max_seconds
        )
        jobs = self._searches.jobs
        job = jobs.start(request, owner)
        while not job.ended:
            if self._closing.is_set():
                jobs.cancel(job)
            job.wait(TICK)
        job.raise_problem()
        return job

    def _matching(self, saved: SavedSearch, table: pa.Table) -> pa.Table:
        """The rows that the condition's search leaves; all of them where the condition counts rows."""
        text = saved.definition.condition.get("search")
        if not text:
            return table
        host = self._searches.engine.host
        engine = Engine(host.indexes, _Result(table), host.environments, host.models, host.settings, host.clock)
        search = f"| inputlookup {RESULT} | {str(text).lstrip('| ')}"
        return engine.search(search, user=saved.owner, app=saved.app, timezone=saved.definition.timezone).table()

    def _act(
        self, saved: SavedSearch, found: pa.Table, job: SearchJob, throttled: dict[str, float], now: float, link: str
    ) -> dict[str, Any]:
        if not _holds(saved.definition, found.num_rows):
            return {"status": "quiet", "rows": found.num_rows, "error": None, "actions": []}
        loud = _unthrottled(saved.definition, found, throttled, now)
        if not loud.num_rows and found.num_rows:
            return {"status": "throttled", "rows": found.num_rows, "error": None, "actions": []}
        fired = Fired(saved, pages.rows(loud.slice(0, SENT_ROWS)), loud.num_rows, now, job.id, link)
        done = [self._one(action, fired) for action in saved.definition.actions]
        return {"status": "fired", "rows": loud.num_rows, "error": None, "actions": done}

    def _one(self, action: dict[str, Any], fired: Fired) -> dict[str, Any]:
        """An action that fails is told in the history and stops no other."""
        try:
            return {"type": action["type"], "done": True, "message": self._actions.run(action, fired)}
        except LabdockError as error:
            log.warning("alert action failed", alert=fired.saved.name, action=action["type"], reason=error.message)
            return {"type": action["type"], "done": False, "message": f"{error.message} {error.remedy}".strip()}


def _holds(definition: Definition, rows: int) -> bool:
    condition = definition.condition
    if "search" in condition:
        return rows > 0
    value = int(condition["value"])
    return {
        ">": rows > value,
        ">=": rows >= value,
        "=": rows == value,
        "!=": rows != value,
        "<": rows < value,
        "<=": rows <= value,
    }[condition["rows"]]


def _unthrottled(definition: Definition, found: pa.Table, throttled: dict[str, float], now: float) -> pa.Table:
    """The rows whose group is not silent; their groups become silent in `throttled`."""
    seconds = definition.throttle.get("seconds")
    if not seconds:
        return found
    names = [f for f in definition.throttle.get("fields", []) if f in found.column_names]
    if not names:
        keys = [""] * max(found.num_rows, 1)
    else:
        keys = ["\x1f".join(str(v) for v in row.values()) for row in found.select(names).to_pylist()]
    silent = set(throttled)
    loud = [key not in silent for key in keys]
    throttled |= {key: now + float(seconds) for key, is_loud in zip(keys, loud, strict=True) if is_loud}
    return found.filter(pa.array(loud[: found.num_rows], pa.bool_()))


class _Result:
    """The one lookup that a condition's search reads: the rows of the alert's search."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def names(self, caller: Caller) -> list[str]:
        del caller
        return [RESULT]

    def open(self, name: str, caller: Caller) -> LookupTable:
        del name, caller
        return LookupTable(RESULT, self._table.schema, self._table.num_rows, table=self._table)

    def write(self, name: str, batches: pa.RecordBatchReader, caller: Caller, *, append: bool) -> int:
        del name, batches, caller, append
        raise LabdockError("A condition writes nothing.", remedy="Use the alert's actions.")
