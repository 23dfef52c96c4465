"""What is said of a model and its versions: who may use it, description, aliases, cards, the version in use."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from labdock_controller import model_cards
from labdock_controller.model_rows import Model
from labdock_controller.models import DEFAULT_APP
from labdock_controller.web.guard import needs
from labdock_controller.web.routes.models import view
from labdock_controller.web.state import LARGEST, Here, Me

router = APIRouter(prefix="/api/models", tags=["models"])
Number = Annotated[int, Field(ge=0, le=LARGEST)]
At = Annotated[str, Query(max_length=64, description="a number or an alias; empty: the version in use")]


def changeable(services: Here, principal: Me, name: str, environment: str | None = None, kind: str = "") -> Model:
    """The model that the route names, if this user may change it. Raises `NotFound`, `Forbidden`."""
    return services.models.get(name, principal, environment, kind=kind, writes=True)


Changeable = Annotated[Model, Depends(changeable)]


class ModelSharing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sharing: Literal["user", "app", "global"]
    app: str = DEFAULT_APP
    readers: list[str] | None = None  # roles that may use it; null: everybody
    writers: list[str] = []  # roles that may change it too


class Described(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str = Field(max_length=10_000)


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: Number | str | None = Field(None, description="a number or another alias; null: the version in use")


class Card(BaseModel):
    model_config = ConfigDict(extra="forbid")
    card: str = Field(max_length=model_cards.SIZE, description="Markdown; empty: the generated one again")
    version: str = ""


class VersionInUse(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: Number | None = None


@router.put("/{name}/sharing")
@needs("search")
def share(services: Here, principal: Me, found: Changeable, body: ModelSharing) -> dict[str, Any]:
    """Share a model with an app or with all apps, or take it back."""
    services.models.share(found, body.sharing, body.app, principal, body.readers, body.writers)
    return view(services.models.by_id(found.id), whole=True)


@router.patch("/{name}")
@needs("search")
def describe(services: Here, found: Changeable, body: Described) -> dict[str, Any]:
    """Say what the model is about."""
    services.models.describe(found, body.description)
    return view(services.models.by_id(found.id), whole=True)


@router.put("/{name}/version")
@needs("search")
def use_version(services: Here, found: Changeable, body: VersionInUse) -> dict[str, Any]:
    """Put an earlier version to work (rollback), or with null the newest again."""
    services.models.use(found, body.version)
    return view(services.models.by_id(found.id), whole=True)


@router.put("/{name}/aliases/{alias}")
@needs("search")
def alias(services: Here, found: Changeable, alias: str, body: Aliased) -> dict[str, Any]:
    """Let `name@alias` mean a version."""
    services.models.alias(found, alias, "" if body.version is None else str(body.version))
    return view(services.models.by_id(found.id), whole=True)


@router.delete("/{name}/aliases/{alias}", status_code=204, response_class=Response)
@needs("search")
def remove_alias(services: Here, found: Changeable, alias: str) -> Response:
    services.models.alias(found, alias, None)
    return Response(status_code=204)


@router.get("/{name}/card", response_class=PlainTextResponse)
@needs("search")
def card(
    services: Here, principal: Me, name: str, version: At = "", environment: str | None = None, kind: str = ""
) -> PlainTextResponse:
    """The model card, Markdown; generated where nobody wrote one."""
    found = services.models.get(name, principal, environment, kind=kind)
    wanted = found.at(version)
    text = services.models.card(found, wanted) or model_cards.skeleton(found, wanted)
    return PlainTextResponse(text, media_type="text/markdown")


@router.put("/{name}/card")
@needs("search")
def write_card(services: Here, found: Changeable, body: Card) -> dict[str, Any]:
    services.models.write_card(found, found.at(body.version), body.card)
    return view(services.models.by_id(found.id), whole=True)
