"""`labdock up` and `labdock down`: a controller in the background, in the foreground, twice, and not at all."""

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
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.client.conftest import processes_of

from labdock.controller import check_extras
from labdock.errors import RuntimeUnavailable
from labdock.home import ControllerAddress, run_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="labdock-test-", dir="/tmp"))
    yield made
    left = processes_of(made)
    for process in left:
        process.kill()
    shutil.rmtree(run_folder(made), ignore_errors=True)
    shutil.rmtree(made, ignore_errors=True)
    assert not left, f"left running: {left}"


def command(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "labdock.cli", *arguments],
        env={**os.environ, "LABDOCK_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_up_says_when_it_is_ready_and_down_ends_everything(home: Path) -> None:
    up = command(home, "up", "-d", "--port", "0", "--json")
    assert up.returncode == 0, up.stderr
    shown = json.loads(up.stdout)
    address = ControllerAddress.read(home)
    assert address is not None
    assert shown["url"] == address.url
    assert shown["link"].startswith(f"{address.url}/sign-in?ticket=")
    assert shown["already"] is False
    assert psutil.pid_exists(shown["pid"])
    again = command(home, "up", "-d")
    assert again.returncode == 0
    assert f"already runs at {address.url}" in again.stdout
    assert json.loads(command(home, "ps", "--json").stdout) == []
    down = command(home, "down", "--json")
    assert json.loads(down.stdout) == {"stopped": True, "environments": []}
    assert not psutil.pid_exists(shown["pid"])
    assert command(home, "down").stdout.startswith("No controller runs")
    assert command(home, "ps").returncode == 9


def test_down_stops_environments_or_leaves_them_for_the_next_up(home: Path) -> None:
    command(home, "up", "-d", "--port", "0")
    started = command(home, "start", "kept", "--mode", "prod")
    assert started.returncode == 0, started.stderr
    assert command(home, "down", "--keep-environments").returncode == 0
    assert processes_of(home)
    command(home, "up", "-d", "--port", "0")
    deadline = time.monotonic() + 30
    while json.loads(command(home, "ps", "--json").stdout)[0]["status"] != "running":
        assert time.monotonic() < deadline
    assert command(home, "down").stdout == "Stopped kept, the controller.\n"
    assert not processes_of(home)


def test_up_in_the_foreground_ends_with_ctrl_c(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "labdock.cli", "up", "--port", "0"],
        env={**os.environ, "LABDOCK_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with contextlib.closing(process.stdout):
        for line in process.stdout:
            if "is ready at" in line and "The controller" in line:
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.wait(30) == 0
    assert not processes_of(home)


def test_a_controller_that_cannot_start_says_why(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command(home, "up", "-d", "--port", port)
    assert done.returncode == 7
    assert port in done.stderr
    assert "Try:" in done.stderr
    assert "logs/controller.log" in done.stderr


def test_a_controller_that_was_killed_is_not_taken_for_running(home: Path) -> None:
    command(home, "up", "-d", "--port", "0")
    address = ControllerAddress.read(home)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    assert command(home, "ps").returncode == 9
    assert command(home, "down").stdout.startswith("No controller runs")
    assert "is ready at" in command(home, "up", "-d", "--port", "0").stdout
    assert command(home, "down").returncode == 0


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    with pytest.raises(RuntimeUnavailable) as caught:
        check_extras("local")
    assert caught.value.details["missing"] == ["jupyter"]
    assert caught.value.remedy == 'pip install "labdock[controller,container,jupyter]"'
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(RuntimeUnavailable) as caught:
        check_extras("docker")
    assert caught.value.remedy == 'pip install "labdock[controller,docker]"'
