"""CSV with a header: any of the usual delimiters, quotes, any encoding; malformed lines are noted and left out.

Two passes: the first decides each column's type from all its values, the second converts. Memory is bounded by the
block size. Where quotes are so broken that records cannot be told, the file is read line by line instead.
"""

import csv
import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pacsv

from labdock_search.data import fields
from labdock_search.data.inputs import EventFile, Problems
from labdock_search.data.texts import Guess

BLOCK = 4 << 20
DELIMITERS = ",\t;|"
_LINES = 50_000


def sniff_delimiter(line: str) -> str:
    """The delimiter that the header uses most, outside quotes."""
    plain = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=plain.count)


def header_of(file: EventFile) -> tuple[list[str], str]:
    """Names from the first record, and the delimiter. Empty and repeated names get a number, with a notice."""
    with file.open() as stream:
        text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
        first = next((line for line in text if line.strip()), "").lstrip("\ufeff")
        delimiter = sniff_delimiter(first)
        names = next(csv.reader(_chain(first, text), delimiter=delimiter), [])
    return unique_names([n.strip() for n in names], file.notices), delimiter


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def unique_names(names: list[str], notices: list[str]) -> list[str]:
    """Each name once: an empty one becomes `column_3`, the second `a` becomes `a_2`."""
    found: list[str] = []
    for i, name in enumerate(names):
        base = name or f"column_{i + 1}"
        unique, tries = base, 2
        while unique in found:
            unique, tries = f"{base}_{tries}", tries + 1
        if unique != name:
            notices.append(f"Column {i + 1} of the header, {name!r}, is called {unique!r}.")
        found.append(unique)
    return found


def read(file: EventFile, problems: Problems) -> Iterator[pa.Table]:
    """Tables of event types."""
    names, delimiter = header_of(file)
    guesses = {n: Guess() for n in names}
    if _ends_in_quotes(file, delimiter):
        yield from _broken(file, names, delimiter, problems)
        return
    try:
        for table in _records(file, names, delimiter, dict.fromkeys(names, fields.TEXT), None):
            for name in names:
                guesses[name].see(table.column(name))
        types = {n: g.type for n, g in guesses.items()}
        bad: list[tuple[int, str, str]] = []
        yield from _records(file, names, delimiter, types, bad)
        if bad:
            _note(file, delimiter, bad, problems)
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error) and file.encoding == "utf-8":
            file.decode_as("cp1252")
            yield from read(file, problems)
        elif "rows" in str(error) or "CSV" in str(error) or "straddling" in str(error):
            yield from _broken(file, names, delimiter, problems)
        else:
            raise


def _ends_in_quotes(file: EventFile, delimiter: str) -> bool:
    """Whether the last quoted value is never closed: Arrow would take the rest of the file for that value."""
    with file.open() as stream:
        odd = sum(chunk.count(b'"') for chunk in iter(lambda: stream.read(1 << 20), b"")) % 2
    if not odd:
        return False
    with file.open() as stream:
        text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
        try:
            for _ in csv.reader(text, delimiter=delimiter, strict=True):
                pass
        except csv.Error as error:
            return "unexpected end" in str(error) or "field limit" in str(error)
    return False


def _records(
    file: EventFile,
    names: list[str],
    delimiter: str,
    types: dict[str, pa.DataType],
    bad: list[tuple[int, str, str]] | None,
) -> Iterator[pa.Table]:
    def skip(row: pacsv.InvalidRow) -> str:
        if bad is not None:
            bad.append(
                (row.number or 0, f"it has {row.actual_columns} values instead of {row.expected_columns}", row.text)
            )
        return "skip"

    with file.open() as stream:
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(block_size=BLOCK, column_names=names, skip_rows_after_names=1, use_threads=False),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
            pacsv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        for batch in reader:
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def _note(file: EventFile, delimiter: str, bad: list[tuple[int, str, str]], problems: Problems) -> None:
    """Give the bad records their line numbers: values may hold line breaks, so records are counted again."""
    wanted = {record for record, _, _ in bad}
    lines: dict[int, int] = {}
    with file.open() as stream:
        text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
        counted = 0
        before = 0
        reader = csv.reader(text, delimiter=delimiter)
        try:
            for row in reader:
                counted += bool(row)
                if row and counted in wanted:
                    lines[counted] = before + 1
                    if len(lines) == len(wanted):
                        break
                before = reader.line_num
        except csv.Error:  # a value longer than the csv module takes: the record's number must do
            pass
    for record, reason, content in bad:
        problems.add(lines.get(record, record), reason, content)


def _broken(file: EventFile, names: list[str], delimiter: str, problems: Problems) -> Iterator[pa.Table]:
    file.notices.append(f"{file.name} has broken quotes and was read line by line.")
    yield from _by_line(file, names, delimiter, problems)


def _by_line(file: EventFile, names: list[str], delimiter: str, problems: Problems) -> Iterator[pa.Table]:
    guesses = {n: Guess() for n in names}
    for table in _line_tables(file, names, delimiter, Problems()):
        for name in names:
            guesses[name].see(table.column(name))
    schema = pa.schema([(n, g.type) for n, g in guesses.items()])
    for table in _line_tables(file, names, delimiter, problems):
        yield table.cast(schema)


def _line_tables(file: EventFile, names: list[str], delimiter: str, problems: Problems) -> Iterator[pa.Table]:
    rows: list[list[str]] = []
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            if number == 1 or not line.strip():
                continue
            try:
                values = next(csv.reader([line.decode(errors="replace")], delimiter=delimiter, strict=True))
            except (csv.Error, StopIteration) as error:
                problems.add(number, f"its quotes are broken ({error})", line)
                continue
            if len(values) != len(names):
                problems.add(number, f"it has {len(values)} values instead of {len(names)}", line)
                continue
            rows.append(values)
            if len(rows) == _LINES:
                yield _text_table(names, rows)
                rows = []
    if rows:
        yield _text_table(names, rows)


def _text_table(names: list[str], rows: list[list[str]]) -> pa.Table:
    columns = [pa.array([v or None for v in column], fields.TEXT) for column in zip(*rows, strict=True)]
    return pa.table(columns, names=names)
