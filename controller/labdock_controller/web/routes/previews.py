"""Looks into data: an index over time and some of its events, a lookup's first rows, lines that were not ingested."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import FileResponse

from labdock.errors import NotFound
from labdock_controller.searches.rights import caller_of
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(prefix="/api", tags=["data"], dependencies=[Depends(searches_made)])
REPORT = re.compile(r"[A-Za-z0-9_-]{1,64}\.jsonl", re.ASCII)


@router.get("/indexes/{name}/counts")
@needs("search")
def counts(
    services: Here, principal: Me, name: str, buckets: Annotated[int, Query(ge=1, le=500)] = 60
) -> dict[str, Any]:
    """Events over time: `span` in seconds, `[start, count]` of each bucket."""
    from labdock_controller.searches import overview  # noqa: PLC0415

    return overview.counts(services.searches, name, caller_of(principal), buckets)


@router.get("/indexes/{name}/sample")
@needs("search")
def sample(services: Here, principal: Me, name: str, count: Annotated[int, Query(ge=1, le=200)] = 20) -> dict[str, Any]:
    """Its newest events."""
    from labdock_controller.searches import overview  # noqa: PLC0415

    return overview.sample(services.searches, name, caller_of(principal), count)


@router.get("/lookups/{name}/preview")
@needs("search")
def preview(
    services: Here,
    principal: Me,
    name: str,
    app: Annotated[str, Query(max_length=64)] = "search",
    count: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Its first rows."""
    from labdock_controller.searches import overview  # noqa: PLC0415

    return overview.preview(services.searches, name, caller_of(principal, app), count)


@router.get("/notables")
@needs("search")
def notables(
    services: Here,
    principal: Me,
    days: Annotated[float, Query(gt=0, le=3650)] = 30,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """Notable events of alerts, the newest first, and the risk that they add to each object."""
    from labdock_controller.searches import overview  # noqa: PLC0415

    return overview.notables(services.searches, caller_of(principal), days, limit)


@router.get("/ingest-errors/{name}", response_class=FileResponse)
@needs("configure")
def ingest_errors(services: Here, name: str) -> FileResponse:
    """The lines of an ingest that were left out, each with its reason, as JSON lines."""
    path = services.settings.home / "ingest-errors" / name
    if not REPORT.fullmatch(name) or not path.is_file():
        raise NotFound(
            f"There is no report {name[:80]!a}.", remedy="The newest 50 are kept.", kind="report", name=name[:80]
        )
    return FileResponse(path, media_type="application/x-ndjson", filename=f"rejected-{name}")
