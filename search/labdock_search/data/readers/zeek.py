"""Zeek's tab-separated logs: names and types from their header, `-` for unset values, sets and vectors as lists.

Several logs in one file (`cat conn.*.log`) are fine: each `#fields` line begins a new one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from labdock_search.data import fields
from labdock_search.data.inputs import EventFile, Problems

CHUNK = 8 << 20
_INTEGERS = {"count", "int", "port"}
_NUMBERS = {"double", "interval", "time"}
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")


@dataclass
class Header:
    """What the comment lines say."""

    separator: str = "\t"
    set_separator: str = ","
    empty: str = "(empty)"
    unset: str = "-"
    path: str = ""
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Read one comment line; whether it changed the columns."""
        if line.startswith("#separator"):
            self.separator = _unescape(line.split(None, 1)[1].strip())
            return False
        key, _, rest = line.partition(self.separator)
        plain = {"#set_separator": "set_separator", "#empty_field": "empty", "#unset_field": "unset", "#path": "path"}
        if key in plain:
            setattr(self, plain[key], rest)
        elif key == "#fields":
            self.names, self.types = rest.split(self.separator), []
            return True
        elif key == "#types":
            self.types = rest.split(self.separator)
            return True
        return False

    def type(self, i: int) -> str:
        return self.types[i] if i < len(self.types) else "string"


def _unescape(text: str) -> str:
    """`\\x09` and the like; bytes beyond ASCII are UTF-8."""
    if "\\x" not in text:
        return text
    parts = _ESCAPE.split(text)
    found = b"".join(bytes([int(p, 16)]) if i % 2 else p.encode() for i, p in enumerate(parts))
    return found.decode(errors="replace")


def read(file: EventFile, problems: Problems) -> Iterator[pa.Table]:
    """Tables of event types, with the log's path as the field `_path` and each line as `_raw`."""
    header = Header()
    number = 1
    with file.open() as stream:
        rest = b""
        while chunk := stream.read(CHUNK):
            chunk = rest + chunk
            end = chunk.rfind(b"\n") + 1
            rest = chunk[end:]
            yield from _sections(chunk[:end], number, header, problems)
            number += chunk.count(b"\n", 0, end)
        if rest:
            yield from _sections(rest, number, header, problems)


def _sections(content: bytes, number: int, header: Header, problems: Problems) -> Iterator[pa.Table]:
    """The tables between comment lines; whole lines only."""
    if b"\n#" not in content and not content.startswith(b"#"):
        yield from _rows(content.splitlines(), number, header, problems)
        return
    lines: list[bytes] = []
    for i, line in enumerate(content.splitlines()):
        if not line.startswith(b"#"):
            lines.append(line)
            continue
        yield from _rows(lines, number + i - len(lines), header, problems)
        lines = []
        header.take(line.decode(errors="replace").rstrip("\r"))
    yield from _rows(lines, number + len(content.splitlines()) - len(lines), header, problems)


def _rows(lines: list[bytes], number: int, header: Header, problems: Problems) -> Iterator[pa.Table]:
    if not lines:
        return
    if not header.names:
        problems.add(number, "no #fields line came before it", lines[0])
        return
    good: list[bytes] = []
    tabs, separator = len(header.names) - 1, header.separator.encode()
    for i, line in enumerate(lines):
        if line.count(separator) == tabs:
            good.append(line)
        elif line.strip():
            found = line.count(separator) + 1
            problems.add(number + i, f"it has {found} values instead of {tabs + 1}", line)
    if good:
        yield _table(good, header, lines, number, problems)


def _table(lines: list[bytes], header: Header, all_lines: list[bytes], number: int, problems: Problems) -> pa.Table:
    texts = _texts(lines, header)
    columns: dict[str, pa.ChunkedArray] = {}
    bad: set[int] = set()
    for i, name in enumerate(header.names):
        columns[name] = _convert(texts.column(i), header.type(i), header, bad)
    columns["_path"] = pa.chunked_array([pa.repeat(pa.scalar(header.path or None, fields.TEXT), len(lines))])
    columns[fields.RAW] = pa.chunked_array([_raw(lines)])
    table = pa.table(columns)
    if bad:
        numbers = {id(line): number + i for i, line in enumerate(all_lines)}
        for i in sorted(bad):
            problems.add(numbers[id(lines[i])], "a number or time in it is none", lines[i])
    return table.filter(pa.array([i not in bad for i in range(len(lines))])) if bad else table


def _raw(lines: list[bytes]) -> pa.Array:
    try:
        return pa.array(lines, pa.binary()).cast(fields.TEXT)
    except pa.ArrowInvalid:
        return pa.array([line.decode(errors="replace") for line in lines], fields.TEXT)


def _texts(lines: list[bytes], header: Header) -> pa.Table:
    names = [str(i) for i in range(len(header.names))]
    content = b"\n".join(lines)
    try:
        content.decode()
    except UnicodeDecodeError:
        content = content.decode("cp1252", errors="replace").encode()
    return pacsv.read_csv(
        pa.BufferReader(content),
        pacsv.ReadOptions(column_names=names, block_size=max(len(content) + 1, 1 << 16), use_threads=False),
        pacsv.ParseOptions(delimiter=header.separator, quote_char=False, ignore_empty_lines=False),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, fields.TEXT), null_values=[header.unset], strings_can_be_null=True
        ),
    )


def _convert(column: pa.ChunkedArray, type_: str, header: Header, bad: set[int]) -> pa.ChunkedArray:
    if type_ in _INTEGERS or type_ in _NUMBERS:
        target = fields.INT if type_ in _INTEGERS else fields.FLOAT
        try:
            return column.cast(target)
        except pa.ArrowInvalid:
            return _one_by_one(column, int if target == fields.INT else float, target, bad)
    if type_ == "bool":
        known = pc.if_else(pc.equal(column, "T"), "true", "false")
        return pc.if_else(pc.is_valid(column), known, pa.scalar(None, fields.TEXT))
    if type_.startswith(("set[", "vector[")):
        lists = [_list(v, header) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(lists, fields.MULTI)])
    odd = pc.or_(pc.match_substring(column, "\\x"), pc.equal(column, header.empty))
    if pc.any(odd, min_count=0).as_py():
        values = [v if v is None else "" if v == header.empty else _unescape(v) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(values, fields.TEXT)])
    return column


def _list(value: str | None, header: Header) -> list[str] | None:
    if value is None:
        return None
    return [] if value == header.empty else [_unescape(v) for v in value.split(header.set_separator)]


def _one_by_one(column: pa.ChunkedArray, convert: type, target: pa.DataType, bad: set[int]) -> pa.ChunkedArray:
    found = []
    for i, value in enumerate(column.to_pylist()):
        try:
            found.append(None if value is None else convert(value))
        except ValueError:
            bad.add(i)
            found.append(None)
    return pa.chunked_array([pa.array(found, target)])
