"""The event collector's write path: durable when answered, there exactly once whatever dies, refused when full."""

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.search.data.conftest import rows_of
from tests.waiting import seconds_until

from labdock.errors import Busy, StorageError
from labdock_search.data.collector import Collector, recover
from labdock_search.data.indexes import Indexes
from labdock_search.data.segments import FOLDER, encode, frames


def event(n: int, index: str = "main") -> tuple[str, dict]:
    return index, {"_time": float(n), "n": n, "source": "s", "sourcetype": "t", "host": "h", "_raw": str(n)}


def numbers(indexes: Indexes, index: str = "main") -> list[int]:
    return [r["n"] for r in rows_of(indexes, index, "n", "n")] if indexes.exists(index) else []


def test_events_are_searchable_within_two_seconds_without_being_asked(indexes: Indexes) -> None:
    collector = Collector(indexes)
    collector.submit([event(1)]).result(5)
    assert seconds_until(lambda: numbers(indexes) == [1]) < 2
    collector.close()


def test_many_requests_share_writes_and_keep_their_order(indexes: Indexes) -> None:
    collector = Collector(indexes)
    futures = [collector.submit([event(10 * i + j) for j in range(10)]) for i in range(500)]
    for future in futures:
        future.result(30)
    collector.close()
    assert numbers(indexes) == list(range(5_000))
    assert list((indexes.folder / FOLDER).iterdir()) == [], "a clean stop leaves no segment"


def test_one_request_may_have_several_indexes(indexes: Indexes) -> None:
    collector = Collector(indexes)
    collector.submit([event(1, "a"), event(2, "b"), event(3, "a")]).result(5)
    collector.close()
    assert (numbers(indexes, "a"), numbers(indexes, "b")) == ([1, 3], [2])


def test_too_much_is_refused_and_memory_is_free_again_afterwards(indexes: Indexes) -> None:
    collector = Collector(indexes, max_pending=10_000, interval=3_600)
    taken = 0
    while taken < 10_000 and not collector.busy:
        try:
            collector.submit([event(taken)]).result(5)
        except Busy:
            break
        taken += 1
    assert 20 < taken < 200
    collector.flush()
    collector.submit([event(taken)]).result(5)
    collector.close()
    assert numbers(indexes) == list(range(taken + 1))


def test_a_request_larger_than_the_limit_is_taken_alone(indexes: Indexes) -> None:
    collector = Collector(indexes, max_pending=1_000, interval=3_600)
    collector.submit([event(i) for i in range(1_000)]).result(5)
    with pytest.raises(Busy):
        collector.submit([event(1)])
    collector.close()


def test_after_close_nothing_is_taken(indexes: Indexes) -> None:
    collector = Collector(indexes)
    collector.close()
    with pytest.raises(Busy, match="shutting down"):
        collector.submit([event(1)])


def test_a_full_disk_is_told_and_work_goes_on_when_there_is_space(indexes: Indexes) -> None:
    indexes.create("main")
    collector = Collector(indexes, interval=3_600)
    collector.submit([event(1)]).result(5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails with EFBIG then
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        with pytest.raises(StorageError):
            collector.submit([event(i) for i in range(2, 100)]).result(5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    collector.submit([event(100)]).result(5)
    collector.close()
    assert numbers(indexes) == [1, 100]


def test_a_torn_frame_ends_a_segment(tmp_path: Path) -> None:
    path = tmp_path / "x"
    first, second = encode([event(1)]), encode([event(2)])
    for cut in range(len(second)):
        path.write_bytes(first + second[:cut])
        assert [e for _, found in frames(path) for e in found] == [event(1)]
    path.write_bytes(first + second[:-1] + b"\0")
    assert len(list(frames(path))) == 1
    path.write_bytes(first + second)
    assert [end for end, _ in frames(path)] == [len(first), len(first) + len(second)]


def test_what_a_dead_collector_left_is_recovered_once(indexes: Indexes, home: Path) -> None:
    folder = indexes.folder / FOLDER
    folder.mkdir(parents=True)
    (folder / "0-a.segment").write_bytes(encode([event(1), event(2, "b")]) + encode([event(3)]) + b"torn")
    assert recover(Indexes(home)) == 3
    assert recover(Indexes(home)) == 0
    assert (numbers(indexes), numbers(indexes, "b")) == ([1, 3], [2])
    assert list(folder.iterdir()) == []


def test_a_living_collectors_segment_is_left_alone(indexes: Indexes, home: Path) -> None:
    collector = Collector(indexes, interval=3_600)
    collector.submit([event(1)]).result(5)
    assert recover(Indexes(home)) == 0
    collector.close()
    assert numbers(indexes) == [1]


def test_searches_during_writes_see_every_event_once(indexes: Indexes) -> None:
    collector = Collector(indexes, interval=0.01)
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            collector.submit([event(n)]).result(10)
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        deadline = time.monotonic() + 2
        last = 0
        while time.monotonic() < deadline:
            found = numbers(indexes)
            assert found == list(range(len(found)))
            assert len(found) >= last
            last = len(found)
            indexes.maintain()
        assert last > 0
    finally:
        stop.set()
        writer.join()
        collector.close()


WRITER = """
import pathlib, sys
from labdock_search.data.collector import Collector
from labdock_search.data.indexes import Indexes
indexes = Indexes(pathlib.Path(sys.argv[1]))
collector = Collector(indexes, interval=0.02)
print("ready", flush=True)
n = int(sys.argv[2])
for n in range(n, n + 40):
    event = {"_time": float(n), "n": n, "source": "s", "sourcetype": "t", "host": "h"}
    collector.submit([("main", event), ("other", event)]).result()
    print(n, flush=True)
collector.close()
print("closed", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "calls", ["write,fdatasync", "fsync,fdatasync", "rename,renameat,renameat2", "unlink,unlinkat"]
)
def test_killed_at_any_system_call_nothing_acknowledged_is_lost_or_doubled(home: Path, calls: str) -> None:
    """strace kills the process at the n-th of some system calls; what it had printed as done must be there once."""
    first = 0
    killed = 0
    for when in (1, 3, 8, 21, 55, 144):
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={calls}:signal=SIGKILL:when={when}"]
        command += [sys.executable, "-c", WRITER, str(home), str(first)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        lines = done.stdout.split()
        if "ready" not in lines:
            continue  # it died before it began: during imports
        killed += "closed" not in lines
        acknowledged = [int(line) for line in lines if line.isdigit()]
        indexes = Indexes(home)
        recover(indexes)
        for index in ("main", "other"):
            found = numbers(indexes, index)
            assert len(found) == len(set(found)), f"{calls}:{when}: doubled in {index}"
            assert set(acknowledged) <= set(found), f"{calls}:{when}: lost in {index}"
            assert not (set(found) - set(range(first + 40))), "nothing was made up"
        first += 40
        indexes.maintain(grace=0)
    assert not list((home / "indexes").rglob(".new/*")), "no half file remains"
    if "write" in calls or "fsync" in calls:
        assert killed >= 2
