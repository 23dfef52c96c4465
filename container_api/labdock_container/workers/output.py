"""What user code prints: collected from a pipe, kept up to a cap, passed on as it comes, and otherwise thrown away."""

import asyncio
import contextlib
import fcntl
import mmap
import os
import sys
import termios
from collections.abc import Callable

HEAD = 48 << 10
TAIL = 16 << 10
_PIECE = 1 << 18
_DRAIN_PIECES = 8  # twice of what the pipe holds


class Output:
    """The reading end of one worker's pipe. A gigabyte costs a thousand wake-ups and no memory."""

    def __init__(self, pipe: int, counter: int) -> None:
        """`counter` is a memory file of 8 bytes, taken over: it changes before anything is read."""
        self._pipe = pipe
        os.ftruncate(counter, 8)
        self._counter = mmap.mmap(counter, 8)
        self._reads = 0
        os.close(counter)
        self._loop = asyncio.get_running_loop()
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._listener: Callable[[bytes], None] | None = None
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._loop.add_reader(pipe, self._readable)

    def begin(self, listener: Callable[[bytes], None] | None) -> None:
        """Forget what was printed before; `listener` gets what comes now, up to the cap."""
        self._listener = None
        self.drain()
        self._head.clear()
        self._tail.clear()
        self._dropped = 0
        self._listener = listener

    @property
    def text(self) -> str:
        """The beginning and the end of what was printed, with a note of what is missing between them."""
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        return f"{head}\n… {self._dropped:,} bytes left out …\n{tail}" if self._dropped else head + tail

    def drain(self) -> None:
        """Take what is in the pipe now; not for ever, since a process left running may print faster than this reads."""
        for _ in range(_DRAIN_PIECES):
            if not self._read():
                break

    def close(self) -> None:
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        os.close(self._null)

    def _readable(self) -> None:
        self._read()  # may find nothing: `drain` can have taken it in the same turn of the loop

    def _read(self) -> bool:
        if self._dropped > (1 << 20) and self._skip():
            return True
        self._reads += 1
        self._counter[:8] = self._reads.to_bytes(8, "little")
        try:
            chunk = os.read(self._pipe, _PIECE)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if chunk:
            self._keep(chunk)
        else:
            self._loop.remove_reader(self._pipe)  # every writer is gone
        return bool(chunk)

    def _skip(self) -> bool:
        """Let the kernel throw away what is in the pipe, all but the end, which `_read` takes."""
        with contextlib.suppress(OSError, AttributeError):
            waiting = int.from_bytes(fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
            if waiting > 4 * TAIL:
                count = os.splice(self._pipe, self._null, waiting - TAIL, flags=os.SPLICE_F_NONBLOCK)
                self._dropped += count
                return count > 0
        return False

    def _keep(self, chunk: bytes) -> None:
        room = HEAD - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            if self._listener:
                self._listener(chunk[:room])
        rest = chunk[room:] if room > 0 else chunk
        if rest:
            self._tail += rest
            over = len(self._tail) - TAIL
            if over > 0:
                self._dropped += over
                del self._tail[:over]
