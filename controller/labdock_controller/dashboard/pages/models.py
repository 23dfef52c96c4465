"""Models: what searches can apply, each with its versions, its permissions, and how it is called."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from labdock_controller import model_cards
from labdock_controller.access.rights import ROLES, Principal, allowed
from labdock_controller.dashboard.listed import PER_PAGE, Listed
from labdock_controller.dashboard.page import page
from labdock_controller.dashboard.snippets import reference, snippets
from labdock_controller.model_rows import Model, Version
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.state import LARGEST, Here, Me

router = APIRouter(prefix="/models", tags=["dashboard"])
SHARING_WORDS = {"user": "Owner", "app": "App", "global": "All apps"}
Sort = Literal["name", "owner", "kind", "sharing", "versions", "created", "used"]
KEYS: dict[str, Callable[[Model], Any]] = {
    "name": lambda m: m.name.lower(),
    "owner": lambda m: m.owner.lower(),
    "kind": lambda m: (m.kind, m.name.lower()),
    "sharing": lambda m: (SHARING_WORDS.get(m.sharing, "") != "Owner", m.sharing, m.name.lower()),
    "versions": lambda m: len(m.versions),
    "created": lambda m: m.versions[-1].created if m.versions else m.created,
    "used": lambda m: m.last_used or 0.0,
}


@dataclass(frozen=True, kw_only=True)
class ListedModels(Listed):
    """The list of models, by a column."""

    path: str = "/models"
    kind: str = ""
    sort: str = "name"
    down: bool = False

    def by(self, column: str) -> str:
        """The list by a column: figures and moments from the top first, and the other way the second time."""
        first_down = column in ("versions", "created", "used")
        return self.address(sort=column, down=not self.down if column == self.sort else first_down)


@router.get("")
@needs("search")
async def models(
    services: Here,
    principal: Me,
    request: Request,
    contains: Annotated[str, Query(max_length=64)] = "",
    kind: Literal["", "onnx", "module"] = "",
    sort: Sort = "name",
    down: bool = False,
    page_number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """The list."""
    asked = ListedModels(contains=contains, kind=kind, sort=sort, down=down, page=page_number)
    found, total, known = await asyncio.to_thread(_found, services, principal, asked)
    return page(
        request,
        "models/list.html",
        here="models",
        title="Models",
        models=[row(model, principal) for model in found],
        total=total,
        known=known,
        asked=asked,
        settings=services.default_settings.all(),
        **_words(),
    )


@router.get("/{name}")
@needs("search")
async def model(
    services: Here,
    principal: Me,
    request: Request,
    name: str,
    environment: str | None = None,
    kind: str = "",
    version: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
) -> Response:
    """One model; with `version` what that version was."""
    found = await asyncio.to_thread(services.models.get, name, principal, environment, kind=kind)
    shown = found.at(str(version) if version else "") if found.versions else None
    written = await asyncio.to_thread(services.models.card, found, shown) if shown else ""
    base = str(request.base_url).rstrip("/")
    return page(
        request,
        "models/model.html",
        here="models",
        title=found.name,
        model=row(found, principal),
        shown=shown,
        schema=_schema(shown),
        types=_types(shown),
        reference=reference(found),
        card=written or (model_cards.skeleton(found, shown) if shown else ""),
        card_is_written=bool(written),
        lineage=_lineage(shown),
        metrics=_metrics(found, shown),
        snippets=snippets(found, base) if shown else [],
        **_words(),
    )


def row(model: Model, principal: Principal) -> dict[str, Any]:
    """A model as templates show it, with addresses and what this user may do to it."""
    place = {"environment": model.environment} if model.kind == "module" and model.environment else {}
    query = "?" + urlencode({"kind": model.kind, **place})
    owns = model.owner_id == principal.user_id or principal.rules_all
    return {
        "id": model.id,
        "name": model.name,
        "kind": model.kind,
        "owner": model.owner,
        "app": model.app,
        "sharing": model.sharing,
        "readers": None if model.readers is None else sorted(model.readers),
        "writers": sorted(model.writers),
        "environment": model.environment,
        "description": model.description,
        "aliases": model.aliases,
        "versions": model.versions,
        "current": model.current if model.versions else None,
        "pinned": model.current_version is not None,
        "created": model.versions[-1].created if model.versions else model.created,
        "last_used": model.last_used,
        "address": f"/models/{quote(model.name)}{query}",
        "api": f"/api/models/{quote(model.name)}",
        "query": query,
        "mine": model.owner_id == principal.user_id,
        "may_change": allowed(principal, "search", model.resource(writes=True)),
        "may_share": owns,
    }


def _found(services: Services, principal: Principal, asked: ListedModels) -> tuple[list[Model], int, int]:
    """The models of the page that was asked for, how many match, and how many there are."""
    narrowed = bool(asked.contains or asked.kind)
    if asked.sort == "name" and not asked.down:
        found, total = services.models.page(principal, asked.first, PER_PAGE, contains=asked.contains, kind=asked.kind)
    else:
        every, total = services.models.page(principal, contains=asked.contains, kind=asked.kind)
        every.sort(key=KEYS["name"])
        every.sort(key=KEYS[asked.sort], reverse=asked.down)
        found = every[asked.first : asked.first + PER_PAGE]
    known = services.models.page(principal, 0, 1)[1] if narrowed or not found else total
    return found, total, known


def _words() -> dict[str, Any]:
    return {
        "sharing_words": SHARING_WORDS,
        "roles": list(ROLES),
        "searchers": [r for r in ROLES if "search" in ROLES[r]],
    }


def _schema(version: Version | None) -> dict[str, Any] | None:
    """What the file says it takes and gives, as far as the record holds it; None for a module's model."""
    found = version.params.get("schema") if version else None
    if not isinstance(found, dict):
        return None
    return {
        "inputs": _tensors(found.get("inputs")),
        "outputs": _tensors(found.get("outputs")),
        **{key: found.get(key) for key in ("opset", "producer", "nodes", "parameters")},
    }


def _tensors(given: Any) -> list[dict[str, Any]]:
    found = [tensor for tensor in given if isinstance(tensor, dict)] if isinstance(given, list) else []
    return [
        {"name": str(t.get("name", "")), "type": str(t.get("type", "")), "shape": t.get("shape") or []} for t in found
    ]


def _types(version: Version | None) -> list[str]:
    """`number` or `text` for each feature, as the file says it; `any` where nothing says it."""
    schema = _schema(version)
    features = version.features if version else []
    if schema is None:
        return ["any"] * len(features)
    kinds = ["text" if tensor["type"] == "tensor(string)" else "number" for tensor in schema["inputs"]]
    return kinds if len(kinds) == len(features) else [kinds[0] if kinds else "any"] * len(features)


def _metrics(model: Model, shown: Version | None) -> list[dict[str, Any]]:
    """The figures of the version shown, with those of the version before it."""
    if shown is None:
        return []
    earlier = [v for v in model.versions if v.version < shown.version]
    before = earlier[-1].metrics if earlier else {}
    plain = {k: v for k, v in shown.metrics.items() if isinstance(v, int | float | str) and not isinstance(v, bool)}
    return [{"name": name, "value": value, "before": before.get(name)} for name, value in plain.items()]


def _lineage(version: Version | None) -> list[tuple[str, str]]:
    """Where a version comes from, as lines of words."""
    lines: list[tuple[str, str]] = []
    for name, value in (version.lineage if version else {}).items():
        if isinstance(value, dict):
            lines += [(f"{name.replace('_', ' ')}: {inner}", str(text)) for inner, text in value.items()]
        elif value not in (None, "", []):
            lines.append(
                (name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return lines
