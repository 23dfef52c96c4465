"""What a lookup is made of: the user's CSV as it came, checked, and a Parquet twin that searches read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from labdock.errors import InvalidFrame, InvalidName
from labdock.frames import check_columns
from labdock.names import NAME, check_name
from labdock_search.data import fields
from labdock_search.data.export import cells, csv_rows
from labdock_search.data.files import fsync_file
from labdock_search.data.inputs import EventFile, Problems
from labdock_search.data.readers import csv
from labdock_search.data.scan import COLUMN

SUFFIXES = (".csv.gz", ".csv")


def check_lookup_name(name: str) -> str:
    """`name`, or `InvalidName`: a name as everywhere, which may end in `.csv` or `.csv.gz`."""
    base = name.removesuffix(".gz").removesuffix(".csv") if name.endswith(SUFFIXES) else name
    if NAME.fullmatch(base):
        return name
    try:
        return check_name(base, "lookup")
    except InvalidName as error:
        error.remedy += " A lookup's name may end in .csv or .csv.gz."
        raise


def check_csv(file: EventFile) -> None:
    """Refuse what is no table: another format, no header, repeated or empty names, no comma. `InvalidFrame`."""
    if file.format != "csv":
        found = "empty" if file.format == "empty" else f"{file.format}, not CSV"
        raise InvalidFrame(f"{file.name} is {found}.", remedy="Give a CSV file with a header line.", file=file.name)
    before = len(file.notices)
    names, delimiter = csv.header_of(file)
    changed = file.notices[before:]
    if changed:
        raise InvalidFrame(
            f"The header of {file.name} has an empty name or the same name twice. {changed[0]}",
            remedy="Give every column a name of its own.",
            file=file.name,
            line=1,
        )
    check_columns(names)
    if delimiter != ",":
        shown = "tabs" if delimiter == "\t" else repr(delimiter)
        file.notices.append(f"{file.name} is separated by {shown} instead of commas.")


def write_twin(file: EventFile, twin: Path) -> tuple[int, pa.Schema]:
    """Convert a checked CSV; gives rows and fields. A ragged or broken line refuses the file and is named."""
    problems = Problems()
    with _TwinWriter(twin) as writer:
        for table in csv.read(file, problems):
            writer.write(table)
        if not writer.started:
            names, _ = csv.header_of(file)
            writer.write(pa.table({n: pa.array([], fields.TEXT) for n in names}))
    if problems.count:
        first = problems.kept[0]
        more = f" {problems.count - 1:,} more lines are wrong too." if problems.count > 1 else ""
        raise InvalidFrame(
            f"Line {first.line} of {file.name} cannot be read: {first.reason}.{more}",
            remedy="Correct the file and add it again.",
            file=file.name,
            lines=[p.line for p in problems.kept[:20]],
        )
    return writer.rows, writer.schema


class _TwinWriter:
    """Writes a Parquet file whose schema is that of the first table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0
        self.schema = pa.schema([])

    @property
    def started(self) -> bool:
        return self._writer is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
            fsync_file(self._path)

    def write(self, table: pa.Table) -> None:
        physical = fields.physical_names(table.column_names)
        stored = table.rename_columns([physical[n] for n in table.column_names])
        if self._writer is None:
            self.schema = described(table.schema)
            self._writer = pq.ParquetWriter(self._path, stored.schema, compression="snappy", store_schema=False)
        self._writer.write_table(stored, row_group_size=122_880)
        self.rows += table.num_rows


def described(schema: pa.Schema) -> pa.Schema:
    """`schema` with a note on each field whose column in the file has another name (see `scan.COLUMN`)."""
    physical = fields.physical_names(schema.names)
    return pa.schema(
        pa.field(f.name, f.type, metadata={COLUMN: physical[f.name].encode()} if physical[f.name] != f.name else None)
        for f in schema
    )


def read_twin(twin: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a twin under the fields' own names."""
    with pq.ParquetFile(twin) as file:
        for batch in file.iter_batches():
            yield pa.Table.from_batches([batch]).rename_columns(schema.names)


def write_pair(tables: Iterator[pa.Table], schema: pa.Schema, content: Path, twin: Path) -> int:
    """Rows of a search as CSV and twin, all conformed to `schema`; gives how many."""
    with content.open("wb") as file, _TwinWriter(twin) as writer:
        file.write((",".join('"' + n.replace('"', '""') + '"' for n in schema.names) + "\n").encode())
        for table in tables:
            fitted = fields.conform(table, schema)
            file.write(csv_rows(fitted))
            writer.write(fitted)
        if not writer.started:
            writer.write(schema.empty_table())
    fsync_file(content)
    return writer.rows


def plain(table: pa.Table) -> pa.Table:
    """A result's columns as a CSV holds them: multivalues joined with line breaks."""
    check_columns(table.column_names)
    return pa.table([cells(c) for c in table.columns], names=table.column_names)
