"""What the host is told of fits, so that it records their models."""

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from labdock.errors import LabdockError
from labdock_controller.door.host import Destination, DoorHost
from labdock_controller.door.upstream import Upstreams, open_answer, read_all, url

log = logging.getLogger("labdock.door")


@dataclass(frozen=True)
class Fit:
    """A fit that an environment took: its job, and who asked for what."""

    job: str
    destination: Destination
    options: dict[str, Any]
    principal: Any


class Fits:
    """Tells the host of fits that are done. A failure is logged: the reconcile pass collects what is missing."""

    def __init__(self, host: DoorHost, upstreams: Upstreams) -> None:
        self._host = host
        self._upstreams = upstreams

    async def note(self, fit: Fit, known: str = "") -> str | None:
        """Have the host note what the answer's header says, else job and manifest of the environment.

        Gives the note's name, or None where that failed.
        """
        try:
            done = json.loads(known) if known else await self._done(fit)
            done |= {"id": fit.job, "status": "done"}
            return self._host.note(fit.destination.id, done, fit.options, fit.principal)
        except Exception:
            log.exception("record of a fit", extra={"environment": fit.destination.id, "job": fit.job})
            return None

    async def follow(self, fit: Fit) -> None:
        """See a job that was answered with 202 to its end, then have it recorded."""
        try:
            async with self._upstreams.session(fit.destination.api) as session:
                headers = [("Authorization", f"Bearer {fit.destination.token}")]
                target = url(fit.destination.api, f"/v1/jobs/{fit.job}/events".encode())
                async with session.get(target, headers=headers) as events:
                    async for _ in events.content.iter_any():
                        pass  # the stream ends with the job
            info = await self._ask(fit, f"/v1/jobs/{fit.job}")
        except (aiohttp.ClientError, OSError, LabdockError):
            log.exception("following a fit", extra={"environment": fit.destination.id, "job": fit.job})
            return
        if info.get("status") == "done" and (note := await self.note(fit)):
            self._host.record(note)

    async def _done(self, fit: Fit) -> dict[str, Any]:
        name = str(fit.options.get("model") or "default")
        done, model = await asyncio.gather(
            self._ask(fit, f"/v1/jobs/{fit.job}"), self._ask(fit, f"/v1/models/{quote(name, safe='')}")
        )
        if done.get("model") != name:  # the options travelled in the schema
            model = await self._ask(fit, f"/v1/models/{done.get('model')}")
        versions = model.get("versions") or []
        manifest: dict[str, Any] = next((v for v in versions if v.get("version") == done.get("version")), {})
        return {**manifest, **done}

    async def _ask(self, fit: Fit, path: str) -> Any:
        """A small JSON answer of the environment. Raises `LaunchError` or `TransportError`."""
        destination = fit.destination
        headers = [("Authorization", f"Bearer {destination.token}")]
        async with self._upstreams.session(destination.api) as session:
            response = await open_answer(
                session, "GET", url(destination.api, path.encode()), headers, None, destination
            )
            async with response:
                return await read_all(response, destination)
