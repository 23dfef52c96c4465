"""What is made of a finished search: facts about its fields, a chart, a lookup, a table in an environment."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from labdock.charts import MOST_ROWS, suggest
from labdock.errors import Conflict, NotFound
from labdock.names import check_name
from labdock.wire import FrameOptions
from labdock_controller.access.rights import Principal
from labdock_controller.searches.jobs import SearchJob
from labdock_controller.searches.rights import caller_of
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(prefix="/api/searches", tags=["searches"], dependencies=[Depends(searches_made)])
MOST_TOP = 100
MOST_BUCKETS = 500


class Staging(BaseModel):
    """`algo` is the module that the rows are for; it may be left out."""

    model_config = ConfigDict(extra="forbid")
    environment: str = ""
    model: str = Field(default="search_results", min_length=1, max_length=64)
    algo: str = ""


class AsLookup(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=128)
    sharing: Literal["user", "app", "global"] = "user"
    replace: bool = False


def finished(services: Services, principal: Principal, identifier: str) -> SearchJob:
    """The job. Raises `NotFound`, what ended it, and `Conflict` while it runs."""
    found = services.searches.jobs.get(identifier, principal)
    if not found.ended:
        raise Conflict("The search is still running.", remedy="Wait for its end: GET …?wait=60.")
    found.raise_problem()
    return found


@router.get("/{identifier}/summary")
@needs("search")
def summary(
    services: Here,
    principal: Me,
    identifier: str,
    field: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
    top: Annotated[int, Query(ge=0, le=MOST_TOP)] = 0,
) -> dict[str, Any]:
    """Count, distinct values, nulls, least and greatest of each field (or of those named), over the whole result."""
    from labdock_controller.searches import pages, summaries  # noqa: PLC0415

    found = finished(services, principal, identifier)
    table = pages.KEPT.result(found.path).table
    return {"rows": found.rows, "fields": summaries.summarize(table, field or None, top)}


@router.get("/{identifier}/timeline")
@needs("search")
def timeline(
    services: Here, principal: Me, identifier: str, buckets: Annotated[int, Query(ge=1, le=MOST_BUCKETS)] = 100
) -> dict[str, Any]:
    """How many rows there are in each piece of the time that the result spans."""
    from labdock_controller.searches import pages, summaries  # noqa: PLC0415

    found = finished(services, principal, identifier)
    return summaries.timeline(pages.KEPT.result(found.path).table, buckets)


@router.get("/{identifier}/chart")
@needs("search")
def chart(
    services: Here,
    principal: Me,
    identifier: str,
    type: Annotated[str, Query(max_length=20)] = "auto",  # noqa: A002
) -> dict[str, Any]:
    """A Vega-Lite chart that fits the result's shape, with its data inside; `types` are the others that fit."""
    from labdock_controller.searches import pages, summaries  # noqa: PLC0415

    found = finished(services, principal, identifier)
    table = pages.KEPT.result(found.path).table
    fields: list[Mapping[str, str]] = [*found.fields]
    rows, total = pages.rows(table.slice(0, MOST_ROWS)), found.rows
    if found.kind == "events" and "_time" in table.column_names:  # events are counted, all of them
        counted = summaries.timeline(table, MOST_TOP)["buckets"]
        fields = [{"name": "_time", "type": "number"}, {"name": "events", "type": "number"}]
        rows = [{"_time": start, "events": count} for start, count in counted]
        type, total = ("column" if type == "auto" else type), len(rows)  # noqa: A001
    drawn = suggest(fields, rows, type)
    if drawn is None:
        raise NotFound(
            "Nothing in this result can be drawn.",
            remedy="Count or sum something: … | stats count by host, or … | timechart count.",
            kind="chart",
            name=type,
        )
    more = f"The first {MOST_ROWS:,} of {total:,} rows. " if total > MOST_ROWS else ""
    return {**asdict(drawn), "note": (more + drawn.note).strip()}


@router.post("/{identifier}/stage")
@needs("search")
def stage(services: Here, principal: Me, identifier: str, body: Staging) -> dict[str, Any]:
    """Send the rows to an environment's notebooks: `data/<model>.csv`, `.arrow` and `.json` there."""
    from labdock_controller.searches import pages  # noqa: PLC0415
    from labdock_search.modelling import for_module  # noqa: PLC0415
    from labdock_search.protocols import Job  # noqa: PLC0415

    found = finished(services, principal, identifier)
    check_name(body.model, "model")
    table = pages.KEPT.result(found.path).table
    names = list(table.column_names)
    options = FrameOptions(algo=body.algo, model=body.model, features=names)
    job = Job(caller_of(principal, found.request.app), body.environment)
    staged = services.searches.engine.host.environments.stage(for_module(table, names), options, job)
    return {"model": body.model, "rows": staged.rows, "files": list(staged.files), "notices": list(staged.notices)}


@router.post("/{identifier}/lookup", status_code=201)
@needs("search")
def as_lookup(services: Here, principal: Me, identifier: str, body: AsLookup) -> dict[str, Any]:
    """Keep the rows as a lookup, as `outputlookup` would."""
    from labdock_controller.searches import pages  # noqa: PLC0415
    from labdock_controller.web.routes.data import view  # noqa: PLC0415

    found = finished(services, principal, identifier)
    lookups, caller = services.searches.lookups, caller_of(principal, found.request.app)
    if not body.replace and body.name in lookups.names(caller):
        raise Conflict(f"There is a lookup named {body.name!r}.", remedy="Replace it, or use another name.")
    lookups.write(body.name, pages.KEPT.result(found.path).table.to_reader(), caller, append=False)
    if body.sharing != "user":
        return view(lookups.share(body.name, body.sharing, caller))
    return view(lookups.find(body.name, caller))
