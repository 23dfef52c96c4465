"""Model records."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from labdock.errors import InvalidOptions
from labdock_controller.models import DEFAULT_APP, Model
from labdock_controller.onnx_models import Upload
from labdock_controller.web.guard import needs
from labdock_controller.web.received import receive, upload
from labdock_controller.web.state import LARGEST, Here, Me

router = APIRouter(prefix="/api/models", tags=["models"])
TOTAL = "Labdock-Total"
MOST = 1000
MAX_FILE = 4 << 30  # the model settings are stricter; this bounds what is received at all


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidOptions(f"{name} is no JSON object.", remedy='Send for example {"recall": 0.9}.', option=name)
    return value


def view(model: Model, *, whole: bool = False) -> dict[str, Any]:
    """A model as JSON; lists leave out the schema of ONNX files, which may have thousands of inputs."""
    versions = [asdict(version) for version in model.versions]
    if not whole:
        versions = [{**v, "params": {k: p for k, p in v["params"].items() if k != "schema"}} for v in versions]
    return {
        "name": model.name,
        "kind": model.kind,
        "owner": model.owner,
        "app": model.app,
        "sharing": model.sharing,
        "readers": None if model.readers is None else sorted(model.readers),
        "writers": sorted(model.writers),
        "environment": model.environment,
        "created": model.created,
        "last_used": model.last_used,
        "description": model.description,
        "current_version": model.current.version if model.versions else None,
        "aliases": model.aliases,
        "versions": versions,
    }


@router.get("")
@needs("search")
def models(
    services: Here,
    principal: Me,
    response: Response,
    offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    count: Annotated[int, Query(ge=1, le=MOST)] = MOST,
    contains: Annotated[str, Query(max_length=64, description="a part of the name")] = "",
    kind: str = "",
) -> list[dict[str, Any]]:
    """One's own models and those that are shared, by name. The header `Labdock-Total` says how many there are."""
    found, total = services.models.page(principal, offset, count, contains=contains, kind=kind)
    response.headers[TOTAL] = str(total)
    return [view(model) for model in found]


@router.post("/onnx", status_code=201)
@needs("upload_onnx_model_file", max_body=MAX_FILE)
async def upload_onnx(
    services: Here,
    principal: Me,
    request: Request,
    name: Annotated[str, Query(min_length=1, max_length=255)],
    target: Annotated[str, Query(min_length=1, max_length=255)],
    features: Annotated[str, Query(max_length=1_000_000, description="comma-separated; empty takes the file's")] = "",
    threshold: float | None = None,
    app: str = DEFAULT_APP,
    sharing: str = "",
    description: Annotated[str, Query(max_length=10_000)] = "",
    metrics: Annotated[str, Query(max_length=20_000, description="a JSON object of numbers")] = "",
    lineage: Annotated[str, Query(max_length=20_000, description="a JSON object: notebook, data_sha256, …")] = "",
) -> dict[str, Any]:
    """Keep the body, an ONNX file, as a new version of a model; the answer's `notices` say what was changed."""
    form = Upload(
        name,
        target,
        _names(features),
        threshold,
        app,
        sharing,
        description,
        metrics=_object(metrics, "metrics"),
        lineage=_object(lineage, "lineage"),
    )
    with upload(services, "model.onnx") as path:
        await receive(request, path)
        made, notices = await asyncio.to_thread(services.onnx.upload, path, form, principal)
    return {**view(made, whole=True), "notices": notices}


@router.post("/onnx/check")
@needs("upload_onnx_model_file", max_body=MAX_FILE)
async def check_onnx(services: Here, request: Request) -> dict[str, Any]:
    """What the body, an ONNX file, holds: features, inputs, outputs. Nothing is kept."""
    with upload(services, "model.onnx") as path:
        await receive(request, path)
        schema = await asyncio.to_thread(services.onnx.check, path)
    return schema.to_dict()


@router.get("/{name}/file", response_class=FileResponse)
@needs("search")
def download(services: Here, principal: Me, name: str, version: str = "") -> FileResponse:
    """The ONNX file of a version, by number or alias; else of the one in use."""
    found = services.models.get(name, principal, kind="onnx")
    path = services.onnx.path(found.at(version))
    services.models.uses.note(found.id)
    return FileResponse(path, media_type="application/octet-stream", filename=f"{name}.onnx")


@router.get("/{name}")
@needs("search")
def model(services: Here, principal: Me, name: str, environment: str | None = None, kind: str = "") -> dict[str, Any]:
    """One's own model of that name, else a shared one."""
    return view(services.models.get(name, principal, environment, kind=kind), whole=True)


@router.delete("/{name}", status_code=204, response_class=Response)
@needs("search")
async def remove(services: Here, principal: Me, name: str, environment: str | None = None, kind: str = "") -> Response:
    """Remove a model: its files in the environment, then its record."""
    found = await asyncio.to_thread(services.models.get, name, principal, environment, kind=kind, writes=True)
    await asyncio.to_thread(services.remove_model, found)
    return Response(status_code=204)
