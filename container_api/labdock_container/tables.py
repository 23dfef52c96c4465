"""Frames in a worker: spooled bytes to a table, a table to the bytes of an answer. Nothing here knows modules."""

import fcntl
import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from labdock.errors import InvalidFrame, LimitExceeded
from labdock.frames import check_columns
from labdock.names import nearest
from labdock.wire import CSV, INFO_METADATA, OPTIONS_METADATA
from labdock_container.csv_text import read_csv

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def read_table(buffer: pa.Buffer, content_type: str, max_rows: int) -> pa.Table:
    """The frame in `buffer`, not copied where it need not be. Raises `InvalidFrame`, `LimitExceeded`."""
    table = read_csv(buffer) if content_type == CSV else _read_arrow(buffer)
    check_columns(table.column_names)
    if not table.num_columns:
        raise InvalidFrame("The frame has no columns.", remedy="Send at least one column.")
    if table.num_rows > max_rows:
        raise LimitExceeded(
            f"The frame has {table.num_rows:,} rows; {max_rows:,} are allowed.",
            remedy="Send fewer rows, or raise the limit max_inputs (LABDOCK_MAX_INPUTS).",
            limit="max_inputs",
            value=max_rows,
            setting="LABDOCK_MAX_INPUTS",
        )
    return table


def read_options(buffer: pa.Buffer) -> str | None:
    """The options in an Arrow stream's schema metadata, or None."""
    try:
        metadata = pa.ipc.open_stream(buffer).schema.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(error) from None
    value = metadata.get(OPTIONS_METADATA)
    return value.decode("utf-8", "replace") if value is not None else None


def _read_arrow(buffer: pa.Buffer) -> pa.Table:
    try:
        with pa.ipc.open_stream(buffer) as reader:
            table = reader.read_all()
        validate(table)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(error) from None
    return table.replace_schema_metadata(None)


def validate(table: pa.Table) -> None:
    """Raise `pa.ArrowInvalid` for values that would crash whoever reads them: offsets out of range, text that is no
    UTF-8, dictionary indices beyond the dictionary.

    As strict as `table.validate(full=True)` in a sixth of its time for text that is ASCII.
    """
    table.validate()
    for column in table.columns:
        if not (pa.types.is_primitive(column.type) or _is_plain_ascii(column)):
            column.validate(full=True)


def _is_plain_ascii(column: pa.ChunkedArray) -> bool:
    width: np.dtype[Any]
    if pa.types.is_string(column.type):
        width = np.dtype(np.int32)
    elif pa.types.is_large_string(column.type):
        width = np.dtype(np.int64)
    else:
        return False
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        if not len(chunk):
            continue
        bounds = np.frombuffer(offsets, width, len(chunk) + 1, chunk.offset * width.itemsize)
        if bounds[0] < 0 or np.any(bounds[1:] < bounds[:-1]):
            return False  # the full validation says what is wrong
        if data is None or int(bounds[-1]) > data.size:
            return False
        if data.size and np.frombuffer(data, np.uint8).max() >= 128:
            return False
    return True


def damaged(error: Exception) -> InvalidFrame:
    """What a body is told whose bytes are no frame."""
    text = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return InvalidFrame(
        f"The body is not a whole Arrow stream: {text}",
        remedy=f"Send an Arrow IPC stream (pyarrow.ipc.new_stream), or CSV with Content-Type {CSV}.",
    )


def select(table: pa.Table, columns: list[str]) -> pa.Table:
    """Those columns in that order. Raises `InvalidFrame` that names each missing one and the nearest there is."""
    have = set(table.column_names)
    missing = [c for c in columns if c not in have]
    if missing:
        hints = [f"{c!r}" + (f" (did you mean {n!r}?)" if (n := nearest(c, have)) else "") for c in missing[:10]]
        raise InvalidFrame(
            f"The frame has no column {', '.join(hints)}.",
            remedy=f"Its columns are: {', '.join(table.column_names[:30])}.",
            columns=missing,
        )
    return table if columns == table.column_names else table.select(list(dict.fromkeys(columns)))


def encode_answer(table: pa.Table, info: dict[str, Any], accept: str) -> int:
    """A sealed memory file with the answer: an Arrow stream with `info` in its metadata, or a CSV text.

    Sealed, so that neither user code nor a bug can change or cut what the API has mapped.
    """
    fd = os.memfd_create("labdock-answer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with pa.OSFile(f"/proc/self/fd/{fd}", "wb") as sink:
            if accept == CSV:
                write_csv(table, sink)
            else:
                schema = table.schema.with_metadata({INFO_METADATA: json.dumps(info).encode()})
                with pa.ipc.new_stream(sink, schema) as writer:
                    writer.write_table(table)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def seal_bytes(parts: list[bytes]) -> int:
    """A sealed memory file that holds `parts`, one after the other."""
    fd = os.memfd_create("labdock-answer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(fd, rest) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_csv(table: pa.Table, sink: Any) -> None:
    """CSV that pandas and the endpoint read back: nulls are empty, an empty text is `""`, floats are exact."""
    pacsv.write_csv(csv_ready(table), sink)


def csv_ready(table: pa.Table) -> pa.Table:
    """The table with each column in a type that CSV can show."""
    for i, field in enumerate(table.schema):
        column = table.column(i)
        kind = field.type
        if pa.types.is_dictionary(kind):
            column = _plain(column)
            kind = column.type
        if pa.types.is_boolean(kind):
            # pandas' words, which is what the peer's notebooks meet
            column = pc.if_else(column, pa.scalar("True"), pa.scalar("False"))
        elif pa.types.is_floating(kind) and kind.bit_width == 16:
            column = column.cast(pa.float32())
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            column = _bytes_as_text(column)
        elif pa.types.is_nested(kind):
            column = pa.array([None if v is None else json.dumps(v, default=str) for v in column.to_pylist()])
        if column is not table.column(i):
            table = table.set_column(i, pa.field(field.name, column.type), column)
    return table


def _bytes_as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text where it is UTF-8, else Python's notation for bytes, as pandas writes it."""
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]], pa.large_string())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type)
