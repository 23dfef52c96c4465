"""The search language: parsing, UC1 beside the same SQL typed into DuckDB, and the first result of a small search."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import search_jobs
from benchmarks.report import Report, Statistic, interleave
from benchmarks.search_jobs import timed
from labdock_search import Engine, Settings
from labdock_search.pipeline import parse
from labdock_search.protocols import Caller, DataFile, IndexData

DAY = 86_400.0
START = 1.5e9
THREADS = 2
UC1 = """index=botsv3 sourcetype="stream:tcp"
| bin _time span=1m
| stats count as numFlows avg(bytes_in) as avgBytes sum(bytes_in) as sumBytes
avg(client_rtt) as avgDuration dc(dest_ip) as uniqueDstIp dc(dest_port) as
uniqueDstPort dc(protocol_stack) as uniqueProtocols by _time src_ip"""
TYPED = """SELECT floor(_time / 60) * 60 AS _time, src_ip, count(*) AS numFlows, avg(bytes_in) AS avgBytes,
sum(bytes_in) AS sumBytes, avg(client_rtt) AS avgDuration, count(DISTINCT dest_ip) AS uniqueDstIp,
count(DISTINCT dest_port) AS uniqueDstPort, count(DISTINCT protocol_stack) AS uniqueProtocols
FROM read_parquet(?) WHERE sourcetype = 'stream:tcp' GROUP BY 1, 2 ORDER BY 1, 2"""


class OneIndex:
    """An index of one file."""

    def __init__(self, path: Path, rows: int) -> None:
        schema = pq.read_schema(path)
        facts = {"sourcetype": frozenset(["stream:tcp"])}
        self.data = IndexData(
            "botsv3", [DataFile(str(path), rows, "botsv3/0", START, START + DAY, facts, schema)], schema
        )

    def names(self, caller: Caller) -> list[str]:  # noqa: ARG002 - the shape of Indexes
        return ["botsv3"]

    default_names = names

    def open(self, name: str, caller: Caller) -> IndexData:  # noqa: ARG002
        return self.data


def flows(path: Path, count: int) -> None:
    """Made network flows of one day, 2,000 sources."""
    random = np.random.default_rng(1)
    addresses = [f"10.{i >> 8}.{i & 255}.1" for i in range(5_000)]
    stacks = ["ip:tcp", "ip:tcp:http", "ip:tcp:ssl"]
    table = pa.table(
        {
            "_time": np.sort(random.uniform(START, START + DAY, count)),
            "sourcetype": pa.repeat(pa.scalar("stream:tcp"), count),
            "src_ip": pa.array(addresses[:2_000]).take(pa.array(random.integers(0, 2_000, count))),
            "dest_ip": pa.array(addresses).take(pa.array(random.integers(0, 5_000, count))),
            "dest_port": random.integers(1, 65_535, count),
            "bytes_in": random.integers(40, 100_000, count),
            "client_rtt": random.exponential(20_000.0, count),
            "protocol_stack": pa.array(stacks).take(pa.array(random.integers(0, 3, count))),
        }
    )
    pq.write_table(table, path)


def counted(work: Callable[[], object], spent: list[float]) -> Callable[[], float]:
    """Seconds of one run; its CPU seconds, of all threads, go to `spent`: a busy machine changes them least."""

    def once() -> float:
        begin, cpu = time.perf_counter(), time.process_time()
        work()
        spent.append(time.process_time() - cpu)
        return time.perf_counter() - begin

    return once


def run(report: Report, *, small: bool) -> None:
    """Measure all; a small run has 100,000 flows instead of 5,000,000."""
    count = 100_000 if small else 5_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flows.parquet"
        flows(path, count)
        host = OneIndex(path, count)
        settings = Settings(threads=THREADS, memory_mb=6_000, spill_folder=Path(folder) / "spill")
        engine = Engine(host, None, None, None, settings)  # type: ignore[arg-type]
        try:
            report.title(f"Search: {count:,} flows, {THREADS} threads")
            parsing(report)
            aggregation(report, engine, path, rounds=3 if small else 5)
            first_result(report, engine, rounds=20)
        finally:
            engine.close()
        search_jobs.memory(report, path, small=small)
        search_jobs.run(report, path, small=small)


def parsing(report: Report) -> None:
    def once() -> float:
        begin = time.process_time()  # one thread's work; a busy machine's waiting is not parsing
        for _ in range(50):
            parse(UC1)
        return time.process_time() - begin

    milliseconds = interleave({"parse": once}, 9)["parse"] / 50 * 1000
    report.line("parse UC1 (ms of CPU)", milliseconds, None, milliseconds, "<= 1")


def aggregation(report: Report, engine: Engine, path: Path, rounds: int) -> None:
    """Both on a fresh database, both read into Arrow."""

    def typed() -> pa.Table:
        with duckdb.connect(config={"threads": THREADS}) as connection:
            connection.execute("SET enable_progress_bar = false")  # it would be drawn over the table
            return connection.sql(TYPED, params=[str(path)]).to_arrow_table()

    def ours() -> pa.Table:
        return engine.search(UC1, user="anna").table()

    left, right = ours(), typed()
    if left.num_rows != right.num_rows or left.column("numFlows") != right.column("numFlows"):
        raise AssertionError("the search and the SQL differ")
    spent: dict[str, list[float]] = {"ours": [], "typed": []}
    contestants = {"ours": counted(ours, spent["ours"]), "typed": counted(typed, spent["typed"])}
    found = interleave(contestants, rounds)
    cpu = {name: Statistic.of(seconds[1:]) for name, seconds in spent.items()}  # the first is the warm-up
    report.line(
        "UC1 beside the same SQL", found["ours"] * 1000, found["typed"] * 1000, found["ours"] / found["typed"], "<= 1.1"
    )
    report.line("  its CPU", cpu["ours"] * 1000, cpu["typed"] * 1000, cpu["ours"] / cpu["typed"], "<= 1.1")


def first_result(report: Report, engine: Engine, rounds: int) -> None:
    """A search that computes next to nothing: what it takes is the pipeline around DuckDB, its start included."""

    def ours() -> None:
        engine.search("| makeresults | eval a=1 | where a=1 | table a", user="anna").rows()

    # Apart in time, as searches of people are: the spare database is made between them.
    times = []
    for _ in range(rounds):
        times.append(timed(ours)())
        maker = engine.host.spares
        while maker is not None and maker.making:
            time.sleep(0.005)
    milliseconds = sorted(times)[len(times) // 2] * 1000
    report.line("first result of a small search (ms)", milliseconds, None, milliseconds, "<= 50")
