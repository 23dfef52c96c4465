"""The Environments page, and a page for each environment."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.datastructures import State
from starlette.responses import Response

from labdock.errors import LabdockError
from labdock_controller.access.rights import SHARINGS, Principal, allowed
from labdock_controller.dashboard.listed import PER_PAGE, Listed
from labdock_controller.dashboard.page import page
from labdock_controller.environments import Environment
from labdock_controller.models import check_sharing
from labdock_controller.reconcile import Status
from labdock_controller.services import Services
from labdock_controller.timeline import PHASES
from labdock_controller.web.guard import needs
from labdock_controller.web.routes.environments import view
from labdock_controller.web.state import Here, Me

router = APIRouter(tags=["dashboard"])
CHIPS = {"running": "good", "starting": "busy", "stopping": "busy", "stopped": "off", "failed": "bad"}
LOG_LINES = 200
CHOICES_SECONDS = 10.0
CHOICES_OLD = 120.0


@router.get("/environments", response_class=Response)
@needs("list_environments")
async def environments(
    request: Request,
    services: Here,
    principal: Me,
    contains: Annotated[str, Query(max_length=64)] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """All that one may see, by name; `contains`: those that have all of these words."""
    asked = Listed(path="/environments", contains=contains, page=page_number)
    visible = services.environments.visible(principal)
    words = contains.lower().split()
    found = [one for one in visible if all(word in words_of(one) for word in words)]
    shown = [describe(services, principal, one) for one in found[asked.first : asked.first + PER_PAGE]]
    readings = {one["name"]: one for one in services.meter.known(principal)}
    choices = await startable(request, services)
    return page(
        request,
        "environments/list.html",
        here="environments",
        title="Environments",
        asked=asked,
        environments=shown,
        total=len(found),
        known=len(visible),
        running=sum(one.status is Status.RUNNING for one in visible),
        readings=readings,
        chips=CHIPS,
        idle_minutes=services.settings.idle_minutes,
        **choices,
    )


@router.get("/environments/{name}", response_class=Response)
@needs("list_environments")
async def environment(request: Request, services: Here, principal: Me, name: str) -> Response:
    """One of them: what it does, how it came, its log, who may use it."""
    found = services.environments.get(name, principal, "list_environments")
    shown = describe(services, principal, found)
    log = await asyncio.to_thread(last_lines, services, found)
    reading = next((one for one in services.meter.known(principal) if one["name"] == name), None)
    return page(
        request,
        "environments/environment.html",
        here="environments",
        title=name,
        e=shown,
        log=log,
        reading=reading,
        chips=CHIPS,
        phases=PHASES,
        idle_minutes=services.settings.idle_minutes,
        address=str(request.base_url).rstrip("/"),
        sharings=[(one, may_share(principal, one)) for one in SHARINGS],
    )


def words_of(one: Environment) -> str:
    """What the list is filtered by."""
    return " ".join((one.name, one.owner, one.status, one.image, one.mode, one.runtime)).lower()


def describe(services: Services, principal: Principal, one: Environment) -> dict[str, Any]:
    """The environment as the API shows it, and what this user may do with it."""
    shown = view(services, one)
    shown["mine"] = allowed(principal, "control_environments", one.resource(writes=True))
    shown["keep_until"] = one.keep_until
    shown["layers"] = services.launcher.timelines.layers(one.id) if one.status is Status.STARTING else []
    return shown


async def startable(request: Request, services: Services) -> dict[str, Any]:
    """`what_to_start`, asked anew after some seconds only: engines take their time to answer.

    Nobody waits for an answer while the last one is not old: the page shows that, and the next one the new.
    """
    state = request.app.state
    age = time.monotonic() - getattr(state, "startable_at", -CHOICES_OLD)
    if age >= CHOICES_SECONDS:
        asking: asyncio.Task[None] | None = getattr(state, "startable_asking", None)
        if asking is None or asking.done():
            asking = state.startable_asking = asyncio.create_task(_ask_what_to_start(state, services))
        if age >= CHOICES_OLD:
            await asyncio.shield(asking)  # others wait for it, too
    known: dict[str, Any] = state.startable
    return known


async def _ask_what_to_start(state: State, services: Services) -> None:
    state.startable, state.startable_at = await asyncio.to_thread(what_to_start, services), time.monotonic()


def what_to_start(services: Services) -> dict[str, Any]:
    """The form's choices: runtimes with what keeps one from starting, and images."""
    settings = services.settings
    problems = services.launcher.check()
    runtimes = [
        {"name": name, "default": name == settings.runtime, "problem": problem.message if problem else ""}
        for name, problem in problems.items()
    ]
    images: dict[str, dict[str, Any]] = {}
    for image in services.launcher.images():
        known = images.setdefault(image["name"], {**image, "runtimes": []})
        known["runtimes"].append(image["runtime"])
    return {"runtimes": runtimes, "images": list(images.values())}


def last_lines(services: Services, one: Environment) -> str:
    """The end of its log, or what was kept of it when it failed."""
    try:
        return services.launcher.runtime(one.runtime).logs(one.id, LOG_LINES) or one.log
    except LabdockError:
        return one.log


def may_share(principal: Principal, sharing: str) -> bool:
    try:
        check_sharing(sharing, principal)
    except LabdockError:
        return False
    return True
