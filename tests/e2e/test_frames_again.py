"""Through a real door to a real environment: files that frames came in are written again, and values stay right."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.servers import Setup, everything, until

from labdock.transport import Frames
from labdock.wire import SPOOL_KEPT_HEADER, FrameOptions

ECHO = """
import pandas as pd


def init(df, param):
    return 0


def fit(model, df, param):
    return {}


def apply(model, df, param):
    return pd.DataFrame({"twice": df["x"] * 2})
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def setup() -> Iterator[Setup]:
    with everything(workers=1) as setup:
        (setup.notebooks / "modules" / "echo.py").write_text(ECHO)
        yield setup


@pytest.mark.parametrize("left", [True, False], ids=["left", "sent"])
def test_frames_through_the_door(setup: Setup, left: bool) -> None:
    frames = Frames(setup.door, spool=left)
    path = "/api/environments/bench/"
    rng = np.random.default_rng(1)
    frames.post(path + "fit", pa.table({"x": [1.0]}), FrameOptions(algo="echo", model="echo"))
    kept = []
    for turn in range(12):
        if turn == 6:
            kill_api(setup)
        values = rng.normal(size=int(rng.integers(40_000, 120_000)))
        response = frames.send(path + "apply", pa.table({"x": values}), FrameOptions(model="echo"))
        kept.append(SPOOL_KEPT_HEADER in response.headers)
        answer, _ = frames.receive(response)
        assert np.array_equal(answer["twice"].to_numpy(), values * 2)
    assert all(kept)
    assert list((setup.run / "spool").iterdir()) == []


def kill_api(setup: Setup) -> None:
    """The environment's API ends and forgets its files; the supervisor starts another one."""
    before = setup.health()["uptime"]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            folder = f"LABDOCK_RUN_FOLDER={setup.run}".encode()
            if b"serve" in words and folder in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue
    until(lambda: alive(setup, before), "the API's restart")


def alive(setup: Setup, before: float) -> bool:
    try:
        return bool(setup.health()["uptime"] < before)
    except Exception:  # noqa: BLE001 - it is being started
        return False
