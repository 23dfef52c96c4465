"""Alerts, reports and notable events."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from labdock_controller.access.rights import Principal, allowed
from labdock_controller.alerts.records import SavedSearch
from labdock_controller.dashboard.listed import PER_PAGE, Listed
from labdock_controller.dashboard.page import page
from labdock_controller.searches.rights import caller_of
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(tags=["dashboard"], dependencies=[Depends(searches_made)])
NOTABLE_DAYS = 30
MOST_NOTABLES = 100


@router.get("/alerts", response_class=Response)
@needs("search")
def alerts(services: Here, principal: Me, request: Request) -> Response:
    """One's own and those that are shared, each with its last run."""
    saved = services.alerts.saved.visible(principal)
    last = services.alerts.saved.last_runs([each.id for each in saved if each.definition.schedule])
    return page(
        request,
        "alerts/list.html",
        here="alerts",
        title="Alerts",
        alerts=[(each, last.get(each.id)) for each in saved if each.definition.schedule],
        reports=[each for each in saved if not each.definition.schedule],
    )


@router.get("/alerts/notables", response_class=Response)
@needs("search")
def notables(services: Here, principal: Me, request: Request) -> Response:
    """What alerts found notable, and the risk of each object."""
    from labdock_controller.searches import overview  # noqa: PLC0415 - it loads Arrow

    found = overview.notables(services.searches, caller_of(principal), NOTABLE_DAYS, MOST_NOTABLES)
    return page(request, "alerts/notables.html", here="alerts", title="Notable events", days=NOTABLE_DAYS, **found)


@router.get("/alerts/{name}", response_class=Response)
@needs("search")
def alert(
    services: Here,
    principal: Me,
    request: Request,
    name: str,
    page_number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """One alert or report with its history."""
    saved = services.alerts.saved.get(name, principal)
    asked = Listed(path=f"/alerts/{quote(saved.name)}", page=page_number)
    return page(
        request,
        "alerts/alert.html",
        here="alerts",
        title=saved.name,
        saved=saved,
        definition=saved.definition,
        view=saved.view(),
        asked=asked,
        runs=runs(services, principal, saved, asked),
        total=services.alerts.saved.count_runs(saved),
        mine=allowed(principal, "search", saved.resource(writes=True)),
        condition=condition(saved.definition.condition),
    )


def runs(services: Services, principal: Principal, saved: SavedSearch, asked: Listed) -> list[dict[str, Any]]:
    """A page of its history, newest first; `kept`: the rows can still be looked at."""
    jobs = {job.id for job in services.searches.jobs.visible(principal)}
    found = services.alerts.saved.runs(saved, PER_PAGE, asked.first)
    return [{"run": run, "kept": run.job in jobs} for run in found]


def condition(given: dict[str, Any]) -> str:
    """A condition in words."""
    if given.get("search"):
        return f"“{given['search']}” finds rows"
    words = {">": "more than", ">=": "at least", "=": "exactly", "!=": "other than", "<": "fewer than", "<=": "at most"}
    if given.get("rows") not in words:
        return "what this version does not know; edit it"
    return f"{words[given['rows']]} {given.get('value')} rows"
