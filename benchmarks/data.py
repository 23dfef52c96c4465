"""`python -m benchmarks.data [--small]`: events into an index by format, and through the event collector.

CPU seconds of this process, which a busy machine changes little, beside pandas' way from the same CSV to one sorted
Parquet file. Needs no server.
"""

import argparse
import json
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from labdock_search.data.collector import Collector
from labdock_search.data.hec import EventCollector, Sender
from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import IngestOptions, ingest

SENDERS = 8


def flows(rows: int) -> pa.Table:
    """Ten fields: addresses, ports, sizes, a fraction."""
    random = np.random.default_rng(1)
    return pa.table(
        {
            "_time": 1.6e9 + np.sort(random.uniform(0, 3 * 86_400, rows)).round(6),
            "src_ip": pa.array([f"10.0.{a}.{b}" for a, b in random.integers(0, 250, (rows, 2))]),
            "src_port": random.integers(1_024, 65_535, rows),
            "dest_ip": pa.array([f"192.168.{a}.{b}" for a, b in random.integers(0, 250, (rows, 2))]),
            "dest_port": random.choice([80, 443, 53, 22, 8080], rows),
            "transport": pa.array(random.choice(["tcp", "udp"], rows)),
            "bytes_in": random.integers(0, 10**6, rows),
            "bytes_out": random.integers(0, 10**6, rows),
            "client_rtt": random.exponential(1e5, rows).round(3),
            "app": pa.array(random.choice(["http", "ssl", "dns"], rows)),
        }
    )


def write_files(table: pa.Table, folder: Path) -> list[Path]:
    """The same rows in each format."""
    pq.write_table(table, folder / "flows.parquet")
    pacsv.write_csv(table, folder / "flows.csv")
    columns = table.to_pydict()
    names = list(columns)
    rows = list(zip(*columns.values(), strict=True))
    (folder / "flows.jsonl").write_text("".join(json.dumps(dict(zip(names, r, strict=True))) + "\n" for r in rows))
    header = "#separator \\x09\n#path\tconn\n#fields\t" + "\t".join(["ts", *names[1:]])
    types = "\n#types\ttime\taddr\tport\taddr\tport\tenum\tcount\tcount\tdouble\tstring\n"
    (folder / "flows.log").write_text(header + types + "".join("\t".join(map(str, r)) + "\n" for r in rows))
    return [folder / f"flows.{suffix}" for suffix in ("parquet", "csv", "log", "jsonl")]


def cpu(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds."""
    began, at = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - began, time.perf_counter() - at


def measure_ingest(rows: int, folder: Path) -> None:
    files = write_files(flows(rows), folder)
    print(f"{rows:,} rows of 10 fields{'':14} CPU s   wall s   rows per CPU s")
    for file in files:
        indexes = Indexes(folder / file.suffix[1:])
        options = IngestOptions(sourcetype="stream:tcp", source="bench")
        used, wall = cpu(lambda file=file, indexes=indexes, options=options: ingest(indexes, [file], "main", options))
        stored = indexes.statistics("main").rows
        if stored != rows:
            raise SystemExit(f"{file.name}: {stored:,} rows are in the index instead of {rows:,}")
        print(f"{file.name:36} {used:8.2f} {wall:8.2f} {rows / used:14,.0f}")
    out = folder / "pandas.parquet"
    used, wall = cpu(lambda: pd.read_csv(files[1]).sort_values("_time").to_parquet(out))
    print(f"{'pandas: flows.csv to sorted Parquet':36} {used:8.2f} {wall:8.2f} {rows / used:14,.0f}")


def envelope(number: int) -> str:
    event = {"level": "INFO", "msg": f"request {number} served", "status": 200, "took": 12.5, "path": "/api/items"}
    return json.dumps({"time": 1.6e9 + number, "host": "web-1", "sourcetype": "app", "event": event})


def measure_collector(events: int, folder: Path) -> None:
    indexes = Indexes(folder / "collected")
    collector = Collector(indexes)
    sender = Sender("bench", lambda index: index == "main")
    protocol = EventCollector(collector, lambda token: sender)  # noqa: ARG005
    print(f"\nevent collector, {SENDERS} senders{'':11} events/s   us CPU/event   p50 ms   p99 ms")
    for each in (1, 100, 1_000):
        requests = max(SENDERS, events // (10 if each == 1 else 1) // each)
        bodies = ["\n".join(envelope(i * each + j) for j in range(each)).encode() for i in range(requests)]
        waits: list[float] = []
        used, wall = cpu(lambda bodies=bodies, waits=waits: send_all(protocol, sender, bodies, waits, collector))
        waits.sort()
        total = requests * each
        middle, late = waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3
        figures = f"{total / wall:8,.0f} {used / total * 1e6:14.1f} {middle:8.1f} {late:8.1f}"
        print(f"{each:5} events a request {'':15} {figures}")
    collector.close()


def send_all(
    protocol: EventCollector, sender: Sender, bodies: list[bytes], waits: list[float], collector: Collector
) -> None:
    """Each sender waits for its answer, and sends again what was refused because the collector is busy."""

    def send(mine: list[bytes]) -> None:
        for body in mine:
            began = time.perf_counter()
            while protocol.receive("event", sender, {}, {}, body).result().status == 503:
                time.sleep(0.02)
            waits.append(time.perf_counter() - began)

    threads = [threading.Thread(target=send, args=(bodies[n::SENDERS],)) for n in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collector.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a size for CI")
    small = parser.parse_args().small
    with tempfile.TemporaryDirectory(prefix="labdock-bench-") as folder:
        measure_ingest(20_000 if small else 1_000_000, Path(folder))
        measure_collector(2_000 if small else 100_000, Path(folder))
    print(f"\nlargest memory of the whole run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
