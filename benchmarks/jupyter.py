"""JupyterLab through the door: what a kernel's echo costs beside the direct socket."""

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect, unix_connect

import labdock
from benchmarks.report import Report, interleave
from benchmarks.servers import Setup, until
from labdock.connection import Connection


def run(setup: Setup, report: Report, *, small: bool) -> None:
    """An environment with JupyterLab beside the measured one."""
    with contextlib.closing(labdock.connect()) as lab:
        environment = lab.environments.start("notebooks", mode="dev", progress=False)
        try:
            base = "/environments/notebooks/jupyter/"
            inner = setup.run.parent / str(environment.record["id"])
            token = (inner / "token").read_text().strip()
            direct = Connection(f"unix:{inner / 'jupyter.sock'}", token)
            until((inner / "jupyter.sock").exists, "JupyterLab's socket")
            kernel = until(lambda: start_kernel(direct, base), "a kernel")
            path = f"{base}api/kernels/{kernel}/channels?session_id="
            with _direct(inner, path, token) as one, _door(setup, path) as other:
                rounds = 20 if small else 300
                median = interleave({"direct": echo(one), "door": echo(other)}, rounds)
                ms = {name: seconds * 1000 for name, seconds in median.items()}
                report.title("a kernel's echo (kernel_info), ms; the ratio is the difference in ms")
                report.line("echo through the door", ms["door"], ms["direct"], ms["door"] - ms["direct"], "<= 3")
                median = interleave({"direct": execute(one), "door": execute(other)}, rounds)
                ms = {name: seconds * 1000 for name, seconds in median.items()}
                report.line("execute through the door", ms["door"], ms["direct"], ms["door"] - ms["direct"], "<= 3")
        finally:
            environment.delete(files=True)


def start_kernel(direct: Connection, base: str) -> str:
    answer = direct.call("POST", base + "api/kernels", {"name": "python3"})
    return str(answer["id"])


@contextlib.contextmanager
def _direct(inner: Path, path: str, token: str) -> Iterator[ClientConnection]:
    headers = {"Authorization": f"token {token}"}
    address = f"ws://localhost{path}{uuid.uuid4().hex}"
    with unix_connect(str(inner / "jupyter.sock"), address, additional_headers=headers, max_size=None) as channel:
        yield channel


@contextlib.contextmanager
def _door(setup: Setup, path: str) -> Iterator[ClientConnection]:
    """Over the controller's Unix socket, so that the two ways differ by the door alone."""
    headers = {"Authorization": f"Bearer {setup.door.token}"}
    address = f"ws://localhost{path}{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as known:
        known.connect(str(setup.run.parent / "controller.sock"))
        with connect(
            address, sock=known, origin="http://localhost", additional_headers=headers, max_size=None
        ) as channel:  # type: ignore[arg-type]
            yield channel


def request(kind: str, content: dict[str, Any], channel: str) -> dict[str, Any]:
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": "bench", "version": "5.3"}
    return {
        "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel, "buffers": []
    }  # fmt: skip


def answered(channel: ClientConnection, message: dict[str, Any], kind: str) -> float:
    begun = time.perf_counter()
    channel.send(json.dumps(message))
    while True:
        answer = json.loads(channel.recv(timeout=30))
        if answer["msg_type"] == kind and answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            return time.perf_counter() - begun


def echo(channel: ClientConnection) -> Callable[[], float]:
    return lambda: answered(channel, request("kernel_info_request", {}, "control"), "kernel_info_reply")


def execute(channel: ClientConnection) -> Callable[[], float]:
    content = {"code": "1", "silent": False, "store_history": False, "allow_stdin": False}
    return lambda: answered(channel, request("execute_request", content, "shell"), "execute_reply")
