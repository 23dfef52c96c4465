"""Files that frames came in are written again: never while anything refers to them, whoever wrote them."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from labdock.connection import Connection
from labdock.errors import LabdockError
from labdock.spool import Shelf, SpoolFile
from labdock.transport import Frames
from labdock.wire import SPOOL_KEPT_HEADER, FrameOptions

SUMS = """
    import pandas as pd
    def init(df, param): return 0
    def fit(model, df, param): return {"rows": len(df)}
    def apply(model, df, param): return pd.DataFrame({"sum": df["x"] + df["text"].str.len()})
    def save(model, name): pass
    def load(name): return 0
"""
# Its model is a view of the frame that it was fitted on, in the memory of the worker.
KEEPER = """
    import pandas as pd
    KEPT = {}
    def init(df, param): return {}
    def fit(model, df, param):
        KEPT[param["options"]["model_name"]] = df["x"].to_numpy(copy=False)
    def apply(model, df, param):
        kept = KEPT.get(param["options"]["model_name"])
        return pd.DataFrame({"kept": [None if kept is None else float(kept.sum())] * len(df)})
    def save(model, name): pass
    def load(name): return {}
"""
VANDAL = """
    import os
    import pandas as pd
    def init(df, param): return 0
    def fit(model, df, param): pass
    def apply(model, df, param):
        rows = len(df)
        for fd in os.listdir("/proc/self/fd"):
            try:
                if "/spool/" in os.readlink(f"/proc/self/fd/{fd}"):
                    os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC))
            except OSError:
                pass
        return pd.DataFrame({"rows": [rows] * rows})
    def save(model, name): pass
    def load(name): return 0
"""


@pytest.fixture(scope="module")
def served(start_api: Any) -> Any:
    api = start_api(LABDOCK_WORKERS="1")
    for name, source in (("sums", SUMS), ("keeper", KEEPER), ("vandal", VANDAL)):
        api.module(name, source)
    return api


@pytest.fixture(params=[True, False], ids=["left", "sent"])
def frames(served: Any, request: pytest.FixtureRequest) -> Iterator[Frames]:
    with contextlib.closing(Connection(f"unix:{served.socket}", served.token)) as connection:
        yield Frames(connection, spool=request.param)


def table(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({"x": rng.normal(size=rows), "text": ["y" * int(n) for n in rng.integers(0, 30, rows)]})


def expected(sent: pa.Table) -> list[float]:
    return [x + len(t) for x, t in zip(sent["x"].to_pylist(), sent["text"].to_pylist(), strict=True)]


def files(served: Any) -> set[int]:
    """Inodes of the spool files that the API holds."""
    found = set()
    for entry in Path(f"/proc/{served.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if "/spool/" in str(entry.readlink()):
                found.add(entry.stat().st_ino)
    return found


def test_one_file_serves_frames_of_all_sizes(served: Any, frames: Frames) -> None:
    frames.post("/v1/fit", table(3), FrameOptions(algo="sums", model="sums"))
    frames.post("/v1/apply", table(40_000), FrameOptions(model="sums"))
    held = files(served)
    for seed, rows in enumerate([40_000, 12_000, 39_999, 20_000, 60_000, 60_001, 15_000]):
        sent = table(rows, seed)
        answer, _ = frames.post("/v1/apply", sent, FrameOptions(model="sums"))
        assert answer["sum"].to_pylist() == expected(sent)
        assert files(served) == held


def test_what_a_module_kept_is_never_overwritten(frames: Frames) -> None:
    name = f"kept{frames._leaver is None}"
    sent = table(30_000, 5)
    response = frames.send("/v1/fit", sent, FrameOptions(algo="keeper", model=name))
    frames.receive(response)
    assert SPOOL_KEPT_HEADER not in response.headers
    for seed in range(5):
        frames.post("/v1/apply", table(30_000, 100 + seed), FrameOptions(algo="sums", model="sums"))
    answer, _ = frames.post("/v1/apply", table(1), FrameOptions(algo="keeper", model=name))
    assert answer["kept"].to_pylist() == [pytest.approx(sum(sent["x"].to_pylist()))]


def test_many_at_once(frames: Frames) -> None:
    frames.post("/v1/fit", table(3), FrameOptions(algo="sums", model="sums"))
    wrong: list[Any] = []

    def work(seed: int) -> None:
        try:
            for turn in range(8):
                sent = table(5_000 + 3_000 * (seed + turn), 10 * seed + turn)
                answer, _ = frames.post("/v1/apply", sent, FrameOptions(model="sums"))
                if answer["sum"].to_pylist() != expected(sent):
                    wrong.append((seed, turn))
        except LabdockError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_that_the_server_has_forgotten_is_sent_anew(served: Any, frames: Frames) -> None:
    frames.post("/v1/fit", table(20_000), FrameOptions(algo="sums", model="sums"))
    assert served.stop() == 0
    served.start()
    sent = table(20_000, 9)
    answer, _ = frames.post("/v1/apply", sent, FrameOptions(model="sums"))
    assert answer["sum"].to_pylist() == expected(sent)


def test_a_module_that_cuts_the_files_harms_its_own_requests_only(served: Any, frames: Frames) -> None:
    """The API must not die of a mapped file that ends early, nor answer with another frame's values."""
    frames.post("/v1/fit", table(3), FrameOptions(algo="sums", model="sums"))
    api = served.process.pid
    for turn in range(3):
        for algo in ("vandal", "sums"):
            sent = table(25_000, turn)
            try:
                answer, _ = frames.post("/v1/apply", sent, FrameOptions(algo=algo, model="sums"))
            except LabdockError:
                continue
            if algo == "sums":
                assert answer["sum"].to_pylist() == expected(sent)
    sent = table(25_000, 77)
    answer, _ = frames.post("/v1/apply", sent, FrameOptions(model="sums"))
    assert answer["sum"].to_pylist() == expected(sent)
    assert served.process.poll() is None
    assert served.process.pid == api


def test_a_file_that_waits_is_not_pushed_out() -> None:
    """Who was told that its file waits finds it, whatever comes later; what does not fit is closed and said so."""
    shelf = Shelf(60, 300_000)
    made = [SpoolFile(os.memfd_create("frame"), 200_000, name) for name in ("first", "second")]
    assert [shelf.put(file) for file in made] == [True, False]
    assert made[1].fd == -1
    assert shelf.pop("second") is None
    assert shelf.pop("first") is made[0]
    made[0].close()
