"""The controller as a process of this machine: start it, see whether it runs, end it."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from labdock.connection import Connection
from labdock.errors import Exited, LabdockError, RuntimeUnavailable, StartTimeout
from labdock.home import ControllerAddress, make_private

READY_SECONDS = 60.0
STOP_SECONDS = 60.0
COMMAND = [sys.executable, "-m", "labdock_controller", "serve"]

# One module that tells whether an extra is installed.
_EXTRAS = {
    "controller": "sqlalchemy",
    "container": "supervisor",
    "jupyter": "jupyterlab",
    "docker": "docker",
    "kubernetes": "kubernetes",
}


def running(of: Path) -> ControllerAddress | None:
    """The address of the controller that runs for home `of`, or None; one that was killed left its file behind."""
    address = ControllerAddress.read(of)
    if address is None:
        return None
    connection = connect_to(address, timeout=5.0)
    try:
        connection.call("GET", "/health")
    except LabdockError:
        return None
    finally:
        connection.close()
    return address


def connect_to(address: ControllerAddress, timeout: float | None = None) -> Connection:
    """A connection to a local controller, over its Unix socket where there is one."""
    path = address.socket if address.socket and Path(address.socket).exists() else ""
    verify = address.certificate or True
    return Connection(address.url, address.token, socket_path=path, timeout=timeout, verify=verify)


def check_extras(runtime: str) -> None:
    """Raise `RuntimeUnavailable` with the exact command where this installation lacks what `runtime` needs."""
    needed = ["controller", *(["container", "jupyter"] if runtime == "local" else [])]
    needed += [runtime] if runtime in _EXTRAS else []
    missing = [extra for extra in needed if importlib.util.find_spec(_EXTRAS[extra]) is None]
    if missing:
        raise RuntimeUnavailable(
            f"This installation of labdock is without {' and '.join(missing)}.",
            remedy=f'pip install "labdock[{",".join(needed)}]"',
            missing=missing,
        )


def launch(of: Path, variables: Mapping[str, str], log: Path | None) -> "subprocess.Popen[bytes]":
    """Start a controller for home `of`. With `log` it belongs to no terminal and writes there."""
    make_private(of)
    environment = {**os.environ, **variables, "LABDOCK_HOME": str(of)}
    if log is None:
        return subprocess.Popen(COMMAND, env=environment)
    make_private(log.parent)
    with log.open("ab") as file:
        return subprocess.Popen(
            COMMAND, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )


def wait_ready(process: "subprocess.Popen[bytes]", of: Path, log: Path | None) -> ControllerAddress:
    """Return when the controller answers. Raises `Exited` or `StartTimeout` with its last lines."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        code = process.poll()
        address = running(of) if code is None else None
        if address is not None:
            return address
        lines = _last_lines(log)
        if code is not None:
            raise Exited(f"The controller ended with code {code}.", remedy=_see(log), log=lines)
        if time.monotonic() > deadline:
            process.terminate()
            raise StartTimeout(
                f"The controller does not answer after {READY_SECONDS:g} s.", remedy=_see(log), log=lines
            )
        time.sleep(0.05)


def stop(address: ControllerAddress, seconds: float = STOP_SECONDS) -> bool:
    """Ask the controller to end and wait until it has; False where it still runs after `seconds`."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(address.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while _alive(address.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # a child of ours is a zombie until somebody asks
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _last_lines(log: Path | None) -> list[str]:
    if log is None or not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]


def _see(log: Path | None) -> str:
    return f"See {log}." if log else "See what it printed above."
