"""Server-sent events: changes of environments, and their log lines. A comment each 15 s keeps proxies from closing."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.responses import StreamingResponse

from labdock_controller.access.rights import Principal, Resource, allowed
from labdock_controller.environments import Environment
from labdock_controller.events import HEARTBEAT
from labdock_controller.runtimes.base import Runtime
from labdock_controller.services import Services

HEARTBEAT_TEXT = ": still here\n\n"
QUEUED_LINES = 1_000


def response(stream: AsyncIterator[str]) -> StreamingResponse:
    # nginx holds answers back unless told otherwise.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def message(data: Any, *, kind: str | None = None, number: int | None = None) -> str:
    """One event in the format of the HTML standard."""
    head = (f"id: {number}\n" if number is not None else "") + (f"event: {kind}\n" if kind else "")
    return f"{head}data: {json.dumps(data)}\n\n"


def events(services: Services, principal: Principal, after: int | None) -> StreamingResponse:
    """Changes of what this user may see, from number `after` on."""

    async def stream() -> AsyncIterator[str]:
        yield ": connected\n\n"
        async for event in services.events.listen(after):
            if event is None:
                yield HEARTBEAT_TEXT
            elif _sees(services, principal, event.environment_id, event.data):
                data = {key: value for key, value in event.data.items() if key != "owner_id"}
                yield message(data, kind=event.kind, number=event.id)

    return response(stream())


def _sees(services: Services, principal: Principal, identifier: str | None, data: dict[str, Any]) -> bool:
    found = services.environments.by_id(identifier) if identifier else None
    if found is not None:
        return allowed(principal, "list_environments", found.resource(writes=False))
    # It is gone; what the event says of it decides.
    owned = data.get("owner") == principal.user
    resource = Resource("environment", "", principal.user_id if owned else "", str(data.get("sharing", "user")))
    return allowed(principal, "list_environments", resource)


def logs(services: Services, environment: Environment, runtime: Runtime, tail: int) -> StreamingResponse:
    """The last lines and then new ones."""

    async def stream() -> AsyncIterator[str]:
        follower = await asyncio.to_thread(runtime.follow, environment.id)
        lines: asyncio.Queue[str | None] = asyncio.Queue(QUEUED_LINES)
        stop = threading.Event()
        pump = threading.Thread(
            target=_pump, args=(follower, lines, asyncio.get_running_loop(), stop), name="follow", daemon=True
        )
        try:
            for line in (await asyncio.to_thread(runtime.logs, environment.id, tail)).splitlines():
                yield message(line)
            pump.start()
            async for text in _messages(services, lines):
                yield text
        finally:
            stop.set()
            close = getattr(follower, "close", None)
            if close is not None:
                with suppress(ValueError):  # a generator that its thread is inside of
                    close()

    return response(stream())


async def _messages(services: Services, lines: "asyncio.Queue[str | None]") -> AsyncIterator[str]:
    quiet = 0.0
    while not services.events.closing:
        try:
            # Short, so that the end of the controller is noticed.
            line = await asyncio.wait_for(lines.get(), 0.5)
        except TimeoutError:
            quiet += 0.5
            if quiet >= HEARTBEAT:
                quiet = 0.0
                yield HEARTBEAT_TEXT
            continue
        if line is None:
            yield message("", kind="end")
            return
        quiet = 0.0
        yield message(line)


def _pump(
    follower: Any, lines: "asyncio.Queue[str | None]", loop: asyncio.AbstractEventLoop, stop: threading.Event
) -> None:
    def put(line: str | None) -> bool:
        try:
            waiting = asyncio.run_coroutine_threadsafe(lines.put(line), loop)
        except RuntimeError:  # the loop ended
            return False
        while not stop.is_set():
            try:
                waiting.result(0.5)
            except TimeoutError:
                continue
            except RuntimeError:
                return False
            return True
        waiting.cancel()
        return False

    for line in follower:
        if stop.is_set() or not put(line):
            return
    put(None)
