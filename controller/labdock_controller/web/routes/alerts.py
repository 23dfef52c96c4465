"""Saved searches and alerts."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from labdock_controller.access.rights import decide
from labdock_controller.alerts.definition import Definition
from labdock_controller.models import DEFAULT_APP
from labdock_controller.web.guard import needs
from labdock_controller.web.state import LONGEST, Here, Me

router = APIRouter(prefix="/api/saved-searches", tags=["alerts"])


class SavedSearchBody(BaseModel):
    """With a `schedule` it is an alert."""

    model_config = ConfigDict(extra="forbid")
    search: str = Field(max_length=1_000_000)
    app: str = DEFAULT_APP
    sharing: str = ""
    earliest: str = ""
    latest: str = ""
    timezone: str = "UTC"
    description: str = ""
    schedule: str = ""
    condition: dict[str, Any] = {"rows": ">", "value": 0}
    throttle: dict[str, Any] = {}
    actions: list[dict[str, Any]] = []
    max_seconds: float = Field(default=600, gt=0, le=LONGEST)


@router.get("")
@needs("search")
def saved_searches(services: Here, principal: Me) -> list[dict[str, Any]]:
    """One's own and those that are shared."""
    return [saved.view() for saved in services.alerts.saved.visible(principal)]


@router.put("/{name}")
@needs("search")
def save(services: Here, principal: Me, name: str, body: SavedSearchBody, replace: bool = False) -> dict[str, Any]:
    """Save a search; it is parsed first, and a schedule needs `schedule_search`."""
    value = body.model_dump(exclude={"app", "sharing"})
    definition = Definition.from_dict(value)
    if definition.schedule:
        decide(principal, "schedule_search")
    services.searches.engine.parse(
        definition.search, earliest=body.earliest, latest=body.latest, timezone=body.timezone
    )
    saved = services.alerts.saved.save(name, definition, principal, app=body.app, sharing=body.sharing, replace=replace)
    return saved.view()


@router.get("/{name}")
@needs("search")
def saved_search(services: Here, principal: Me, name: str) -> dict[str, Any]:
    return services.alerts.saved.get(name, principal).view()


@router.delete("/{name}", status_code=204, response_class=Response)
@needs("search")
def remove(services: Here, principal: Me, name: str) -> Response:
    services.alerts.saved.remove(services.alerts.saved.get(name, principal, writes=True))
    return Response(status_code=204)


@router.get("/{name}/runs")
@needs("search")
def runs(
    services: Here, principal: Me, name: str, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> list[dict[str, Any]]:
    """Its history, newest first; `job` is the search whose rows are kept."""
    saved = services.alerts.saved.get(name, principal)
    return [asdict(run) for run in services.alerts.saved.runs(saved, limit)]


@router.post("/{name}/run")
@needs("schedule_search")
async def run_now(services: Here, principal: Me, name: str) -> dict[str, Any]:
    """Run it now, actions included."""
    saved = services.alerts.saved.get(name, principal, writes=True)
    return asdict(await asyncio.to_thread(services.alerts.run, saved, services.url))


@router.post("/{name}/pause")
@needs("schedule_search")
def pause(services: Here, principal: Me, name: str) -> dict[str, Any]:
    services.alerts.saved.pause(services.alerts.saved.get(name, principal, writes=True), paused=True)
    return services.alerts.saved.get(name, principal).view()


@router.post("/{name}/resume")
@needs("schedule_search")
def resume(services: Here, principal: Me, name: str) -> dict[str, Any]:
    services.alerts.saved.pause(services.alerts.saved.get(name, principal, writes=True), paused=False)
    return services.alerts.saved.get(name, principal).view()
