"""The short way for a long answer: from the environment's socket to the client's, past parsers, streams and tasks.

The HTTP of both sides stays with its libraries: they have read and written the headers, and the body's last byte is
handed back, for the server to send. Between them nothing but one buffer: a byte is copied twice, and no memory is made.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import aiohttp

# Gives a socket on which so many bytes of the answer may be sent past the server; None where that cannot be. The
# server puts it among a request's extensions.
Outlet = Callable[[int], socket.socket | None]
OUTLET = "labdock.outlet"
WORTH_PUMPING = 1 << 20  # bytes
_PIECE = 1 << 18


class Pump:
    """Moves an answer's body but for its last byte. `run` it once."""

    def __init__(self, response: "aiohttp.ClientResponse", transport: Any, target: socket.socket, length: int) -> None:
        self.gone = False  # whether the client is
        self._response = response
        self._transport = transport
        self._source = duplicate(transport)
        self._target = target
        self._left = length - response.content.total_bytes  # that the environment has yet to send
        self._buffer = memoryview(bytearray(_PIECE))
        self._unsent = memoryview(response.content.read_nowait())
        transport.pause_reading()  # again: to take what was held may let it go on
        self._last = b""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def of(cls, response: "aiohttp.ClientResponse", outlet: Outlet | None) -> Self | None:
        """For an answer whose headers were given to the server; None for one that takes the usual way."""
        length, connection = response.content_length or 0, response.connection
        transport: Any = connection.transport if connection is not None else None
        if outlet is None or transport is None or length - response.content.total_bytes < WORTH_PUMPING:
            return None
        if transport.get_extra_info("sslcontext"):
            return None
        transport.pause_reading()
        await asyncio.sleep(0)  # the event loop sends the headers
        target = outlet(length - 1)
        if target is None:
            transport.resume_reading()
            return None
        return cls(response, transport, target, length)

    async def run(self) -> bytes:
        """Gives the last byte. Raises `ConnectionError` where the environment ends the connection before that."""
        try:
            self._flush()
            await self._ended
            good = not self._left and self._silent()
        finally:
            self._loop.remove_reader(self._source)
            self._loop.remove_writer(self._target)
            self._source.close()
            self._target.close()
        if good:  # the environment's connection is there for the next request
            self._transport.resume_reading()
            self._response.content.feed_eof()
        return self._last

    def _readable(self) -> None:
        try:
            count = self._source.recv_into(self._buffer[: self._left])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(ConnectionError(str(error)))
            return
        if not count:
            self._end(ConnectionError("the environment ended the connection"))
            return
        self._left -= count
        if not self._left:
            count -= 1
            self._last = bytes(self._buffer[count : count + 1])
        self._unsent = self._buffer[:count]
        self._flush()

    def _silent(self) -> bool:
        """Whether the environment said nothing beyond its answer, and has not hung up."""
        try:
            self._source.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            pass
        return False

    def _flush(self) -> None:
        """Send what was read; the environment is read on once all of it has gone."""
        try:
            self._unsent = self._unsent[self._target.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.gone = True
        if self.gone or not (self._unsent or self._left):
            self._end()
        elif self._unsent:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._target, self._flush)
        else:
            self._loop.remove_writer(self._target)
            self._loop.add_reader(self._source, self._readable)

    def _end(self, error: ConnectionError | None = None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def duplicate(transport: Any) -> socket.socket:
    """The socket of a connection under a descriptor of its own, which the event loop may watch beside the transport."""
    return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
