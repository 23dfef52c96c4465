"""Model records: which models there are, whose they are, and how each version came to be.

The artefact of a module's model lives in its environment; the record here is written when a fit ends, or collected
later from the environment's manifests. One model is one name in one environment, so a second user's fit of the same
name is refused before it overwrites anything (`check_fit`).
"""

import functools
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labdock.errors import Conflict, Forbidden
from labdock.names import check_alias, check_name, not_found
from labdock_controller.access.rights import ROLES, Principal, Resource, allowed, check_known, decide
from labdock_controller.model_rows import (
    Model,
    Version,
    asked_sharing,
    integer,
    made_just_now,
    page,
    roles_in,
    roles_text,
    seen_by,
    version_values,
)
from labdock_controller.model_uses import ModelUses, called
from labdock_controller.store import Store
from labdock_controller.store.tables import EnvironmentRow, ModelRow, ModelVersionRow

__all__ = ["DEFAULT_APP", "SHARINGS", "Model", "Models", "Version", "check_sharing"]
SHARINGS = ("user", "app", "global")
SHARE_CAPABILITY = {"app": "share_app", "global": "share_global"}
DEFAULT_APP = "search"


class Models:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.uses = ModelUses(store)
        # A transaction that changes what lists show; whoever tells of changes puts one in here that does.
        self.changing: Callable[[], AbstractContextManager[Session]] = store.write

    def check_fit(self, environment_id: str, name: str, sharing: str, principal: Principal) -> None:
        """Raise `Forbidden` where this user may not fit `name` there, or may not share it so. Before the fit."""
        check_name(name, "model")
        check_sharing(sharing, principal)
        asked = {"environment_id": environment_id, "model_name": name}
        with self._store.read() as session:  # every fit waits for it
            found = session.connection().execute(_placed(), asked).one_or_none()
        if found is not None:
            writers = roles_in(found.writers) or frozenset()
            decide(principal, "search", Resource("model", name, found.owner_id, found.sharing, True, None, writers))

    def record(self, environment_id: str, info: dict[str, Any], options: dict[str, Any], principal: Principal) -> None:
        """A fit ended: keep its version. `info` is the environment's answer or manifest, `options` what was asked.

        Doing it again for the same version changes nothing.
        """
        check_sharing(asked_sharing(options), principal)
        self.keep(environment_id, info, options, principal.user_id)

    def keep(self, environment_id: str, info: dict[str, Any], options: dict[str, Any], owner_id: str) -> None:
        """The same where rights were checked before. Raises `Busy`, `StorageError` or `Conflict`."""
        name = check_name(str(info.get("model") or info.get("name") or options.get("model") or ""), "model")
        number, values, sharing = integer(info.get("version")), version_values(info, options), asked_sharing(options)
        try:
            with self.changing() as session:  # few statements: who asks after a fit waits for them
                asked = {"environment_id": environment_id, "model_name": name, "number": number}
                found = session.connection().execute(_known_there(), asked).one_or_none()
                if found is None:
                    return
                model = found.model or _new(session, environment_id, name, owner_id, options)
                changes: dict[str, Any] = {"sharing": sharing} if sharing else {}
                if found.known is None and found.current is not None:
                    changes["current_version"] = None  # whoever trains anew wants the new one
                if changes:
                    session.execute(update(ModelRow).where(ModelRow.id == model).values(changes))
                if found.known is not None:
                    return
                values["lineage"] = {"environment": found.environment, **values["lineage"]}
                values |= {"id": secrets.token_hex(6), "model_id": model, "version": number or (found.last or 0) + 1}
                session.connection().execute(insert(ModelVersionRow), values)
        except IntegrityError:
            raise Conflict(f"The model {name} was recorded twice at once.", remedy="Nothing is lost.") from None

    def collect(self, environment_id: str, owner_id: str, manifests: list[dict[str, Any]]) -> int:
        """Record what a controller that was away missed; new models become the environment's owner's.

        What was made just now is left to the next time: whoever fitted it may be about to be recorded.
        """
        known = self._versions(environment_id)
        missed = 0
        for manifest in manifests:
            key = (str(manifest.get("name") or manifest.get("model")), integer(manifest.get("version")))
            if key not in known and not made_just_now(manifest):
                self.keep(environment_id, manifest, {}, owner_id)
                missed += 1
        return missed

    def visible(self, principal: Principal) -> list[Model]:
        """What this user may see, by name."""
        return self.page(principal)[0]

    def page(
        self, principal: Principal, offset: int = 0, count: int | None = None, *, contains: str = "", kind: str = ""
    ) -> tuple[list[Model], int]:
        """A part of `visible`, and how many there are in all. One query."""
        conditions = [ModelRow.name.icontains(contains, autoescape=True)] if contains else []
        return self._page(principal, [*conditions, *([ModelRow.kind == kind] if kind else [])], offset, count)

    def _page(
        self,
        principal: Principal,
        conditions: list[ColumnElement[bool]],
        offset: int = 0,
        count: int | None = None,
    ) -> tuple[list[Model], int]:
        with self._store.read() as session:
            models, total = page(session, [*seen_by(principal), *conditions], offset, count)
        models = [replace(m, last_used=self.uses.last(m)) for m in models]
        return [m for m in models if allowed(principal, "search", m.resource(writes=False))], total

    def named(self, name: str, principal: Principal) -> list[Model]:
        """The models of that name that this user may see."""
        return self._page(principal, [ModelRow.name == name])[0]

    def names(self, principal: Principal, kind: str = "") -> list[str]:
        """The names of what this user may see."""
        conditions = [*seen_by(principal), *([ModelRow.kind == kind] if kind else [])]
        with self._store.read() as session:
            return list(session.scalars(select(ModelRow.name).where(*conditions).distinct()))

    def get(
        self, name: str, principal: Principal, environment: str | None = None, *, kind: str = "", writes: bool = False
    ) -> Model:
        """The user's own model of that name, else a shared one. Raises `NotFound`, or `Forbidden` to write to it."""
        found = [
            m for m in self.named(name, principal) if environment in (None, m.environment) and kind in ("", m.kind)
        ]
        if not found:
            raise not_found("model", name, self.names(principal))
        # The newest of one's own first.
        found.sort(key=lambda m: (m.owner_id == principal.user_id, max((v.created for v in m.versions), default=0.0)))
        decide(principal, "search", found[-1].resource(writes=writes))
        return found[-1]

    def by_id(self, identifier: str) -> Model:
        """A model that was resolved before, without asking for rights again. Raises `NotFound`."""
        with self._store.read() as session:
            found, _ = page(session, [ModelRow.id == identifier])
        if not found:
            raise not_found("model", identifier, [])
        return found[0]

    def share(
        self,
        model: Model,
        sharing: str,
        app: str,
        principal: Principal,
        readers: Iterable[str] | None = None,
        writers: Iterable[str] = (),
    ) -> None:
        """For whom it is displayed, and for which roles there; its owner and administrators decide."""
        if model.owner_id != principal.user_id and not principal.rules_all:
            raise Forbidden(
                f"The permissions of the model {model.name} are its owner's to change.",
                remedy=f"Ask {model.owner}.",
                kind="model",
                name=model.name,
            )
        check_known([sharing], SHARINGS, "sharing")
        check_sharing(sharing, principal)
        check_name(app, "app")
        readers = None if readers is None else check_known(readers, ROLES, "role")
        writers = check_known(writers, ROLES, "role")
        with self.changing() as session:
            row = session.get_one(ModelRow, model.id)
            row.sharing, row.app = sharing, app
            row.readers, row.writers = roles_text(readers), roles_text(writers)

    def use(self, model: Model, version: int | None) -> None:
        """Put an earlier version to work (rollback), or with None the newest again. Raises `NotFound`."""
        if version is not None:
            model.at(str(version))
        with self.changing() as session:
            session.get_one(ModelRow, model.id).current_version = version

    def describe(self, model: Model, description: str) -> None:
        with self.changing() as session:
            session.get_one(ModelRow, model.id).description = description

    def alias(self, model: Model, alias: str, version: str | None) -> None:
        """Let `name@alias` mean that version ("": the one in use); with None the alias is gone. Raises `NotFound`."""
        check_alias(alias)
        number = None if version is None else model.at(version).version
        if number is None:
            model.at(alias)
        with self.changing() as session:
            row = session.get_one(ModelRow, model.id)
            others = {name: n for name, n in (row.aliases or {}).items() if name != alias}
            row.aliases = others if number is None else {**others, alias: number}

    def card(self, model: Model, version: Version) -> str:
        """The card as it was written, or ""."""
        query = select(ModelVersionRow.card).where(
            ModelVersionRow.model_id == model.id, ModelVersionRow.version == version.version
        )
        with self._store.read() as session:
            return session.scalars(query).one_or_none() or ""

    def write_card(self, model: Model, version: Version, card: str) -> None:
        query = update(ModelVersionRow).where(
            ModelVersionRow.model_id == model.id, ModelVersionRow.version == version.version
        )
        with self.changing() as session:
            session.execute(query.values(card=card))

    def remove(self, model_id: str) -> None:
        """Drop a record with its versions."""
        with self.changing() as session:
            session.execute(delete(ModelRow).where(ModelRow.id == model_id))

    def _versions(self, environment_id: str) -> set[tuple[str, int]]:
        """Name and number of each version that is recorded for an environment."""
        query = (
            select(ModelRow.name, ModelVersionRow.version)
            .join(ModelVersionRow, ModelVersionRow.model_id == ModelRow.id)
            .where(ModelRow.environment_id == environment_id, ModelRow.kind == "module")
        )
        with self._store.read() as session:
            return {(name, version) for name, version in session.execute(query)}


def check_sharing(sharing: str, principal: Principal) -> None:
    """Raise `Forbidden` where sharing like this needs a capability that the user lacks."""
    if sharing in SHARE_CAPABILITY:
        decide(principal, SHARE_CAPABILITY[sharing])
    elif sharing:
        check_known([sharing], SHARINGS, "sharing")


@functools.cache
def _placed() -> Select[str, str, str]:
    """Who may change the module model of that name in that environment, where there is one."""
    where = called(bindparam("environment_id"), bindparam("model_name"))
    return select(ModelRow.owner_id, ModelRow.sharing, ModelRow.writers).where(where)


@functools.cache
def _known_there() -> Select[Any]:
    """One row where there is the environment: its name; and of the module model there, where there is one: its id,
    the version in use, its last version, and `number` if that is known."""
    versions = select(ModelVersionRow.version).where(ModelVersionRow.model_id == ModelRow.id).correlate(ModelRow)
    last = versions.order_by(ModelVersionRow.version.desc()).limit(1)
    known = versions.where(ModelVersionRow.version == bindparam("number"))
    same = (
        (ModelRow.environment_id == EnvironmentRow.id)
        & (ModelRow.kind == "module")
        & (ModelRow.name == bindparam("model_name"))
    )
    return (
        select(
            EnvironmentRow.name.label("environment"),
            ModelRow.id.label("model"),
            ModelRow.current_version.label("current"),
            last.scalar_subquery().label("last"),
            known.scalar_subquery().label("known"),
        )
        .outerjoin(ModelRow, same)
        .where(EnvironmentRow.id == bindparam("environment_id"))
    )


def _new(session: Session, environment_id: str, name: str, owner_id: str, options: dict[str, Any]) -> str:
    identifier = secrets.token_hex(6)
    row = ModelRow(
        id=identifier,
        name=name,
        kind="module",
        owner_id=owner_id,
        app=check_name(str(options.get("app") or DEFAULT_APP), "app"),
        sharing="user",
        environment_id=environment_id,
        created=time.time(),
    )
    session.add(row)
    session.flush()
    return identifier
