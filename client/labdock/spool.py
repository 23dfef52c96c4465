"""Files in memory that frames are left in, and written again once their reader has let go.

New pages of a tmpfs cost more than the copy into them (measured for 99 MB: 36 ms into a new file, 15 into one that has
its pages). So whoever wrote a frame (a caller on the same machine, the controller's door, an environment's API) keeps
its file when the reader says that nothing refers to it any more (`Labdock-Spool-Kept`), and the reader keeps its own
descriptor under the same name. Such files have no name in a folder: after a kill nothing is left.
"""

import contextlib
import mmap
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labdock.errors import InvalidOptions
from labdock.wire import SPOOL_SIZE_HEADER

WORTH_KEEPING = 64 << 10  # bytes: below, a file costs nothing worth saving
MOST_KEPT = 256 << 20  # bytes that one shelf keeps
WRITER_SECONDS = 20.0  # a writer forgets its file before the reader does
READER_SECONDS = 60.0


def announced(text: str | None) -> int | None:
    """What `Labdock-Spool-Size` says; None where it is not sent. Raises `InvalidOptions`."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidOptions(f"{SPOOL_SIZE_HEADER} {text[:80]!a} is no size.", remedy="Send a number of bytes.")
    return int(text)


class SpoolFile:
    """A file that holds one frame at a time: its first `size` bytes. For one thread at a time; `close` it.

    Nothing here touches the mapped bytes: a reader that cuts the file short makes a system call fail (`OSError`),
    where a load or a store would kill the process.
    """

    def __init__(self, fd: int, size: int = 0, name: str = "") -> None:
        self.fd = fd
        self.size = size
        self.name = name
        self.pages = size  # bytes that have their memory already
        self._map: memoryview | None = None

    def rewind(self) -> None:
        """Begin another frame. The memory stays."""
        self.pages = max(self.pages, self.size)
        self.size = 0

    def room(self, most: int) -> memoryview | None:
        """Where up to `most` further bytes may be read to directly (then `grow`); None where no memory is yet."""
        if self.size >= self.pages:
            return None
        if self._map is None or len(self._map) < self.pages:
            self._map = memoryview(mmap.mmap(self.fd, self.pages))
        return self._map[self.size : min(self.pages, self.size + most)]

    def grow(self, count: int) -> None:
        """That many bytes were read into `room`."""
        self.size += count

    def write(self, data: Any) -> None:
        """Append to the frame. Raises `OSError` for a full disk; then the file is good for nothing."""
        view = memoryview(data).cast("B")
        while view:
            count = os.pwrite(self.fd, view, self.size)
            self.size += count
            view = view[count:]

    def close(self) -> None:
        self._map = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Shelf:
    """Files that wait for their next frame, by name: for some seconds, and not too many bytes. For several threads.

    One that waits is not pushed out by another: its writer was promised that it waits, and would send its frame twice.
    """

    def __init__(self, seconds: float, most: int = MOST_KEPT) -> None:
        self._seconds = seconds
        self._most = most
        self._files: dict[str, tuple[SpoolFile, float]] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def put(self, file: SpoolFile) -> bool:
        """Keep the file under its name, or close it: gives whether it is kept."""
        file.rewind()
        with self._own() as files:
            gone = self._expired(files)
            room = self._most - sum(waiting.pages for waiting, _ in files.values())
            keep = bool(file.name) and WORTH_KEEPING <= file.pages <= room
            if keep:
                files[file.name] = (file, time.monotonic())
        for each in gone if keep else [*gone, file]:
            each.close()
        return keep

    def pop(self, name: str) -> SpoolFile | None:
        """The file of that name, which is the caller's from now on."""
        with self._own() as files:
            entry = files.pop(name, None)
        return entry[0] if entry else None

    def fitting(self, length: int) -> SpoolFile | None:
        """A file that has the memory for `length` bytes and not much more, else the largest; None where none waits."""
        with self._own() as files:
            usable = [file for file, _ in files.values() if file.pages <= 4 * max(length, WORTH_KEEPING)]
            if length < WORTH_KEEPING or not usable:
                return None
            enough = [file for file in usable if file.pages >= length]
            best = min(enough, key=lambda f: f.pages) if enough else max(usable, key=lambda f: f.pages)
            del files[best.name]
            return best

    def expire(self) -> None:
        """Close what waited too long. Whoever puts files here calls this again later."""
        with self._own() as files:
            gone = self._expired(files)
        for file in gone:
            file.close()

    def close(self) -> None:
        with self._own() as files:
            gone = [file for file, _ in files.values()]
            files.clear()
        for file in gone:
            file.close()

    def __len__(self) -> int:
        return len(self._files)

    @contextlib.contextmanager
    def _own(self) -> Iterator[dict[str, tuple[SpoolFile, float]]]:
        with self._lock:
            if self._process != os.getpid():  # after a fork the files are the parent's: two must not write one
                for file, _ in self._files.values():
                    file.close()
                self._files, self._process = {}, os.getpid()
            yield self._files

    def _expired(self, files: dict[str, tuple[SpoolFile, float]]) -> list[SpoolFile]:
        """Takes out, and gives, what waited too long."""
        limit = time.monotonic() - self._seconds
        gone = [file for file, since in files.values() if since < limit]
        for file in gone:
            del files[file.name]
        return gone


class Leaver:
    """Leaves frames in a server's spool `folder`, for a caller on the same machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shelf = Shelf(WRITER_SECONDS)
        self._timer: threading.Timer | None = None

    def leave(self, pieces: Sequence[Any], fresh: bool = False) -> SpoolFile | None:
        """A file with the frame, `fresh` or used before; None where the folder is not ours, or full."""
        length = sum(memoryview(piece).nbytes for piece in pieces)
        file = None if fresh else self._shelf.fitting(length)
        try:
            file = file or self._new()
            if file is None:
                return None
            try:
                for piece in pieces:
                    file.write(piece)
            except BaseException:
                self.forget(file)
                raise
        except OSError:
            return None
        return file

    def forget(self, file: SpoolFile) -> None:
        """The server may read it still, or never took it."""
        with contextlib.suppress(OSError):
            (self._folder / file.name).unlink(missing_ok=True)
        file.close()

    def give_back(self, file: SpoolFile) -> None:
        """The server said that it has let go of the file, and knows it by its name."""
        if self._shelf.put(file) and (self._timer is None or not self._timer.is_alive()):
            self._timer = threading.Timer(WRITER_SECONDS + 1, self._shelf.expire)
            self._timer.daemon = True
            self._timer.start()

    def _new(self) -> SpoolFile | None:
        if self._folder.lstat().st_uid != os.getuid():
            return None
        name = secrets.token_hex(16)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return SpoolFile(os.open(self._folder / name, flags, 0o600), name=name)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self._shelf.close()
