"""Runs a controller in the foreground: takes its place, listens on TCP and on the Unix socket, ends in order."""

import asyncio
import errno
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvicorn
from fastapi import FastAPI

import labdock
from labdock.errors import Conflict, LabdockError
from labdock.home import ControllerAddress, make_private, write_atomically
from labdock_controller.door import SERVER
from labdock_controller.instance import Instance, shown
from labdock_controller.runtimes.base import Runtime
from labdock_controller.services import Services, assemble
from labdock_controller.settings import Settings
from labdock_controller.store import Store
from labdock_controller.web.app import create_app
from labdock_controller.web.context import EVERYWHERE
from labdock_controller.web.protocol import ControllerProtocol
from labdock_controller.web.routes.session import sign_in_link

log = structlog.get_logger("labdock.server")
SOCKET = "controller.sock"
TOKEN_FILE = "owner.token"  # noqa: S105 - a file's name
TOKEN_NAME = "this-machine"  # noqa: S105
GRACE = 5
BACKLOG = 512


class Listener(uvicorn.Server):
    """Uvicorn without its own signal handling: one handler ends both listeners and the streams first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(settings: Settings, runtimes: dict[str, Runtime] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code. Environments go on."""
    make_private(settings.home)
    make_private(settings.run_folder)
    settings = with_certificate(settings)
    store = Store(settings.store_url)
    instance = Instance(settings.home, store)
    try:
        instance.take()
    except LabdockError:
        store.close()
        raise
    try:
        services = assemble(settings, store, runtimes)
    except LabdockError:
        instance.leave()
        store.close()
        raise
    server = Server(services, instance)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(server.serve())
    finally:
        instance.leave()
        store.close()


def with_certificate(settings: Settings) -> Settings:
    """The settings, with a certificate of our own where HTTPS is wanted and none is given."""
    if not settings.tls or settings.tls_certificate:
        return settings
    from labdock_controller import certificate  # noqa: PLC0415 - cryptography is needed for this alone

    public = urlsplit(settings.public_url).hostname or ""
    own = "" if settings.host in EVERYWHERE else settings.host
    path, key = certificate.ensure(settings.home, [own, public, *settings.hosts])
    return settings.model_copy(update={"tls_certificate": path, "tls_key": key})


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows

        return uvloop.new_event_loop
    except ImportError:
        return None


class Server:
    def __init__(self, services: Services, instance: Instance) -> None:
        self._services = services
        self._settings = services.settings
        self._instance = instance
        self._end = asyncio.Event()
        self._lost: dict[str, Any] | None = None

    async def serve(self) -> int:
        """Listen until told to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        with self._tcp_socket() as tcp, self._unix_socket() as unix:
            port = tcp.getsockname()[1]
            self._services.url = f"{self._settings.scheme}://{_shown_host(self._settings.host)}:{port}"
            self._instance.holder["url"] = self._services.url
            self._instance.start(partial(self._lost_to, loop))
            app = create_app(self._services)
            listeners = [self._listener(app, tls=True), self._listener(app, tls=False)]
            tasks = [asyncio.create_task(one.serve([s])) for one, s in zip(listeners, (tcp, unix), strict=True)]
            try:
                while not all(one.started for one in listeners):
                    if any(task.done() for task in tasks):
                        await asyncio.gather(*tasks)
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(self._ready)
                await self._end.wait()
            finally:
                await self._shut_down(app, listeners, tasks)
        return self._farewell()

    def _ready(self) -> None:
        """Everything answers: say where, and begin to act."""
        users, tokens = self._services.users, self._services.tokens
        owner = users.ensure_owner()
        kept = self._settings.home / TOKEN_FILE
        first = not kept.exists()
        token = "" if first else kept.read_text().strip()
        if not token or tokens.authenticate(token, "token") is None:
            for old in tokens.of(owner.id):
                if old.name == TOKEN_NAME:
                    tokens.revoke(old.id, owner.id)
            _, token = tokens.create(owner.id, TOKEN_NAME)
            write_atomically(kept, token.encode())
        self._services.start()
        line = f"Labdock {labdock.__version__} is ready at {self._services.url}"
        if first:
            link = sign_in_link(self._services, tokens.issue_ticket(owner.id))
            line += f" - sign in once, within five minutes: {link}"
        print(line, flush=True)
        # Last: whoever finds the file finds everything else done.
        path = str(self._settings.run_folder / SOCKET)
        trusted = str(self._settings.tls_certificate or "")
        ControllerAddress(self._services.url, path, token, os.getpid(), trusted).write(self._settings.home)

    async def _shut_down(self, app: FastAPI, listeners: list[Listener], tasks: list["asyncio.Task[None]"]) -> None:
        self._services.events.close()  # open streams end by themselves, or the listeners would wait for them
        for one in listeners:
            one.should_exit = True
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await app.state.door.close()
        await self._services.fits.written()
        await asyncio.to_thread(self._services.close)
        if self._lost is None:
            (self._settings.home / "controller.json").unlink(missing_ok=True)

    def _lost_to(self, loop: asyncio.AbstractEventLoop, holder: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(self._lose, holder)

    def _lose(self, holder: dict[str, Any]) -> None:
        self._lost = holder
        self._end.set()

    def _farewell(self) -> int:
        if self._lost is None:
            return 0
        print(f"Another controller took over: {shown(self._lost)}.", file=sys.stderr, flush=True)
        return 1

    def _listener(self, app: FastAPI, *, tls: bool) -> Listener:
        files: dict[str, Any] = {}
        if tls and self._settings.tls_certificate:
            files = {"ssl_certfile": self._settings.tls_certificate, "ssl_keyfile": self._settings.tls_key}
        config = uvicorn.Config(
            app,
            http=ControllerProtocol,  # type: ignore[arg-type]  # a subclass of uvicorn's own, which are typed more narrowly
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
            backlog=BACKLOG,
            **SERVER,
            **files,
        )
        try:
            config.load()
        except (ssl.SSLError, OSError) as error:
            raise Conflict(
                f"The certificate {self._settings.tls_certificate} cannot be used: {error}.",
                remedy="Check LABDOCK_TLS_CERTIFICATE and LABDOCK_TLS_KEY.",
            ) from None
        return Listener(config)

    def _tcp_socket(self) -> socket.socket:
        deadline = time.monotonic() + GRACE
        while True:
            try:
                return self._bound()
            except OSError as error:
                # A frozen controller whose place this one took still listens; once it is ended the port is free.
                if error.errno == errno.EADDRINUSE and self._instance.replaced and time.monotonic() < deadline:
                    self._instance.end_replaced()
                    time.sleep(0.05)
                    continue
                raise Conflict(
                    f"{self._settings.host}:{self._settings.port} cannot be listened on: {error.strerror}.",
                    remedy="Choose another port with --port (0 picks a free one), or end what uses it.",
                    port=self._settings.port,
                ) from None

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self._settings.host, self._settings.port))
            made.listen(BACKLOG)
        except OSError:
            made.close()
            raise
        return made

    @contextmanager
    def _unix_socket(self) -> Iterator[socket.socket]:
        path: Path = self._settings.run_folder / SOCKET
        path.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)  # nobody else can connect, not even before a chmod
            try:
                made.bind(str(path))
            finally:
                os.umask(before)
            made.listen(BACKLOG)
            mine = path.stat().st_ino
            yield made
            with suppress(FileNotFoundError):
                if path.stat().st_ino == mine:  # not that of a controller that took over
                    path.unlink()
        finally:
            made.close()


def _shown_host(host: str) -> str:
    if host in EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
