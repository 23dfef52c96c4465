"""What the lab guide expects to find: its lookups, and the index `botsv3` with flows and Windows events.

Everything is made from what the project ships (`notebooks/data`) and from seeded generators, so every installation
has the same lab. Where richer flows are at hand (`extra`, real captures that may not be shipped), they are added.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from labdock.errors import NotFound
from labdock.samples import network_flows, windows_events
from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import IngestOptions, IngestReport, ingest, raise_for_failure
from labdock_search.data.lookups import Lookups
from labdock_search.protocols import Caller

INDEX = "botsv3"
SEED = 3  # another seed is another company
CARDS = "credit_card_fraud.csv"
FLOWS = "zeek_conn_sample.csv"
LOOKUPS = ("credit_card_test.csv", "credit_card_fraud.csv")
WINDOWS_SOURCE = "WinEventLog:Security"
# Columns of the samples that say what is true: for evaluation, not for searches.
_TRUTH = ("origin", "botnet")


@dataclass(frozen=True)
class Prepared:
    """What the lab's data is now. `added` counts what this call added; a second call adds nothing."""

    lookups: tuple[str, ...]
    index: str
    events: int
    added: int
    notices: tuple[str, ...] = ()


def prepare(
    indexes: Indexes, lookups: Lookups, caller: Caller, data: Path, extra: Sequence[Path] = (), seed: int = SEED
) -> Prepared:
    """Make the lab's lookups (shared with all apps) and events; what is there stays.

    `data` is the folder of the shipped files (`notebooks/data`), `extra` Parquet files of flows in Splunk Stream's
    field names. Raises `NotFound` for a missing file.
    """
    for name in (CARDS, FLOWS):
        if not (data / name).is_file():
            raise NotFound(
                f"The lab's file {name} is not there.", remedy="Install Labdock again.", kind="file", name=name
            )
    _prepare_lookups(lookups, caller, data / CARDS)
    with TemporaryDirectory() as folder:
        reports = [
            *(
                r
                for host, flows in _flows(data, extra, seed)
                for r in _ingest_flows(indexes, host, flows, Path(folder))
            ),
            _ingest_windows(indexes, seed, Path(folder)),
        ]
    for report in reports:
        raise_for_failure(report)
    return Prepared(
        lookups=LOOKUPS,
        index=INDEX,
        events=indexes.statistics(INDEX).rows,
        added=sum(r.rows for r in reports),
        notices=tuple(n for r in reports for f in r.files for n in f.notices if not f.skipped),
    )


def _prepare_lookups(lookups: Lookups, caller: Caller, cards: Path) -> None:
    """Both of the guide's names for the same table (see `docs/data.md`)."""
    known = set(lookups.names(caller))
    for name in LOOKUPS:
        if name not in known:
            lookups.add(cards, caller, name=name, sharing="global")


def _flows(data: Path, extra: Sequence[Path], seed: int) -> Iterator[tuple[str, pa.Table]]:
    """A capture of four minutes, a made-up day with an infected camera, and what is at hand besides."""
    yield "zeek", pacsv.read_csv(data / FLOWS)
    yield f"sensor-{seed}", _table(network_flows.generate(seed))
    for file in extra:
        yield file.stem, pq.read_table(file)


def _ingest_flows(indexes: Indexes, host: str, flows: pa.Table, folder: Path) -> Iterator[IngestReport]:
    """Flows by transport, as Splunk Stream has them: the lab's searches want `stream:tcp` alone."""
    for transport in sorted(t for t in pc.unique(flows.column("transport")).to_pylist() if t):
        part = flows.filter(pc.equal(flows.column("transport"), transport))
        name = f"stream:{transport}"
        with _as_file(part, folder, f"{host}-{transport}") as path:
            yield ingest(indexes, [path], INDEX, IngestOptions(sourcetype=name, source=name, host=host))


def _ingest_windows(indexes: Indexes, seed: int, folder: Path) -> IngestReport:
    events = windows_events.generate(seed)
    table = _table(events.drop(columns=["source"]).assign(host=events["ComputerName"]))
    with _as_file(table, folder, f"windows-{seed}") as path:
        return ingest(indexes, [path], INDEX, IngestOptions(sourcetype=WINDOWS_SOURCE, source=WINDOWS_SOURCE))


def _table(frame: pd.DataFrame) -> pa.Table:
    told = frame.drop(columns=[c for c in _TRUTH if c in frame.columns])
    return pa.Table.from_pandas(told, preserve_index=False)


@contextmanager
def _as_file(table: pa.Table, folder: Path, name: str) -> Iterator[Path]:
    """The table as a Parquet file whose bytes depend on its values alone: ingesting it again is noticed."""
    path = folder / f"{name}.parquet"
    pq.write_table(table.replace_schema_metadata(), path)
    yield path
    path.unlink()


def digest(indexes: Indexes, caller: Caller) -> str:
    """A checksum of the lab's events, to compare installations."""
    found = hashlib.sha256()
    for file in sorted(indexes.open(INDEX, caller).files, key=lambda f: (f.earliest or 0, f.rows)):
        table = pq.read_table(file.path).combine_chunks().replace_schema_metadata()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        found.update(sink.getvalue())
    return found.hexdigest()
