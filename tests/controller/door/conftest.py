"""A controller's application reduced to what the door needs, on real sockets, and an environment that observes.

The observing environment answers as an environment would and remembers what reached it, byte for byte; tests with the
real environment are in `test_door_real.py`.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from tests.waiting import wait_for

from labdock.errors import Conflict, Forbidden, LabdockError, NotFound, Unauthenticated
from labdock.wire import PROBLEM
from labdock_container import supervise
from labdock_controller.door import SERVER, Destination, Door, DoorLimits, routes
from labdock_controller.web.protocol import ControllerProtocol

STATUS = {"not-found": 404, "conflict": 409, "unauthenticated": 401, "forbidden": 403, "disk-full": 507}
STATUS |= {"launch-error": 502, "transport-error": 502}


class Host:
    """The controller's side: three users, and environments by name."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.users: dict[str, set[str]] = {
            "alice": {"search", "control_environments"},
            "bob": {"search", "control_environments"},
            "viewer": {"list_environments"},
        }
        self.environments: dict[str, tuple[str, Destination | None]] = {}
        self.records: list[tuple[str, dict[str, Any], dict[str, Any], str]] = []
        self.notes: list[tuple[str, dict[str, Any], dict[str, Any], str]] = []
        self.noting: Callable[[], None] = lambda: None
        self.record_begins: Callable[[], None] = lambda: None
        self.limit = DoorLimits()
        self.ours: frozenset[str] = frozenset()

    async def authorize(self, connection: HTTPConnection, capability: str) -> str:
        bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
        user = (bearer or connection.cookies.get("labdock_session", "")).removesuffix("-token")
        if user not in self.users:
            raise Unauthenticated("No valid token.", remedy="labdock login")
        if capability not in self.users[user]:
            raise Forbidden(f"{user} lacks {capability}.", remedy="Ask an admin.")
        return user

    async def destination(self, principal: str, name: str, *, jupyter: bool) -> Destination:
        if name not in self.environments:
            raise NotFound(f"There is no environment named {name!r}.", kind="environment", name=name, nearest=None)
        owner, destination = self.environments[name]
        if jupyter and owner != principal:
            raise Forbidden(f"{name} is {owner}'s.", remedy="Ask its owner.")
        if destination is None:
            raise Conflict(f"The environment {name!r} is stopped.", remedy=f"Start it: labdock start {name}.")
        return destination

    async def admit(self, principal: str, environment: str, action: str, options: dict[str, Any]) -> None:
        if options.get("sharing") and principal != "alice":
            raise Forbidden(f"{principal} may not share.", remedy="Ask an admin.")

    def note(self, environment: str, job: dict[str, Any], options: dict[str, Any], principal: str) -> str:
        self.noting()
        self.notes.append((environment, job, options, principal))
        return str(len(self.notes) - 1)

    def record(self, note: str) -> None:
        self.record_begins()
        if self.notes[int(note)] not in self.records:
            self.records.append(self.notes[int(note)])

    def spool_folder(self) -> Path:
        return self.run / "spool"

    def limits(self) -> DoorLimits:
        return self.limit

    def origins(self) -> frozenset[str]:
        return self.ours

    def cookies(self) -> frozenset[str]:
        return frozenset({"labdock_session"})


async def problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LabdockError)
    status = STATUS.get(error.code, 400)
    return JSONResponse({**error.to_problem(), "status": status}, status, media_type=PROBLEM)


class Served:
    """An ASGI application on a Unix socket and on a TCP port, in a thread with its own loop."""

    def __init__(self, app: Any, path: Path, **settings: Any) -> None:
        self.path = path
        config = uvicorn.Config(app, log_config=None, lifespan="off", loop="uvloop", **settings)
        self.server = uvicorn.Server(config)
        inner = socket.socket(socket.AF_UNIX)
        inner.bind(str(path))
        outer = socket.create_server(("127.0.0.1", 0))
        self.port: int = outer.getsockname()[1]
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve([inner, outer])))
        self.thread.start()
        wait_for(lambda: self.server.started)

    async def _serve(self, sockets: list[socket.socket]) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve(sockets)

    def run(self, coroutine: Any) -> Any:
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.path.unlink(missing_ok=True)


class Client(http.client.HTTPConnection):
    """http.client on a Unix socket."""

    def __init__(self, path: Path, timeout: float = 20) -> None:
        super().__init__("localhost", timeout=timeout)
        self.unix = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.unix))


class DoorUnderTest:
    """The host, its server, and shorthands for requests."""

    def __init__(self, host: Host, served: Served, door: Door) -> None:
        self.host, self.served, self.door = host, served, door

    @staticmethod
    def descriptors() -> int:
        """How many files this process has open; the servers are in it."""
        return len(list(Path("/proc/self/fd").iterdir()))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        user: str = "alice",
        tcp: bool = False,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = (
            http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=20) if tcp else Client(self.served.path)
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Authorization": f"Bearer {user}-token", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()


class Environment:
    """An environment that remembers: requests, the spooled frame's content, and whether its caller left."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.requests: list[dict[str, Any]] = []
        self.left = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.answer: tuple[int, list[tuple[bytes, bytes]], list[bytes]] = (200, [], [b"an answer"])
        self.behave: Callable[[Any, Any, Any], Any] | None = None  # in place of all below
        self.job: dict[str, Any] = {"id": "j1", "kind": "fit", "status": "done", "model": "m", "version": 3}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.behave is not None:
            await self.behave(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        spooled = self.run / "spool" / headers.get("labdock-spool", "none")
        seen = {
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": headers,
            "body": body,
            "frame": spooled.read_bytes() if spooled.is_file() else None,
            "mode": spooled.stat().st_mode & 0o777 if spooled.is_file() else None,
        }
        spooled.unlink(missing_ok=True)  # as the contract says
        self.requests.append(seen)
        if seen["path"].startswith("/v1/jobs/") and seen["path"].count("/") == 3:
            await self._send(send, (200, [], [json.dumps(self.job).encode()]))
            return
        if seen["path"] == "/v1/models/m":
            versions = [{"version": 2, "metrics": "old"}, {"version": 3, "metrics": "new", "rows": 7}]
            await self._send(send, (200, [], [json.dumps({"name": "m", "versions": versions}).encode()]))
            return
        if seen["path"].startswith("/v1/models/"):
            await self._send(send, (404, [], [b'{"code": "not-found"}']))
            return
        watcher = asyncio.create_task(self._watch(receive))
        try:
            while not self.go.is_set() and not self.left.is_set():
                await asyncio.sleep(0.005)
            await self._send(send, self.answer)
        finally:
            watcher.cancel()

    async def _watch(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()

    async def _send(self, send: Any, answer: tuple[int, list[tuple[bytes, bytes]], list[bytes]]) -> None:
        status, headers, parts = answer
        length = [(b"content-length", str(sum(map(len, parts))).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*length, *headers]})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
def short() -> Iterator[Path]:
    """A short folder on tmpfs, where the run folder lies in real life."""
    folder = Path(tempfile.mkdtemp(prefix="ld-", dir="/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=[ControllerProtocol])
def door(request: Any, short: Path) -> Iterator[DoorUnderTest]:
    """Behind the protocol that the controller uses; `plain_protocol` takes uvicorn's own."""
    host = Host(short)
    the_door = Door(host)
    app = Starlette(routes=routes(the_door), exception_handlers={LabdockError: problem})
    served = Served(app, short / "controller.sock", http=request.param, **SERVER)
    yield DoorUnderTest(host, served, the_door)
    served.run(the_door.close())
    served.stop()


@pytest.fixture
def environment(door: DoorUnderTest, short: Path) -> Iterator[Environment]:
    """`__dev__`, alice's, sharing its run folder."""
    run = short / "0123456789ab"
    (run / "spool").mkdir(parents=True)
    it = Environment(run)
    served = Served(it, run / "api.sock")
    address = f"unix:{served.path}"
    door.host.environments["__dev__"] = ("alice", Destination("0123456789ab", "__dev__", address, None, "inner", run))
    yield it
    it.go.set()
    served.stop()


@pytest.fixture
def remote(door: DoorUnderTest, environment: Environment) -> Environment:
    """The same environment as one of a runtime that shares no folder."""
    _, known = door.host.environments["__dev__"]
    assert known is not None
    door.host.environments["__dev__"] = ("alice", Destination(known.id, known.name, known.api, None, known.token, None))
    return environment


@pytest.fixture(scope="session")
def served_environment() -> Iterator[Path]:
    """A real environment's API with one module; its run folder."""
    folder = Path(tempfile.mkdtemp(prefix="le-", dir="/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"))
    notebooks, run = folder / "notebooks", folder / "run"
    (notebooks / "modules").mkdir(parents=True)
    (notebooks / "modules" / "scale.py").write_text(MODULE)
    (run / "spool").mkdir(parents=True)
    (run / "token").write_text("inner")
    variables = {**os.environ, "LABDOCK_NOTEBOOKS": str(notebooks), "LABDOCK_RUN_FOLDER": str(run)}
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "labdock_container", "serve"], env=variables, stdout=log, stderr=log, cwd=folder
        )

    def healthy() -> bool:
        assert process.poll() is None, (folder / "api.log").read_text()
        with contextlib.suppress(OSError), contextlib.closing(Client(run / "api.sock")) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    wait_for(healthy, 60)
    yield run
    process.terminate()
    process.wait(20)
    shutil.rmtree(folder)


MODULE = """
import time

import pandas as pd


def init(df, param):
    return {"scale": float(param["options"]["params"].get("scale", 1))}


def fit(model, df, param):
    for _ in range(int(param["options"]["params"].get("steps", 0))):
        print("a step", flush=True)
        time.sleep(0.05)
    return {"rows": len(df)}


def apply(model, df, param):
    return pd.DataFrame({"y": df["x"] * model["scale"]})


def summary(model=None):
    return {"scale": "known"}
"""


class JupyterLab:
    """A real JupyterLab with the environment's own configuration, on its Unix socket."""

    def __init__(self, folder: Path, name: str = "__dev__") -> None:
        self.name = name
        self.notebooks, self.run = folder / "notebooks", folder / "run"
        self.notebooks.mkdir()
        self.run.mkdir()
        self.token = "the-environments-own-token"
        (self.run / "token").write_text(self.token)
        self.base = f"/environments/{name}/jupyter/"
        self.log = folder / "jupyter.log"
        self.start()

    @property
    def socket(self) -> Path:
        return self.run / "jupyter.sock"

    def start(self) -> None:
        config = Path(supervise.__file__).parent / "jupyter" / "jupyter_server_config.py"
        variables = {
            **os.environ,
            "LABDOCK_NOTEBOOKS": str(self.notebooks),
            "LABDOCK_RUN_FOLDER": str(self.run),
            "LABDOCK_BASE_URL": self.base,
            **supervise.jupyter_folders(self.notebooks, self.run),
        }
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", f"--config={config}"],
                env=variables,
                cwd=self.notebooks,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._answers, 60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(OSError), contextlib.closing(Client(self.socket)) as connection:
            connection.request("GET", self.base + "api", headers={"Authorization": f"token {self.token}"})
            return connection.getresponse().status == 200
        return False

    def kill(self) -> None:
        """As the kernel of the machine would: no goodbye. Its kernels watch their parent and end too."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@pytest.fixture(scope="session")
def jupyterlab() -> Iterator[JupyterLab]:
    folder = Path(tempfile.mkdtemp(prefix="lj-", dir="/tmp"))
    it = JupyterLab(folder)
    yield it
    it.stop()
    shutil.rmtree(folder)


@pytest.fixture
def lab(door: DoorUnderTest, jupyterlab: JupyterLab) -> JupyterLab:
    """The real JupyterLab behind the door as `__dev__`, alice's."""
    place = Destination("0123456789ab", "__dev__", "unix:/nowhere", f"unix:{jupyterlab.socket}", jupyterlab.token, None)
    door.host.environments["__dev__"] = ("alice", place)
    return jupyterlab
