"""Environments: start, stop, look."""

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from labdock_controller.environment_rows import Request
from labdock_controller.environments import Environment
from labdock_controller.models import check_sharing
from labdock_controller.reconcile import Desired, Status
from labdock_controller.runtimes.base import Limits
from labdock_controller.services import Services
from labdock_controller.web import streams
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api/environments", tags=["environments"])
DEFAULTS = {"image": "golden-cpu", "mode": "dev"}
Wait = Annotated[float, Query(ge=0, le=600, description="seconds to wait until the state is reached")]


class LimitsBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cpus: float | None = Field(default=None, gt=0, le=1024)
    memory_mb: int | None = Field(default=None, ge=64, le=4_194_304)
    pids: int | None = Field(default=None, ge=16, le=4_194_304)
    shm_mb: int | None = Field(default=None, ge=1, le=4_194_304)
    gpus: int = Field(default=0, ge=0, le=64)


class NewEnvironment(BaseModel):
    """What is left out is as it was, or the default."""

    model_config = ConfigDict(extra="forbid")
    name: str
    runtime: str | None = None
    image: str | None = Field(default=None, min_length=1, max_length=64)
    mode: Literal["dev", "prod"] | None = None
    limits: LimitsBody | None = None


class Sharing(BaseModel):
    """Who may use it besides its owner: nobody, one's app, all apps; and `users` by name. None: as it was."""

    model_config = ConfigDict(extra="forbid")
    sharing: Literal["user", "app", "global"] | None = None
    users: list[str] | None = Field(default=None, max_length=200)


@router.get("")
@needs("list_environments")
async def environments(services: Here, principal: Me) -> list[dict[str, Any]]:
    """What the caller may see: their own, and what is shared."""
    return [view(services, one) for one in services.environments.visible(principal)]


@router.post("", status_code=201)
@needs("control_environments")
async def create(services: Here, principal: Me, body: NewEnvironment, wait: Wait = 0) -> dict[str, Any]:
    """Start an environment: a new one, or a stopped one of that name."""
    services.launcher.runtime(body.runtime or services.settings.runtime)
    limits = Limits(**body.limits.model_dump()) if body.limits else None
    asked = Request(body.name, body.runtime, body.image, body.mode, limits)
    defaults = Request(body.name, services.settings.runtime, DEFAULTS["image"], DEFAULTS["mode"])
    made = await asyncio.to_thread(services.environments.ask_start, asked, principal, defaults)
    services.launcher.kick(made.id)
    return view(services, await settled(services, made, {Status.RUNNING}, wait))


@router.get("/{name}")
@needs("list_environments")
async def environment(services: Here, principal: Me, name: str) -> dict[str, Any]:
    return view(services, services.environments.get(name, principal, "list_environments"))


@router.post("/{name}/start")
@needs("control_environments")
async def start(services: Here, principal: Me, name: str, wait: Wait = 0) -> dict[str, Any]:
    """Start it; nothing happens to one that runs."""
    found = services.environments.get(name, principal, "control_environments", writes=True)
    if found.wanted.desired is not Desired.RUNNING or found.status is Status.FAILED:
        found = await asyncio.to_thread(services.environments.ask_again, found.id)
        services.launcher.kick(found.id)
    return view(services, await settled(services, found, {Status.RUNNING}, wait))


@router.post("/{name}/restart")
@needs("control_environments")
async def restart(services: Here, principal: Me, name: str, wait: Wait = 0) -> dict[str, Any]:
    """Stop what runs of it and start it anew."""
    found = services.environments.get(name, principal, "control_environments", writes=True)
    found = await asyncio.to_thread(services.environments.ask_again, found.id)
    services.launcher.kick(found.id)
    return view(services, await settled(services, found, {Status.RUNNING}, wait))


@router.post("/{name}/stop")
@needs("control_environments")
async def stop(services: Here, principal: Me, name: str, wait: Wait = 0) -> dict[str, Any]:
    """End its processes; notebooks stay. Nothing happens to one that is stopped."""
    found = services.environments.get(name, principal, "control_environments", writes=True)
    if found.wanted.desired is Desired.RUNNING:
        found = await asyncio.to_thread(services.environments.ask, found.id, Desired.STOPPED)
        services.launcher.kick(found.id)
    return view(services, await settled(services, found, {Status.STOPPED}, wait))


@router.post("/{name}/extend")
@needs("control_environments")
async def extend(
    services: Here, principal: Me, name: str, minutes: Annotated[float, Query(gt=0, le=10_080)] = 60
) -> dict[str, Any]:
    """Keep it from being stopped for idleness for so long."""
    found = services.environments.get(name, principal, "control_environments", writes=True)
    until = time.time() + minutes * 60
    await asyncio.to_thread(services.environments.note, found.id, found.wanted, keep_until=until)
    return view(services, services.environments.by_id(found.id) or found)


@router.put("/{name}/sharing")
@needs("control_environments")
async def share(services: Here, principal: Me, name: str, body: Sharing) -> dict[str, Any]:
    """Let others stage, fit and apply in it; controlling it stays with its owner."""
    found = services.environments.get(name, principal, "control_environments", writes=True)
    check_sharing(body.sharing or "", principal)
    if body.users:
        check_sharing("app", principal)  # to name a few takes no more than to name all
    sharing = body.sharing or found.sharing
    shared = await asyncio.to_thread(services.environments.share, found.id, sharing, found.app, body.users)
    return view(services, shared)


@router.delete("/{name}", status_code=204, response_class=Response)
@needs("control_environments")
async def remove(services: Here, principal: Me, name: str, files: bool = False, wait: Wait = 30) -> Response:
    """Stop and forget it. Its notebooks are kept for a new one of that name, or removed with `files`."""
    found = services.environments.get(name, principal, "control_environments", writes=True)
    if found.wanted.desired is not Desired.DELETED:
        await asyncio.to_thread(services.environments.ask, found.id, Desired.DELETED, remove_files=files)
        services.launcher.kick(found.id)
    await settled(services, found, set(), wait)
    return Response(status_code=204)


@router.get("/{name}/logs", response_class=PlainTextResponse)
@needs("list_environments")
async def logs(
    services: Here, principal: Me, name: str, tail: Annotated[int, Query(ge=0, le=100_000)] = 200, follow: bool = False
) -> Response:
    """The last lines; with `follow` as server-sent events, and then new ones until it ends."""
    found = services.environments.get(name, principal, "list_environments")
    runtime = services.launcher.runtime(found.runtime)
    if follow:
        return streams.logs(services, found, runtime, tail)
    text = await asyncio.to_thread(runtime.logs, found.id, tail)
    return PlainTextResponse(text or found.log)


def view(services: Services, environment: Environment) -> dict[str, Any]:
    """The environment as users see it; a runtime that does not answer is its cause, too."""
    shown = environment.view()
    runtime = services.launcher.runtimes.get(environment.runtime)
    if runtime is not None and not runtime.uses_images:
        shown["image"] = ""  # the machine is its image
    problem = services.launcher.problems.get(environment.runtime)
    if problem is not None and not shown["cause"]:
        shown["cause"], shown["remedy"] = problem.message, problem.remedy
    if environment.status is Status.FAILED:
        shown["log"] = environment.log
    shown["phases"] = services.launcher.timelines.of(environment.id)
    return shown


async def settled(services: Services, environment: Environment, until: set[Status], seconds: float) -> Environment:
    """Wait until it has one of these states, failed, or is gone; at most so long."""
    deadline = time.monotonic() + seconds
    generation = environment.wanted.generation
    while time.monotonic() < deadline and not services.events.closing:
        now = services.environments.by_id(environment.id)
        if now is None:
            return environment
        ended = now.status is Status.FAILED and now.wanted.desired is Desired.RUNNING
        if now.wanted.generation != generation or now.status in until or (ended and until):
            return now
        await asyncio.sleep(0.05)
    return services.environments.by_id(environment.id) or environment
