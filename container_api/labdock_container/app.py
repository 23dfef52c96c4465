"""The environment's API: which path leads where, who may, and the server that listens."""

import contextlib
import hmac
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from labdock.errors import LabdockError, Unauthenticated
from labdock_container import staged
from labdock_container.context import Context
from labdock_container.protocol import EnvironmentProtocol
from labdock_container.routes import jobs, models, outbox, peer, service
from labdock_container.routes.frames import FrameRoute
from labdock_container.routes.problems import problem
from labdock_container.routes.tasks import answer_problem
from labdock_container.settings import Settings

log = logging.getLogger("labdock.api")
_KEEP_ALIVE = 75
# What the controller asks by itself is no use of the environment: it would never be idle.
UNNOTICED = ("/metrics", "/v1/activity", "/v1/models", "/v1/outbox")


class Gate:
    """Outermost: counts the request, refuses it without the token, and sends frames past FastAPI."""

    def __init__(self, app: Any, context: Context) -> None:
        self._app = app
        self._context = context
        self._direct: dict[tuple[str, str], Any] = {
            **{("POST", f"/v1/{kind}"): FrameRoute(context, kind) for kind in ("stage", "fit", "apply", "summary")},
            **peer.routes(context),
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path != "/health":
                if not self._allowed(scope["headers"]):
                    await self._refuse(scope, send)
                    return
                if path not in UNNOTICED:
                    self._context.last_request = time.time()
            if route := self._direct.get((scope["method"], path)):
                await route(scope, receive, send)
                return
            if scope["method"] == "GET" and path.startswith("/graphics/"):
                await peer.graphics(self._context, path, send)
                return
        await self._app(scope, receive, send)

    def _allowed(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = next((v for k, v in headers if k == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        try:
            expected = self._context.token.value
        except OSError:
            return False
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), expected)

    async def _refuse(self, scope: Any, send: Any) -> None:
        given = any(k == b"authorization" for k, _ in scope["headers"])
        if peer.is_peer_path(scope["path"]):
            await peer.refuse(send, given)
            return
        error = Unauthenticated(
            "The token is wrong." if given else "The request has no token.",
            remedy="Send `Authorization: Bearer <token>` with the environment's token.",
        )
        await answer_problem(send, error)


def create_app(context: Context) -> Any:
    """The ASGI application of one environment."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        context.spool.prepare()
        context.jobs.recover()
        context.models.clean()
        staged.clean(context.settings.data, nobody_writes=True)
        context.pool.start()
        log.info("listening; %d workers start", context.settings.workers)
        try:
            yield
        finally:
            await context.jobs.settle()
            await context.pool.stop()
            context.spool.close()

    app = FastAPI(title="Labdock environment", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.context = context
    for module in (service, models, outbox, jobs):
        app.include_router(module.router)

    @app.exception_handler(LabdockError)
    async def on_error(_: Request, error: LabdockError) -> Response:
        status, headers, body = problem(error)
        return Response(body, status, {k.decode(): v.decode() for k, v in headers})

    return Gate(app, context)


def serve(settings: Settings | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit status. Raises `InvalidOptions` for a wrong setting."""
    settings = settings or Settings.from_environment()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for folder in (settings.notebooks, settings.data, settings.models, settings.notebooks / "modules"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        context = Context.create(settings)
    except (OSError, ValueError) as error:
        log.error("cannot start: %s; write the environment's token there first", error)
        return 2
    listener = _listen(settings)
    config = uvicorn.Config(
        create_app(context),
        http=EnvironmentProtocol,  # type: ignore[arg-type]  # the loop takes a BufferedProtocol too
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=5,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)

    def leave(*_: object) -> None:
        """uvicorn raises the signal that ended it once more; that must not end us before the socket is removed."""
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    server.run(sockets=[listener])
    with contextlib.suppress(OSError):
        if not settings.listen:
            settings.socket.unlink()
    return 0 if server.started else 1


def _listen(settings: Settings) -> socket.socket:
    if settings.listen:
        host, _, port = settings.listen.rpartition(":")
        return socket.create_server((host.strip("[]"), int(port)), family=_family(host), backlog=512)
    with contextlib.suppress(FileNotFoundError):
        settings.socket.unlink()  # a killed server leaves its socket
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        listener.bind(str(settings.socket))
    finally:
        os.umask(old)
    listener.listen(512)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
