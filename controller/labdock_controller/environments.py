"""Environments: their records. Who wants what is written here; making it so is the launcher's.

All records are also kept in memory. Only this controller changes the store, so what is read is exact and costs
nothing, as the door needs it.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labdock.errors import NotFound
from labdock.names import check_name, not_found
from labdock_controller import environment_rows as rows
from labdock_controller.access.rights import Principal, Resource, allowed, decide
from labdock_controller.environment_rows import Request
from labdock_controller.events import Events
from labdock_controller.reconcile import Desired, Status, Wanted
from labdock_controller.runtimes.base import Limits
from labdock_controller.store import Store
from labdock_controller.store.tables import EnvironmentRow, UserRow


@dataclass(frozen=True)
class Environment:
    """One record, as it was last written."""

    id: str
    name: str
    owner_id: str
    owner: str
    app: str
    sharing: str
    runtime: str
    image: str
    mode: str
    limits: Limits
    wanted: Wanted
    remove_files: bool
    cause: str
    remedy: str
    log: str = field(repr=False)
    created: float = 0.0
    started: float | None = None
    keep_until: float = 0.0
    guests: dict[str, str] = field(default_factory=dict)  # users who may use it: id to name

    @property
    def status(self) -> Status:
        return self.wanted.status

    def resource(self, *, writes: bool) -> Resource:
        guests = frozenset(self.guests)
        return Resource("environment", self.name, self.owner_id, self.sharing, writes, guests=guests)

    def view(self) -> dict[str, Any]:
        """What users see."""
        return {
            "id": self.id,
            "name": self.name,
            "runtime": self.runtime,
            "image": self.image,
            "mode": self.mode,
            "status": str(self.status),
            "owner": self.owner,
            "app": self.app,
            "sharing": self.sharing,
            "users": sorted(self.guests.values()),
            "created": self.created,
            "started": self.started,
            "cause": self.cause,
            "remedy": self.remedy,
            "limits": asdict(self.limits),
            "api_url": f"/api/environments/{self.name}",
            "jupyter_url": base_url(self.name) if self.mode == "dev" else None,
        }


def base_url(name: str) -> str:
    """Where JupyterLab of this environment is behind the door."""
    return f"/environments/{name}/jupyter/"


class Environments:
    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events
        self._known: dict[str, Environment] = {}
        self._lock = threading.Lock()
        # Called inside the transaction that writes the intent to run: raises where the owner's quota has no room.
        self.check_start: Callable[[Session, EnvironmentRow], None] = lambda _session, _row: None

    def load(self) -> None:
        """Read every record; once, before the first use."""
        with self._lock, self._store.read() as session:
            self._known = {row.id: _environment(session, row) for row in session.scalars(select(EnvironmentRow))}

    def all(self) -> dict[str, Environment]:
        """Every record by id, the forgotten left out."""
        return {i: e for i, e in list(self._known.items()) if e.wanted.desired is not Desired.FORGOTTEN}

    def by_id(self, identifier: str) -> Environment | None:
        found = self._known.get(identifier)
        return found if found and found.wanted.desired is not Desired.FORGOTTEN else None

    def visible(self, principal: Principal) -> list[Environment]:
        """What this user may see, by name."""
        mine = [e for e in self.all().values() if _sees(principal, e)]
        return sorted(mine, key=lambda e: e.name)

    def get(self, name: str, principal: Principal, capability: str, *, writes: bool = False) -> Environment:
        """The environment if the user may do that with it. One the user may not see is not found."""
        decide(principal, capability)
        found = next((e for e in self.all().values() if e.name == name), None)
        if found is None or not _sees(principal, found):
            raise not_found("environment", name, [e.name for e in self.visible(principal)], "List them: labdock ps.")
        decide(principal, capability, found.resource(writes=writes))
        return found

    def ask_start(self, request: Request, principal: Principal, defaults: Request) -> Environment:
        """Write the intent to run. A stopped one of the name is started again; one that runs is a `Conflict`.

        A forgotten one of the same owner and name comes back with its notebooks.
        """
        check_name(request.name, "environment")
        try:
            with self._store.write() as session:
                row = rows.named(session, request.name)
                if row is None:
                    row = rows.revived(session, request.name, principal) or rows.new(session, request.name, principal)
                else:
                    rows.check_free(row, principal)
                rows.fill(row, request, defaults)
                self.check_start(session, row)
                rows.intend_start(row)
                self._written(session, row)
        except IntegrityError:
            raise rows.taken(request.name) from None
        return self._reload(row.id)

    def ask(self, identifier: str, desired: Desired, *, remove_files: bool = False, cause: str = "") -> Environment:
        """Write the intent to stop or delete."""
        with self._store.write() as session:
            row = rows.existing(session, identifier)
            row.desired, row.remove_files = desired, remove_files
            # A failed one has nothing to stop; `stopped` follows in a moment all the same.
            row.status, row.cause, row.remedy = Status.STOPPING, cause, ""
            self._written(session, row)
        return self._reload(identifier)

    def ask_again(self, identifier: str) -> Environment:
        """Write the intent to run anew: whatever runs of it now is replaced."""
        with self._store.write() as session:
            row = rows.existing(session, identifier)
            if row.status not in rows.UP:
                self.check_start(session, row)
            rows.intend_start(row)
            self._written(session, row)
        return self._reload(identifier)

    def share(self, identifier: str, sharing: str, app: str, users: list[str] | None = None) -> Environment:
        """`users` are names of those who may use it, however it is shared; None: as it was."""
        with self._store.write() as session:
            row = rows.existing(session, identifier)
            row.sharing, row.app = sharing, app
            if users is not None:
                row.guests = rows.user_ids(session, users)
            self._written(session, row)
        return self._reload(identifier)

    def note(self, identifier: str, wanted: Wanted, **changes: Any) -> bool:
        """Write what became of it, unless someone wants something else than `wanted` by now.

        `changes` are columns. Gives whether it was written.
        """
        with self._store.write() as session:
            row = session.get(EnvironmentRow, identifier)
            if row is None or (row.desired, row.generation) != (wanted.desired, wanted.generation):
                return False
            before = _view_key(row)
            for name, value in changes.items():
                setattr(row, name, value)
            if _view_key(row) != before:
                self._written(session, row)
        self._reload(identifier)
        return True

    def forget(self, identifier: str, wanted: Wanted) -> None:
        """Nothing is left of it: drop the record, or keep it for the notebooks' sake."""
        with self._store.write() as session:
            row = session.get(EnvironmentRow, identifier)
            if row is None or row.generation != wanted.generation or row.desired != Desired.DELETED:
                return
            row.status = Status.STOPPED
            self._events.record(session, "removed", row.id, _environment(session, row).view())
            if row.remove_files:
                session.delete(row)
            else:
                row.desired = Desired.FORGOTTEN
        self._reload(identifier)

    def tell(self, environment: Environment, kind: str, data: dict[str, Any]) -> None:
        """An event about it that changes nothing: progress, a warning."""
        with self._store.write() as session:
            self._events.record(session, kind, environment.id, {**environment.view(), **data})
        self._events.announce()

    def _written(self, session: Session, row: EnvironmentRow) -> None:
        session.flush()
        self._events.record(session, "environment", row.id, _environment(session, row).view())

    def _reload(self, identifier: str) -> Environment:
        # Read inside the lock: whoever comes last has the newest state.
        with self._lock, self._store.read() as session:
            row = session.get(EnvironmentRow, identifier)
            if row is None:
                gone = self._known.pop(identifier, None)
            else:
                self._known[identifier] = _environment(session, row)
        self._events.announce()
        if row is None and gone is None:
            raise NotFound(f"There is no environment {identifier}.", remedy="List them: labdock ps.")
        return self._known.get(identifier) or gone  # type: ignore[return-value]


def _sees(principal: Principal, environment: Environment) -> bool:
    return allowed(principal, "list_environments", environment.resource(writes=False))


def _environment(session: Session, row: EnvironmentRow) -> Environment:
    owner = session.get(UserRow, row.owner_id)
    return Environment(
        id=row.id,
        name=row.name,
        owner_id=row.owner_id,
        owner=owner.name if owner else "",
        app=row.app,
        sharing=row.sharing,
        runtime=row.runtime,
        image=row.image,
        mode=row.mode,
        limits=Limits.stored(row.limits),
        wanted=Wanted(
            Desired(row.desired),
            Status(row.status),
            row.generation,
            row.started_generation,
            row.ever_ready,
            row.failures,
            row.retry_at,
        ),
        remove_files=row.remove_files,
        cause=row.cause,
        remedy=row.remedy,
        log=row.log,
        created=row.created,
        started=row.started,
        keep_until=row.keep_until,
        guests={user.id: user.name for user in (session.get(UserRow, one) for one in row.guests) if user},
    )


def _view_key(row: EnvironmentRow) -> tuple[Any, ...]:
    return (row.status, row.cause, row.remedy, row.started)
