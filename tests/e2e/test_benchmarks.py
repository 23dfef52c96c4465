"""The benchmarks run: every table and the load, at a size that shows nothing but that they work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.report import Report, interleave, within
from tests.waiting import wait_for

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LABDOCK_")}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def left_over() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if "benchmarks" in command and "server" in command:
                found.append(command)
    return found


@pytest.mark.parametrize("part", ["frames", "service", "jupyter", "search"])
def test_every_part_runs_at_a_small_size(part: str) -> None:
    known = set(left_over())
    done = run(part, "--small")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if " <= " in line or " >= " in line]
    assert len(lines) >= {"frames": 20, "service": 9, "jupyter": 2, "search": 6}[part]
    assert set(left_over()) <= known


def test_the_load_recomputes_every_reply() -> None:
    done = run("load", "--small", "--seconds", "4")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "0 wrong" in done.stdout


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_benchmark_that_is_ended_leaves_nothing(how: signal.Signals) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LABDOCK_")}
    command = [sys.executable, "-m", "benchmarks", "frames"]
    known = set(left_over())
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as started:
        wait_for(lambda: len(set(left_over()) - known) == 2)
        folders = [
            Path(part).parent for line in set(left_over()) - known for part in line.split("\0") if ".sock" in part
        ]
        started.send_signal(how)
        started.wait(60)
    wait_for(lambda: not set(left_over()) - known)
    assert folders
    assert not [folder for folder in folders if folder.exists()]


def test_a_missed_bound_fails(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.title("a table")
    assert report.line("kept", 1, 2, 2.0, ">= 2")
    assert report.end() == 0
    assert not report.line("missed", 1, 2, 1.9, ">= 2")
    assert report.end() == 1
    assert "FAIL" in capsys.readouterr().out
    assert within(5.0, "<= 5")
    assert not within(5.1, "<= 5")


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def contestant(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    names = {"a": 1.0, "b": 2.0, "slow": 3.0}
    median = interleave({n: lambda n=n, s=s: contestant(n, s) for n, s in names.items()}, 4, seldom=("slow",))
    assert median == names
    warm_up, rounds = ["a", "b"], [["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]]
    assert order == ["slow", *warm_up, *rounds[0], *rounds[1], "slow", *rounds[2], *rounds[3], "slow"]
