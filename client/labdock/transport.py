"""Frames over a connection: a table and options out, a table and what is known about it back.

Speaks to an environment (`/v1/apply`) and to a controller (`/api/environments/<name>/apply`) alike.
"""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from labdock.answers import Moved, Response
from labdock.connection import Connection
from labdock.errors import NotFound, TransportError
from labdock.spool import Leaver
from labdock.wire import (
    ARROW_STREAM,
    INFO_METADATA,
    KEY_HEADER,
    OPTIONS_HEADER,
    OPTIONS_HEADER_LIMIT,
    OPTIONS_METADATA,
    SPOOL_HEADER,
    SPOOL_KEPT_HEADER,
    SPOOL_SIZE_HEADER,
    FrameOptions,
)

__all__ = ["Connection", "Frames", "Response", "decode", "encode", "new_key"]

_WORTH_SPOOLING = 256 << 10
_SMALL = 4096  # shorter pieces are joined: a system call costs more than a copy


class Frames:
    """`post` sends a table to a route of stage, fit or apply.

    On one machine, large tables are left in the server's spool folder and only their name is sent, where that folder
    exists and is ours (`docs/interfaces.md`, sections 3 and 4); `spool=False` always sends. `compression` (`lz4` or
    `zstd`) pays on networks slower than about 200 MB/s only; `moved` is told of the bytes.
    """

    def __init__(
        self,
        connection: Connection,
        compression: str | None = None,
        moved: Moved | None = None,
        *,
        spool: bool = True,
    ) -> None:
        self.connection = connection
        self.compression = compression
        self.moved = moved
        folder = connection.socket_folder if spool else None
        self._leaver = Leaver(folder / "spool") if folder else None

    def post(
        self, path: str, table: pa.Table, options: FrameOptions | None = None, *, key: str = ""
    ) -> tuple[pa.Table, dict[str, Any]]:
        """The answer's table and its info. `key` makes a fit's request repeatable. Raises `LabdockError`s."""
        response = self.send(path, table, options, key=key)
        return self.receive(response)

    def send(
        self,
        path: str,
        table: pa.Table,
        options: FrameOptions | None = None,
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send and give the answer unread."""
        fields = {"Content-Type": ARROW_STREAM, "Accept": ARROW_STREAM, **(headers or {})}
        text = options.to_json() if options else ""
        if len(text) > OPTIONS_HEADER_LIMIT:
            table = table.replace_schema_metadata({**(table.schema.metadata or {}), OPTIONS_METADATA: text})
            assert options is not None  # noqa: S101 - there is a text
            # The controller decodes no frame: what it needs to know of the model is sent beside it.
            text = FrameOptions(options.algo, options.model, sharing=options.sharing, inside=True).to_json()
        if text:
            fields[OPTIONS_HEADER] = text
        if key:
            fields[KEY_HEADER] = key
        pieces = encode(table, self.compression)
        if self._leaver and sum(map(len, pieces)) >= _WORTH_SPOOLING:
            response = self._leave(self._leaver, path, pieces, fields)
            if response is not None:
                return response
        return self.connection.request("POST", path, pieces, fields, self.moved)

    def _leave(self, leaver: Leaver, path: str, pieces: list[Any], fields: Mapping[str, str]) -> Response | None:
        """Leave the frame and send its file's name; None where it cannot be left."""
        for fresh in (False, True):
            file = leaver.leave(pieces, fresh)
            if file is None:
                return None
            headers = {**fields, SPOOL_HEADER: file.name, SPOOL_SIZE_HEADER: str(file.size)}
            used = file.pages > 0
            try:
                response = self.connection.request("POST", path, (), headers)
            except NotFound as error:
                leaver.forget(file)
                if not used or error.details.get("kind") != "frame":
                    raise
                continue  # the server did not keep it so long, or is another one
            except BaseException:
                leaver.forget(file)  # else the server took it, or will
                raise
            if SPOOL_KEPT_HEADER in response.headers:
                leaver.give_back(file)
            else:
                file.close()
            return response
        return None

    def receive(self, response: Response) -> tuple[pa.Table, dict[str, Any]]:
        """An answer's table (in memory of its own, no value copied) and info; an empty table for a JSON answer."""
        kind = response.headers.get("Content-Type") or ""
        if "json" in kind:
            content = json.loads(response.read() or b"{}")
            return pa.table({}), content if isinstance(content, dict) else {"answer": content}
        if ARROW_STREAM not in kind:
            content = response.read()
            raise TransportError(
                f"{self.connection.url} answered with {kind or 'nothing'} where an Arrow stream was expected.",
                remedy="Check that this is the address of a Labdock controller of the same version.",
            )
        return decode(self._content(response))

    def _content(self, response: Response) -> pa.Buffer:
        if response.length is None:
            return pa.py_buffer(response.read())
        buffer = pa.allocate_buffer(response.length)
        response.read_into(memoryview(buffer), self.moved)
        return buffer


def encode(table: pa.Table, compression: str | None = None) -> list[Any]:
    """`table` as the pieces of an Arrow stream; columns are not copied (unless compressed)."""
    sink = _Pieces()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.finish()


def decode(content: pa.Buffer) -> tuple[pa.Table, dict[str, Any]]:
    """The table and info of an answer; raises `TransportError` for what is no Arrow stream."""
    try:
        with pa.ipc.open_stream(content) as reader:
            table = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        raise TransportError(f"The answer is no Arrow stream: {error}.", remedy="Try again.") from None
    metadata = dict(table.schema.metadata or {})
    info = json.loads(metadata.pop(INFO_METADATA, b"{}"))
    return table.replace_schema_metadata(metadata or None), info


class _Pieces:
    """A file for Arrow's writer that keeps large buffers as they are and joins what is small."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self._small = bytearray()

    def write(self, data: Any) -> int:
        size = len(data)
        if size < _SMALL:
            self._small += data
        else:
            self._flush_small()
            self._pieces.append(data)
        return size

    def flush(self) -> None:
        """Part of the protocol; nothing waits."""

    def close(self) -> None:
        """Part of the protocol; the pieces stay."""

    def finish(self) -> list[Any]:
        self._flush_small()
        return self._pieces

    def _flush_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small = bytearray()


def new_key(prefix: str = "fit") -> str:
    """A fresh idempotency key, which is also the job's id."""
    return f"{re.sub('[^A-Za-z0-9_-]', '', prefix)[:40]}-{secrets.token_hex(10)}"
