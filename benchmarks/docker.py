"""From click to JupyterLab: an environment started through the controller against a bare `docker run` of its image.

`python -m benchmarks docker [--small]`. Needs an engine with minimal-cpu (`bash images/build.sh minimal-cpu`).
Both count until JupyterLab answers on its Unix socket; the controller's way also waits for the API.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.report import Report, interleave
from labdock import controller
from labdock.errors import TransportError
from labdock.lab import Lab
from labdock_controller import probe

IMAGE = "minimal-cpu"
BASE_URL = "/environments/bare/jupyter/"
BOUND = "<= 1.3"
PATIENCE = 180.0


class Bare:
    """What a user would type, with the run folder mounted so that the same sockets can be asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self) -> float:
        run = self.folder / secrets.token_hex(4)
        run.mkdir(mode=0o777)
        run.chmod(0o777)
        token = run / "token"
        token.write_text(secrets.token_hex(16))
        token.chmod(0o644)
        began = time.perf_counter()
        command = ["docker", "run", "-d", "--rm", "-e", f"LABDOCK_BASE_URL={BASE_URL}", "-v", f"{run}:/run/labdock"]
        made = subprocess.run([*command, f"labdock/{IMAGE}"], check=True, capture_output=True, text=True).stdout.strip()
        try:
            wait_for(f"unix:{run}/jupyter.sock", token.read_text())
            return time.perf_counter() - began
        finally:
            subprocess.run(["docker", "rm", "-f", "-v", made], check=True, capture_output=True)


def wait_for(address: str, token: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(TransportError):
            if probe.get(address, f"{BASE_URL}api/status", token, scheme="token")[0] == 200:
                return
        time.sleep(0.05)
    raise TimeoutError(f"{address} did not answer within {PATIENCE:g} s")


@contextmanager
def lab() -> Iterator[Lab]:
    """A controller of its own with the runtime docker; nothing of it is left."""
    home = Path(tempfile.mkdtemp(prefix="labdock-bench-", dir="/tmp"))
    run = Path(tempfile.mkdtemp(prefix="labdock-", dir="/dev/shm"))
    log = home / "controller.log"
    process = controller.launch(home, {"LABDOCK_RUN": str(run), "LABDOCK_RUNTIME": "docker", "LABDOCK_PORT": "0"}, log)
    try:
        address = controller.wait_ready(process, home, log)
        with Lab(controller.connect_to(address), progress=False) as connected:
            yield connected
        controller.stop(address)
    finally:
        process.kill()
        process.wait()
        for folder in (home, run):
            shutil.rmtree(folder)


def measure(report: Report, *, small: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="labdock-bare-", dir="/dev/shm"))
    bare = Bare(folder)
    try:
        with lab() as connected:

            def ours() -> float:
                began = time.perf_counter()
                environment = connected.environments.start(f"bench_{secrets.token_hex(4)}", image=IMAGE)
                seconds = time.perf_counter() - began
                environment.delete(files=True)
                return seconds

            found = interleave({"labdock": ours, "docker run": bare.start}, 1 if small else 5)
    finally:
        shutil.rmtree(folder)
    report.title(f"From click to JupyterLab, {IMAGE} ({os.cpu_count()} CPUs)")
    mine, other = found["labdock"], found["docker run"]
    report.line("start of an environment against docker run", mine, other, mine / other, BOUND, "s")


def run(*, small: bool) -> int:
    """Gives the exit code."""
    report = Report(enforce=not small)
    measure(report, small=small)
    return report.end()
