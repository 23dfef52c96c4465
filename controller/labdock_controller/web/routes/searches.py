"""Search jobs: start, watch, read, page, export."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from labdock.errors import Conflict
from labdock_controller.searches.jobs import SearchRequest
from labdock_controller.searches.rights import caller_of
from labdock_controller.web import streams
from labdock_controller.web.guard import needs
from labdock_controller.web.state import LARGEST, LONGEST, Here, Me, searches_made

# Modules with DuckDB or Arrow in them are imported in the routes that use them: the controller starts without.
router = APIRouter(prefix="/api/searches", tags=["searches"], dependencies=[Depends(searches_made)])
Wait = Annotated[float, Query(ge=0, le=600, description="seconds to wait for the end")]
EVENT_SECONDS = 0.25
MOST_ROWS = 10_000  # of a page
MAX_SEARCH_BYTES = 1_100_000  # a search of 1 MB, in JSON
END = object()
T = TypeVar("T")


class NewSearch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    search: str = Field(max_length=1_000_000)
    app: str = "search"
    earliest: str = ""
    latest: str = ""
    timezone: str = "UTC"
    max_rows: int | None = Field(default=None, ge=1, le=LARGEST)
    max_seconds: float | None = Field(default=None, gt=0, le=LONGEST)

    def request(self) -> SearchRequest:
        return SearchRequest(**self.model_dump())


class Completing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    search: str = Field(max_length=1_000_000)
    position: int = Field(ge=0, le=LARGEST)
    app: str = "search"


@router.post("", status_code=201)
@needs("search", max_body=MAX_SEARCH_BYTES)
async def create(services: Here, principal: Me, body: NewSearch, wait: Wait = 0) -> dict[str, Any]:
    """Start a search; what cannot be parsed or planned is refused at once, with the position."""
    job = await asyncio.to_thread(services.searches.jobs.start, body.request(), principal)
    if wait:
        await asyncio.to_thread(job.wait, wait)
    return job.view()


@router.get("")
@needs("search")
async def jobs(services: Here, principal: Me) -> list[dict[str, Any]]:
    """One's own searches, the newest last."""
    return [job.view() for job in services.searches.jobs.visible(principal)]


@router.post("/explain")
@needs("search", max_body=MAX_SEARCH_BYTES)
def explain(services: Here, principal: Me, body: NewSearch, dialect: str = "duckdb") -> dict[str, Any]:
    """The plan and its SQL, in DuckDB's dialect or Spark's, without running anything."""
    found = services.searches.engine.explain(
        body.search,
        user=principal.user,
        app=body.app,
        capabilities=principal.capabilities,
        earliest=body.earliest,
        latest=body.latest,
        timezone=body.timezone,
        dialect=dialect,
    )
    return {**asdict(found), "text": str(found)}


@router.post("/complete")
@needs("search", max_body=MAX_SEARCH_BYTES)
def complete(services: Here, principal: Me, body: Completing) -> list[dict[str, Any]]:
    """What can be written at a position."""
    engine, asks = services.searches.engine, caller_of(principal, body.app)
    found = engine.complete(body.search, body.position, user=asks.user, app=asks.app, capabilities=asks.capabilities)
    return [asdict(each) for each in found]


@router.get("/{identifier}")
@needs("search")
async def job(services: Here, principal: Me, identifier: str, wait: Wait = 0) -> dict[str, Any]:
    found = services.searches.jobs.get(identifier, principal)
    if wait:
        await asyncio.to_thread(found.wait, wait)
    return found.view()


@router.post("/{identifier}/cancel")
@needs("search")
async def cancel(services: Here, principal: Me, identifier: str) -> dict[str, Any]:
    """Stop it. What it found so far stays readable."""
    found = services.searches.jobs.get(identifier, principal)
    services.searches.jobs.cancel(found)
    await asyncio.to_thread(found.wait, 10)
    return found.view()


@router.delete("/{identifier}", status_code=204, response_class=Response)
@needs("search")
async def remove(services: Here, principal: Me, identifier: str) -> Response:
    """Stop it and forget its rows."""
    found = services.searches.jobs.get(identifier, principal)
    await asyncio.to_thread(services.searches.jobs.remove, found)
    return Response(status_code=204)


@router.get("/{identifier}/results")
@needs("search")
async def results(services: Here, principal: Me, identifier: str, format: str = "arrow") -> Response:  # noqa: A002
    """All rows in a format, while they are found: arrow, csv, spreadsheet, json, parquet."""
    from labdock_controller.searches import exports  # noqa: PLC0415

    found = services.searches.jobs.get(identifier, principal)
    kind = exports.format_of(format)
    if found.ended:
        found.raise_problem()
    pieces = exports.exported(found, format)
    first = await asyncio.to_thread(next, pieces, b"")  # an error before the first row is answered as one
    name = f"attachment; filename=search-{found.id}{kind.suffix}"
    return StreamingResponse(_pieces(first, pieces), media_type=kind.media_type, headers={"Content-Disposition": name})


@router.get("/{identifier}/page")
@needs("search")
def page(
    services: Here,
    principal: Me,
    identifier: str,
    offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    count: Annotated[int, Query(ge=0, le=MOST_ROWS)] = 100,
    sort: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
    filter: Annotated[list[str], Query()] = [],  # noqa: A002, B006 - `field operator value`
    exact: bool = False,
) -> dict[str, Any]:
    """Some rows as JSON, sorted and filtered over the whole result: `sort=-count`, `filter=count > 5`.

    With `exact`, whole numbers beyond 2^53, which browsers round, are texts.
    """
    from labdock_controller.searches import pages  # noqa: PLC0415

    found = services.searches.jobs.get(identifier, principal)
    if not found.ended:
        raise Conflict("The search is still running.", remedy="Wait for its end: GET …?wait=60.")
    found.raise_problem()
    shown = pages.KEPT.page(found.path, offset, count, sort, [pages.filter_of(text) for text in filter])
    rows = pages.rows(shown.table, exact=exact)
    return {"rows": rows, "matching": shown.matching, "total": found.rows, "fields": found.fields}


@router.get("/{identifier}/events")
@needs("search")
async def events(services: Here, principal: Me, identifier: str) -> StreamingResponse:
    """The job whenever it changes, as server-sent events, until it ends."""
    found = services.searches.jobs.get(identifier, principal)

    async def changes() -> AsyncIterator[str]:
        while True:
            yield streams.message(found.view(), kind="search")
            if found.ended or services.events.closing:
                return
            await asyncio.to_thread(found.wait, EVENT_SECONDS)

    return streams.response(changes())


async def _pieces(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    while (piece := await asyncio.to_thread(next, rest, END)) is not END:
        yield piece  # type: ignore[misc]
