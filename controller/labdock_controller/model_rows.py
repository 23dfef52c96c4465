"""What the store knows of models, read in one query: models, their versions, who may see them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, defer

from labdock.names import not_found
from labdock_controller.access.rights import Principal, Resource
from labdock_controller.store.tables import EnvironmentRow, ModelRow, ModelVersionRow, UserRow

EVERYBODY = "*"
JUST_NOW = 2.0  # seconds; a fit's answer and record take milliseconds
ROLE_COLUMNS = (ModelRow.readers, ModelRow.writers)


@dataclass(frozen=True)
class Version:
    version: int
    created: float
    features: list[str]
    target: list[str]
    params: dict[str, Any]
    metrics: dict[str, Any]
    rows: int | None
    duration: float | None
    module: str
    module_sha256: str
    lineage: dict[str, Any] = field(default_factory=dict)
    has_card: bool = False


@dataclass(frozen=True)
class Model:
    id: str
    name: str
    kind: str
    owner_id: str
    owner: str
    app: str
    sharing: str
    environment: str | None
    environment_id: str | None
    created: float
    versions: list[Version]
    description: str = ""
    current_version: int | None = None
    last_used: float | None = None
    aliases: dict[str, int] = field(default_factory=dict)
    readers: frozenset[str] | None = None  # roles that may use it where it is shared; None: everybody
    writers: frozenset[str] = frozenset()

    @property
    def current(self) -> Version:
        """The version in use: the newest, or the one that was rolled back to."""
        found = [v for v in self.versions if v.version == self.current_version]
        return found[0] if found else self.versions[-1]

    def at(self, wanted: str) -> Version:
        """The version that `@…` means: a number, an alias, or with "" the one in use. Raises `NotFound`."""
        if not self.versions:
            raise not_found("version", wanted or "newest", [])
        if not wanted:
            return self.current
        number = int(wanted) if wanted.isdecimal() else self.aliases.get(wanted)
        found = next((v for v in self.versions if v.version == number), None)
        if found is None:
            known = [*self.aliases, *(str(v.version) for v in self.versions)]
            raise not_found("version", f"{self.name}@{wanted}", known)
        return found

    def resource(self, *, writes: bool) -> Resource:
        return Resource("model", self.name, self.owner_id, self.sharing, writes, self.readers, self.writers)


def seen_by(principal: Principal) -> list[ColumnElement[bool]]:
    """What `rights.decide` says about reading models, as conditions: an index serves them."""
    if principal.rules_all:
        return []
    named = [column.contains(f",{role},", autoescape=True) for role in principal.roles for column in ROLE_COLUMNS]
    shared = and_(ModelRow.sharing.in_(("app", "global")), or_(ModelRow.readers == EVERYBODY, *named))
    return [or_(ModelRow.owner_id == principal.user_id, shared)]


def roles_in(text: str) -> frozenset[str] | None:
    """What a column of roles says: None is everybody."""
    return None if text == EVERYBODY else frozenset(filter(None, text.split(",")))


def roles_text(roles: Iterable[str] | None) -> str:
    """The same the other way round."""
    return EVERYBODY if roles is None else "".join(f",{role}" for role in sorted(roles)) + ","


def page(
    session: Session, conditions: list[ColumnElement[bool]], offset: int = 0, count: int | None = None
) -> tuple[list[Model], int]:
    """Models by name with all their versions, and how many there are in all. One query."""
    chosen = (
        select(ModelRow.id, func.count().over().label("total"))
        .where(*conditions)
        .order_by(ModelRow.name, ModelRow.created, ModelRow.id)
        .offset(offset)
        .limit(count)
        .subquery()
    )
    query: Any = (
        select(ModelRow, UserRow.name, EnvironmentRow.name, chosen.c.total, ModelVersionRow, ModelVersionRow.card != "")
        .join(chosen, chosen.c.id == ModelRow.id)
        .join(UserRow, UserRow.id == ModelRow.owner_id)
        .outerjoin(EnvironmentRow, EnvironmentRow.id == ModelRow.environment_id)
        .outerjoin(ModelVersionRow, ModelVersionRow.model_id == ModelRow.id)
        .order_by(ModelRow.name, ModelRow.created, ModelRow.id, ModelVersionRow.version)
        .options(defer(ModelVersionRow.card))
    )
    rows = session.execute(query).all()
    found: dict[str, Model] = {}
    for row in rows:
        model = found.setdefault(row[0].id, _model(row))
        if row[4] is not None:
            model.versions.append(_version(row[4], has_card=bool(row[5])))
    return list(found.values()), rows[0][3] if rows else 0


def _model(row: Sequence[Any]) -> Model:
    m, owner, place = row[0], row[1], row[2]
    return Model(
        id=m.id,
        name=m.name,
        kind=m.kind,
        owner_id=m.owner_id,
        owner=owner,
        app=m.app,
        sharing=m.sharing,
        environment=place,
        environment_id=m.environment_id,
        created=m.created,
        versions=[],
        description=m.description,
        current_version=m.current_version,
        last_used=m.last_used,
        aliases=dict(m.aliases or {}),
        readers=roles_in(m.readers),
        writers=roles_in(m.writers) or frozenset(),
    )


def _version(v: ModelVersionRow, *, has_card: bool) -> Version:
    names = [name for name in Version.__dataclass_fields__ if name != "has_card"]
    return Version(**{name: getattr(v, name) for name in names}, has_card=has_card)


def version_values(info: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The columns of a fitted version: `info` is the environment's answer or manifest, `options` what was asked."""
    made = created_at(info)
    return {
        "created": time.time() if made is None else made,
        "features": list(info.get("features") or options.get("features") or []),
        "target": list(info.get("target") or options.get("target") or []),
        "params": dict(info.get("params") or options.get("params") or {}),
        "metrics": dict(info.get("metrics") or {}),
        "rows": integer(info.get("rows")) or None,
        "duration": _float(info.get("duration")),
        "module": str(info.get("module") or options.get("algo") or "")[:64],
        "module_sha256": str(info.get("module_sha256") or "")[:64],
        "lineage": lineage_of(info, str(info.get("module") or options.get("algo") or "")),
    }


def lineage_of(info: dict[str, Any], module: str) -> dict[str, Any]:
    """Where a fitted version comes from: its notebook, the data's hash, the libraries."""
    given = {
        "notebook": f"{module}.ipynb" if module else "",
        "module_sha256": info.get("module_sha256"),
        "data_sha256": info.get("data_sha256"),
        "libraries": info.get("libraries"),
        "job": info.get("job") or info.get("id"),
    }
    return {key: value for key, value in given.items() if value}


def asked_sharing(options: dict[str, Any]) -> str:
    """How a fit's model is to be shared; "" where nothing was asked."""
    return str(options.get("sharing") or "")


def integer(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def made_just_now(info: dict[str, Any]) -> bool:
    """Whether it may be the version of a fit that is being answered or recorded."""
    made = created_at(info)
    return made is not None and 0 <= time.time() - made < JUST_NOW


def created_at(info: dict[str, Any]) -> float | None:
    """Epoch seconds of a manifest's ISO time or of a number; None where it says nothing that can be read."""
    value = info.get("created")
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
