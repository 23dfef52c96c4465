"""Splunk's HTTP Event Collector: `/services/collector/event`, `/raw`, `/ack`, `/health`.

Open to the guard, because shippers expect Splunk's own answers to a wrong token: each request needs a personal token
with the capability `send_events` (`Authorization: Splunk <token>`), checked before its body is read.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from labdock_controller.access.rights import OPEN
from labdock_controller.web.guard import needs
from labdock_controller.web.state import services_of
from labdock_search.data.hec_answers import Answer, Refused, answer

if TYPE_CHECKING:
    from labdock_search.data.hec import EventCollector, Sender

router = APIRouter(include_in_schema=False)

PATHS: dict[str, Literal["event", "raw"]] = {
    "/services/collector": "event",
    "/services/collector/1.0": "event",
    "/services/collector/event": "event",
    "/services/collector/event/1.0": "event",
    "/services/collector/raw": "raw",
    "/services/collector/raw/1.0": "raw",
}
# The collector's own limit answers first; this one is for what it would not even read.
LARGEST = 1 << 30


async def receive(request: Request) -> Response:
    """Take events; the answer is sent when they are durable."""
    protocol = await _protocol(request)
    try:
        sender = await asyncio.to_thread(protocol.sender, request.headers, request.query_params)
        body = await _body(request, protocol.max_body)
    except Refused as refused:
        return _response(refused.answer)
    except ClientDisconnect:
        return _response(answer(5))
    client = request.client.host if request.client else ""
    written = await asyncio.to_thread(
        protocol.receive,
        PATHS[request.url.path],
        sender,
        request.headers,
        request.query_params,
        body,
        client,
    )
    return _response(await asyncio.wrap_future(written))


async def acknowledged(request: Request) -> Response:
    """Which acknowledgement ids are durable."""
    protocol = await _protocol(request)
    try:
        sender: Sender = await asyncio.to_thread(protocol.sender, request.headers, request.query_params)
        body = await _body(request, protocol.max_body)
    except Refused as refused:
        return _response(refused.answer)
    headers: Mapping[str, str] = request.headers
    return _response(protocol.acknowledged(sender, headers, request.query_params, body))


async def health(request: Request) -> Response:
    """For load balancers."""
    return _response((await _protocol(request)).health())


async def _protocol(request: Request) -> "EventCollector":
    collector = services_of(request).collector
    return await asyncio.to_thread(lambda: collector.protocol)


async def _body(request: Request, limit: int) -> bytes:
    """The body as it was sent. Raises `Refused` beyond the limit, `ClientDisconnect` where it breaks off."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise Refused(answer(27))
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Refused(answer(27))
        chunks.append(chunk)
    return b"".join(chunks)


def _response(found: Answer) -> Response:
    headers = {"Retry-After": "1"} if found.status == 503 else {}
    return Response(found.body, found.status, headers, media_type="application/json")


# Shippers send many times a second, and what they sent is in the index: an audit row each would drown the audit.
receive.audited = False  # type: ignore[attr-defined]
for _path in PATHS:
    router.add_api_route(_path, needs(OPEN, max_body=LARGEST)(receive), methods=["POST"])
router.add_api_route("/services/collector/ack", needs(OPEN)(acknowledged), methods=["POST"])
for _path in ("/services/collector/health", "/services/collector/health/1.0"):
    router.add_api_route(_path, needs(OPEN)(health), methods=["GET"])
