"""Frames in a worker: their files, mapped and not copied.

A file that its writer keeps for another frame (`labdock.spool`) stays mapped here as well: to touch each page of a new
mapping for the first time costs more than to read it (99 MB: 7 ms).
"""

import mmap
import os
from collections import OrderedDict

import pyarrow as pa

from labdock.errors import InvalidFrame
from labdock.spool import MOST_KEPT, WORTH_KEEPING
from labdock.wire import ARROW_STREAM, CSV
from labdock_container.tables import damaged

_File = tuple[int, int]  # its device and inode: nobody else's as long as it is mapped


class MappedFrame:
    """The first `size` bytes of a mapped file: `buffer`.

    `released` tells whether anything still refers to them: a column, a view of one, a model that kept either.
    """

    def __init__(self, file: _File, mapping: mmap.mmap, size: int) -> None:
        self.file = file
        self.mapping = mapping
        self._view = memoryview(mapping)[:size]
        self.buffer: pa.Buffer | None = pa.py_buffer(self._view)

    def released(self) -> bool:
        """Lets go of the bytes; False where something else has not."""
        self.buffer = None
        try:
            self._view.release()
        except BufferError:
            return False
        return True


class Maps:
    """The mappings of one worker that wait for the next frame in their files, the newest last."""

    def __init__(self, most: int = 2 * MOST_KEPT) -> None:
        self._most = most
        self._waiting: OrderedDict[_File, mmap.mmap] = OrderedDict()

    def open(self, fd: int, size: int) -> MappedFrame:
        """The frame in the first `size` bytes of the file. Raises `InvalidFrame` where there are not so many."""
        if not size:
            raise InvalidFrame("The body is empty.", remedy=f"Send a frame as {ARROW_STREAM} or {CSV}.")
        status = os.fstat(fd)
        if size > status.st_size:  # whoever left the frame has cut its file short since
            raise damaged(ValueError(f"its file is shorter than {size:,} bytes"))
        file = (status.st_dev, status.st_ino)
        mapping = self._waiting.pop(file, None)
        if mapping is None or len(mapping) < size:
            mapping = mmap.mmap(fd, status.st_size, prot=mmap.PROT_READ)
        return MappedFrame(file, mapping, size)

    def keep(self, frame: MappedFrame) -> None:
        """`frame` is released, and its file may hold another one."""
        if WORTH_KEEPING <= len(frame.mapping) <= MOST_KEPT:
            self._waiting[frame.file] = frame.mapping
        while sum(map(len, self._waiting.values())) > self._most:
            self._waiting.popitem(last=False)

    def clear(self) -> None:
        """The files have waited too long: their memory goes when nobody has them mapped."""
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)
