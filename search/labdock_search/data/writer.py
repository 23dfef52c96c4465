"""Writes events into an index: sorted by time, cut into Parquet files by sourcetype and day, visible all at once."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labdock.home import fsync_folder
from labdock_search.data import fields
from labdock_search.data.files import fsync_file, new_id, storage_errors, try_lock
from labdock_search.data.manifest import MAX_DISTINCT, Commit, FileEntry, Manifest, Schema, Snapshot

PREFIX = "events-"
NEW = ".new"
DAY = 86_400
MAX_ROWS = 1_000_000  # of a file
MIN_ROWS = 16_384  # neighbouring days share a file until it has this many
ROW_GROUP = 122_880  # DuckDB's vector group: what it reads with one thread and prunes by time
BUFFER_BYTES = 128 << 20


class IndexWriter:
    """One ingest. `add` events, then `commit`; left without a commit, nothing of it remains.

    Tables passed to `add` hold event types only (`normalize`), `_time` without nulls, and `source`, `sourcetype` and
    `host`. Memory stays below about three times `buffer_bytes`. A crash leaves a folder below `.new` that the next
    `tidy` removes; files get their final names under the manifest's lock, right before its line is written.
    """

    def __init__(self, manifest: Manifest, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._manifest = manifest
        self._limit = buffer_bytes
        self._buffers: dict[str, list[pa.Table]] = {}
        self._buffered = 0
        self._folder = manifest.folder / NEW / new_id()
        self._lock: int | None = None
        self._written: list[FileEntry] = []
        self._schemas: dict[str, Schema] = {}
        self._columns: dict[str, tuple[str, str]] = {}  # of this writer's own files

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.abort()

    @property
    def rows(self) -> int:
        """Rows added since the last commit."""
        waiting: int = sum(t.num_rows for b in self._buffers.values() for t in b)
        return waiting + sum(e.rows for e in self._written)

    def add(self, table: pa.Table) -> None:
        """Take events; writes files when the buffer is full."""
        if not table.num_rows:
            return
        table = _arranged(table, self._manifest.index)
        for sourcetype, part in _by_sourcetype(table):
            self._buffers.setdefault(sourcetype, []).append(part)
            self._buffered += part.nbytes
        while self._buffered > self._limit:
            self._flush(max(self._buffers, key=lambda s: sum(t.nbytes for t in self._buffers[s])))

    def commit(
        self,
        *,
        drop: tuple[str, ...] = (),
        inputs: Mapping[str, int] | None = None,
        applied: Mapping[str, int] | None = None,
    ) -> Snapshot:
        """Make what was added visible, and `drop` invisible, at once and durably. The writer can be used again."""
        for sourcetype in list(self._buffers):
            self._flush(sourcetype)
        with self._manifest.lock():
            with storage_errors(f"index {self._manifest.index}", self._manifest.folder):
                self._refit()
                for entry in self._written:
                    (self._folder / entry.name).rename(self._manifest.folder / entry.name)
                if self._written:
                    fsync_folder(self._manifest.folder)
            change = Commit(
                add=tuple(self._written), drop=drop, schemas=self._schemas, inputs=inputs or {}, applied=applied or {}
            )
            snapshot = self._manifest.commit(change)
        self._written, self._schemas, self._columns = [], {}, {}
        return snapshot

    def abort(self) -> None:
        """Forget what was not committed; also releases what the writer holds."""
        self._buffers, self._buffered, self._written = {}, 0, []
        self._schemas, self._columns = {}, {}
        if self._lock is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def _flush(self, sourcetype: str) -> None:
        tables = self._buffers.pop(sourcetype)
        self._buffered -= sum(t.nbytes for t in tables)
        with storage_errors(f"index {self._manifest.index}", self._manifest.folder):
            self._prepare()
            for piece in _pieces(fields.merge(tables)):
                self._write(piece)

    def _prepare(self) -> None:
        if self._lock is None:
            with self._manifest.lock():  # without it `tidy` could take the folder for a dead writer's
                self._folder.mkdir(parents=True, mode=0o700)
                self._lock = try_lock(self._folder / ".lock")

    def _write(self, table: pa.Table) -> None:
        name = f"{PREFIX}{new_id()}.parquet"
        known = {**self._manifest.read().columns, **self._columns}
        table, physical = fields.fitted(table, known)
        write_parquet(self._folder / name, table.rename_columns([physical[f] for f in table.column_names]))
        schema = tuple((f.name, physical[f.name], fields.type_name(f.type)) for f in table.schema)
        self._columns.update({f: (p, known[f][1] if f in known else t) for f, p, t in schema})
        key = key_of(schema)
        self._schemas[key] = schema
        self._written.append(_entry(name, self._folder / name, table, key))

    def _refit(self) -> None:
        """Under the lock: write again what another writer's commit since then made unfit (rare)."""
        known = self._manifest.read().columns
        unfit = {
            key for key, schema in self._schemas.items() if any(not _agrees(known.get(f), p, t) for f, p, t in schema)
        }
        again = [e for e in self._written if e.schema in unfit]
        self._written = [e for e in self._written if e.schema not in unfit]
        self._columns = {}
        for entry in again:
            schema = self._schemas[entry.schema]
            table = pq.read_table(self._folder / entry.name).rename_columns([f for f, _, _ in schema])
            self._write(table)
        self._schemas = {key: self._schemas[key] for key in {e.schema for e in self._written}}


def _agrees(known: tuple[str, str] | None, physical: str, type_: str) -> bool:
    return known is None or (known[0] == physical and (known[1] == "multi") == (type_ == "multi"))


def key_of(schema: Schema) -> str:
    """A schema's key in the manifest."""
    return hashlib.sha256(repr(schema).encode()).hexdigest()[:16]


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write and fsync one file. Pages carry checksums, so that damage is found rather than read."""
    plain = [c for c in table.column_names if c not in (fields.TIME, fields.RAW)]
    pq.write_table(
        table,
        path,
        row_group_size=ROW_GROUP,
        compression={c: "zstd" if c == fields.RAW else "snappy" for c in table.column_names},
        use_dictionary=plain,
        write_page_checksum=True,
        store_schema=False,
    )
    fsync_file(path)


def _entry(name: str, path: Path, table: pa.Table, schema: str) -> FileEntry:
    times = pc.min_max(table.column(fields.TIME)).as_py()
    values: dict[str, tuple[str, ...] | None] = {}
    for field in ("sourcetype", "source", "host"):
        distinct = pc.unique(table.column(field)).drop_null()
        values[field] = tuple(sorted(distinct.to_pylist())) if len(distinct) <= MAX_DISTINCT else None
    return FileEntry(
        name, table.num_rows, path.stat().st_size, times["min"], times["max"], schema, values, created=time.time()
    )


def _arranged(table: pa.Table, index: str) -> pa.Table:
    """The leading fields first; `index` is this index's name, whatever the event said."""
    columns: dict[str, pa.ChunkedArray] = dict(zip(table.column_names, table.columns, strict=True))
    columns["index"] = constant(index, table.num_rows)
    names = [n for n in fields.LEADING if n in columns] + [n for n in columns if n not in fields.LEADING]
    return pa.table({n: columns[n] for n in names})


def constant(value: str | None, rows: int) -> pa.ChunkedArray:
    """`rows` times the same text."""
    return pa.chunked_array([pa.repeat(pa.scalar(value, fields.TEXT), rows)])


def _by_sourcetype(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    column = table.column("sourcetype")
    distinct = pc.unique(column).to_pylist()
    if len(distinct) == 1:
        yield distinct[0], table
        return
    for value in distinct:
        part = table.filter(pc.equal(column, value))
        empty = [
            n for n in part.column_names if n not in fields.RESERVED and part.column(n).null_count == part.num_rows
        ]
        yield value, part.drop_columns(empty)


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """`table` sorted by time and cut at the ends of days, and within a day where it is long."""
    order = pc.sort_indices(table, [(fields.TIME, "ascending")])
    times = table.column(fields.TIME).to_numpy()
    if np.any(times[1:] < times[:-1]):
        table = table.take(order)
        times = table.column(fields.TIME).to_numpy()
    days = np.floor(times / DAY)
    ends = [*(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(times)]
    start = 0
    for i, end in enumerate(ends):
        last = i == len(ends) - 1
        following = None if last else ends[i + 1]
        if last or end - start >= MIN_ROWS or (following is not None and following - start > MAX_ROWS):
            for at in range(start, end, MAX_ROWS):
                yield table.slice(at, min(MAX_ROWS, end - at))
            start = end
