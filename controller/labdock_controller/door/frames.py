"""Frames through the door: stage, fit, apply, and what belongs to them (summary, modules, jobs).

A frame is spooled once into the environment's run folder and the environment is sent its name; where the runtime
shares no folder it is streamed. The answer streams back as it comes. A fit is seen to its end also when its client
has gone, so that its model's record is written.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from labdock.errors import InvalidOptions
from labdock.wire import JOB_HEADER, KEY_HEADER, OPTIONS_HEADER, RECORD_HEADER, SPOOL_HEADER, SPOOL_SIZE_HEADER
from labdock_controller.door.fits import Fit, Fits
from labdock_controller.door.host import Destination, DoorHost
from labdock_controller.door.pump import OUTLET, Outlet
from labdock_controller.door.relay import relay, until_client_leaves
from labdock_controller.door.spool import take
from labdock_controller.door.spooled import KeptFiles, SpooledFrame
from labdock_controller.door.upload import ClientGone, chunks, content_length, file_parts, small_body, spool_body
from labdock_controller.door.upstream import Body, Headers, Upstreams, open_answer, url

# What of a client's request reaches an environment. Credentials do not: the environment has its own token.
FORWARDED = frozenset(
    name.lower().encode()
    for name in (
        OPTIONS_HEADER,
        KEY_HEADER,
        "Prefer",
        "Accept",
        "Content-Type",
        "Content-Encoding",
        "Last-Event-ID",
        "X-Request-ID",
    )
)
# A body up to here is sent on as it is: a file in the spool costs more than copying it once more.
SMALL = 2**16
# However slowly a client reads, its fit's record is begun by then.
ANSWER_SECONDS = 0.1
Admit = Callable[[], Coroutine[Any, Any, None]]
log = logging.getLogger("labdock.door")


@dataclass(frozen=True)
class Exchange:
    """One request on its way: who asks, where it goes, and the client's side of the connection."""

    principal: Any
    destination: Destination
    method: str
    target: bytes
    headers: Headers
    receive: Receive
    send: Send
    outlet: Outlet | None = None  # where the server has one


class Frames:
    """The frame routes' one implementation; `Door` owns it."""

    def __init__(self, host: DoorHost, upstreams: Upstreams) -> None:
        self.host = host
        self.upstreams = upstreams
        self.fits = Fits(host, upstreams)
        self.kept = KeptFiles()
        self._background: set[asyncio.Task[None]] = set()

    async def exchange(self, scope: Scope, receive: Receive, send: Send, capability: str, target: bytes) -> Exchange:
        """Check rights and find the environment; nothing of the body is read before."""
        request = Request(scope, receive)
        principal = await self.host.authorize(request, capability)
        destination = await self.host.destination(principal, request.path_params["name"], jupyter=False)
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"] if k in FORWARDED]
        headers.append(("Authorization", f"Bearer {destination.token}"))
        query = scope.get("query_string") or b""
        target = target + b"?" + query if query else target
        outlet = scope.get("extensions", {}).get(OUTLET)
        return Exchange(principal, destination, scope["method"], target, headers, receive, send, outlet)

    async def frame(self, scope: Scope, x: Exchange, action: str) -> None:
        """Pass a frame on and the answer back."""
        admit = partial(self.host.admit, x.principal, x.destination.id, action, sent_options(x.headers))
        fit = action == "fit"
        length = content_length(scope)
        try:
            if not (length and length <= SMALL) and x.destination.run is not None:
                await self._spool(scope, x, admit, fit=fit)
                return
            await admit()
            if length and length <= SMALL:
                parts = [part async for part in chunks(x.receive, scope, self.host.limits())]
                await self._finish(x, x.headers, b"".join(parts), fit=fit)
            else:
                await self._stream(scope, x, fit=fit)
        except ClientGone:
            log.info("client left before its frame was complete", extra={"environment": x.destination.id})

    async def _spool(self, scope: Scope, x: Exchange, admit: Admit, *, fit: bool) -> None:
        """The body is received while the host makes up its mind; a refusal does not wait for the rest of it."""
        limits = self.host.limits()
        left = header(scope, SPOOL_HEADER)
        if left is not None:
            await admit()
            folder = self._left_folder(scope)
            size = header(scope, SPOOL_SIZE_HEADER)
            frame = self.kept.left(x.destination, folder, left, size, limits.max_body)
        else:
            frame = self.kept.file(x.destination, content_length(scope) or 0)
            try:
                assert frame.file is not None  # noqa: S101 - it is ours
                await together(spool_body(x.receive, scope, frame.file, limits), admit())
                frame.publish()
            except BaseException:
                frame.forget()
                raise
        await self._finish(x, x.headers, None, fit=fit, frame=frame)

    async def _stream(self, scope: Scope, x: Exchange, *, fit: bool) -> None:
        left = header(scope, SPOOL_HEADER)
        if left is not None:
            handle = take(self._left_folder(scope), left, self.host.limits().max_body)
            length: int | None = os.fstat(handle).st_size
            body = Body(file_parts(handle))
        else:
            length = content_length(scope)
            body = Body(chunks(x.receive, scope, self.host.limits()))
        headers = [*x.headers, ("Content-Length", str(length))] if length is not None else x.headers
        await self._finish(x, headers, body, fit=fit)

    def _left_folder(self, scope: Scope) -> Path:
        """Where callers on this machine leave frames. Raises `InvalidOptions` where this caller may not."""
        folder = self.host.spool_folder()
        if folder is None or not over_unix_socket(scope):
            raise InvalidOptions(
                "Labdock-Spool is not taken here.",
                remedy="Send the frame as the body; only callers on the controller's Unix socket may leave a file.",
            )
        return folder

    async def _finish(
        self,
        x: Exchange,
        headers: Headers,
        body: Body | bytes | None,
        *,
        fit: bool,
        frame: SpooledFrame | None = None,
    ) -> None:
        work = self._answer(x, headers, body, fit=fit, frame=frame)
        if fit:
            await asyncio.shield(self.spawn(work))
        else:
            await until_client_leaves(x.receive, work, body)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run to the end whatever becomes of the client."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def close(self) -> None:
        """End what still runs in the background. The environments go on; records are collected at the next boot."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.kept.close()

    async def _answer(
        self,
        x: Exchange,
        headers: Headers,
        body: Body | bytes | None,
        *,
        fit: bool,
        frame: SpooledFrame | None = None,
    ) -> None:
        try:
            async with self.upstreams.session(x.destination.api) as session:
                target = url(x.destination.api, x.target)

                async def ask() -> aiohttp.ClientResponse:
                    sent = [*headers, *frame.headers()] if frame else headers
                    return await open_answer(session, x.method, target, sent, body, x.destination)

                response = await ask()
                if frame and response.status == 404 and frame.renew():  # the environment has forgotten our file
                    response.close()
                    response = await ask()
                try:
                    if frame:
                        frame.answered(response.status, response.headers)
                    if fit and JOB_HEADER in response.headers:
                        await self._fitted(x, response)
                    else:
                        await relay(response, x.send, x.destination, x.outlet)
                finally:
                    response.close()  # gives a connection that was read to its end back to the pool
        finally:
            if frame:
                frame.forget()

    async def _fitted(self, x: Exchange, response: aiohttp.ClientResponse) -> None:
        """Pass a fit's answer back. The host knows of the fit before the client has the answer, and records it then."""
        fit = Fit(response.headers[JOB_HEADER], x.destination, sent_options(x.headers), x.principal)
        if response.status == 202:
            self.spawn(self.fits.follow(fit))
        note = await self.fits.note(fit, response.headers.get(RECORD_HEADER, "")) if response.status == 200 else None
        if note is None:
            await relay(response, x.send, x.destination, x.outlet)
            return
        record = partial(self.host.record, note)
        timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, record)
        try:
            await relay(response, x.send, x.destination, x.outlet, record)
        finally:
            timer.cancel()

    async def pass_on(self, scope: Scope, x: Exchange) -> None:
        """Requests without a frame: summary, modules, jobs and their events."""
        body = await small_body(x.receive, scope, self.host.limits()) if x.method == "POST" else None
        await until_client_leaves(x.receive, self._answer(x, x.headers, body or None, fit=False))


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run side by side; the first error ends the others and is raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def header(scope: Scope, name: str) -> str | None:
    """What the client's header `name` says."""
    key = name.lower().encode()
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == key), None)


def over_unix_socket(scope: Scope) -> bool:
    """Whether the request came over the controller's Unix socket, which only its own user can open."""
    return scope.get("client") is None and bool(scope.get("server")) and scope["server"][1] is None


def sent_options(headers: Headers) -> dict[str, Any]:
    """The options as the client sent them in the header; {} where they travel in the schema."""
    for key, value in headers:
        if key == OPTIONS_HEADER.lower():
            try:
                options = json.loads(value)
            except ValueError:
                return {}
            return options if isinstance(options, dict) else {}
    return {}
