"""Searches of a running controller: the first result, a million rows on their way to the client, bounded memory."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import labdock
from benchmarks.report import Report, interleave
from benchmarks.servers import answers, process, until
from labdock.connection import Connection
from labdock.home import ControllerAddress
from labdock_search import Engine, Settings
from labdock_search.data.indexes import Indexes

FIRST = "index=flows | stats count by protocol_stack | sort -count"
ALL = "index=flows"
LIMIT_MB = 300


def run(report: Report, flows: Path, *, small: bool) -> None:
    """`flows` is a Parquet file of events; a million of them are searched."""
    count = 50_000 if small else 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="lds-", dir="/tmp"))
    try:
        with controller(folder) as lab:
            part = folder / "flows.parquet"
            pq.write_table(pq.read_table(flows).slice(0, count), part)
            lab.indexes.ingest(part, "flows")
            report.title(f"Searches of a controller: {count:,} rows")
            first(report, lab, folder / "home", rounds=5 if small else 30)
            rows(report, lab, folder, count, rounds=2 if small else 5)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def controller(folder: Path) -> Iterator[labdock.Lab]:
    home = folder / "home"
    home.mkdir()
    variables = {"LABDOCK_HOME": str(home), "LABDOCK_RUN": str(folder / "run"), "LABDOCK_PORT": "0"}
    with process([sys.executable, "-m", "labdock_controller", "serve"], folder / "controller.log", **variables):
        found: ControllerAddress = until(lambda: ControllerAddress.read(home), "the controller's start")
        with labdock.Lab(Connection(f"unix:{found.socket}", found.token), progress=False) as lab:
            yield lab


def first(report: Report, lab: labdock.Lab, home: Path, rounds: int) -> None:
    """From the call to the first batch in the client, beside the same search in an engine of this process."""
    engine = Engine(Indexes(home), None, None, None, Settings(spill_folder=home / "mine"))  # type: ignore[arg-type]

    def served() -> float:
        begin = time.perf_counter()
        next(iter(lab.search(FIRST).reader()))
        return time.perf_counter() - begin

    def alone() -> float:
        begin = time.perf_counter()
        next(iter(engine.search(FIRST, user="admin").batches()))
        seconds = time.perf_counter() - begin
        while engine.host.spares is not None and engine.host.spares.making:
            time.sleep(0.005)
        return seconds

    try:
        found = interleave({"served": served, "engine": alone}, rounds)
    finally:
        engine.close()
    ours, engine_ms = found["served"] * 1000, found["engine"] * 1000
    report.line("first result beside the engine's (ms over it)", ours, engine_ms, ours - engine_ms, "<= 50")


def rows(report: Report, lab: labdock.Lab, folder: Path, count: int, rounds: int) -> None:
    """All rows of a finished search, against the same bytes copied; and the search with them."""
    job = lab.search(ALL).refresh(600)
    table = job.table()
    if table.num_rows != count:
        raise AssertionError(f"{table.num_rows} rows arrived, not {count}")
    content = folder / "result.arrow"
    content.write_bytes(b"".join(job.pieces("arrow")))
    path = folder / "copy.sock"
    command = [sys.executable, "-m", "benchmarks.copy_server", str(path), str(content)]
    with process(command, folder / "copy.log"):
        until(lambda: answers(path), "the copy's start")
        with contextlib.closing(Connection(f"unix:{path}", "")) as copy:
            contestants = {
                "copy": timed(lambda: read(copy.request("GET", "/"))),
                "result": timed(job.table),
                "search": timed(lambda: lab.search(ALL).table()),
            }
            found = interleave(contestants, rounds)
            cpu = {name: spent(work) for name, work in contestants.items()}
    size = content.stat().st_size / 1e6
    speed = {name: size / seconds for name, seconds in found.items()}
    report.line(
        f"{size:.0f} MB of rows (MB/s) beside a copy", speed["result"], speed["copy"],
        speed["result"] / speed["copy"], ">= 0.33", unit="MB/s",
    )  # fmt: skip
    report.line("the search and its rows (ms), the copy", found["search"] * 1e3, found["copy"] * 1e3,
                found["search"] / found["copy"], "")  # fmt: skip
    report.line("CPU of the client (ms)", cpu["result"] * 1e3, cpu["copy"] * 1e3, cpu["result"] / cpu["copy"], "")


def read(response: Any) -> pa.Table:
    """As a client would that knows the length: into memory allocated once, the table over it."""
    return pa.ipc.open_stream(response.read()).read_all()


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return once


def spent(work: Callable[[], float]) -> float:
    """CPU seconds of this process for one run."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def memory(report: Report, flows: Path, *, small: bool) -> None:
    """All flows sorted, far beyond the limit, row by row out of a process of its own."""
    limit = 100 if small else LIMIT_MB
    folder = Path(tempfile.mkdtemp(prefix="lds-", dir="/tmp"))
    try:
        command = [sys.executable, "-m", "benchmarks.search_jobs", str(flows), str(limit), str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    grown, spilled, size = (float(word) for word in done.stdout.split())
    if not small and not spilled:
        raise AssertionError("nothing was spilled: the limit was not reached")
    report.line(f"sort of {size:.0f} MB, spilled {spilled:.0f} MB: memory beside the limit (MB)",
                grown, limit, grown / limit, "" if small else "<= 1.5", unit="MB")  # fmt: skip


def sort_all(flows: Path, limit: int, folder: Path) -> None:
    """Prints by how many MB this process grew at its most, how many lay in the spill folder, and the result's MB."""
    from benchmarks.search import OneIndex  # noqa: PLC0415

    settings = Settings(threads=2, memory_mb=limit, spill_folder=folder)
    host = OneIndex(flows, pq.read_metadata(flows).num_rows)
    engine = Engine(host, None, None, None, settings)  # type: ignore[arg-type]
    engine.search("| makeresults | eval a=1", user="anna").table()
    before = psutil.Process().memory_info().rss / 1e6
    spilled = size = 0.0
    for batch in engine.search("index=botsv3 | sort 0 bytes_in src_ip", user="anna").batches():
        size += batch.nbytes / 1e6
        if not spilled:
            spilled = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
    grown = most_memory() - before
    engine.close()
    print(grown, spilled, size)


def most_memory() -> float:
    """The MB that this process held at its most. Not `ru_maxrss`: that begins with what its parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    sort_all(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
