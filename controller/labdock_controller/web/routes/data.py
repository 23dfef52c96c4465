"""Indexes and lookups: what there is, adding, sharing, removing."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from labdock_controller.searches.rights import caller_of, check_readers
from labdock_controller.web.guard import needs
from labdock_controller.web.received import receive, upload
from labdock_controller.web.state import Here, Me, searches_made

if TYPE_CHECKING:
    from labdock_search.data.lookup_registry import Lookup

router = APIRouter(prefix="/api", tags=["data"], dependencies=[Depends(searches_made)])
MAX_FILE = 64 << 30
App = Annotated[str, Query(max_length=64)]
Sharing = Literal["user", "app", "global"]


class LookupSharing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sharing: Sharing


class IndexChange(BaseModel):
    """What is left out stays. `readers` null: everybody who may search; `retention_days` null: for ever."""

    model_config = ConfigDict(extra="forbid")
    readers: Annotated[list[str], Field(max_length=1000)] | None = None
    retention_days: float | None = Field(default=None, gt=0, le=36_600)


@router.get("/indexes")
@needs("search")
def indexes(services: Here, principal: Me) -> list[dict[str, Any]]:
    """The indexes that one may search, with rows, size, time span and sourcetypes."""
    data = services.searches.indexes
    return [asdict(data.statistics(name)) for name in data.names(caller_of(principal))]


@router.get("/indexes/{name}")
@needs("search")
def index(services: Here, principal: Me, name: str) -> dict[str, Any]:
    """One index with its fields and their types."""
    data = services.searches.indexes
    data.open(name, caller_of(principal))
    return {**asdict(data.statistics(name)), "fields": data.fields(name)}


@router.post("/indexes/{name}/ingest")
@needs("configure", max_body=MAX_FILE)
async def ingest_file(
    services: Here,
    request: Request,
    name: str,
    file_name: Annotated[str, Query(min_length=1, max_length=255)],
    sourcetype: str | None = None,
    source: str | None = None,
    host: str | None = None,
    time_field: str | None = None,
    time_format: str | None = None,
    timezone: str = "UTC",
    format: str = "auto",  # noqa: A002
    again: bool = False,
    default_source: str | None = None,
) -> dict[str, Any]:
    """Read the body, a file of events, into an index; the index is made if there is none."""
    from labdock_search.data.ingest import IngestOptions, ingest  # noqa: PLC0415 - brings Arrow

    options = IngestOptions(
        sourcetype, source, host, time_field, time_format, timezone, format, again, default_source or file_name
    )
    with upload(services, file_name) as path:
        await receive(request, path)
        report = await asyncio.to_thread(ingest, services.searches.indexes, [path], name, options)
    return {**asdict(report), "rows": report.rows, "bad": report.bad}


@router.patch("/indexes/{name}")
@needs("configure")
def change_index(services: Here, principal: Me, name: str, body: IndexChange) -> dict[str, Any]:
    """Say who may read an index (`user:<name>`, `role:<role>`), or how long its events are kept."""
    data = services.searches.indexes
    data.open(name, caller_of(principal))
    if "readers" in body.model_fields_set:
        data.restrict(name, None if body.readers is None else check_readers(services.users, body.readers))
    if "retention_days" in body.model_fields_set:
        data.configure(name, retention_days=body.retention_days)
    return asdict(data.statistics(name))


@router.delete("/indexes/{name}", status_code=204, response_class=Response)
@needs("configure")
def remove_index(services: Here, principal: Me, name: str) -> Response:
    """Delete an index with its events."""
    services.searches.indexes.open(name, caller_of(principal))
    services.searches.indexes.delete(name)
    return Response(status_code=204)


@router.get("/lookups")
@needs("search")
def lookups(services: Here, principal: Me, app: App = "search") -> list[dict[str, Any]]:
    """The lookups that one sees from an app."""
    return [view(each) for each in services.searches.lookups.visible(caller_of(principal, app))]


@router.post("/lookups", status_code=201)
@needs("upload_lookup_files", max_body=MAX_FILE)
async def add_lookup(
    services: Here,
    principal: Me,
    request: Request,
    name: Annotated[str, Query(min_length=1, max_length=255)],
    app: App = "search",
    sharing: Sharing | None = None,
    replace: bool = False,
) -> dict[str, Any]:
    """Add the body, a CSV file, as a lookup."""
    with upload(services, name) as path:
        await receive(request, path)
        added = await asyncio.to_thread(
            services.searches.lookups.add,
            path,
            caller_of(principal, app),
            name=name,
            sharing=sharing,
            replace=replace,
        )
    return view(added)


@router.get("/lookups/{name}", response_class=FileResponse)
@needs("search")
def lookup(services: Here, principal: Me, name: str, app: App = "search") -> FileResponse:
    """A lookup's CSV file, exactly as it was added."""
    path = services.searches.lookups.csv(name, caller_of(principal, app))
    return FileResponse(path, media_type="text/csv; charset=utf-8", filename=name)


@router.put("/lookups/{name}/sharing")
@needs("search")
def share_lookup(services: Here, principal: Me, name: str, body: LookupSharing, app: App = "search") -> dict[str, Any]:
    return view(services.searches.lookups.share(name, body.sharing, caller_of(principal, app)))


@router.delete("/lookups/{name}", status_code=204, response_class=Response)
@needs("search")
def remove_lookup(services: Here, principal: Me, name: str, app: App = "search") -> Response:
    services.searches.lookups.remove(name, caller_of(principal, app))
    return Response(status_code=204)


def view(lookup: "Lookup") -> dict[str, Any]:
    shown = {k: v for k, v in asdict(lookup).items() if k not in ("version", "id")}
    return {**shown, "columns": [{"name": name, "type": kind} for name, kind in lookup.columns]}
