"""Locks of one controller, for threads and processes alike: one byte of one file for each thing.

They are open-file-description locks: the kernel frees them when their descriptor goes, so a killed controller leaves
none, and there is nothing to clean up but the one file.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from labdock.home import make_private

FILE = "docker.lock"
NETWORK = 2**48  # beyond the numbers of environments, which are 48 bits


class Locks:
    def __init__(self, run: Path) -> None:
        self._path = run / FILE

    def environment(self, environment: str) -> contextlib.AbstractContextManager[bool]:
        """Alone with one environment; waits."""
        return self._held(int(environment, 16), fcntl.F_WRLCK, wait=True)

    def using_network(self) -> contextlib.AbstractContextManager[bool]:
        """Together with others who need the network."""
        return self._held(NETWORK, fcntl.F_RDLCK, wait=True)

    def making_network(self) -> contextlib.AbstractContextManager[bool]:
        """Alone with looking for the network and making it; waits."""
        return self._held(NETWORK + 1, fcntl.F_WRLCK, wait=True)

    def removing_network(self) -> contextlib.AbstractContextManager[bool]:
        """Alone with the network; False where somebody needs it."""
        return self._held(NETWORK, fcntl.F_WRLCK, wait=False)

    @contextlib.contextmanager
    def _held(self, byte: int, kind: int, *, wait: bool) -> Iterator[bool]:
        make_private(self._path.parent)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            request = struct.pack("hhqqi0q", kind, os.SEEK_SET, byte, 1, 0)
            try:
                fcntl.fcntl(handle, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
            except (BlockingIOError, PermissionError):
                yield False
            else:
                yield True
        finally:
            os.close(handle)
