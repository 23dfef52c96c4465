"""`labdock demo`, as a newcomer runs it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labdock.home import run_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary folder for whatever the demo makes, and a check that nothing of it is left."""
    made = Path(tempfile.mkdtemp(prefix="ld-", dir="/tmp"))
    yield made
    left = processes_of(made)
    for process in left:
        process.kill()
    shutil.rmtree(run_folder(made / "home"), ignore_errors=True)
    shutil.rmtree(made)
    assert not left, f"left running: {left}"


def processes_of(place: Path) -> list[psutil.Process]:
    """Processes with this folder in their environment: they were started by the demo."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and any(str(place) in v for v in process.environ().values()):
                found.append(process)
    return found


def what_is_in(place: Path) -> list[Path]:
    """What was left there; onnxruntime leaves its own `.ses` in any temporary folder, whoever imports it."""
    return [path for path in place.iterdir() if path.name != ".ses"]


def start(place: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "labdock.cli", *arguments],
        env={**os.environ, "LABDOCK_HOME": str(place / "home"), "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def labdock(place: Path, *arguments: str) -> str:
    process = start(place, *arguments)
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, err
    return out


def test_the_planted_computer_is_first_and_nothing_is_left(place: Path) -> None:
    before = set(Path("/dev/shm").glob("labdock-*/*"))
    out = labdock(place, "demo")
    assert not processes_of(place)
    assert what_is_in(place) == []  # neither the demo's home nor the user's own was left or made
    assert not set(Path("/dev/shm").glob("labdock-*/*")) - before - {run_folder(place / "home")}
    ranked = [line for line in out.splitlines() if line.strip()[:2] in ("1.", "2.", "3.", "4.", "5.")]
    assert len(ranked) == 5
    assert "the planted intrusion" in ranked[0]
    scores = [float(line.split()[2]) for line in ranked]
    assert scores == sorted(scores, reverse=True)
    assert "/environments/__dev__/jupyter/lab" in out
    assert "labdock demo --keep" in out


@pytest.mark.parametrize("seed", [1, 23])
def test_as_json_with_another_seed(place: Path, seed: int) -> None:
    found = json.loads(labdock(place, "demo", "--json", "--seed", str(seed)))
    assert found["first"] == found["planted"] == found["computers"][0]["ComputerName"]
    assert found["kept"] is False
    assert found["seconds"] < 180


def test_kept_it_runs_on_and_is_used_again(place: Path) -> None:
    first = json.loads(labdock(place, "demo", "--keep", "--json"))
    assert first["kept"] is True
    assert [e["status"] for e in json.loads(labdock(place, "ps", "--json"))] == ["running"]
    assert [m["name"] for m in json.loads(labdock(place, "models", "--json"))] == ["a_threat_hunt_model"]
    again = labdock(place, "demo", "--keep")
    assert "it ran already" in again
    assert "version 2" in again
    labdock(place, "down")


def test_ctrl_c_leaves_nothing(place: Path) -> None:
    process = start(place, "demo")
    deadline = time.monotonic() + 60
    while len(processes_of(place)) < 5 and time.monotonic() < deadline:  # the environment's processes are there
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, out + err
    assert not processes_of(place)
    assert what_is_in(place) == []
