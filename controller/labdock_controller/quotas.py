"""Quotas: how much the running environments of one user may take together.

A role's quota holds for each user who has the role, the most generous of several; a user's own replaces it, resource
by resource. Without either `LABDOCK_ENVIRONMENTS_PER_USER` limits the number, and nothing the rest. Administrators
(`configure`) have only what is set for them by name. It is the owner's quota that counts, whoever starts.

Checked inside the transaction that writes the intent to run: only one can write at a time, so of two starts at once
the second sees the first. What runs already is never stopped or refused a restart because a quota became smaller.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from labdock.errors import LimitExceeded
from labdock.names import not_found
from labdock_controller.access.rights import ROLES, capabilities_of
from labdock_controller.environment_rows import UP
from labdock_controller.runtimes.base import Limits
from labdock_controller.settings import Settings
from labdock_controller.store import Store
from labdock_controller.store.tables import EnvironmentRow, QuotaRow, UserRow

Size = Callable[[str, str, Limits], Limits]  # runtime, image, what was asked for -> what a start is given
SETTING = "LABDOCK_ENVIRONMENTS_PER_USER"
UNITS = {"environments": "environments", "cpus": "CPUs", "memory_mb": "MB of memory", "gpus": "GPUs"}


@dataclass(frozen=True)
class Quota:
    """None: no limit from here."""

    environments: int | None = None
    cpus: float | None = None
    memory_mb: int | None = None
    gpus: int | None = None

    def over(self, other: "Quota") -> "Quota":
        """This one, and where it says nothing the other."""
        return Quota(*(b if a is None else a for a, b in zip(astuple(self), astuple(other), strict=True)))


NAMES = tuple(field.name for field in fields(Quota))
NONE = Quota()


@dataclass(frozen=True)
class Holder:
    """Whose quota: a role's or a user's."""

    kind: str  # role, user
    name: str
    quota: Quota
    changed: float
    changed_by: str

    def view(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, **asdict(self.quota), "changed": self.changed,
                "changed_by": self.changed_by}  # fmt: skip


class Quotas:
    """`size` says what an environment would be given; the launcher knows."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._default = Quota(environments=settings.environments_per_user or None)
        self.size: Size = lambda _runtime, _image, limits: limits

    def all(self) -> list[Holder]:
        """Every quota that is set, roles first."""
        with self._store.read() as session:
            names = {user.id: user.name for user in session.scalars(select(UserRow))}
            rows = session.scalars(select(QuotaRow)).all()
            found = [_holder(row, names) for row in rows]
        return sorted(found, key=lambda one: (one.kind != "role", one.name))

    def set(self, kind: str, name: str, quota: Quota, by: str) -> list[Holder]:
        """Replace a role's or user's quota; an empty one removes it. Raises `NotFound` for an unknown name."""
        with self._store.write() as session:
            if kind == "role":
                if name not in ROLES:
                    raise not_found("role", name, ROLES)
                holder: dict[str, Any] = {"role": name}
            else:
                names = {n: id_ for id_, n in session.execute(select(UserRow.id, UserRow.name))}
                if name not in names:
                    raise not_found("user", name, names)
                holder = {"user_id": names[name]}
            column, value = next(iter(holder.items()))
            session.execute(delete(QuotaRow).where(getattr(QuotaRow, column) == value))
            if quota != NONE:
                session.add(QuotaRow(**holder, **asdict(quota), changed=time.time(), changed_by=by))
        return self.all()

    def of(self, user_id: str) -> dict[str, Any]:
        """What holds for a user, and what their running environments take of it."""
        with self._store.read() as session:
            user = session.get(UserRow, user_id)
            quota, _ = self._holding(session, user) if user else (self._default, {})
            used = self._used(_running(session, user_id))
        return {"quota": asdict(quota), "used": asdict(used)}

    def check(self, session: Session, row: EnvironmentRow) -> None:
        """Raise `LimitExceeded` if `row`, which is about to start, does not fit beside its owner's others."""
        owner = session.get(UserRow, row.owner_id)
        if owner is None:
            return
        quota, source = self._holding(session, owner)
        if quota == NONE:
            return
        used = self._used(one for one in _running(session, owner.id) if one.id != row.id)
        wanted = self._taken(row)
        for name in NAMES:
            most, before, more = getattr(quota, name), getattr(used, name), getattr(wanted, name)
            if most is None:
                continue
            if more is None:
                raise _unsaid(owner.name, name, most, source[name])
            if more and before + more > most:
                raise _exceeded(owner.name, name, (most, before, more), source[name])

    def _holding(self, session: Session, user: UserRow) -> tuple[Quota, dict[str, str]]:
        """The quota that holds, and for each resource what set it."""
        rules_all = "configure" in capabilities_of(tuple(user.roles))
        wanted = (
            QuotaRow.user_id == user.id if rules_all else (QuotaRow.user_id == user.id) | QuotaRow.role.is_not(None)
        )
        rows = session.scalars(select(QuotaRow).where(wanted)).all()
        own = next((_quota(row) for row in rows if row.user_id), NONE)
        given = {row.role: _quota(row) for row in rows if row.role and row.role in user.roles}
        roles = _most_generous(user.roles, given)
        default = NONE if rules_all else self._default
        source = {}
        for name in NAMES:
            if getattr(own, name) is not None:
                source[name] = f"user {user.name}"
            elif getattr(roles, name) is not None:
                source[name] = "role " + ", ".join(r for r in given if getattr(given[r], name) is not None)
            else:
                source[name] = SETTING
        return own.over(roles).over(default), source

    def _used(self, rows: Iterable[EnvironmentRow]) -> Quota:
        taken = [self._taken(row) for row in rows]
        return Quota(*(sum(getattr(one, name) or 0 for one in taken) for name in NAMES))

    def _taken(self, row: EnvironmentRow) -> Quota:
        size = self.size(row.runtime, row.image, Limits.stored(row.limits))
        return Quota(1, size.cpus, size.memory_mb, size.gpus)


def _most_generous(roles: Iterable[str], given: Mapping[str, Quota]) -> Quota:
    """Of the roles that set a resource the highest; roles that say nothing of it do not count."""
    found = [given[role] for role in roles if role in given]
    said = {name: [v for one in found if (v := getattr(one, name)) is not None] for name in NAMES}
    return Quota(**{name: max(values) for name, values in said.items() if values})


def _running(session: Session, user_id: str) -> list[EnvironmentRow]:
    up = EnvironmentRow.status.in_([str(status) for status in UP])
    return list(session.scalars(select(EnvironmentRow).where(EnvironmentRow.owner_id == user_id, up)))


def _quota(row: QuotaRow) -> Quota:
    return Quota(*(getattr(row, name) for name in NAMES))


def _holder(row: QuotaRow, names: dict[str, str]) -> Holder:
    kind, name = ("role", row.role) if row.role else ("user", names.get(row.user_id or "", ""))
    return Holder(kind, name or "", _quota(row), row.changed, row.changed_by)


def _exceeded(user: str, name: str, figures: tuple[float, float, float], source: str) -> LimitExceeded:
    most, used, more = figures
    unit = UNITS[name]
    smaller = "" if name == "environments" or most <= used else f"start this one with {name} {most - used:g} or less, "
    raised = f"raise {SETTING}" if source == SETTING else "ask an administrator to raise it (labdock quotas)"
    return LimitExceeded(
        f"{user} may run {most:g} {unit} together: {used:g} run, this one would take {more:g} more.",
        remedy=f"Stop one you no longer need, {smaller}or {raised}. It is set by: {source}.",
        limit=name,
        value=most,
        used=used,
        asked=more,
        setting=source,
    )


def _unsaid(user: str, name: str, most: float, source: str) -> LimitExceeded:
    return LimitExceeded(
        f"{user} may run {most:g} {UNITS[name]} together, and this environment does not say how much it takes.",
        remedy=f"Start it with one: labdock start NAME --{name.removesuffix('_mb')} …; the quota is set by: {source}.",
        limit=name,
        value=most,
        used=None,
        asked=None,
        setting=source,
    )
