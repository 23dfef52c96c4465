"""A shorter way for frames through uvicorn: from the socket into a spool file.

The usual way copies a body five times and wakes the application for each piece. Here the application may ask, once it
has seen the headers, that the rest of a body of known length be put into a file as it is read: no parser, no task
switch, and where the file has its memory already no second copy. For both servers (an environment's API, the
controller); this module knows their protocol class by its shape only, since a client has no server library.
"""

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

EXTENSION = "labdock.intake"
# So much of an answer over a Unix socket waits in the kernel, where that allows it: server and client take turns less
# often (0.5 of 13 ms of a fit of 100,000 x 8). The other way it costs more than it gains.
_ANSWER_BUFFER = 1 << 20
_BUFFER = memoryview(bytearray(1 << 20))  # filled and emptied within one callback of the loop


class Sink(Protocol):
    """Where a body goes: `labdock.spool.SpoolFile`."""

    def room(self, most: int) -> memoryview | None: ...
    def grow(self, count: int) -> None: ...
    def write(self, data: Any) -> None: ...


class Intake:
    """One body on its way. `finished` ends when it is whole, or with what went wrong."""

    def __init__(self, sink: Sink, length: int, loop: asyncio.AbstractEventLoop) -> None:
        self.length = length
        self.left = length
        self.latest = loop.time()  # of the last byte
        self.finished: asyncio.Future[None] = loop.create_future()
        self._sink = sink
        self._loop = loop
        self._direct = False

    def buffer(self) -> memoryview:
        """Where the loop shall read the next bytes to."""
        room = None if self.finished.done() else self._sink.room(self.left)
        self._direct = room is not None
        return _BUFFER if room is None else room

    def take(self, count: int) -> None:
        """So many bytes of the body lie in the buffer."""
        self.latest = self._loop.time()
        self.left -= count
        if self.finished.done():
            return  # the application gave up: the rest is thrown away
        if self._direct:
            self._sink.grow(count)
        else:
            self.write(_BUFFER[:count])
        self._check()

    def begin(self, data: memoryview) -> None:
        """What came together with the headers."""
        self.left -= len(data)
        self.write(data)
        self._check()

    def write(self, data: memoryview) -> None:
        try:
            self._sink.write(data)
        except Exception as error:  # noqa: BLE001 - it is the application's to tell
            self.finished.set_exception(error)

    def lost(self) -> None:
        """The client went away."""
        if not self.finished.done():
            self.finished.set_exception(ConnectionResetError())

    def _check(self) -> None:
        if not self.left and not self.finished.done():
            self.finished.set_result(None)


Divert = Callable[[Sink, int], Intake | None]


class Diverting:
    """Put before uvicorn's HTTP protocol among the bases: each request gets the extension, a `Divert`."""

    intake: Intake | None = None
    asked = False  # whether a request's headers ever came
    # uvicorn's
    cycle: Any
    flow: Any
    loop: Any
    parser: Any
    scope: Any
    transport: Any
    on_message_complete: Callable[[], None]

    def on_headers_complete(self) -> None:
        self.asked = True
        super().on_headers_complete()  # type: ignore[misc]

    def on_message_begin(self) -> None:
        super().on_message_begin()  # type: ignore[misc]
        self.scope["extensions"] = {EXTENSION: functools.partial(self._divert, self.scope)}

    def _divert(self, scope: Any, sink: Sink, length: int) -> Intake | None:
        """Put this request's body of `length` bytes into `sink`; None where that cannot be done any more."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope or not cycle.more_body or self.intake is not None:
            return None
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        begun, cycle.body = memoryview(cycle.body), bytearray()
        intake = Intake(sink, length, self.loop)
        if begun:
            intake.begin(begun)
        if intake.left:
            self.intake = intake
            self.flow.resume_reading()
        return intake

    def body_complete(self) -> None:
        """The parser saw the headers only; a new one begins with what follows the body."""
        self.intake = None
        self.parser = type(self.parser)(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.on_message_complete()


class IntakeProtocol(asyncio.BufferedProtocol):
    """What a server makes for each connection: hands what it reads to `http`, a `Diverting` one, or to an intake."""

    http: ClassVar[type[Any]]

    def __init__(self, **arguments: Any) -> None:
        self._http = self.http(**arguments)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ANSWER_BUFFER)
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._http.intake is not None:
            self._http.intake.lost()
            self._http.intake = None
        self._http.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's interface
        intake = self._http.intake
        return _BUFFER if intake is None else intake.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        intake = self._http.intake
        if intake is None:
            self._http.data_received(bytes(_BUFFER[:nbytes]))
            return
        count = min(nbytes, intake.left)
        intake.take(count)
        if not intake.left:
            rest = bytes(_BUFFER[count:nbytes])
            self._http.body_complete()
            if rest:
                self._http.data_received(rest)

    def eof_received(self) -> None:
        self._http.eof_received()

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
