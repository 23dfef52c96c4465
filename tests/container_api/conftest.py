"""A real environment API on a Unix socket, modules written as files, and a small client that shares no code with it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from tests.waiting import wait_for

ARROW = "application/vnd.apache.arrow.stream"
TOKEN = "a-token-of-this-test"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("environment", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def table(self) -> pa.Table:
        assert self.status == 200, self.body
        return pa.ipc.open_stream(self.body).read_all()

    @property
    def info(self) -> dict[str, Any]:
        return json.loads(self.table.schema.metadata[b"labdock.info"])


def arrow_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@dataclass
class EnvironmentAPI:
    """One environment API as a process of its own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    token: str = TOKEN
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.notebooks = self.folder / "notebooks"
        self.run = self.folder / "run"
        self.socket = self.run / "api.sock"
        self.log = self.folder / "api.log"
        (self.notebooks / "modules").mkdir(parents=True, exist_ok=True)
        (self.run / "spool").mkdir(parents=True, exist_ok=True, mode=0o700)
        token = self.run / "token"
        token.write_text(self.token)
        token.chmod(0o600)

    def start(self, wait: bool = True) -> "EnvironmentAPI":
        variables = {
            **os.environ,
            "LABDOCK_NOTEBOOKS": str(self.notebooks),
            "LABDOCK_RUN_FOLDER": str(self.run),
            "LABDOCK_WORKERS": "2",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "labdock_container", "serve"]
            self.process = subprocess.Popen(
                command, env=variables, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        if wait:
            wait_for(self.ready, 60, "the API's /health")
        return self

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.request("GET", "/health").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def processes(self) -> list[psutil.Process]:
        """The API's and everything below it."""
        assert self.process is not None
        try:
            return [p := psutil.Process(self.process.pid), *p.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """The processes that the nursery forked."""
        below = self.processes()[1:]
        nurseries = [p for p in below if p.ppid() == self.process.pid]  # type: ignore[union-attr]
        return [p for n in nurseries for p in n.children()]

    def module(self, name: str, source: str) -> None:
        """Write a module as Jupyter's hook would: whole, by rename."""
        part = self.notebooks / "modules" / f".{name}.part"
        part.write_text(textwrap.dedent(source))
        part.replace(self.notebooks / "modules" / f"{name}.py")

    def connection(self, timeout: float = 60) -> UnixConnection:
        return UnixConnection(self.socket, timeout)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
        token: str | None = "",
    ) -> Reply:
        """`token`: empty for the right one, None for none."""
        fields = dict(headers or {})
        if token is not None:
            fields.setdefault("Authorization", f"Bearer {token or self.token}")
        connection = self.connection(timeout)
        try:
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def frame(
        self,
        action: str,
        table: pa.Table | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = ARROW,
        timeout: float = 60,
        **options: Any,
    ) -> Reply:
        """POST a frame to `/v1/<action>`."""
        fields = {"Labdock-Options": json.dumps(options), "Content-Type": content_type, **(headers or {})}
        content = body if body is not None else arrow_bytes(table) if table is not None else b""
        return self.request("POST", f"/v1/{action}", content, fields, timeout)


@pytest.fixture(scope="module")
def start_api() -> Iterator[Callable[..., EnvironmentAPI]]:
    """Starts environment APIs; afterwards no process and no folder of theirs is left."""
    started: list[EnvironmentAPI] = []

    def start(wait: bool = True, prepare: Callable[[EnvironmentAPI], None] | None = None, **variables: str) -> Any:
        # Not tmp_path: a socket's path ends at 107 bytes. On tmpfs, where the run folder belongs.
        base = "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"
        api = EnvironmentAPI(Path(tempfile.mkdtemp(dir=base, prefix="labdock-test-")), variables)
        started.append(api)
        if prepare:
            prepare(api)
        return api.start(wait)

    yield start
    for api in started:
        below = api.processes()
        if api.process and api.process.poll() is None:
            api.process.send_signal(signal.SIGTERM)
            try:
                api.process.wait(20)
            except subprocess.TimeoutExpired:
                api.process.kill()
        _, alive = psutil.wait_procs(below, timeout=10)
        for process in alive:
            process.kill()
        shutil.rmtree(api.folder)
        assert not alive, f"left running: {alive}"


@pytest.fixture(scope="module")
def api(start_api: Callable[..., EnvironmentAPI]) -> EnvironmentAPI:
    """One environment API with two workers for all tests of a file."""
    return start_api()
