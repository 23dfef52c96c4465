"""Event files into an index: `labdock ingest FILE… --index botsv3 --sourcetype stream:tcp --source …`."""

import datetime as dt
import hashlib
import json
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from labdock.errors import InvalidFrame, InvalidOptions, LabdockError, NotFound
from labdock.home import write_atomically
from labdock_search.data import fields, times
from labdock_search.data.files import new_id, storage_errors
from labdock_search.data.indexes import Indexes
from labdock_search.data.inputs import FORMATS, EventFile, Format, Problem, Problems
from labdock_search.data.readers import arrow, csv, stream, zeek
from labdock_search.data.readers import json as json_reader
from labdock_search.data.writer import IndexWriter, constant

_REPORTS_KEPT = 50
_DEFAULT_SOURCETYPE: dict[str, str] = {"csv": "csv", "json": "_json", "parquet": "parquet", "arrow": "arrow"}


@dataclass(frozen=True)
class Progress:
    """How far an ingest is, for a progress bar: bytes of the files as they lie on disk."""

    file: str
    bytes: int
    total: int
    rows: int


@dataclass
class FileReport:
    """What became of one file. `bad` counts lines that were left out, `undated` events without a readable time."""

    name: str
    format: str = ""
    rows: int = 0
    bad: int = 0
    undated: int = 0
    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    skipped: bool = False
    error: str = ""


@dataclass
class IngestReport:
    """What became of an ingest. `error_report` names the file below `LABDOCK_HOME/ingest-errors` with every problem."""

    index: str
    files: list[FileReport]
    seconds: float
    error_report: str = ""

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    @property
    def bad(self) -> int:
        return sum(f.bad for f in self.files)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class IngestOptions:
    """How to read the files. What is not given comes from the events themselves, else from the file.

    `time_field` names the field that holds the time; else the first of `times.CANDIDATES` that the events have.
    `time_format` is a `strptime` format. `zone` is that of times without one. `default_source` is the source of events
    that have none of their own (Windows events have), where no `source` is given; else it is the file's name.
    """

    sourcetype: str | None = None
    source: str | None = None
    host: str | None = None
    time_field: str | None = None
    time_format: str | None = None
    zone: str = "UTC"
    format: str = "auto"
    again: bool = False
    default_source: str | None = None

    def __post_init__(self) -> None:
        if self.format != "auto" and self.format not in FORMATS:
            raise InvalidOptions(f"There is no format {self.format!r}.", remedy=f"Formats are: {', '.join(FORMATS)}.")
        for name in ("sourcetype", "source", "host"):
            value = getattr(self, name)
            if value is not None and (not value.strip() or len(value) > 1024):
                raise InvalidOptions(f"The {name} is empty or longer than 1024 characters.", remedy="Give another one.")


def ingest(
    indexes: Indexes,
    files: Sequence[Path | str],
    index: str,
    options: IngestOptions | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> IngestReport:
    """Read `files` into `index`, which is made if there is none.

    Each file becomes visible whole, when it was read to its end; a crash or a cancel leaves the files before it.
    A file that was ingested before, with the same metadata, is skipped unless `again`. Malformed lines are counted
    and reported with their numbers; a file that cannot be read at all is reported and the others are ingested.
    Raises `InvalidName`, `InvalidOptions` and `StorageError`.
    """
    options = options or IngestOptions()
    started = time.monotonic()
    zone = times.zone_of(options.zone)
    run = _Run(indexes, index, options, zone, progress, cancel or threading.Event())
    run.total = sum(p.stat().st_size for f in files if (p := Path(f)).is_file())
    reports = []
    with indexes.writer(index) as writer:
        for path in files:
            if run.cancel.is_set():
                break
            reports.append(run.one(Path(path), writer))
    report = IngestReport(index, reports, time.monotonic() - started)
    report.error_report = _keep_problems(indexes.folder.parent, reports)
    return report


@dataclass
class _Run:
    indexes: Indexes
    index: str
    options: IngestOptions
    zone: dt.tzinfo
    progress: Callable[[Progress], None] | None
    cancel: threading.Event
    total: int = 0
    done: int = 0
    rows: int = 0

    def one(self, path: Path, writer: IndexWriter) -> FileReport:
        """Ingest one file; errors that are about it alone go into its report."""
        report = FileReport(path.name)
        try:
            if not path.is_file():
                raise NotFound(f"There is no file {path.name}.", remedy="Check the name.", kind="file", name=path.name)
            self._read(EventFile(path), writer, report)
        except (InvalidFrame, InvalidOptions, NotFound) as error:
            report.error = str(error)
        except (EOFError, OSError) as error:  # a compressed file that is cut off
            report.error = f"{path.name} could not be read to its end: {error}"
        if report.error:
            report.rows = 0
            writer.abort()
        self.done += path.stat().st_size if path.is_file() else 0
        return report

    def _read(self, file: EventFile, writer: IndexWriter, report: FileReport) -> None:
        if self.options.format != "auto" and file.format != "empty":
            file.format = cast("Format", self.options.format)
        report.format = file.format
        key = self._key(file)
        if not self.options.again and key in self.indexes.manifest(self.index).read().inputs:
            report.skipped = True
            report.notices.append(f"{file.name} is in {self.index} already; --again adds it a second time.")
            return
        problems = Problems()
        for table in _tables(file, problems):
            if self.cancel.is_set():
                writer.abort()
                report.error = f"{file.name} was cancelled; nothing of it was kept."
                return
            writer.add(self._events(table, file, report))
            report.rows += table.num_rows
            self.rows += table.num_rows
            if self.progress:
                self.progress(Progress(file.name, self.done + file.position, self.total, self.rows))
        report.bad, report.problems = problems.count, problems.kept
        report.notices += file.notices
        if report.undated:
            report.notices.append(f"{report.undated:,} events of {file.name} have no readable time; see the docs.")
        if report.rows:
            writer.commit(inputs={key: report.rows})

    def _key(self, file: EventFile) -> str:
        """What makes two ingests the same: the content's beginning, end and size, and the metadata asked for."""
        digest = hashlib.sha256(repr((file.size, self.options.sourcetype, self.options.source)).encode())
        digest.update(repr((self.options.host, self.options.time_field, self.options.time_format)).encode())
        with file.path.open("rb") as stream_:
            digest.update(stream_.read(1 << 20))
            stream_.seek(max(0, file.size - (1 << 20)))
            digest.update(stream_.read(1 << 20))
        return digest.hexdigest()[:32]

    def _events(self, table: pa.Table, file: EventFile, report: FileReport) -> pa.Table:
        """`table` with `_time` and the metadata fields."""
        columns: dict[str, pa.ChunkedArray] = dict(zip(table.column_names, table.columns, strict=True))
        stream.add_fields(columns, self.options.sourcetype)
        self._add_time(columns, table.num_rows, file, report)
        if fields.RAW in columns:
            columns[fields.RAW] = fields.cast(columns[fields.RAW], fields.TEXT)
        defaults = {
            "source": self.options.default_source or file.name,
            "sourcetype": _default_sourcetype(file.format, columns),
            "host": platform.node() or "localhost",
        }
        for name, default in defaults.items():
            columns[name] = _metadata(columns, name, getattr(self.options, name), default, table.num_rows)
        if "index" in columns:
            columns.pop("index")
        return pa.table(columns)

    def _add_time(self, columns: dict[str, pa.ChunkedArray], rows: int, file: EventFile, report: FileReport) -> None:
        names = times.choose(list(columns), self.options.time_field)
        if not names and self.options.time_field is not None:
            raise InvalidOptions(
                f"{file.name} has no field {self.options.time_field!r}.",
                remedy=f"Its fields are: {', '.join(list(columns)[:30])}.",
            )
        found = pa.chunked_array([pa.nulls(rows, fields.FLOAT)])
        for name in names:  # events of several kinds in one file name it differently
            if found.null_count:
                found = pc.coalesce(found, times.parse_column(columns[name], self.zone, self.options.time_format))
        report.undated += found.null_count
        if found.null_count:  # the time of the event before, as a continuation has it; else of the ingest
            filled = pc.fill_null_forward(found)
            found = pc.fill_null(filled, time.time())
        columns[fields.TIME] = found


def _tables(file: EventFile, problems: Problems) -> Iterator[pa.Table]:
    if file.format in ("parquet", "arrow"):
        return arrow.read(file)
    readers: dict[Format, Callable[[EventFile, Problems], Iterator[pa.Table]]] = {
        "csv": csv.read,
        "json": json_reader.read,
        "zeek": zeek.read,
    }
    return readers[file.format](file, problems) if file.format in readers else iter(())


def _default_sourcetype(format_: str, columns: dict[str, pa.ChunkedArray]) -> str:
    if format_ == "zeek":
        path = columns["_path"][0].as_py() if len(columns["_path"]) else None
        return f"zeek:{path or 'log'}"
    return _DEFAULT_SOURCETYPE.get(format_, "events")


def _metadata(
    columns: dict[str, pa.ChunkedArray], name: str, given: str | None, default: str, rows: int
) -> pa.ChunkedArray:
    """The option, else the event's own text, else the default. An own value that loses is kept as `extracted_…`."""
    own = columns.get(name)
    if given is not None:
        if own is not None:
            columns.setdefault(f"extracted_{name}", own)
        return constant(given, rows)
    if own is None or own.type == fields.MULTI:
        return constant(default, rows)
    text = fields.cast(own, fields.TEXT)
    return pc.fill_null(pc.if_else(pc.equal(text, ""), pa.scalar(None, fields.TEXT), text), default)


def _keep_problems(home: Path, reports: Sequence[FileReport]) -> str:
    """Write all kept problems as JSON lines; the newest 50 such reports stay."""
    lines = [
        json.dumps({"file": r.name, "line": p.line, "reason": p.reason, "text": p.text})
        for r in reports
        for p in r.problems
    ]
    lines += [json.dumps({"file": r.name, "line": 0, "reason": r.error, "text": ""}) for r in reports if r.error]
    if not lines:
        return ""
    folder = home / "ingest-errors"
    with storage_errors("the error report", home):
        folder.mkdir(exist_ok=True, mode=0o700)
        name = f"{new_id()}.jsonl"
        write_atomically(folder / name, ("\n".join(lines) + "\n").encode())
        for old in sorted(folder.glob("*.jsonl"))[:-_REPORTS_KEPT]:
            old.unlink(missing_ok=True)
    return name


def raise_for_failure(report: IngestReport) -> None:
    """Raise the first file's error where no file could be ingested."""
    failed = [f for f in report.files if f.error]
    if failed and len(failed) == len(report.files):
        raise LabdockError(failed[0].error)
