"""Frames in an environment's spool, and the files that it gave back: they are written again (`labdock.spool`)."""

import asyncio
import os
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path

from labdock.errors import LabdockError
from labdock.spool import WRITER_SECONDS, Shelf, SpoolFile, announced
from labdock.wire import SPOOL_HEADER, SPOOL_KEPT_HEADER, SPOOL_SIZE_HEADER
from labdock_controller.door.host import Destination
from labdock_controller.door.spool import Spool, check_name, check_size
from labdock_controller.door.upstream import Headers

_REMEMBERED = 256  # frames that callers left and may leave again


class KeptFiles:
    """The files of all environments that wait for another frame."""

    def __init__(self) -> None:
        self._shelves: defaultdict[str, Shelf] = defaultdict(lambda: Shelf(WRITER_SECONDS))
        # Files that callers left and keep: what the caller calls it -> the environment and its name there.
        self._callers: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def file(self, destination: Destination, length: int) -> "SpooledFrame":
        """A frame of about `length` bytes that is to be received. Raises `StorageError`."""
        file = self._shelves[destination.id].fitting(length)
        if file is None:
            with Spool(folder_of(destination)) as spool:
                file = spool.new()
        return SpooledFrame(self, destination, file.name, file)

    def left(
        self, destination: Destination, folder: Path, name: str, size: str | None, max_body: int
    ) -> "SpooledFrame":
        """A frame that a caller left in `folder`, or in a file of its that the environment still has.

        Raises `InvalidOptions`, `NotFound` or `LimitExceeded`.
        """
        check_name(name)
        length = announced(size)
        known = self._callers.pop(name, None) if length is not None else None
        if length is not None and known is not None and known[0] == destination.id:
            check_size(length, max_body)
            return SpooledFrame(self, destination, known[1], None, name, size)
        with Spool(folder_of(destination)) as spool:
            return SpooledFrame(self, destination, spool.adopt(folder, name, max_body), None, name, size)

    def keep(self, destination: Destination, file: SpoolFile) -> None:
        if self._shelves[destination.id].put(file):
            asyncio.get_running_loop().call_later(WRITER_SECONDS + 1, self._expire, destination.id)

    def remember(self, caller: str, destination: Destination, name: str) -> None:
        self._callers[caller] = (destination.id, name)
        while len(self._callers) > _REMEMBERED:
            self._callers.popitem(last=False)

    def close(self) -> None:
        for shelf in self._shelves.values():
            shelf.close()
        self._shelves.clear()

    def _expire(self, environment: str) -> None:
        shelf = self._shelves.get(environment)
        if shelf is not None:
            shelf.expire()
            if not len(shelf):
                del self._shelves[environment]


class SpooledFrame:
    """One frame on its way: in a file of the door's, or in one that a caller left (`file` is None)."""

    def __init__(
        self,
        kept: KeptFiles,
        destination: Destination,
        name: str,
        file: SpoolFile | None,
        caller: str = "",
        size: str | None = None,
    ) -> None:
        self.file = file
        self._kept = kept
        self._destination = destination
        self._name = name
        self._caller = caller
        self._size = size
        self._again = file is not None and file.pages > 0
        self._taken = False

    def publish(self) -> None:
        """It is complete: the environment may see it."""
        assert self.file is not None  # noqa: S101 - one that a caller left is there already
        if not self._again:
            with Spool(folder_of(self._destination)) as spool:
                spool.publish(self.file)
            self._name = self.file.name
        self._size = str(self.file.size)

    def headers(self) -> Headers:
        """What the environment is told."""
        size = [(SPOOL_SIZE_HEADER, self._size)] if self._size is not None else []
        return [(SPOOL_HEADER, self._name), *size]

    def renew(self) -> bool:
        """Put the frame into a new file, if it is in one that the environment has seen before."""
        if self.file is None or not self._again:
            return False
        with Spool(folder_of(self._destination)) as spool:
            new = spool.new()
            while new.size < self.file.size:
                new.write(os.pread(self.file.fd, min(1 << 20, self.file.size - new.size), new.size))
            self.file.close()
            self.file, self._again = new, False
        self.publish()
        return True

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The environment has taken it, and says whether the file may hold another one."""
        self._taken = status < 400
        if SPOOL_KEPT_HEADER not in headers:
            return
        if self.file is not None:
            file, self.file = self.file, None
            self._kept.keep(self._destination, file)
        elif self._caller:
            self._kept.remember(self._caller, self._destination, self._name)

    def forget(self) -> None:
        """The environment removes a frame's name when it takes it; it may never have got to it."""
        if self.file is not None:
            self.file.close()
            self.file = None
        if self._name and not self._taken and self._destination.run is not None:
            try:
                with Spool(self._destination.run) as spool:
                    spool.remove(self._name)
            except LabdockError:
                pass  # the spool is gone


def folder_of(destination: Destination) -> Path:
    assert destination.run is not None  # noqa: S101 - the caller looked
    return destination.run
