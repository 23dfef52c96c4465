"""The rows behind environments: found, made, filled and checked inside the caller's transaction."""

import secrets
import time
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from labdock.errors import Conflict, NotFound
from labdock_controller.access.rights import Principal, Resource, allowed
from labdock_controller.reconcile import Desired, Status
from labdock_controller.runtimes.base import Limits
from labdock_controller.store.tables import EnvironmentRow, UserRow

UP = (Status.STARTING, Status.RUNNING)


@dataclass(frozen=True)
class Request:
    """What someone asks to be started. None: as it was, or the default for a new one."""

    name: str
    runtime: str | None = None
    image: str | None = None
    mode: str | None = None
    limits: Limits | None = None


def named(session: Session, name: str) -> EnvironmentRow | None:
    query = select(EnvironmentRow).where(EnvironmentRow.name == name, EnvironmentRow.desired != Desired.FORGOTTEN)
    return session.scalars(query).one_or_none()


def existing(session: Session, identifier: str) -> EnvironmentRow:
    row = session.get(EnvironmentRow, identifier)
    if row is None or row.desired == Desired.FORGOTTEN:
        raise NotFound(f"There is no environment {identifier}.", remedy="List them: labdock ps.", kind="environment")
    if row.desired == Desired.DELETED:
        raise Conflict(f"The environment {row.name} is being removed.", remedy="Try again in a few seconds.")
    return row


def revived(session: Session, name: str, principal: Principal) -> EnvironmentRow | None:
    query = select(EnvironmentRow).where(
        EnvironmentRow.name == name,
        EnvironmentRow.desired == Desired.FORGOTTEN,
        EnvironmentRow.owner_id == principal.user_id,
    )
    return session.scalars(query.order_by(EnvironmentRow.created.desc())).first()


def new(session: Session, name: str, principal: Principal) -> EnvironmentRow:
    row = EnvironmentRow(
        id=secrets.token_hex(6),
        name=name,
        owner_id=principal.user_id,
        runtime="",
        image="",
        mode="",
        limits={},
        desired=Desired.STOPPED,
        status=Status.STOPPED,
        created=time.time(),
        generation=0,
        started_generation=0,
    )
    session.add(row)
    return row


def check_free(row: EnvironmentRow, principal: Principal) -> None:
    resource = Resource("environment", row.name, row.owner_id, row.sharing, writes=True)
    stopped = row.desired != Desired.DELETED and row.status in (Status.STOPPED, Status.FAILED)
    if not stopped or not allowed(principal, "control_environments", resource):
        raise taken(row.name)


def taken(name: str) -> Conflict:
    return Conflict(
        f"There is an environment named {name} already.",
        remedy=f"Use it, stop it first (labdock stop {name}), or choose another name.",
        kind="environment",
        name=name,
    )


def user_ids(session: Session, names: list[str]) -> list[str]:
    """The ids of users, each once. Raises `NotFound` that names the nearest."""
    found = {name: id_ for id_, name in session.execute(select(UserRow.id, UserRow.name))}
    for name in names:
        if name not in found:
            # Whoever may not list users learns no names from a mistake.
            raise NotFound(f"There is no user {name!r}.", remedy="Check the name.", kind="user", name=name)
    return sorted({found[name] for name in names})


def fill(row: EnvironmentRow, request: Request, defaults: Request) -> None:
    if row.runtime and request.runtime and request.runtime != row.runtime:
        raise Conflict(
            f"The environment {row.name} lives in the runtime {row.runtime}; its notebooks would stay there.",
            remedy="Choose another name, or remove it first.",
        )
    row.runtime = row.runtime or request.runtime or defaults.runtime or ""
    row.image = request.image or row.image or defaults.image or ""
    row.mode = request.mode or row.mode or defaults.mode or ""
    if request.limits is not None or not row.limits:
        row.limits = asdict(request.limits or Limits())


def intend_start(row: EnvironmentRow) -> None:
    row.desired, row.status = Desired.RUNNING, Status.STARTING
    row.generation += 1
    row.ever_ready, row.failures, row.retry_at = False, 0, 0.0
    row.cause = row.remedy = row.log = ""
    row.started, row.keep_until, row.remove_files = None, 0.0, False
