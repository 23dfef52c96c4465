"""An environment's start lock: a file in its run folder, held by what is being started until it shows its mark."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILE = "start.lock"


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
    """The lock of the environment whose run folder this is, as a file descriptor; None while someone else holds it.

    Raises `FileNotFoundError` where the folder is being removed.
    """
    path = folder / FILE
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if os.fstat(handle).st_ino != path.stat().st_ino:
            raise FileNotFoundError(path)  # a stop removed the folder meanwhile
        yield handle
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a start is on its way."""
    with suppress(FileNotFoundError):
        handle = os.open(folder / FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False
