"""Frames: apply, fit and stage against the peer's way, against the limit, and through the door."""

import contextlib
import io
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import limit_server, tables
from benchmarks.report import Report, interleave
from benchmarks.servers import Setup, peer_request
from labdock.frames import to_table
from labdock.spool import MOST_KEPT, READER_SECONDS
from labdock.transport import Frames
from labdock.wire import FrameOptions

DOOR = "/api/environments/bench/"
DIRECT = "/v1/"
FULL = {"small": 100_000, "large": 1_000_000}
# Ratios by shape and size: at least so many times the peer; at most so many times the limit, and the direct call.
PEER = {("mixed8", "small"): 33, ("mixed8", "large"): 60, ("float30", "small"): 105, ("float30", "large"): 140}
LIMIT = {"small": 1.6, "large": 1.35}
THROUGH = {"small": 1.4, "large": 1.2}
STAGE = {"small": 14, "large": 19}

Timed = Callable[[], float]


def timed(run: Callable[[], pd.DataFrame], rows: int) -> Timed:
    """Seconds of `run`, whose answer is checked outside the clock."""

    def measure() -> float:
        begun = time.perf_counter()
        answer = run()
        seconds = time.perf_counter() - begun
        assert len(answer) == rows
        assert answer.iloc[-1, 0] == 0.5
        return seconds

    return measure


def native(frames: Frames, path: str, df: pd.DataFrame, options: FrameOptions) -> Callable[[], pd.DataFrame]:
    """What `environment.apply(df)` does: to Arrow, there and back, to pandas with the caller's index."""

    def run() -> pd.DataFrame:
        table, restore = to_table(df)
        answer, _ = frames.post(path, table, options)
        result: pd.DataFrame = restore(answer)
        return result

    return run


def peers(ask: Callable[[str, dict[str, Any]], dict[str, Any]], route: str, df: pd.DataFrame) -> Any:
    """The peer's client: CSV inside JSON, and back."""
    meta = {"options": {"model_name": "bench", "params": {"algo": "constant"}}, "feature_variables": list(df.columns)}

    def run() -> pd.DataFrame:
        answer = ask(route, {"data": df.to_csv(index=False), "meta": meta})
        return pd.read_csv(io.StringIO(answer["results"]))

    return run


@contextlib.contextmanager
def limit_connection(setup: Setup) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(setup.limit))
        yield connection


def ways(setup: Setup) -> dict[str, tuple[Frames, str]]:
    """How a frame gets there: sent over the socket or left in the spool folder, directly or through the door."""
    return {
        "direct": (Frames(setup.direct, spool=False), DIRECT),
        "door": (Frames(setup.door, spool=False), DOOR),
        "direct, left": (Frames(setup.direct), DIRECT),
        "door, left": (Frames(setup.door), DOOR),
    }


def actions(setup: Setup, report: Report, size: str, rows: int, shapes: tuple[str, ...], rounds: int) -> None:
    """Apply and fit of the constant-work module. Frames that are sent and frames that are left take turns apart: a
    caller does one of the two, and what is kept between frames has room for one caller of this size."""
    ask = peer_request(setup.peer)
    # One caller of each way for everything: files that other callers left would fill the room for kept ones.
    known = ways(setup)
    for shape in shapes:
        df = tables.make(shape, rows)
        for action in ("fit", "apply"):
            options, fit = FrameOptions(algo="constant", model="bench"), action == "fit"
            with limit_connection(setup) as connection:

                def bare(
                    connection: socket.socket = connection, df: pd.DataFrame = df, fit: bool = fit
                ) -> pd.DataFrame:
                    return limit_server.exchange(connection, df, fit=fit)

                def ours(
                    *names: str, df: pd.DataFrame = df, action: str = action, options: FrameOptions = options
                ) -> dict[str, Timed]:
                    return {n: timed(native(known[n][0], known[n][1] + action, df, options), rows) for n in names}

                sent = {**ours("direct", "door"), "limit": timed(bare, rows)}
                left = {**ours("direct, left", "door, left"), "limit": timed(bare, rows)}
                sent["peer"] = timed(peers(ask, "/" + action, df), rows)
                groups = []
                for contestants, seldom in ((sent, ("peer",)), (left, ())):
                    if df.memory_usage(deep=True).sum() > MOST_KEPT / 2:
                        time.sleep(READER_SECONDS + 2)  # files of this size, kept for others, leave no room before
                    groups.append(interleave(contestants, rounds, seldom=seldom))
            table(report, f"{action}, {rows:,} x {shape}", groups, shape, size)


def table(report: Report, title: str, groups: list[dict[str, float]], shape: str, size: str) -> None:
    """All ratios of one action: of frames that were sent, then of those that were left."""
    report.title(title)
    peer = groups[0]["peer"] * 1000
    for group, suffix in zip(groups, ("", ", left"), strict=True):
        ms = {name: seconds * 1000 for name, seconds in group.items()}
        direct, door = f"direct{suffix}", f"door{suffix}"
        report.line(f"{direct}, against the peer", ms[direct], peer, peer / ms[direct], f">= {PEER[shape, size]}")
        report.line(f"{door}, against the peer", ms[door], peer, peer / ms[door], "")
        report.line(
            f"{direct}, against the limit", ms[direct], ms["limit"], ms[direct] / ms["limit"], f"<= {LIMIT[size]}"
        )
        report.line(f"{door}, against {direct}", ms[door], ms[direct], ms[door] / ms[direct], f"<= {THROUGH[size]}")


def staging(setup: Setup, report: Report, size: str, rows: int, rounds: int) -> None:
    """Stage: our CSV and Arrow are on the disk when it answers; the peer's CSV is in the page cache."""
    ask = peer_request(setup.peer)
    df = tables.make("mixed8", rows)
    meta = {"options": {"model_name": "staged", "params": {"mode": "stage"}}}
    options = FrameOptions(model="staged")

    def stage(frames: Frames, path: str) -> Timed:
        def run() -> float:
            begun = time.perf_counter()
            arrow, _ = to_table(df)
            _, answer = frames.post(path + "stage", arrow, options)
            seconds = time.perf_counter() - begun
            assert answer["rows"] == rows
            return seconds

        return run

    def peer() -> float:
        begun = time.perf_counter()
        ask("/fit", {"data": df.to_csv(index=False), "meta": meta})
        return time.perf_counter() - begun

    contestants = {name: stage(frames, path) for name, (frames, path) in ways(setup).items()}
    contestants["peer"] = peer
    median = interleave(contestants, rounds, seldom=("peer",))
    report.title(f"stage, {rows:,} x mixed8, CSV and Arrow durable")
    for name in ("direct", "direct, left", "door", "door, left"):
        bound = f">= {STAGE[size]}" if name.startswith("direct") else ""
        ours, other = median[name] * 1000, median["peer"] * 1000
        report.line(f"{name}, against the peer", ours, other, other / ours, bound)
    check_staged(setup, df)


def check_staged(setup: Setup, df: pd.DataFrame) -> None:
    """What was staged is what was sent."""
    staged = pd.read_csv(setup.notebooks / "data" / "staged.csv")
    assert len(staged) == len(df)
    assert np.array_equal(staged["score"], df["score"])


def empty(setup: Setup, report: Report, rounds: int) -> None:
    """One row, one column: what a call costs."""
    df = pd.DataFrame({"x": [1.0]})
    options = FrameOptions(algo="constant", model="bench")
    contestants = {
        name: timed(native(frames, path + "apply", df, options), 1) for name, (frames, path) in ways(setup).items()
    }
    median = interleave(contestants, rounds)
    report.title("empty apply (one row), ms")
    for name, bound in (("direct", "<= 5"), ("door", "<= 6")):
        report.line(name, median[name] * 1000, None, median[name] * 1000, bound)


def run(setup: Setup, report: Report, *, small: bool) -> None:
    """Every table of this file."""
    frames = ways(setup)["direct"][0]
    native(frames, DIRECT + "fit", pd.DataFrame({"x": [1.0]}), FrameOptions(algo="constant", model="bench"))()
    empty(setup, report, 20 if small else 300)
    sizes = {"small": 2_000} if small else FULL
    for size, rows in sizes.items():
        rounds = 3 if small else (21 if size == "small" else 9)
        actions(setup, report, size, rows, tables.SHAPES, rounds)
        staging(setup, report, size, rows, 3 if small else 9)
