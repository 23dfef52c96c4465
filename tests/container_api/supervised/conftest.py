"""A whole environment as a runtime starts it: `python -m labdock_container supervise`, and nothing left of it after."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import websocket
from tests.waiting import wait_for

TOKEN = "token-" + "k7Q" * 12


class SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("any.host.example", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Environment:
    """`start()` it; `folder` is short, since Unix sockets' paths are."""

    folder: Path
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    base_url: str = "/environments/__dev__/jupyter/"
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    token: str = TOKEN

    @property
    def notebooks(self) -> Path:
        return self.folder / "n"

    @property
    def run(self) -> Path:
        return self.folder / "r"

    @property
    def logs(self) -> Path:
        return self.folder / "l"

    def launch(self, token: str = TOKEN) -> subprocess.Popen[bytes]:
        self.run.mkdir(mode=0o700, exist_ok=True)
        if token:
            (self.run / "token").write_text(token)
            (self.run / "token").chmod(0o600)
        own = {
            "LABDOCK_NOTEBOOKS": str(self.notebooks),
            "LABDOCK_RUN_FOLDER": str(self.run),
            "LABDOCK_LOG_FOLDER": str(self.logs),
            "LABDOCK_ENVIRONMENT_ID": self.id,
            "LABDOCK_BASE_URL": self.base_url,
            "LABDOCK_WORKERS": "1",
        }
        command = [sys.executable, "-m", "labdock_container", "supervise"]
        output = (self.folder / "out").open("ab")
        environment = {**os.environ, **own, **self.variables}
        self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        output.close()
        return self.process

    def start(self, jupyter: bool = True) -> "Environment":
        self.launch()
        wait_for(self.api_is_up, 60, lambda: f"the API\n{self.log('api')}")
        if jupyter:
            wait_for(self.jupyter_is_up, 60, lambda: f"JupyterLab\n{self.log('jupyter')}")
        return self

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text()[-3000:] if path.exists() else ""

    def request(
        self, which: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Over the socket of `api` or `jupyter`: status and JSON (or text)."""
        connection = SocketConnection(self.run / f"{which}.sock")
        scheme = "Bearer" if which == "api" else "token"
        sent = {"Authorization": f"{scheme} {TOKEN}", **(headers or {})}
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            content = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(content)
        except ValueError:
            return answer.status, content

    def jupyter(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.request("jupyter", method, self.base_url + path, body)

    def api_is_up(self) -> bool:
        try:
            return self.request("api", "GET", "/health")[0] == 200
        except OSError:
            return False

    def jupyter_is_up(self) -> bool:
        try:
            return self.jupyter("GET", "api/status")[0] == 200
        except OSError:
            return False

    def processes(self) -> list[psutil.Process]:
        """Every process that carries the environment's id, told by the kernel."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("LABDOCK_ENVIRONMENT_ID") == self.id and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def program(self, word: str, but: int = 0) -> psutil.Process | None:
        """The supervised program whose command line holds `word`, a direct child of the supervisor; not pid `but`."""
        assert self.process
        for child in psutil.Process(self.process.pid).children():
            try:
                if word in child.cmdline() and child.pid != but:
                    return child
            except psutil.Error:
                continue
        return None

    def stop(self, seconds: float = 20) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kernel(self, code: str) -> psutil.Process:
        """Start a kernel and let it run `code`; its process, once the code runs."""
        status, kernel = self.jupyter("POST", "api/kernels", {"name": "python3"})
        assert status == 201, kernel
        raw = SocketConnection(self.run / "jupyter.sock")
        raw.connect()
        url = f"ws://any.host.example{self.base_url}api/kernels/{kernel['id']}/channels?token={TOKEN}"
        channel = websocket.create_connection(url, socket=raw.sock, timeout=60)
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": "s",
            "version": "5.3",
        }
        content = {"code": f"import os; print('pid', os.getpid(), flush=True)\n{code}", "silent": False}
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }
        channel.send(json.dumps(message))
        try:
            while True:
                answer = json.loads(channel.recv())
                if answer["msg_type"] == "stream" and answer["content"]["text"].startswith("pid "):
                    return psutil.Process(int(answer["content"]["text"].split()[1]))
        finally:
            channel.close()

    def notebook(self, *cells: tuple[str | None, str]) -> dict[str, Any]:
        """The body that JupyterLab sends to save a notebook of (name, source) cells."""
        made = [
            {
                "cell_type": "code",
                "id": f"c{i}",
                "metadata": {"name": name} if name else {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for i, (name, source) in enumerate(cells)
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made}
        return {"type": "notebook", "format": "json", "content": content}


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """An empty page of the browser."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture
def site(environment: Environment) -> str:
    """The address of the started environment's JupyterLab, on a port that a browser reaches; `/` at its end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment.variables["LABDOCK_JUPYTER_LISTEN"] = f"127.0.0.1:{port}"
    environment.start(jupyter=False)

    def up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(up, 60, "JupyterLab's port")
    return f"http://127.0.0.1:{port}{environment.base_url}"


@pytest.fixture
def environment() -> Iterator[Environment]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="ld"))
    made = Environment(folder)
    yield made
    if made.process and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    for process in made.processes():
        process.kill()
    wait_for(lambda: not made.processes(), 10, "the environment's end")
    shutil.rmtree(folder)
