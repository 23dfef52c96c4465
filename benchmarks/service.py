"""What a frame costs besides time: memory, and what a training neighbour does to an apply."""

import os
import threading
import time
from collections.abc import Callable

import pandas as pd

from benchmarks import tables
from benchmarks.frames import DIRECT, native, timed
from benchmarks.memory import Peak, environment_pids, held
from benchmarks.report import Report, Statistic, interleave
from benchmarks.servers import Setup
from labdock.frames import from_pandas
from labdock.transport import Frames
from labdock.wire import FrameOptions


def run(setup: Setup, report: Report, *, small: bool) -> None:
    """Both tables."""
    one = pd.DataFrame({"x": [1.0]})
    native(Frames(setup.direct), DIRECT + "fit", one, FrameOptions(algo="constant", model="bench"))()
    memory(setup, report, 20_000 if small else 1_000_000)
    neighbour(setup, report, 1.0 if small else 8.0)


def memory(setup: Setup, report: Report, rows: int) -> None:
    """The peak while one frame is fitted and applied, above the idle environment, as a multiple of the frame."""
    report.title("memory of the environment above idle, MB, against the frame's")
    pids = environment_pids(setup.run.name)
    for shape in tables.SHAPES:
        df = tables.make(shape, rows)
        frame = from_pandas(df).nbytes
        for name, frames in (("sent", Frames(setup.direct, spool=False)), ("left", Frames(setup.direct))):
            for action in ("fit", "apply"):
                job = native(frames, DIRECT + action, df, FrameOptions(algo="constant", model="bench"))
                job()
                above = max(above_idle(pids, job) for _ in range(2 if rows < 100_000 else 7))
                report.line(
                    f"{action}, {rows:,} x {shape}, {name}", above / 1e6, frame / 1e6, above / frame, "<= 2.2", "MB"
                )


def above_idle(pids: list[int], job: Callable[[], object]) -> int:
    """The highest sample of one run above idle. A busy machine misses peaks: take the highest of several runs."""
    idle = held(pids)
    with Peak(pids) as peak:
        job()
    return peak.bytes - idle


def neighbour(setup: Setup, report: Report, seconds: float) -> None:
    """An apply of 10,000 rows alone, and while another module trains on every core but one."""
    df = tables.make("mixed8", 10_000)
    frames = Frames(setup.direct)
    known = FrameOptions(algo="constant", model="neighbour")
    native(frames, DIRECT + "fit", df, known)()
    run_apply = timed(native(frames, DIRECT + "apply", df, known), len(df))
    alone = interleave({"apply": run_apply}, 50)["apply"]
    cores = max(1, (os.cpu_count() or 2) - 1)
    params = {"seconds": str(seconds), "cores": str(cores)}
    options = FrameOptions(algo="training", model="training", params=params)
    training = threading.Thread(target=lambda: Frames(setup.direct).post(DIRECT + "fit", from_pandas(df), options))
    training.start()
    end = time.monotonic() + seconds * 0.8
    while not any(j["module"] == "training" or j["model"] == "training" for j in running(setup)):
        if time.monotonic() > end:
            raise TimeoutError("the training did not begin")
        time.sleep(0.01)
    disturbed, health = [], []
    while time.monotonic() < end:
        disturbed.append(run_apply())
        begun = time.perf_counter()
        setup.health()
        health.append(time.perf_counter() - begun)
    training.join()
    ms = Statistic.of(disturbed) * 1000
    report.title(f"apply of 10,000 rows while another module trains on {cores} of {os.cpu_count()} cores, ms")
    report.line("apply while another module trains", ms, alone * 1000, ms / (alone * 1000), "<= 3")
    slowest = sorted(health)[int(len(health) * 0.99)] * 1000
    report.line("health meanwhile, 99th percentile", slowest, None, slowest, "<= 100")


def running(setup: Setup) -> list[dict[str, object]]:
    jobs: list[dict[str, object]] = setup.direct.call("GET", "/v1/jobs")
    return [job for job in jobs if job["status"] == "running"]
