"""Real servers for the measurements: a controller with an environment, the peer's way, and the limit's copy."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labdock
from benchmarks.modules import CONSTANT, TRAINING
from labdock.connection import Connection
from labdock.home import ControllerAddress

REPOSITORY = Path(__file__).parent.parent


def until(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """The condition's value once it holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not come true within {seconds} s")


@contextlib.contextmanager
def process(command: list[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that it started, ended with the block."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the blocks around are left
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    with log.open("ab") as out:
        started = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)


@dataclass(frozen=True)
class Setup:
    """Everything that is measured, running side by side."""

    direct: Connection
    door: Connection
    peer: Path
    limit: Path
    run: Path  # the environment's run folder
    notebooks: Path

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.direct.call("GET", "/health")
        return answer


@contextlib.contextmanager
def everything(*, workers: int = 0) -> Iterator[Setup]:
    """Start a controller, its environment `bench` with the modules, the peer's server and the limit's."""
    folder = Path(tempfile.mkdtemp(prefix="ldb-", dir="/tmp"))
    run = Path(tempfile.mkdtemp(prefix="ldb-", dir="/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"))
    try:
        with contextlib.ExitStack() as stack:
            lab, environment = stack.enter_context(_controller(folder, run, workers))
            notebooks = folder / "home" / "environments" / environment / "notebooks"
            for name, text in (("constant", CONSTANT), ("training", TRAINING)):
                (notebooks / "modules").mkdir(parents=True, exist_ok=True)
                (notebooks / "modules" / f"{name}.py").write_text(text)
            module = folder / "constant.py"
            module.write_text(CONSTANT)
            peer, limit = run / "peer.sock", run / "limit.sock"
            python = [sys.executable, "-m"]
            for command in (
                [*python, "benchmarks.peer_server", str(peer), str(module), str(folder)],
                [*python, "benchmarks.limit_server", str(limit), str(module)],
            ):
                stack.enter_context(process(command, folder / "servers.log"))
            until(lambda: answers(peer) and answers(limit), f"the servers' start (see {folder}/servers.log)")
            inner = run / environment
            direct = Connection(f"unix:{inner / 'api.sock'}", (inner / "token").read_text().strip())
            yield Setup(direct, lab.connection, peer, limit, inner, notebooks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    return True


@contextlib.contextmanager
def _controller(folder: Path, run: Path, workers: int) -> Iterator[tuple[Any, str]]:
    home = folder / "home"
    home.mkdir()
    variables = {"LABDOCK_HOME": str(home), "LABDOCK_RUN": str(run), "LABDOCK_PORT": "0"}
    if workers:
        variables["LABDOCK_WORKERS"] = str(workers)
    command = [sys.executable, "-m", "labdock_controller", "serve"]
    with process(command, folder / "controller.log", **variables) as controller:

        def address() -> ControllerAddress | None:
            if controller.poll() is not None:
                raise RuntimeError((folder / "controller.log").read_text()[-3000:])
            return ControllerAddress.read(home)

        found: ControllerAddress = until(address, "the controller's start")
        os.environ["LABDOCK_HOME"] = str(home)
        with contextlib.closing(labdock.connect(found.url, found.token)) as over_tcp:
            environment = over_tcp.environments.start("bench", mode="prod", progress=False)
            connection = Connection(f"unix:{found.socket}", found.token)
            over_tcp.connection = connection
            try:
                yield over_tcp, str(environment.record["id"])
            finally:
                environment.stop()


def peer_request(path: Path) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """One kept connection to the peer's server; gives a function from route and content to the answer."""
    import http.client  # noqa: PLC0415

    class Unix(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(path))

    connection = Unix("localhost")

    def ask(route: str, content: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(content).encode()
        connection.request("POST", route, body, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        if answer["status"] not in {"success", "staged"}:
            raise RuntimeError(answer["message"])
        return answer

    return ask
