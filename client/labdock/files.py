"""Files of tables: CSV, Parquet, Arrow and JSON lines, read with the types that the file proves and written whole.

`-` reads standard input; its format is told by its first bytes. A compressed CSV or JSON file (`.gz`, `.bz2`, `.zst`,
`.lz4`, …) is read as it is.
"""

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet

from labdock.errors import DiskFull, InvalidFrame, NotFound, StorageError
from labdock.names import nearest

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_COMPRESSED = {".gz", ".bz2", ".zst", ".lz4", ".br"}
_WHOLE = 2**31 - 1  # the largest block that Arrow's readers take


def read_table(path: str | Path) -> pa.Table:
    """The table in the file at `path`, or on standard input for `-`.

    Raises `NotFound`, `InvalidFrame` (not a table, a format that its name does not tell) and `StorageError`.
    """
    if str(path) == "-":
        content = pa.py_buffer(sys.stdin.buffer.read())
        return _parse(content, _sniff(content), "standard input")
    path = Path(path).expanduser()
    kind = format_of(path)
    try:
        if kind in ("csv", "tsv", "jsonl"):
            with pa.input_stream(str(path)) as stream:  # decompresses by the file's suffix
                content = stream.read_buffer()
        else:
            content = pa.memory_map(str(path)).read_buffer()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.", remedy="Check the file.") from None
    return _parse(content, kind, str(path))


def format_of(path: Path) -> str:
    """`csv`, `tsv`, `parquet`, `arrow` or `jsonl`, by suffix. Raises `InvalidFrame`."""
    suffixes = [s.lower() for s in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    kind = FORMATS.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise InvalidFrame(
            f"{str(path)!r} does not say what it holds.", remedy=f"Use a suffix of: {', '.join(sorted(FORMATS))}."
        )
    return kind


def write_table(table: pa.Table, path: str | Path) -> Path:
    """Write `table` to `path` in the format of its suffix: the old file or the new one, never half of it.

    Raises `InvalidFrame` for an unknown suffix, `DiskFull` and `StorageError`.
    """
    path = Path(path).expanduser()
    kind = format_of(path)
    if path.suffix.lower() in _COMPRESSED:
        raise InvalidFrame(f"{str(path)!r} would be compressed.", remedy="Leave the last suffix out, or use .parquet.")
    try:
        with _replacing(path) as temporary:
            _WRITERS[kind](table, temporary)
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(f"No space left to write {path}.", remedy="Free some space.", path=str(path)) from None
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.", remedy="Check the folder."
        ) from None
    except pa.ArrowException as error:
        raise InvalidFrame(f"{path}: {error}.", remedy="Write Parquet or Arrow, which hold every type.") from None
    return path


def to_text(table: pa.Table) -> Iterator[str]:
    """The rows as lines of JSON; NaN and infinities, which JSON lacks, become null."""
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield json.dumps({k: _plain(v) for k, v in row.items()}, ensure_ascii=False)


def _parse(content: pa.Buffer, kind: str, name: str) -> pa.Table:
    try:
        if kind == "parquet":
            return pa.parquet.read_table(pa.BufferReader(content))
        if kind == "arrow":
            return _read_arrow(content)
        if kind == "jsonl":
            return _read_json(content)
        return _read_csv(content, "\t" if kind == "tsv" else ",")
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).strip().rstrip(".")
        raise InvalidFrame(f"{name} is no {kind} file: {said}.", remedy="Check the file and its suffix.") from None


def _read_arrow(content: pa.Buffer) -> pa.Table:
    if content.slice(0, 6).to_pybytes() == b"ARROW1":
        return pa.feather.read_table(pa.BufferReader(content))
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _read_json(content: pa.Buffer) -> pa.Table:
    if content.slice(0, 1).to_pybytes() == b"[":
        return pa.Table.from_pylist(json.loads(content.to_pybytes()))
    options = pa.json.ReadOptions(block_size=max(1 << 20, min(len(content) + 1, _WHOLE)))
    return pa.json.read_json(pa.BufferReader(content), read_options=options)


def _read_csv(content: pa.Buffer, delimiter: str) -> pa.Table:
    """Types are told from the whole file, not its beginning; an empty cell is null, a quoted empty one is text;
    numbers with leading zeros (account 007, code 0042) stay text."""
    try:
        table = _csv(content, delimiter, 4 << 20, {})
    except pa.ArrowInvalid:
        table = _csv(content, delimiter, _WHOLE, {})
    suspects = [f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    if not suspects or len(set(table.column_names)) != table.num_columns:
        return table
    texts = _csv(content, delimiter, 4 << 20, dict.fromkeys(suspects, pa.string()), suspects)
    for name in suspects:
        text = texts.column(name)
        if pc.any(pc.match_substring_regex(text, r"^[+-]?0[0-9]")).as_py():
            table = table.set_column(table.column_names.index(name), name, text)
    return table


def _csv(
    content: pa.Buffer, delimiter: str, block: int, types: dict[str, pa.DataType], only: list[str] | None = None
) -> pa.Table:
    return pa.csv.read_csv(
        pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(block_size=max(64, min(block, len(content) + 1))),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=types,
            include_columns=only,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _sniff(content: pa.Buffer) -> str:
    head = content.slice(0, min(6, content.size)).to_pybytes()
    if head.startswith(b"PAR1"):
        return "parquet"
    if head == b"ARROW1" or head.startswith(b"\xff\xff\xff\xff"):
        return "arrow"
    return "jsonl" if head.lstrip()[:1] in (b"{", b"[") else "csv"


def _missing(path: Path) -> NotFound:
    folder = path.parent
    beside = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    best = nearest(path.name, beside)
    remedy = f"Did you mean {str(folder / best)!r}?" if best else "Check the path."
    return NotFound(f"There is no file {str(path)!r}.", remedy=remedy, kind="file", name=str(path), nearest=best)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def print_csv(table: pa.Table) -> None:
    """The table as CSV on standard output."""
    sys.stdout.flush()
    pa.csv.write_csv(_plain_columns(table), sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _plain_columns(table: pa.Table) -> pa.Table:
    """Dictionary columns as their values, which is what text formats hold."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    return table


def _write_csv(table: pa.Table, path: Path, delimiter: str = ",") -> None:
    pa.csv.write_csv(_plain_columns(table), path, pa.csv.WriteOptions(delimiter=delimiter))


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_json(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in to_text(table))


_WRITERS = {
    "csv": _write_csv,
    "tsv": lambda table, path: _write_csv(table, path, "\t"),
    "parquet": pa.parquet.write_table,
    "arrow": _write_arrow,
    "jsonl": _write_json,
}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
