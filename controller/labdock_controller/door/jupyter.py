"""JupyterLab through the door: HTTP and WebSocket under `/environments/{name}/jupyter/`.

Bytes stream both ways with backpressure, the path is passed on as it came (JupyterLab's `base_url` is identical), and
JupyterLab sees the browser's Host, so that its own links and checks hold. The environment's token is injected; the
browser never has it.
"""

import asyncio
import contextlib
import html
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from labdock.errors import Conflict, InvalidOptions, LabdockError, LaunchError
from labdock_controller.door.headers import from_jupyter, to_jupyter
from labdock_controller.door.host import JUPYTER_CAPABILITY, Destination, DoorHost, base_path
from labdock_controller.door.origin import check_origin
from labdock_controller.door.relay import Sink, until_client_leaves
from labdock_controller.door.upload import ClientGone
from labdock_controller.door.upstream import Body, Upstreams, broken, open_answer, unreachable, url

# RFC 6455, section 7.4: codes that a peer may not send itself.
_NOT_SENT = frozenset({1004, 1005, 1006, 1015})
_GOING_AWAY = 1001
_TRY_AGAIN = 1013
log = logging.getLogger("labdock.door")


class Jupyter:
    """Both kinds of requests; `Door` owns it."""

    def __init__(self, host: DoorHost, upstreams: Upstreams) -> None:
        self.host = host
        self.upstreams = upstreams

    async def destination(self, connection: HTTPConnection) -> Destination:
        """Rights, origin, environment and path, in this order. Raises what the host or the origin check raises."""
        principal = await self.host.authorize(connection, JUPYTER_CAPABILITY)
        check_origin(connection, self.host.origins())
        name = connection.path_params["name"]
        destination = await self.host.destination(principal, name, jupyter=True)
        if destination.jupyter is None:
            raise Conflict(
                f"The environment {name!r} runs without JupyterLab (mode prod).",
                remedy=f"Start it in the mode dev: labdock stop {name} && labdock start {name} --mode dev.",
                environment=name,
            )
        # Routes match the decoded path: an encoded slash there must not stand for one of the door's own.
        if not raw_path(connection.scope).startswith(base_path(name).encode()):
            raise InvalidOptions(
                "The address hides a part of the door's path.", remedy=f"Addresses here begin with {base_path(name)}."
            )
        return destination

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request and its answer."""
        connection = HTTPConnection(scope)
        destination = await self.destination(connection)
        headers = to_jupyter(scope, destination.token, self.host.cookies())
        has_body = any(k in {"content-length", "transfer-encoding"} for k in connection.headers)
        body = Body(request_body(receive)) if has_body else None
        try:
            await until_client_leaves(receive, self._pass(scope, send, destination, headers, body), body)
        except LaunchError as error:
            if "text/html" not in connection.headers.get("accept", ""):
                raise
            await restarting(send, error)
        except ClientGone:
            log.debug("browser left before its request was complete", extra={"environment": destination.id})

    async def _pass(
        self, scope: Scope, send: Send, destination: Destination, headers: list[tuple[str, str]], body: Body | None
    ) -> None:
        address = destination.jupyter or ""
        async with self.upstreams.session(address) as session:
            target = url(address, raw_path(scope) + query(scope))
            response = await open_answer(session, scope["method"], target, headers, body, destination)
            try:
                sink = Sink(send)
                base = base_path(destination.name)
                await sink.start(response.status, from_jupyter(response.raw_headers, base, self.host.cookies()))
                try:
                    while data := await response.content.readany():
                        await sink.body(data, more=True)
                except aiohttp.ClientError as error:
                    raise broken(destination) from error
                await sink.body(b"", more=False)
            finally:
                response.close()

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket, message by message, until either side ends it."""
        browser = WebSocket(scope, receive, send)
        try:
            destination = await self.destination(browser)
        except LabdockError as error:
            await deny(browser, 403, error)
            return
        address = destination.jupyter or ""
        headers = to_jupyter(scope, destination.token, self.host.cookies())
        async with self.upstreams.session(address) as session:
            try:
                kernel = await session.ws_connect(
                    url(address, raw_path(scope) + query(scope)),
                    protocols=scope.get("subprotocols") or (),
                    headers=headers,
                    max_msg_size=0,
                    autoclose=False,
                    compress=0,
                    timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=5),
                )
            except aiohttp.WSServerHandshakeError as error:
                await deny(browser, error.status, broken(destination))
                return
            except (aiohttp.ClientError, OSError, TimeoutError):
                await deny(browser, 502, unreachable(destination))
                return
            async with kernel:
                await join(browser, kernel)


async def join(browser: WebSocket, kernel: aiohttp.ClientWebSocketResponse) -> None:
    """Accept the browser's side with the subprotocol that JupyterLab chose, and pass messages until one side ends."""
    with contextlib.suppress(WebSocketDisconnect, OSError):
        # The browser's `connect` event was not read yet; `accept` does.
        await browser.accept(subprotocol=kernel.protocol)
        out = asyncio.create_task(to_kernel(browser, kernel))
        back = asyncio.create_task(to_browser(browser, kernel))
        try:
            await asyncio.wait([out, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (out, back):
                task.cancel()
            await asyncio.gather(out, back, return_exceptions=True)


async def to_kernel(browser: WebSocket, kernel: aiohttp.ClientWebSocketResponse) -> None:
    """Messages of the browser; a closed tab closes JupyterLab's side with the browser's own code."""
    while True:
        message = await browser.receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or _GOING_AWAY
            await kernel.close(code=_GOING_AWAY if code in _NOT_SENT else code)
            return
        try:
            if (data := message.get("bytes")) is not None:
                await kernel.send_bytes(data)
            else:
                await kernel.send_str(message["text"])
        except (aiohttp.ClientError, ConnectionError):
            return


async def to_browser(browser: WebSocket, kernel: aiohttp.ClientWebSocketResponse) -> None:
    """Messages of JupyterLab; when it ends or dies, the browser is told to try again (JupyterLab does by itself)."""
    while True:
        message = await kernel.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            await browser.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await browser.send_text(message.data)
        elif message.type is aiohttp.WSMsgType.CLOSE:
            code = message.data or _GOING_AWAY
            await browser.close(_GOING_AWAY if code in _NOT_SENT else code, message.extra)
            return
        else:  # CLOSED, CLOSING, ERROR: the connection broke off
            await browser.close(_TRY_AGAIN)
            return


async def deny(browser: WebSocket, status: int, error: LabdockError) -> None:
    """Answer an upgrade with a status instead."""
    await browser.receive()
    if "websocket.http.response" not in browser.scope.get("extensions", {}):
        await browser.close(1008)
        return
    text = str(error).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
    ]
    await browser.send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await browser.send({"type": "websocket.http.response.body", "body": text})


async def request_body(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it comes; JupyterLab has its own cap."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        if data := message.get("body", b""):
            yield data


async def restarting(send: Send, error: LaunchError) -> None:
    """A page for people whose JupyterLab is just coming back: it says so and looks again by itself."""
    page = (
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=3><title>Labdock</title>"
        f"<p>{html.escape(error.message)}</p><p>{html.escape(error.remedy)}</p><p>This page looks again by itself.</p>"
    ).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(page)).encode()),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'"),
    ]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": page})


def raw_path(scope: Scope) -> bytes:
    """The path as the browser sent it."""
    raw: Any = scope.get("raw_path")
    return raw if isinstance(raw, bytes) else str(scope["path"]).encode()


def query(scope: Scope) -> bytes:
    given = scope.get("query_string") or b""
    return b"?" + given if given else b""
