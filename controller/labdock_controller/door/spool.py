"""Frames on their way: written once into the environment's spool, on the same tmpfs, never decoded.

The environment owns its run folder and may put anything there, a link included. So folders are opened without
following links and used by descriptor, files are created exclusively, and nothing of the environment is read here.
A frame has no name before it is complete (`O_TMPFILE`): a controller that is killed halfway leaves nothing.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from labdock.errors import DiskFull, InvalidOptions, LimitExceeded, NotFound, StorageError
from labdock.spool import SpoolFile

SPOOL = "spool"
NAME = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}


@contextlib.contextmanager
def storage_errors(what: str, needed: int | None = None) -> Iterator[None]:
    """Turn the system's errors into Labdock's: a full disk says so."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(
                f"There is no space left for {what} in the run folder.",
                remedy="Wait for other requests to end, send fewer rows, or move the run folder (LABDOCK_RUN).",
                path=SPOOL,
                needed=needed,
                free=0,
            ) from error
        raise StorageError(
            f"The run folder cannot take {what}: {error.strerror}.",
            remedy="Check that the environment's run folder exists and can be written; restart the environment.",
        ) from error


class Spool:
    """The spool folder of one environment. Use it as a context manager; closing it forgets the descriptor only."""

    def __init__(self, run: Path) -> None:
        with storage_errors("a frame"):
            outer = os.open(run, _FOLDER)
            try:
                self.folder = os.open(SPOOL, _FOLDER, dir_fd=outer)
            finally:
                os.close(outer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.folder)

    def new(self) -> SpoolFile:
        """A new file, nameless where the file system can: nothing is visible before `publish`."""
        flags = os.O_RDWR | os.O_CLOEXEC
        with storage_errors("a frame"):
            try:
                return SpoolFile(os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=self.folder))
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
            name = fresh_name()
            handle = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self.folder)
            return SpoolFile(handle, name=name)

    def publish(self, file: SpoolFile) -> None:
        """Make the complete frame visible to the environment, under the file's name from now on."""
        with storage_errors("a frame"):
            self.hand_over(file.fd)
            if not file.name:
                name = fresh_name()
                os.link(f"/proc/self/fd/{file.fd}", name, dst_dir_fd=self.folder, follow_symlinks=True)
                file.name = name

    def adopt(self, source: Path, name: str, max_body: int) -> str:
        """Take over the file `name` that a caller left in folder `source`; gives its name here.

        Whatever is wrong with the file, it is gone from `source` afterwards. Raises `InvalidOptions`, `NotFound`
        or `LimitExceeded`.
        """
        check_name(name)
        new = fresh_name()
        try:
            outer = os.open(source, _FOLDER)
            try:
                move(outer, name, self.folder, new)
            finally:
                os.close(outer)
        except FileNotFoundError:
            raise missing(name) from None
        try:
            handle = open_plain(self.folder, new, max_body)
            try:
                self.hand_over(handle)
            finally:
                os.close(handle)
        except BaseException:
            self.remove(new)
            raise
        return new

    def hand_over(self, handle: int) -> None:
        """Let the environment read the file: it runs as the folder's owner, which need not be the controller's user."""
        owner = os.fstat(self.folder)
        if owner.st_uid == os.geteuid():
            os.fchmod(handle, 0o600)
        elif os.geteuid() == 0:
            os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fchmod(handle, 0o600)
        else:  # the folder above is 0700 and this one is the environment's: nobody else reaches the file
            os.fchmod(handle, 0o644)

    def remove(self, name: str) -> None:
        """The environment removes a frame after its reply; this is for when it never got to it."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.folder)


def take(source: Path, name: str, max_body: int) -> int:
    """Open the file `name` that a caller left in folder `source`, and remove its name; gives the descriptor.

    For environments that share no folder. Raises as `Spool.adopt` does.
    """
    check_name(name)
    try:
        outer = os.open(source, _FOLDER)
        try:
            handle = open_plain(outer, name, max_body)
            os.unlink(name, dir_fd=outer)
        finally:
            os.close(outer)
    except FileNotFoundError:
        raise missing(name) from None
    return handle


def open_plain(folder: int, name: str, max_body: int) -> int:
    """Open a regular file of our own user that has no second name. Raises `InvalidOptions` or `LimitExceeded`."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
        raise InvalidOptions(
            "The spooled frame is not a plain file of the controller's user.",
            remedy="Write a new regular file; links and files of other users are not taken.",
        )
    check_size(status.st_size, max_body)
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)


def check_name(name: str) -> None:
    """Raises `InvalidOptions` for what cannot be a spooled frame's name."""
    if not NAME.fullmatch(name):
        raise InvalidOptions(
            "Labdock-Spool is not a file name.", remedy="Use 16 to 64 of the characters A-Z a-z 0-9 _ -."
        )


def missing(name: str) -> NotFound:
    return NotFound(
        f"The controller's spool holds no file {name!r}.",
        remedy="Write the frame there before sending the request.",
        kind="frame",
        name=name,
        nearest=None,
    )


def fresh_name() -> str:
    """A name nobody can guess."""
    return "door-" + secrets.token_hex(16)


def check_size(size: int, max_body: int) -> None:
    """Raises `LimitExceeded` for a body over the cap."""
    if size > max_body:
        raise LimitExceeded(
            f"The body is larger than {max_body / 2**20:g} MiB.",
            remedy="Send fewer rows or columns at a time, or raise LABDOCK_MAX_BODY_MB.",
            limit="max_body",
            value=max_body,
            setting="LABDOCK_MAX_BODY_MB",
        )


def move(source: int, name: str, target: int, new: str) -> None:
    """Rename between two open folders, copying where they lie on different file systems."""
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with (
            os.fdopen(os.open(name, flags, dir_fd=source), "rb") as old,
            os.fdopen(
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target), "wb"
            ) as copy,
        ):
            if stat.S_ISREG(os.fstat(old.fileno()).st_mode):
                while os.sendfile(copy.fileno(), old.fileno(), None, 2**30):
                    pass
    finally:
        os.unlink(name, dir_fd=source)


def sweep(folder: Path, older_than: float) -> int:
    """Remove files that lie in `folder` for longer than `older_than` seconds; gives how many.

    For the controller's own spool (a caller that died before it sent the request) and, at boot, for the
    environments' (a controller that died before the environment read the frame).
    """
    removed = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        handle = os.open(folder, _FOLDER)
        try:
            for name in os.listdir(handle):  # noqa: PTH208 - of a descriptor that nobody can swap
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode) and time.time() - status.st_mtime > older_than:
                    os.unlink(name, dir_fd=handle)
                    removed += 1
        finally:
            os.close(handle)
    return removed
