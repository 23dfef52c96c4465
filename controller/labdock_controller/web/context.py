"""Around the whole application: a request id, the list of hosts, headers for browsers, one log line a request."""

import secrets
import time
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from labdock.errors import Forbidden
from labdock_controller.settings import Settings
from labdock_controller.web.problems import respond

log = structlog.get_logger("labdock.web")
REQUEST_HEADER = "Labdock-Request"
LOCAL = {"127.0.0.1", "localhost", "::1"}
EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - compared with, not listened on


def known_hosts(settings: Settings) -> frozenset[str]:
    """Names under which the controller may be addressed. A page that rebinds its own name to us is not among them."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return frozenset(LOCAL | ({settings.host} - EVERYWHERE) | set(settings.hosts) | ({public} if public else set()))


class Context:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.hosts = known_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        identifier = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = identifier
        began = time.monotonic()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers[REQUEST_HEADER] = identifier
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if self._is_known(scope):
                await self.app(scope, receive, watch)
            else:
                await self._refuse(scope, receive, watch, identifier)
        finally:
            # The path only: a query may hold a sign-in ticket.
            log.debug("request", id=identifier, path=scope["path"], status=status, seconds=time.monotonic() - began)

    def _is_known(self, scope: Scope) -> bool:
        server = scope.get("server")
        if server is None or server[1] is None:
            return True  # a Unix socket: no browser comes this way
        host = Headers(scope=scope).get("host", "")
        try:
            return urlsplit(f"//{host}").hostname in self.hosts
        except ValueError:
            return False

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, identifier: str) -> None:
        error = Forbidden(
            f"The controller is not known as {Headers(scope=scope).get('host', '')[:100]!a}.",
            remedy="Use its own address, or name this one in LABDOCK_HOSTS.",
        )
        answer = respond(error, identifier, path=scope["path"])
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(answer)
        else:
            await answer(scope, receive, send)
