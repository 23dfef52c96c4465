"""Indexes, lookups, adding files, and the event collector."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from labdock_controller.dashboard.page import page
from labdock_controller.searches.rights import caller_of
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(tags=["dashboard"], dependencies=[Depends(searches_made)])
App = Annotated[str, Query(max_length=64)]


@router.get("/data", response_class=Response)
@needs("search")
def data(services: Here, principal: Me, request: Request, app: App = "search") -> Response:
    """All indexes and lookups that one sees."""
    caller = caller_of(principal, app)
    known = services.searches.indexes
    return page(
        request,
        "data/list.html",
        here="data",
        title="Data",
        indexes=[known.statistics(name) for name in known.names(caller)],
        lookups=services.searches.lookups.visible(caller),
        app=app,
        collector=f"{services.settings.public_url.rstrip('/') or str(request.base_url).rstrip('/')}/services/collector",
    )


@router.get("/data/indexes/{name}", response_class=Response)
@needs("search")
def index(services: Here, principal: Me, request: Request, name: str) -> Response:
    """One index: its time, its fields, its newest events."""
    known = services.searches.indexes
    opened = known.open(name, caller_of(principal))
    return page(
        request,
        "data/index.html",
        here="data",
        title=f"Index {name}",
        index=known.statistics(name),
        fields=known.fields(name),
        problems=list(opened.problems),
    )


@router.get("/data/lookups/{name}", response_class=Response)
@needs("search")
def lookup(services: Here, principal: Me, request: Request, name: str, app: App = "search") -> Response:
    """One lookup: its first rows, who sees it."""
    from labdock_controller.searches import overview  # noqa: PLC0415 - it loads Arrow

    caller = caller_of(principal, app)
    found = services.searches.lookups.find(name, caller)
    return page(
        request,
        "data/lookup.html",
        here="data",
        title=f"Lookup {found.name}",
        lookup=asdict(found),
        preview=overview.preview(services.searches, found.name, caller, 100),
        mine=found.owner == principal.user or principal.rules_all,
        app=app,
    )
