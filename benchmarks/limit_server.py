"""The limit: the same bytes copied over a bare Unix socket, the pandas-Arrow conversions, the module, and nothing else.

No HTTP, no rights, no spool, no worker process, no check: what is left is what any way of sending a frame must pay.
"""

import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.parent import end_with_parent
from benchmarks.peer_server import load_module
from labdock.frames import from_pandas, to_pandas
from labdock.transport import encode

LENGTH = struct.Struct("<Q")
ACTION = struct.Struct("<?")  # whether the module trains and saves first


def read_exactly(connection: socket.socket, size: int) -> pa.Buffer:
    buffer = pa.allocate_buffer(size)
    view = memoryview(buffer)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return buffer


def send(connection: socket.socket, table: pa.Table, head: bytes = b"") -> None:
    pieces = [memoryview(piece) for piece in encode(table)]
    connection.sendall(head + LENGTH.pack(sum(piece.nbytes for piece in pieces)))
    for piece in pieces:
        connection.sendall(piece)


def receive(connection: socket.socket) -> pa.Table:
    (size,) = LENGTH.unpack(bytes(memoryview(read_exactly(connection, LENGTH.size))))
    return pa.ipc.open_stream(read_exactly(connection, size)).read_all()


def exchange(connection: socket.socket, df: pd.DataFrame, *, fit: bool = False) -> pd.DataFrame:
    """The client's side. For a fit the module does what it does in one: init, fit, save, apply."""
    send(connection, from_pandas(df), ACTION.pack(fit))
    return to_pandas(receive(connection))


def serve(path: str, module: Any) -> None:
    model = module.init(None, {})
    os.chdir(Path(path).parent)  # the module saves below its folder
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                while True:
                    (fit,) = ACTION.unpack(bytes(memoryview(read_exactly(connection, ACTION.size))))
                    df = to_pandas(receive(connection))
                    if fit:
                        model = module.init(df, {})
                        module.fit(model, df, {})
                        module.save(model, "limit")
                    send(connection, from_pandas(module.apply(model, df, {})))
            except (EOFError, ConnectionError):
                continue


if __name__ == "__main__":
    end_with_parent()
    serve(sys.argv[1], load_module(Path(sys.argv[2])))
