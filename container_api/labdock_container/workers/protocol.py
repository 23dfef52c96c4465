"""Messages between the API, the nursery and the workers: length, JSON, and file descriptors beside them.

JSON and nothing richer: user code shares the worker's process and may write anything here, so nothing that a worker
sends is ever unpickled, and what cannot be parsed is a crash of that worker only.
"""

import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

Message = dict[str, Any]

_HEADER = struct.Struct("<II")  # bytes of JSON, number of descriptors
_MESSAGE_LIMIT = 64 << 20
_FDS = 8


class ProtocolError(Exception):
    """The other side sent what is no message."""


def encode(message: Message, descriptors: int = 0) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return _HEADER.pack(len(body), descriptors) + body


class Parser:
    """Bytes and descriptors in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int]) -> list[tuple[Message, list[int]]]:
        self._buffer += data
        self._fds.extend(fds)
        found = []
        while len(self._buffer) >= _HEADER.size:
            length, count = _HEADER.unpack_from(self._buffer)
            if length > _MESSAGE_LIMIT or count > _FDS:
                raise ProtocolError(f"a message of {length} bytes with {count} descriptors")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append((self._message(bytes(self._buffer[_HEADER.size : end])), self._take(count)))
            del self._buffer[:end]
        return found

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())

    def _take(self, count: int) -> list[int]:
        if len(self._fds) < count:
            raise ProtocolError("descriptors are missing")
        return [self._fds.popleft() for _ in range(count)]

    @staticmethod
    def _message(body: bytes) -> Message:
        try:
            message = json.loads(body)
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        if not isinstance(message, dict):
            raise ProtocolError("a message that is no object")
        return message


class Link:
    """One end of a connection, for a process that waits for each message (nursery, worker)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._parser = Parser()
        self._ready: deque[tuple[Message, list[int]]] = deque()

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        data = encode(message, len(fds))
        sent = socket.send_fds(self.sock, [data], list(fds)) if fds else 0
        self.sock.sendall(memoryview(data)[sent:])

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message, or None when the other side is gone."""
        while not self._ready:
            data, fds, _, _ = socket.recv_fds(self.sock, 1 << 16, _FDS, socket.MSG_CMSG_CLOEXEC)
            if not data:
                return None
            self._ready.extend(self._parser.feed(data, fds))
        return self._ready.popleft()

    @property
    def pending(self) -> bool:
        """Whether a message was read already, so that waiting for the socket would be wrong."""
        return bool(self._ready)


class Channel:
    """The API's end of a connection: never blocks; calls `on_message`, and `on_close` once."""

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message, list[int]], None],
        on_close: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._on_message = on_message
        self._on_close = on_close
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()
        self._closed = False
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Queue a message; its descriptors are duplicated, the caller keeps its own."""
        if self._closed:
            return
        self._outgoing.append((memoryview(encode(message, len(fds))), [os.dup(fd) for fd in fds]))
        if len(self._outgoing) == 1:
            self._writable()

    def close(self) -> None:
        """Stop; `on_close` is not called for it."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._parser.close()
        for _, fds in self._outgoing:
            for fd in fds:
                os.close(fd)

    def _writable(self) -> None:
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                sent = socket.send_fds(self._sock, [data], fds) if fds else self._sock.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._writable)
                return
            except OSError:
                self._lost()
                return
            for fd in fds:
                os.close(fd)
            self._outgoing.popleft()
            if sent < len(data):
                self._outgoing.appendleft((data[sent:], []))
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 1 << 18, _FDS, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._lost()
            return
        try:
            messages = self._parser.feed(data, fds)
        except ProtocolError:
            self._lost()
            return
        for message, attached in messages:
            self._on_message(message, attached)

    def _lost(self) -> None:
        if not self._closed:
            self.close()
            self._on_close()
