"""What a search sees of an index: its good files, with what is known of each without opening it."""

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from labdock_search.data import fields
from labdock_search.data.manifest import FileEntry, Snapshot
from labdock_search.protocols import DataFile, IndexData

# In a schema field's metadata: the column's name in the files, where it is not the field's.
COLUMN = b"labdock.column"


class FileCheck:
    """Whether a file is the one that the manifest describes. Footers are read once for each file and process."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, str]] = {}  # path -> inode, time of change, what was found

    def problem(self, path: str, entry: FileEntry) -> str:
        """What is wrong with the file, or an empty text. One `stat` for a file that was seen before."""
        try:
            status = os.stat(path)  # noqa: PTH116 - thousands of files at every search
        except OSError:
            return "it is missing"
        if status.st_size != entry.bytes:
            return f"it has {status.st_size:,} bytes instead of {entry.bytes:,}"
        seen = self._seen.get(path)
        if seen is None or seen[0] != status.st_ino or seen[1] != status.st_mtime_ns:
            seen = (status.st_ino, status.st_mtime_ns, self._footer(path, entry))
            self._seen[path] = seen
        return seen[2]

    @staticmethod
    def _footer(path: str, entry: FileEntry) -> str:
        try:
            rows = pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException):
            return "its footer cannot be read"
        return "" if rows == entry.rows else f"it has {rows:,} rows instead of {entry.rows:,}"

    def verify(self, file: Path, entry: FileEntry) -> str:
        """Read every page with its checksum: finds damage that the footer does not show, and remembers it."""
        path = str(file)
        found = self.problem(path, entry)
        if found:
            return found
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as opened:
                for batch in opened.iter_batches():
                    batch.validate()
        except (OSError, pa.ArrowException, ValueError):
            found = "its content is damaged"
        status = file.stat()
        self._seen[path] = (status.st_ino, status.st_mtime_ns, found)
        return found


@dataclass
class View:
    """An index at one commit, as the engine wants it, remade only when the manifest or a file's state changed."""

    index: str
    folder: Path
    check: FileCheck
    _snapshot: Snapshot | None = None
    _files: Mapping[str, DataFile] = field(default_factory=dict)
    _entries: Sequence[tuple[str, FileEntry]] = ()
    _schema: pa.Schema | None = None
    _data: IndexData | None = None

    def data(self, snapshot: Snapshot) -> IndexData:
        """The good files and the problems of the others."""
        if snapshot is not self._snapshot:
            schemas = {key: file_schema(columns) for key, columns in snapshot.schemas.items()}
            known = self._files
            self._files = {
                e.name: known.get(e.name) or _data_file(self.index, self.folder, e, schemas[e.schema])
                for e in snapshot.files.values()
            }
            self._entries = [(self._files[e.name].path, e) for e in snapshot.files.values()]
            self._schema = schema_of(snapshot)
            self._snapshot, self._data = snapshot, None
        look = self.check.problem
        bad = {e.name: problem for path, e in self._entries if (problem := look(path, e))}
        if bad or self._data is None or self._data.problems:
            self._data = self._remade(snapshot, bad)
        return self._data

    def _remade(self, snapshot: Snapshot, bad: Mapping[str, str]) -> IndexData:
        problems = list(snapshot.warnings)
        for name, problem in bad.items():
            rows = snapshot.files[name].rows
            problems.append(
                f"Index {self.index}: file {name} is damaged ({problem}); its {rows:,} events are left out."
            )
        files = [f for name, f in self._files.items() if name not in bad]
        return IndexData(self.index, files, self._schema or pa.schema([]), problems)


def schema_of(snapshot: Snapshot) -> pa.Schema:
    """The union of the live files' schemas, leading fields first, then in the order in which they were first seen."""
    live = {e.schema for e in snapshot.files.values()}
    types: dict[str, list[str]] = {}
    for key, columns in snapshot.schemas.items():
        if key in live:
            for name, _, type_ in columns:
                types.setdefault(name, []).append(type_)
    ordered = [f for f in fields.LEADING if f in types] + [f for f in types if f not in fields.LEADING]
    return file_schema([(n, snapshot.columns[n][0], fields.common_type(types[n])) for n in ordered])


def file_schema(columns: Iterable[tuple[str, str, str]]) -> pa.Schema:
    """Field, its column's name in files, and its type's name as a schema; see `COLUMN`."""
    return pa.schema(
        pa.field(name, fields.type_of(type_), metadata={COLUMN: column.encode()} if column != name else None)
        for name, column, type_ in columns
    )


def _data_file(index: str, folder: Path, entry: FileEntry, schema: pa.Schema) -> DataFile:
    values = {k: frozenset(v) for k, v in entry.values.items() if v is not None}
    sourcetypes = entry.values.get("sourcetype") or ()
    about = sourcetypes[0] if len(sourcetypes) == 1 else "mixed"
    label = f"{index}/{_day(entry.earliest)}/{about}/{entry.name.removesuffix('.parquet')[-8:]}"
    return DataFile(str(folder / entry.name), entry.rows, label, entry.earliest, entry.latest, values, schema)


def _day(time: float) -> str:
    try:
        return dt.datetime.fromtimestamp(time, dt.UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "undated"
