"""JSON events: lines, objects one after another, or an array of objects, pretty-printed or not.

A nested object becomes dotted fields (`winlog.event_id`), an array of scalars the multivalue field `tags{}`, an
array of objects `items{}.name`, as Splunk names them. The event's text is kept as `_raw`. Windows events are told by
their shape and get Splunk's field names besides (`windows`).
"""

import codecs
import contextlib
import itertools
import json
import operator
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from labdock_search.data import fields
from labdock_search.data.inputs import EventFile, Problems
from labdock_search.data.normalize import clean, text
from labdock_search.data.readers import windows

BATCH = 20_000
MAX_EVENT = 64 << 20  # characters of one object that does not end: then it is malformed
MAX_DEPTH = 30  # what is nested deeper is kept as JSON text
MAX_FIELDS = 4_096  # of one batch; further ones are found in `_raw` only
_EXACT = 2.0**63  # orjson makes floats of integers beyond 64 bits
_DECODER = json.JSONDecoder()
_SEPARATORS = re.compile(r"[ \t\r\n,\[\]\ufeff]*")
_CHUNK = 1 << 18


def read(file: EventFile, problems: Problems) -> Iterator[pa.Table]:
    """Tables of event types with `_raw`."""
    batch: list[dict[str, Any]] = []
    size = 0
    for _, raw, value in _objects(file, problems):
        event = event_of(value, raw)
        batch.append(event)
        size += len(raw)
        if len(batch) >= BATCH or size > MAX_EVENT:
            yield _exact(batch)
            batch, size = [], 0
    if batch:
        yield _exact(batch)


def _exact(batch: list[dict[str, Any]]) -> pa.Table:
    """The batch as a table; integers beyond 64 bits, of which orjson made floats, as they were written."""
    table = table_of(batch)
    large = [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.type == fields.FLOAT and pc.any(pc.greater_equal(pc.abs(column), _EXACT), min_count=0).as_py()
    ]
    if not large:
        return table
    for event in batch:
        if any(isinstance(v := event.get(name), float) and abs(v) >= _EXACT for name in large):
            with contextlib.suppress(ValueError, RecursionError):
                event.update(event_of(decode(event[fields.RAW])[0], event[fields.RAW]))
    return table_of(batch)


def event_of(value: dict[str, Any], raw: str) -> dict[str, Any]:
    """The fields of one JSON event. An event of Splunk's own JSON export is unwrapped."""
    result = value.get("result")
    if isinstance(result, dict) and fields.RAW in result:
        value = result
    event = flatten(value)
    known = windows.fields_of(value)
    if known:
        event |= known
    event.setdefault(fields.RAW, raw)
    return event


def _objects(file: EventFile, problems: Problems) -> Iterator[tuple[int, str, dict[str, Any]]]:
    with file.open() as stream:
        first = stream.readline()
        while first and not first.strip():
            first = stream.readline()
    lines = first.strip().endswith(b"}")
    if lines:
        try:
            lines = isinstance(orjson.loads(first.strip()), dict)
        except ValueError:
            lines = not _is_continued(file)
    with file.open() as stream:
        yield from (_lines(stream, problems) if lines else _stream(stream, problems))


def _is_continued(file: EventFile) -> bool:
    """Whether an object goes on after the first line, which ends with a brace by chance."""
    with file.open() as stream:
        text_ = stream.read(1 << 20).decode(errors="replace")
    try:
        _DECODER.raw_decode(text_.lstrip())
    except ValueError:
        return False
    return True


def _lines(stream: IO[bytes], problems: Problems) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for number, line in enumerate(stream, 1):
        stripped = line.strip()
        if not stripped:
            continue
        try:
            value = orjson.loads(stripped)
        except ValueError as error:
            yield from _several(number, stripped, error, problems)
            continue
        if isinstance(value, dict):
            yield number, stripped.decode(errors="replace"), value
        else:
            problems.add(number, f"it is a JSON {type(value).__name__} and not an object", stripped)


def _several(
    number: int, line: bytes, error: ValueError, problems: Problems
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Objects on one line without a line break between them, or a malformed line."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    rest = line.decode(errors="replace")
    try:
        while rest:
            value, end = decode(rest)
            if not isinstance(value, dict):
                raise ValueError("not an object")
            found.append((number, rest[:end], value))
            rest = rest[end:].lstrip(" \t\r\n,")
    except (ValueError, RecursionError):
        problems.add(number, f"it is not JSON ({error})", line)
    else:
        yield from found


def _stream(stream: IO[bytes], problems: Problems) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Objects wherever they begin and end. After a malformed one, reading goes on at the next line with a brace."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    buffer, at, line, ended = "", 0, 1, False
    while True:
        start = _end_of_separators(buffer, at)
        line += buffer.count("\n", at, start)
        at = start
        error: Exception | None = None
        if at < len(buffer):
            try:
                value, end = decode(buffer, at)
            except (ValueError, RecursionError) as caught:
                error = caught
            else:
                if isinstance(value, dict):
                    yield line, buffer[at:end], value
                else:
                    problems.add(line, f"it is a JSON {type(value).__name__} and not an object", buffer[at:end])
                line += buffer.count("\n", at, end)
                at = end
                continue
        if not ended and (error is None or _cut_off(error, buffer, at)):
            chunk = stream.read(max(_CHUNK, len(buffer) - at))
            ended = not chunk
            buffer, at = buffer[at:] + decoder.decode(chunk, final=ended), 0
        elif error is None:
            return
        else:
            following = buffer.find("\n{", at + 1)
            end = len(buffer) if following < 0 else following + 1
            problems.add(line, f"it is not JSON ({error})", buffer[at : min(end, at + 500)])
            line += buffer.count("\n", at, end)
            at = end


def _end_of_separators(buffer: str, at: int) -> int:
    found = _SEPARATORS.match(buffer, at)  # matches the empty text too
    return found.end() if found else at


def _cut_off(error: Exception, buffer: str, at: int) -> bool:
    """Whether the object may only lack its end, which was not read yet."""
    if not isinstance(error, json.JSONDecodeError) or len(buffer) - at > MAX_EVENT:
        return False
    return error.pos + 16 >= len(buffer) or error.msg.startswith(("Unterminated string", "Invalid \\u"))


def decode(content: str, at: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `at`, and where it ends. Raises `ValueError` or `RecursionError`."""
    value, end = _DECODER.raw_decode(content, at)
    surrogates = content.find("\\ud", at, end) >= 0 or content.find("\\uD", at, end) >= 0
    return (clean(value) if surrogates else value), end


def flatten(value: dict[str, Any]) -> dict[str, Any]:
    """Fields of an object: scalars, and lists of texts. A flat object is given back itself."""
    kinds = set(map(type, value.values()))
    if dict not in kinds and list not in kinds:
        return value
    found: dict[str, Any] = {}
    _flatten("", value, found, 0)
    return found


def _flatten(prefix: str, value: Mapping[str, Any], found: dict[str, Any], depth: int) -> None:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if depth > MAX_DEPTH and isinstance(item, (dict, list)):
            found[name] = text(item)
        elif isinstance(item, dict):
            _flatten(f"{name}.", item, found, depth + 1)
        elif isinstance(item, list):
            _flatten_list(f"{name}{{}}", item, found, depth + 1)
        else:
            found[name] = item


def _flatten_list(name: str, items: list[Any], found: dict[str, Any], depth: int) -> None:
    for item in items:
        if isinstance(item, dict):
            inner: dict[str, Any] = {}
            _flatten(f"{name}.", item, inner, depth + 1)
            for key, value in inner.items():
                found.setdefault(key, []).extend(value if isinstance(value, list) else [text_of(value)])
        elif isinstance(item, list):
            if depth > MAX_DEPTH:
                found.setdefault(name, []).append(text(item))
            else:
                _flatten_list(f"{name}{{}}", item, found, depth + 1)
        elif item is not None:
            found.setdefault(name, []).append(text_of(item))


def text_of(value: Any) -> str | None:
    return None if value is None else text(value)


def table_of(events: list[dict[str, Any]]) -> pa.Table:
    """Events as a table of event types; a field that mixes types in this batch is text."""
    names = dict.fromkeys(itertools.chain.from_iterable(events))
    names.pop("", None)
    chosen = names if len(names) <= MAX_FIELDS else [*fields.LEADING, *itertools.islice(names, MAX_FIELDS)]
    columns = {name: column_of(_values(events, name)) for name in chosen}
    return pa.table({name: c for name, c in columns.items() if c is not None})


def _values(events: list[dict[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(operator.itemgetter(name), events))
    except KeyError:
        return [event.get(name) for event in events]


def column_of(values: list[Any]) -> pa.Array | None:
    """The values as an array of an event type, or None where all are null."""
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if not kinds:
        return None
    if kinds == {str}:
        return pa.array(values, fields.TEXT)
    if list in kinds:
        return pa.array([v if v is None or type(v) is list else [text_of(v)] for v in values], fields.MULTI)
    try:
        if kinds == {int}:
            return pa.array(values, fields.INT)
        if kinds <= {int, float}:
            return pa.array([None if v is None else float(v) for v in values], fields.FLOAT)
    except (OverflowError, pa.ArrowInvalid):
        pass
    return pa.array([text_of(v) for v in values], fields.TEXT)
