"""The guard before every route: who asks, may they, from which page, with how large a body; and the audit row.

Deny by default: `protect` wraps every route, mount and WebSocket of the application. One whose endpoint does not name
a capability (`needs`, or an attribute `capability`) lets nobody in.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from labdock.errors import LabdockError, LimitExceeded, RequestError
from labdock.wire import KERNEL_TOKEN
from labdock_controller import kernels
from labdock_controller.access.rights import OPEN, Principal, decide
from labdock_controller.audit import Entry
from labdock_controller.door.origin import check_origin
from labdock_controller.services import Services
from labdock_controller.settings import Settings
from labdock_controller.web.problems import Problem, request_id, respond, status_of

UNLISTED = "unlisted"
SMALL_BODY = 1_048_576
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
F = TypeVar("F", bound=Callable[..., Any])


def needs(capability: str, *, max_body: int = SMALL_BODY) -> Callable[[F], F]:
    """Name the capability of a route's endpoint: one of `rights.CAPABILITIES`, `OPEN` or `SIGNED_IN`."""

    def mark(endpoint: F) -> F:
        endpoint.capability = capability  # type: ignore[attr-defined]
        endpoint.max_body = max_body  # type: ignore[attr-defined]
        return endpoint

    return mark


def capability_of(route: BaseRoute) -> str:
    """What a route names; `UNLISTED` where it names nothing."""
    target = route.app if isinstance(route, Mount) else getattr(route, "endpoint", None)
    return str(getattr(target, "capability", UNLISTED))


def protect(routes: Iterable[BaseRoute], services: Services) -> None:
    """Put a guard before each route. Call it once, when all routes are there."""
    for route in routes:
        if not isinstance(route, Route | WebSocketRoute | Mount):
            raise TypeError(f"{route!r} cannot be guarded")
        target = route.app if isinstance(route, Mount) else route.endpoint
        limit, audited = getattr(target, "max_body", None), getattr(target, "audited", True)
        route.app = Guard(route.app, services, capability_of(route), route.path, limit, audited)


def session_cookie(settings: Settings) -> str:
    """The cookie's name; with TLS a browser binds it to this host and path."""
    return "__Host-labdock_session" if settings.scheme == "https" else "labdock_session"


def origins(settings: Settings) -> frozenset[str]:
    """Origins that are this controller besides the one in Host."""
    return frozenset({settings.public_url.rstrip("/")} - {""})


async def authenticate(connection: HTTPConnection, services: Services) -> Principal | None:
    """Who asks: by token, else by cookie. A wrong token does not fall back to the cookie."""
    scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
    if scheme:
        kind, secret = ("token", secret.strip()) if scheme.lower() in ("bearer", "token") else ("", "")
    else:
        kind, secret = "session", connection.cookies.get(session_cookie(services.settings), "")
    if not kind or not secret:
        return None
    if kind == "token" and secret.startswith(KERNEL_TOKEN):
        return await asyncio.to_thread(services.kernels.authenticate, secret)
    known = services.tokens.cached(secret, kind)
    return known or await asyncio.to_thread(services.tokens.authenticate, secret, kind)


def require(connection: HTTPConnection, capability: str) -> Principal:
    """Who asks, if they hold the capability; inside a guarded route. Raises `Unauthenticated` or `Forbidden`."""
    principal = decide(connection.scope["state"].get("principal"), capability)
    if principal is None:
        raise TypeError("an open route asked for a principal")
    return principal


class Guard:
    """An ASGI application around one route's."""

    def __init__(
        self,
        app: ASGIApp,
        services: Services,
        capability: str,
        path: str,
        max_body: int | None = None,
        audited: bool = True,
    ) -> None:
        self.app = app
        self.services = services
        self.capability = capability
        self.path = path
        self.max_body = max_body
        self.audited = audited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if self.max_body is not None:
            receive = Body(receive, self.max_body, self.services.settings)
            await self.services.fits.written()
        if scope["method"] in SAFE or not self.audited:
            await self._admit(connection)
            await self.app(scope, receive, send)
            return
        send = Audited(send, self, connection)
        try:
            await self._admit(connection)
            await self.app(scope, receive, send)
        except LabdockError as error:
            await send.note(status_of(error))
            raise
        except Exception:
            await send.note(500)
            raise

    async def _admit(self, connection: HTTPConnection) -> None:
        principal = await authenticate(connection, self.services)
        connection.scope.setdefault("state", {})["principal"] = principal
        kernels.check_path(principal, self.path)
        decide(principal, self.capability)
        websocket = connection.scope["type"] == "websocket"
        if websocket or self.capability == OPEN or (principal is not None and principal.via == "session"):
            by_page = self.capability != OPEN or connection.headers.get("origin") is not None
            if by_page and not (websocket and principal is not None and principal.via == "token"):
                check_origin(connection, origins(self.services.settings))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = WebSocket(scope, receive, send)
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] in ("websocket.accept", "websocket.close", "websocket.http.response.start")
            await send(message)

        try:
            await self._admit(connection)
            await self.app(scope, receive, watch)
        except LabdockError as error:
            if begun:
                raise
            await connection.send_denial_response(respond(error, request_id(connection)))


class Audited:
    """Passes the answer on once its audit row is written."""

    def __init__(self, send: Send, guard: Guard, connection: HTTPConnection) -> None:
        self._send = send
        self._guard = guard
        self._connection = connection
        self._noted = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.note(message["status"])
        await self._send(message)

    async def note(self, status: int) -> None:
        """Once for each request. Frames do not wait for the row, everything else does."""
        if self._noted:
            return
        self._noted = True
        scope = self._connection.scope
        principal: Principal | None = scope["state"].get("principal")
        entry = Entry(
            user=principal.user if principal else "",
            via=principal.via if principal else "none",
            credential_id=principal.credential_id if principal else "",
            action=f"{scope['method']} {self._guard.path}",
            object=scope["path"],
            status=status,
            request_id=request_id(self._connection),
            address=self._connection.client.host if self._connection.client else "socket",
        )
        if self._guard.max_body is None or principal is None:
            self._guard.services.audit.write_later(entry)
        else:
            await asyncio.to_thread(self._guard.services.audit.write, entry)


class Body:
    """A request's body with an end: in bytes, and in time while the client pauses or trickles."""

    def __init__(self, receive: Receive, limit: int, settings: Settings) -> None:
        self._receive = receive
        self._limit = limit
        self._settings = settings
        self._bytes = 0
        self._waited = 0.0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        patience = self._settings.body_seconds + self._bytes / self._settings.body_rate - self._waited
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, patience))
        except TimeoutError:
            raise Problem(
                RequestError(
                    f"The request's body came too slowly: {self._bytes} bytes in {self._settings.body_seconds:g} s.",
                    remedy="Send it again over a faster connection, or raise LABDOCK_BODY_SECONDS.",
                ),
                408,
            ) from None
        self._waited += time.monotonic() - began
        self._bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._bytes > self._limit:
            raise Problem(
                LimitExceeded(
                    f"The request's body is larger than {self._limit} bytes.",
                    remedy="Send less; this address takes options, not data.",
                    limit="max_body",
                    value=self._limit,
                    setting="",
                ),
                413,
            )
        return message
