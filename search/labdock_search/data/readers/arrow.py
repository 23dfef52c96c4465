"""Parquet files, Arrow files and Arrow streams."""

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labdock.errors import InvalidFrame
from labdock.frames import check_columns
from labdock_search.data.inputs import EventFile
from labdock_search.data.normalize import normalize

BATCH = 131_072


def read(file: EventFile) -> Iterator[pa.Table]:
    """Tables of event types, some 100,000 rows each. Raises `InvalidFrame` for a damaged file."""
    try:
        if file.seekable:
            yield from _tables(file, file.path.open("rb"))
        else:
            with tempfile.TemporaryFile(dir=file.path.parent if file.size > 1 << 30 else None) as spooled:
                with file.open() as stream:
                    shutil.copyfileobj(stream, spooled, 1 << 20)
                spooled.seek(0)
                yield from _tables(file, spooled)
    except (pa.ArrowException, OSError) as error:
        raise InvalidFrame(
            f"{file.name} is damaged or cut off: {str(error).splitlines()[0][:200]}",
            remedy="Write or download it again.",
            file=file.name,
        ) from None


def _tables(file: EventFile, stream: Any) -> Iterator[pa.Table]:
    with stream:
        for batch in _batches(file.format, stream):
            table = pa.Table.from_batches([batch])
            check_columns(table.column_names)
            flat = normalize(table)
            check_columns(flat.column_names)
            yield flat


def _batches(format_: str, stream: Any) -> Iterator[pa.RecordBatch]:
    if format_ == "parquet":
        with pq.ParquetFile(stream) as parquet:
            yield from parquet.iter_batches(batch_size=BATCH)
        return
    start = stream.read(6)
    stream.seek(0)
    if start == b"ARROW1":
        reader = pa.ipc.open_file(stream)
        yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(stream)
