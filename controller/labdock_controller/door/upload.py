"""Bodies of clients: capped, with a deadline against those that trickle, written as they come."""

import asyncio
import os
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope

from labdock.errors import InvalidFrame, LimitExceeded
from labdock.intake import EXTENSION, Divert, Intake
from labdock.spool import SpoolFile
from labdock_controller.door.host import DoorLimits
from labdock_controller.door.spool import check_size, storage_errors

READ_PIECE = 2**20


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


class SlowClient(LimitExceeded):
    """The body did not come fast enough: 408, not 413."""


async def chunks(receive: Receive, scope: Scope, limits: DoorLimits) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises `LimitExceeded` over the cap (before reading, where Content-Length says so), `SlowClient`, `ClientGone`.
    """
    announced = content_length(scope)
    if announced is not None:
        check_size(announced, limits.max_body)
    size, more, waited = 0, True, 0.0
    loop = asyncio.get_running_loop()
    while more:
        # Only the time that the client takes counts, not the time that whoever reads the chunks takes.
        begun = loop.time()
        allowed = limits.body_seconds + size / limits.body_rate - waited
        try:
            async with asyncio.timeout_at(begun + allowed):
                message = await receive()
        except TimeoutError:
            raise slow_client(size, limits) from None
        waited += loop.time() - begun
        if message["type"] == "http.disconnect":
            raise ClientGone
        data: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(data)
        check_size(size, limits.max_body)
        if data:
            yield data


async def file_parts(handle: int) -> AsyncIterator[bytes]:
    """The file's content, copied with `read`, for whoever left it may still cut it off; closes it."""
    with os.fdopen(handle, "rb", buffering=0) as file:
        while part := file.read(READ_PIECE):
            yield part


async def spool_body(receive: Receive, scope: Scope, file: SpoolFile, limits: DoorLimits) -> None:
    """Write the body into `file`. Raises what `chunks` raises, and `DiskFull`."""
    length = content_length(scope)
    divert: Divert | None = (scope.get("extensions") or {}).get(EXTENSION)
    if divert is not None and length:
        check_size(length, limits.max_body)
        intake = divert(file, length)
        if intake is not None:
            await _watch(intake, limits)
            return
    async for data in chunks(receive, scope, limits):
        with storage_errors("a frame", file.size + len(data)):
            file.write(data)
    if not file.size:
        raise InvalidFrame("The request has no body.", remedy="Send an Arrow stream or a CSV with a header.")


async def _watch(intake: Intake, limits: DoorLimits) -> None:
    """Wait for the whole body, for as long as it comes fast enough."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        while not intake.finished.done():
            received = intake.length - intake.left
            patience = begun + limits.body_seconds + received / limits.body_rate - loop.time()
            if patience <= 0:
                raise slow_client(received, limits)
            await asyncio.wait({intake.finished}, timeout=patience)
        with storage_errors("a frame", intake.length):
            intake.finished.result()
    except ConnectionResetError:
        raise ClientGone from None
    finally:
        intake.finished.cancel()  # what still comes is thrown away: the file is being closed


async def small_body(receive: Receive, scope: Scope, limits: DoorLimits) -> bytes:
    """A body of options, at most 1 MiB."""
    small = DoorLimits(2**20, limits.body_seconds, limits.body_rate)
    return b"".join([data async for data in chunks(receive, scope, small)])


def content_length(scope: Scope) -> int | None:
    """What the client announced, or None."""
    for key, value in scope["headers"]:
        if key == b"content-length":
            return int(value)
    return None


def slow_client(size: int, limits: DoorLimits) -> SlowClient:
    return SlowClient(
        f"The body came too slowly: {size} bytes in {limits.body_seconds:g} s or more.",
        remedy=f"Send at least {limits.body_rate / 1024:g} KiB/s on average, or compress the stream.",
        limit="body_seconds",
        value=limits.body_seconds,
        setting="LABDOCK_BODY_SECONDS",
    )
