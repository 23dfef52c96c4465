"""CSV text to a table, keeping what types would lose.

A column becomes integers, floats or booleans only if every value is written as such a value is written: `007`,
`0x1F`, `+5` and numbers beyond 64 bits stay text. An empty field is a null, `""` an empty text.
"""

import csv
import re

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from labdock.errors import InvalidFrame

_INTEGER = r"^(0|-?[1-9][0-9]{0,19})$"
_FLOAT = r"^(-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|-?inf|nan|NaN)$"
_BOOLEAN = r"^(True|False|true|false)$"
_SAMPLE = 1000
_COLUMN_COUNT = re.compile(r"Expected (\d+) columns, got (\d+)")


def read_csv(buffer: pa.Buffer) -> pa.Table:
    """Raises `InvalidFrame` that names the line of what cannot be read."""
    names, empty = _header(buffer)
    if empty:
        return pa.table([pa.array([], pa.string())] * len(names), names=names)
    try:
        table = _parse(buffer, names, threads=True)
    except MemoryError:
        raise
    except (pa.ArrowException, ValueError) as error:
        raise _explain(buffer, names, error) from None
    _check_last_quote(buffer, table)
    columns = [_typed(table.column(i)) for i in range(table.num_columns)]
    return pa.Table.from_arrays(columns, names=names)


def _parse(buffer: pa.Buffer, names: list[str], threads: bool) -> pa.Table:
    # Columns are read under their positions, since Arrow merges the types of equal names; `check_columns` follows.
    positions = [str(i) for i in range(len(names))]
    return pacsv.read_csv(
        pa.BufferReader(buffer),
        read_options=pacsv.ReadOptions(column_names=positions, skip_rows_after_names=1, use_threads=threads),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(positions, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )


def _header(buffer: pa.Buffer) -> tuple[list[str], bool]:
    """The first record's values, quotes resolved, a byte order mark dropped; and whether nothing follows it."""
    text = memoryview(buffer)[: 16 << 20].tobytes()
    text = text.removeprefix(b"\xef\xbb\xbf")
    end, quoted = 0, False
    for match in re.finditer(rb'["\r\n]', text):
        if match[0] == b'"':
            quoted = not quoted
        elif not quoted:
            end = match.start()
            break
    else:
        end = len(text)
    try:
        record = next(csv.reader([text[:end].decode()]), [])
    except UnicodeDecodeError as error:
        raise InvalidFrame(
            f"The CSV's header is not UTF-8 (byte {error.start + 1}).", remedy="Save it as UTF-8."
        ) from None
    except csv.Error as error:
        raise InvalidFrame(f"The CSV's header cannot be read: {error}.", remedy="Check its quotes.") from None
    if not record:
        raise InvalidFrame("The CSV has no header.", remedy="Begin with a line of column names.")
    rest = text[end:].removeprefix(b"\r").removeprefix(b"\n")
    # An empty line is a null where there is one column, and nothing where there are several.
    return record, not (rest if len(record) == 1 else rest.strip(b"\r\n"))


def _check_last_quote(buffer: pa.Buffer, table: pa.Table) -> None:
    """A quote that is never closed swallows all lines to the end, which Arrow does not mind."""
    if buffer.to_pybytes().count(b'"') % 2 and table.num_rows:
        last = (column[-1].as_py() for column in table.columns)
        if any(value and "\n" in value for value in last):
            raise InvalidFrame("The CSV opens a quote that is never closed.", remedy="Close it, or double it.")


def _explain(buffer: pa.Buffer, names: list[str], error: Exception) -> InvalidFrame:
    view = memoryview(buffer)
    try:
        str(view, "utf-8")
    except UnicodeDecodeError as wrong:
        bad = bytes(view[: wrong.start]).count(b"\n") + 1
        return InvalidFrame(f"Line {bad} of the CSV is not UTF-8.", remedy="Save it as UTF-8.", line=bad)
    try:
        _parse(buffer, names, threads=False)
    except (pa.ArrowException, ValueError) as again:
        error = again
    text = str(error)
    row = re.search(r"Row #(\d+)", text)
    count = _COLUMN_COUNT.search(text)
    line = int(row[1]) if row else None
    if count:
        place = f"Line {line}" if line else "A line"
        return InvalidFrame(
            f"{place} of the CSV has {count[2]} fields; the header has {count[1]}.",
            remedy="Quote fields that hold commas, and give every line the same number of fields.",
            line=line,
        )
    return InvalidFrame(f"The CSV cannot be read: {text.splitlines()[0][:300]}", remedy="Check quotes and commas.")


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in the narrowest type that gives every text back as a value of the same meaning."""
    if column.null_count == len(column):
        return column if len(column) == 0 else pa.chunked_array([pa.nulls(len(column))])
    head = column.slice(0, _SAMPLE)
    for pattern, cast in ((_INTEGER, pa.int64()), (_FLOAT, pa.float64()), (_BOOLEAN, pa.bool_())):
        if _all_match(head, pattern) and _all_match(column, pattern):
            return _cast(column, cast)
    return column


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    for choice in (kind, pa.uint64()) if kind == pa.int64() else (kind,):
        try:
            return column.cast(choice)
        except pa.ArrowInvalid:  # an integer beyond 64 bits
            continue
    return column


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    answer = pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py()
    return bool(answer)
