"""Uvicorn's protocol with patience that ends (a connection must send its request's head in time) and short ways for
frames and long answers."""

import asyncio
import functools
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from labdock.intake import Diverting, IntakeProtocol
from labdock_controller.door.pump import OUTLET, duplicate

HEAD_SECONDS = 30.0


class PatientProtocol(Diverting, HttpToolsProtocol):
    """Closes a connection whose first request's head is not there after half a minute. Bodies: `guard.Body`."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._patience is None:  # a later request of the same connection
            self._patience = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_slow)

    def on_headers_complete(self) -> None:
        self._calm()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _too_slow(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


class OutletProtocol(PatientProtocol):
    """Gives each request an outlet (`labdock_controller.door.pump`)."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"][OUTLET] = functools.partial(self._outlet, self.scope)

    def _outlet(self, scope: Any, count: int) -> socket.socket | None:
        """The caller closes the socket, and sends exactly `count` bytes on it before anything else of the answer."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope or cycle.disconnected or not cycle.response_started:
            return None
        if cycle.chunked_encoding or cycle.expected_content_length <= count or scope["method"] == "HEAD":
            return None
        if self.transport.get_extra_info("sslcontext") or self.transport.get_write_buffer_size():
            return None
        cycle.expected_content_length -= count
        return duplicate(self.transport)


class ControllerProtocol(IntakeProtocol):
    """What the controller's listeners speak: patience that ends, and the frames' short way into the spool."""

    http = OutletProtocol
