"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from labdock.errors import DiskFull, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def new_id() -> str:
    """A name for a file: unique, sorts by the time it was made, and says nothing about a user."""
    return f"{time.time_ns():016x}-{secrets.token_hex(4)}"


@contextlib.contextmanager
def storage_errors(what: str, folder: Path) -> Iterator[None]:
    """Turn an `OSError` into `DiskFull` or `StorageError` about `what`; paths stay out of the message."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free = shutil.disk_usage(folder).free if folder.exists() else 0
            raise DiskFull(
                f"No space left while writing {what}.",
                remedy="Free space on the disk that holds LABDOCK_HOME, then try again.",
                path=what,
                free=free,
            ) from error
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StorageError(
            f"{what} could not be written or read: {reason}.",
            remedy="Look at the disk that holds LABDOCK_HOME (dmesg, permissions), then try again.",
        ) from error


def fsync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file `path` exclusively, among threads and processes. The kernel frees it when the holder dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def try_lock(path: Path) -> int | None:
    """A handle that holds the file `path` exclusively until it is closed, or None where another holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
