"""Where frames wait: a request's body goes, as it comes, into a file of the run folder that has no name.

Without a name nothing can be left behind, whatever is killed when, and nobody sees half a frame. The worker gets the
descriptor. A caller that shares the run folder may have left the frame under a name instead (`Labdock-Spool`). Files
that a worker has let go of are kept for a minute, for the next frame (`labdock.spool`).
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from labdock.errors import DiskFull, InvalidFrame, InvalidName, LimitExceeded, NotFound, StorageError, TransportError
from labdock.intake import Divert, Intake
from labdock.spool import MOST_KEPT, READER_SECONDS, Shelf, SpoolFile

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 16
_LEFT_BEHIND = 3600.0


class Body:
    """A spooled body: the first `size` bytes of a file. `close` it, or `keep` it, when the task has ended."""

    def __init__(self, file: SpoolFile, shelf: Shelf | None = None) -> None:
        self.file = file
        self.size = file.size
        self.kept = False
        self._shelf = shelf

    @property
    def fd(self) -> int:
        return self.file.fd

    def fingerprint(self) -> str:
        """Tells bodies apart that were sent under one idempotency key; reads all of short ones, samples of long."""
        digest = hashlib.sha256(str(self.size).encode())
        step = max(self.size // _SAMPLES, _SAMPLE_BYTES)
        for offset in range(0, self.size, step):
            digest.update(os.pread(self.fd, min(_SAMPLE_BYTES, self.size - offset), offset))
        last = max(0, self.size - _SAMPLE_BYTES)
        digest.update(os.pread(self.fd, self.size - last, last))
        return digest.hexdigest()

    def keep(self) -> None:
        """Nobody refers to the file's content any more: it may hold another frame."""
        self.kept = self._shelf is not None and self._shelf.put(self.file)

    def close(self) -> None:
        if not self.kept:
            self.file.close()


class Spool:
    """The spool folder of one environment."""

    def __init__(self, folder: Path, limit: int, silence: float) -> None:
        self.folder = folder
        self._limit = limit
        self._silence = silence
        self._own = Shelf(READER_SECONDS)  # for bodies that are sent
        # For callers that left a frame and know its file by name: each of several keeps one.
        self._left = Shelf(READER_SECONDS, 2 * MOST_KEPT)

    def prepare(self) -> None:
        """Create the folder; remove what a caller left and never asked for."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND:
                    Path(entry.path).unlink()

    async def receive(self, receive: Receive, length: int | None, divert: Divert | None = None) -> Body:
        """Write a request's body to the spool. Written inline: a copy into memory is faster than a thread switch.

        `length` is what the client announced; `divert(file, length)` may take over the writing of such a body.
        Raises `LimitExceeded`, `DiskFull`, and `TransportError` when the client is silent or goes away.
        """
        if length is not None and length > self._limit:
            raise self._too_large(length)
        file = self._own.fitting(length or 0) or SpoolFile(self._open(), name=os.urandom(12).hex())
        try:
            intake = divert(file, length) if divert and length else None
            if intake is not None:
                await self._watch(intake)
            else:
                await self._fill(file, receive)
        except BaseException:
            file.close()
            raise
        return Body(file, self._own)

    def expire(self) -> None:
        """Free what waited too long for another frame."""
        self._own.expire()
        self._left.expire()

    def close(self) -> None:
        self._own.close()
        self._left.close()

    async def _watch(self, intake: Intake) -> None:
        loop = asyncio.get_running_loop()
        while True:
            patience = intake.latest + self._silence - loop.time()
            done, _ = await asyncio.wait({intake.finished}, timeout=max(patience, 0))
            if done:
                break
            if loop.time() - intake.latest >= self._silence:
                intake.finished.cancel()
                raise self._silent()
        try:
            intake.finished.result()
        except ConnectionError:
            raise _gone() from None
        except OSError as error:
            raise _storage_error(error) from None

    async def _fill(self, file: SpoolFile, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._silence) as patience:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _gone()
                    chunk = message.get("body", b"")
                    if chunk:
                        if file.size + len(chunk) > self._limit:
                            raise self._too_large(file.size + len(chunk))
                        file.write(chunk)
                        patience.reschedule(loop.time() + self._silence)
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            raise self._silent() from None
        except OSError as error:
            raise _storage_error(error) from None

    def take(self, name: str, size: int | None = None) -> Body:
        """The frame that a caller left under `name`, whose name is gone after this.

        With `size` it is the file's first so many bytes, and may be in a file that was kept. Only a regular file with
        no other name is taken: a link could make the API read what the caller may not.
        """
        if not _NAME.fullmatch(name):
            raise InvalidName(
                f"{name[:80]!a} is not the name of a spooled frame.", remedy="Use 1 to 128 of A-Z a-z 0-9 _ -."
            )
        file = (self._left.pop(name) if size is not None else None) or SpoolFile(self._take(name), name=name)
        try:
            there = os.fstat(file.fd).st_size
            if size is not None and size > there:
                raise InvalidFrame(
                    f"The spooled frame {name!r} has {there:,} bytes; {size:,} were announced.",
                    remedy="Write all of it before the request.",
                )
            file.size = there if size is None else size
            if file.size > self._limit:
                raise self._too_large(file.size)
        except BaseException:
            file.close()
            raise
        return Body(file, self._left if size is not None else None)

    def _take(self, name: str) -> int:
        path = self.folder / name
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(
                f"There is no spooled frame named {name!r}.",
                remedy="Write it to the spool folder before the request.",
                kind="frame",
                name=name,
            ) from None
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise _not_a_file(name, error.errno == errno.ELOOP) from None
        status = os.fstat(fd)
        try:
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise _not_a_file(name, linked=status.st_nlink != 1)
        except BaseException:
            os.close(fd)
            raise
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
        return fd

    def _open(self) -> int:
        try:
            try:
                return os.open(self.folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                    raise
            name = self.folder / f".{os.urandom(12).hex()}"  # file systems without O_TMPFILE
            fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            name.unlink()
        except OSError as error:
            raise _storage_error(error) from None
        return fd

    def _silent(self) -> TransportError:
        return TransportError(
            f"No byte of the body came for {self._silence:g} s.",
            remedy="Check the connection, then send it again.",
            reason="silence",
        )

    def _too_large(self, size: int) -> LimitExceeded:
        return LimitExceeded(
            f"The body has more than {self._limit >> 20:,} MB ({size:,} bytes so far or announced).",
            remedy="Send fewer rows or columns, or raise LABDOCK_MAX_BODY_MB.",
            limit="max_body_mb",
            value=self._limit >> 20,
            setting="LABDOCK_MAX_BODY_MB",
        )


def _gone() -> TransportError:
    return TransportError("The client went away while it sent the frame.", remedy="Send it again.", reason="gone")


def _storage_error(error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "There is no space left for the frame in the run folder.",
            remedy="Wait for other requests to end, send less, or give the run folder more memory.",
        )
    return StorageError(f"The frame could not be spooled: {error.strerror}.", remedy="Check the run folder.")


def _not_a_file(name: str, linked: bool) -> InvalidName:
    what = "a link, or has other names" if linked else "not a regular file"
    return InvalidName(f"The spooled frame {name!r} is {what}.", remedy="Write the frame into a new regular file.")
