"""Results as files: CSV, CSV for spreadsheets, JSON lines, Parquet, Arrow. Streamed: memory is one batch's.

- `csv` is exact: text is quoted, null is an empty cell and empty text is `""`, a multivalue's values are joined with
  line breaks. Reading it back gives the same values.
- `spreadsheet` is CSV in which text that a spreadsheet would run as a formula begins with an apostrophe.
- `json` is one object a line with every field; NaN and infinities, which JSON cannot hold, are texts.
- `parquet` and `arrow` keep types as they are.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from labdock.errors import InvalidOptions
from labdock.wire import ARROW_STREAM
from labdock_search.data import fields
from labdock_search.data.normalize import normalize

_FORMULA = r"^[=+\-@\t\r\n]"
_ROW_GROUP = 122_880
_CSV_OPTIONS = pacsv.WriteOptions(include_header=False, quoting_style="needed")


@dataclass(frozen=True)
class ExportFormat:
    """How a format is called in HTTP and on disk."""

    media_type: str
    suffix: str


FORMATS = {
    "csv": ExportFormat("text/csv; charset=utf-8", ".csv"),
    "spreadsheet": ExportFormat("text/csv; charset=utf-8", ".csv"),
    "json": ExportFormat("application/x-ndjson", ".jsonl"),
    "parquet": ExportFormat("application/vnd.apache.parquet", ".parquet"),
    "arrow": ExportFormat(ARROW_STREAM, ".arrow"),
}


class _Sink:
    """A file that is written to and emptied again and again."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> int:
        self._chunks.append(bytes(data))
        return len(self._chunks[-1])

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The chunks stay until they are taken."""

    def take(self) -> bytes:
        taken, self._chunks = b"".join(self._chunks), []
        return taken


def export(batches: Iterable[pa.RecordBatch], schema: pa.Schema, format: str) -> Iterator[bytes]:  # noqa: A002
    """The rows in `format`, piece by piece. `schema` is that of the batches. Raises `InvalidOptions`."""
    writers: dict[str, Callable[[Iterable[pa.RecordBatch], pa.Schema], Iterator[bytes]]] = {
        "csv": lambda b, s: _csv(b, s, safe=False),
        "spreadsheet": lambda b, s: _csv(b, s, safe=True),
        "json": _json,
        "parquet": _parquet,
        "arrow": _arrow,
    }
    if format not in writers:
        raise InvalidOptions(f"There is no format {format!r}.", remedy=f"Formats are: {', '.join(writers)}.")
    return writers[format](batches, schema)


def _csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, safe: bool) -> Iterator[bytes]:
    header = [_harmless(name) if safe else name for name in schema.names]
    yield (",".join('"' + name.replace('"', '""') + '"' for name in header) + "\n").encode()
    for batch in batches:
        if batch.num_rows:
            yield csv_rows(pa.Table.from_batches([batch]), safe=safe)


def csv_rows(table: pa.Table, *, safe: bool = False) -> bytes:
    """The rows of a table as CSV, without the header."""
    columns = [cells(column, safe=safe) for column in table.columns]
    sink = pa.BufferOutputStream()
    names = [str(i) for i in range(len(columns))]
    pacsv.write_csv(pa.table(columns, names=names), sink, _CSV_OPTIONS)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def cells(column: pa.ChunkedArray, *, safe: bool = False) -> pa.ChunkedArray:
    """A column as what a CSV cell can hold: numbers, booleans and text."""
    if pa.types.is_boolean(column.type):
        return column
    nested = pa.types.is_struct(column.type)
    flat = _structs(column) if nested else normalize(pa.table([column], names=["c"])).column(0)
    if flat.type == fields.MULTI:
        flat = pc.binary_join(flat, "\n")
    if safe and flat.type == fields.TEXT:
        risky = pc.fill_null(pc.match_substring_regex(flat, _FORMULA), False)
        flat = pc.if_else(risky, pc.binary_join_element_wise("'", flat, ""), flat)
    return flat


def _structs(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([None if v is None else _dumps(v).decode() for v in column.to_pylist()])])


def _harmless(name: str) -> str:
    return f"'{name}" if name[:1] in "=+-@\t\r\n" and name else name


def _json(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    names = schema.names
    for batch in batches:
        for start in range(0, batch.num_rows, 10_000):
            part = batch.slice(start, 10_000)
            columns = [_json_values(column) for column in part.columns]
            rows = zip(*columns, strict=True)
            yield b"".join(_dumps(dict(zip(names, row, strict=True))) + b"\n" for row in rows)


def _json_values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        return [v if v is None or math.isfinite(v) else _special(v) for v in values]
    return values


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


def _parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, "w"), schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        rows = 0
        for batch in batches:
            waiting.append(batch)
            rows += batch.num_rows
            if rows >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=_ROW_GROUP)
                waiting, rows = [], 0
                yield sink.take()
        writer.write_table(pa.Table.from_batches(waiting, schema))
    yield sink.take()


def _arrow(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()
