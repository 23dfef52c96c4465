"""The way back to the client, and what happens when the client is no longer there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
from starlette.types import Receive, Send

from labdock_controller.door.host import Destination
from labdock_controller.door.pump import Outlet, Pump
from labdock_controller.door.upstream import Body, back, broken


async def relay(
    response: aiohttp.ClientResponse,
    send: Send,
    destination: Destination,
    outlet: Outlet | None = None,
    ending: Callable[[], None] | None = None,
) -> None:
    """Pass an answer back as it comes, a long one by the short way where there is an `outlet`.

    `ending` is called before the client has the last of it, also where the client has gone or the answer is cut off.
    """
    sink = Sink(send)
    held = b""
    try:
        await sink.start(response.status, back(response.raw_headers))
        pump = await Pump.of(response, outlet)
        if pump is not None:
            held = await pump.run()
            sink.gone = pump.gone
        else:
            held = await pass_pieces(response, sink, hold=ending is not None)
    except (aiohttp.ClientError, ConnectionError) as error:
        # The answer has begun: all that is left is to cut it off, which the client sees as such.
        raise broken(destination) from error
    finally:
        if ending is not None:
            ending()
    await sink.body(held, more=False)


async def pass_pieces(response: aiohttp.ClientResponse, sink: "Sink", *, hold: bool) -> bytes:
    """The usual way: each piece as it comes. Gives the last one unsent if told to `hold` it, else nothing."""
    held = b""
    while data := await response.content.readany():
        if held:
            await sink.body(held, more=True)
        held = data
        if not hold:
            await sink.body(held, more=True)
            held = b""
    return held


class Sink:
    """The client's side of an answer; once the client has gone, what is sent is dropped."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.gone = False

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._try({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes, *, more: bool) -> None:
        await self._try({"type": "http.response.body", "body": data, "more_body": more})

    async def _try(self, message: dict[str, Any]) -> None:
        if not self.gone:
            try:
                await self._send(message)
            except OSError:  # servers of ASGI 2.4 say so; uvicorn drops what is sent
                self.gone = True


async def until_client_leaves(
    receive: Receive, work: Coroutine[Any, Any, None], body: Body | bytes | None = None
) -> None:
    """Run `work`, and cancel it when the client closes its connection; while `work` still reads `body`, the body
    sees to that."""
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(disconnected(receive, body))
    try:
        await asyncio.wait([task, watcher], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (task, watcher):
            each.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)
    if not task.cancelled():
        task.result()


async def disconnected(receive: Receive, body: Body | bytes | None) -> None:
    if isinstance(body, Body):
        await body.read.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
