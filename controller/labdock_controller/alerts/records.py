"""Saved searches and the history of alerts, in the store."""

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from labdock.errors import Conflict
from labdock.names import check_name, not_found
from labdock_controller.access.rights import Principal, Resource, allowed, decide
from labdock_controller.alerts.definition import Definition
from labdock_controller.alerts.schedule import next_time
from labdock_controller.models import check_sharing
from labdock_controller.store import Store
from labdock_controller.store.tables import AlertRunRow, SavedSearchRow, UserRow

KEEP_RUNS = 500


@dataclass(frozen=True)
class SavedSearch:
    """A report, or with a schedule an alert. `next_run` is None where it is paused or has no schedule."""

    id: str
    name: str
    owner: str
    owner_id: str
    app: str
    sharing: str
    enabled: bool
    created: float
    next_run: float | None
    definition: Definition
    throttled: dict[str, float]  # until when each group of rows is silent

    def resource(self, *, writes: bool) -> Resource:
        return Resource("saved search", self.name, self.owner_id, self.sharing, writes)

    def view(self) -> dict[str, Any]:
        own = ("id", "name", "owner", "app", "sharing", "enabled", "created", "next_run")
        return {**{key: getattr(self, key) for key in own}, **self.definition.to_dict()}


@dataclass(frozen=True)
class Run:
    """One run of an alert: what it found and what its actions did."""

    id: str
    saved_id: str
    started: float
    duration: float
    status: str  # quiet, fired, throttled, failed
    rows: int
    job: str  # the kept search job
    error: dict[str, Any] | None
    actions: list[dict[str, Any]]


class SavedSearches:
    def __init__(self, store: Store) -> None:
        self._store = store
        # A transaction that changes what lists show; whoever tells of changes puts one in here that does.
        self.changing: Callable[[], AbstractContextManager[Session]] = store.write

    def visible(self, principal: Principal) -> list[SavedSearch]:
        return [s for s in self.all() if allowed(principal, "search", s.resource(writes=False))]

    def all(self) -> list[SavedSearch]:
        with self._store.read() as session:
            rows = session.execute(
                select(SavedSearchRow, UserRow.name)
                .join(UserRow, UserRow.id == SavedSearchRow.owner_id)
                .order_by(SavedSearchRow.name)
            )
            return [_saved(row, owner) for row, owner in rows]

    def get(self, name: str, principal: Principal, *, writes: bool = False) -> SavedSearch:
        """One's own of that name, else a shared one. Raises `NotFound`, `Forbidden`."""
        visible = self.visible(principal)
        found = sorted((s for s in visible if s.name == name), key=lambda s: s.owner_id != principal.user_id)
        if not found:
            raise not_found("saved search", name, [s.name for s in visible])
        decide(principal, "search", found[0].resource(writes=writes))
        return found[0]

    def save(
        self, name: str, definition: Definition, principal: Principal, *, app: str, sharing: str, replace: bool
    ) -> SavedSearch:
        """Keep a saved search of this user. Raises `Conflict` where it exists and `replace` is not set."""
        check_name(name, "saved search")
        check_name(app, "app")
        check_sharing(sharing, principal)
        due = next_time(definition.schedule, definition.timezone, time.time()) if definition.schedule else None
        try:
            with self.changing() as session:
                row = _owned(session, name, principal.user_id)
                if row is not None and not replace:
                    raise Conflict(
                        f"You have a saved search named {name!r}.", remedy="Replace it, or use another name."
                    )
                if row is None:
                    row = SavedSearchRow(id=secrets.token_hex(6), name=name, owner_id=principal.user_id)
                    row.created, row.enabled = time.time(), True
                    session.add(row)
                row.app, row.sharing = app, sharing or row.sharing or "user"
                row.definition, row.throttled = definition.to_dict(), {}
                row.next_run = due if row.enabled else None
                session.flush()
        except IntegrityError:
            raise Conflict(f"{name!r} was saved twice at once.", remedy="Look at it, then save again.") from None
        return self.get(name, principal)

    def pause(self, saved: SavedSearch, *, paused: bool) -> None:
        with self.changing() as session:
            row = session.get_one(SavedSearchRow, saved.id)
            row.enabled = not paused
            schedule, timezone = saved.definition.schedule, saved.definition.timezone
            row.next_run = next_time(schedule, timezone, time.time()) if schedule and not paused else None

    def remove(self, saved: SavedSearch) -> None:
        with self.changing() as session:
            session.execute(delete(SavedSearchRow).where(SavedSearchRow.id == saved.id))

    def take_due(self, now: float) -> list[SavedSearch]:
        """Alerts whose time has come; each is set to its next time first, so that a missed one runs once."""
        with self._store.read() as session:
            query = select(SavedSearchRow.id).where(
                SavedSearchRow.next_run.is_not(None), SavedSearchRow.next_run <= now
            )
            due = set(session.scalars(query))
        if not due:
            return []
        found = [s for s in self.all() if s.id in due]
        with self._store.write() as session:
            for saved in found:
                row = session.get(SavedSearchRow, saved.id)
                if row is not None:
                    row.next_run = next_time(saved.definition.schedule, saved.definition.timezone, now)
        return found

    def note(self, saved: SavedSearch, run: Run, throttled: dict[str, float]) -> None:
        """Keep a run, and who is silent until when; the oldest runs go."""
        with self.changing() as session:
            row = session.get(SavedSearchRow, saved.id)
            if row is None:
                return
            row.throttled = throttled
            session.add(AlertRunRow(**{key: getattr(run, key) for key in Run.__dataclass_fields__}))
            old = select(AlertRunRow.id).where(AlertRunRow.saved_id == saved.id)
            old = old.order_by(AlertRunRow.started.desc()).offset(KEEP_RUNS)
            session.execute(delete(AlertRunRow).where(AlertRunRow.id.in_(list(session.scalars(old)))))

    def runs(self, saved: SavedSearch, limit: int = 100, first: int = 0) -> list[Run]:
        """The history, newest first; `first` of them are left out."""
        query = select(AlertRunRow).where(AlertRunRow.saved_id == saved.id)
        with self._store.read() as session:
            rows = session.scalars(query.order_by(AlertRunRow.started.desc()).offset(first).limit(limit))
            return [_run(row) for row in rows]

    def count_runs(self, saved: SavedSearch) -> int:
        """How many runs its history has."""
        query = select(func.count()).where(AlertRunRow.saved_id == saved.id)
        with self._store.read() as session:
            return session.scalars(query).one()

    def last_runs(self, saved_ids: list[str]) -> dict[str, Run]:
        """The newest run of each, by the saved search's id."""
        run = aliased(AlertRunRow)  # one step in the index for each, however many runs there are
        newest = select(run.id).where(run.saved_id == SavedSearchRow.id).order_by(run.started.desc()).limit(1)
        query = select(AlertRunRow).join(SavedSearchRow, AlertRunRow.id == newest.scalar_subquery())
        with self._store.read() as session:
            rows = session.scalars(query.where(SavedSearchRow.id.in_(saved_ids)))
            return {row.saved_id: _run(row) for row in rows}


def _owned(session: Session, name: str, owner_id: str) -> SavedSearchRow | None:
    query = select(SavedSearchRow).where(SavedSearchRow.name == name, SavedSearchRow.owner_id == owner_id)
    return session.scalars(query).one_or_none()


def _run(row: AlertRunRow) -> Run:
    return Run(**{key: getattr(row, key) for key in Run.__dataclass_fields__})


def _saved(row: SavedSearchRow, owner: str) -> SavedSearch:
    return SavedSearch(
        id=row.id,
        name=row.name,
        owner=owner,
        owner_id=row.owner_id,
        app=row.app,
        sharing=row.sharing,
        enabled=row.enabled,
        created=row.created,
        next_run=row.next_run,
        definition=Definition.stored(row.definition),
        throttled=dict(row.throttled),
    )
