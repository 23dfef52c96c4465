"""Health, what runs where, and the signed-in user."""

from typing import Any

from fastapi import APIRouter

import labdock
from labdock_controller.access.rights import CAPABILITIES, OPEN, ROLES, SIGNED_IN
from labdock_controller.doctor import examine
from labdock_controller.finding import report
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(tags=["system"])


@router.get("/health")
@needs(OPEN)
async def health() -> dict[str, str]:
    """Whether the controller answers."""
    return {"status": "ok", "version": labdock.__version__}


@router.get("/api/me")
@needs(SIGNED_IN)
async def me(principal: Me) -> dict[str, Any]:
    """Who asks, and what they may do."""
    return {
        "user": principal.user,
        "roles": list(principal.roles),
        "capabilities": sorted(principal.capabilities),
        "via": principal.via,
    }


@router.get("/api/roles")
@needs(SIGNED_IN)
async def roles() -> dict[str, Any]:
    """What each role may do, and what each capability means."""
    return {"roles": {role: sorted(held) for role, held in ROLES.items()}, "capabilities": CAPABILITIES}


@router.get("/api/runtimes")
@needs("list_environments")
def runtimes(services: Here) -> list[dict[str, Any]]:
    """The runtimes, and what keeps one from starting environments."""
    return [
        {
            "name": name,
            "default": name == services.settings.runtime,
            "available": problem is None,
            "problem": problem.message if problem else "",
            "remedy": problem.remedy if problem else "",
        }
        for name, problem in services.launcher.check().items()
    ]


@router.get("/api/doctor")
@needs("configure")
def doctor(services: Here) -> dict[str, Any]:
    """What `labdock doctor` says: each check with its state, what was found and the remedy."""
    return report(examine(services.settings, services.launcher.runtimes))


@router.get("/api/usage")
@needs("list_environments")
def usage(services: Here, principal: Me) -> list[dict[str, Any]]:
    """What the caller's running environments use: cores, bytes, last activity, when idleness will stop them."""
    return services.meter.look(principal)


@router.get("/api/outdated")
@needs("list_environments")
def outdated(services: Here, principal: Me) -> list[str]:
    """Names of running environments whose image there is a newer one of; a restart takes it."""
    old = {one for runtime in services.launcher.runtimes.values() for one in runtime.outdated()}
    return [one.name for one in services.environments.visible(principal) if one.id in old]


@router.get("/api/images")
@needs("list_environments")
def images(services: Here) -> list[dict[str, Any]]:
    """What environments can be started from."""
    return services.launcher.images()
