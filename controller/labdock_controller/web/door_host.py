"""What the door needs of the controller: rights, destinations, limits, and where model records go."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection

from labdock.errors import InvalidOptions
from labdock_controller.access.rights import Principal
from labdock_controller.door.host import Destination, DoorLimits
from labdock_controller.model_rows import asked_sharing
from labdock_controller.services import Services
from labdock_controller.web.guard import origins, require, session_cookie


class ControllerHost:
    """Implements `labdock_controller.door.host.DoorHost`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def authorize(self, connection: HTTPConnection, capability: str) -> Principal:
        return require(connection, capability)

    async def destination(self, principal: Principal, name: str, *, jupyter: bool) -> Destination:
        capability = "control_environments" if jupyter else "search"
        environment = self._services.environments.get(name, principal, capability, writes=jupyter)
        endpoint = self._services.launcher.endpoint(environment)
        run = self._services.launcher.run_folder(environment.id)
        shared = run if endpoint.api.startswith("unix:") else None
        return Destination(environment.id, name, endpoint.api, endpoint.jupyter, endpoint.token, shared)

    async def admit(self, principal: Principal, environment: str, action: str, options: dict[str, Any]) -> None:
        if action == "fit":
            if not options:
                raise InvalidOptions(
                    "The fit has no Labdock-Options header.",
                    remedy='Send at least {"algo": …, "model": …}; the rest may lie in the schema ("inside": true).',
                )
            name, sharing = str(options.get("model") or "default"), asked_sharing(options)
            await self._services.fits.written()
            await asyncio.to_thread(self._services.models.check_fit, environment, name, sharing, principal)
        elif action == "apply" and options.get("model"):
            self._services.models.uses.note_in(environment, str(options["model"]))

    def note(self, environment: str, job: dict[str, Any], options: dict[str, Any], principal: Principal) -> str:
        return self._services.fits.note(environment, job, options, principal)

    def record(self, note: str) -> None:
        self._services.fits.record(note)

    def spool_folder(self) -> Path | None:
        return self._services.settings.run_folder / "spool"

    def limits(self) -> DoorLimits:
        settings = self._services.settings
        return DoorLimits(settings.max_body_mb << 20, settings.body_seconds, settings.body_rate)

    def origins(self) -> frozenset[str]:
        return origins(self._services.settings)

    def cookies(self) -> frozenset[str]:
        return frozenset({"labdock_session", "__Host-labdock_session", session_cookie(self._services.settings)})
