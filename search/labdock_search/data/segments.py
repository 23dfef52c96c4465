"""The event collector's write-ahead log: frames of events, fsynced before a sender is answered.

A segment is a file of frames: length and CRC-32 of the payload (4 bytes each, little endian), then the payload, JSON
`[[index, {field: value}], …]`. A frame that a crash cut short ends the segment. Its owner holds a lock on it, so
another process can tell the segment of a dead collector, and recover it.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from labdock.home import fsync_folder
from labdock_search.data.files import new_id, try_lock

FOLDER = ".collector"
SUFFIX = ".segment"
_HEADER = 8

Event = tuple[str, dict[str, Any]]  # its index, its fields


def encode(events: Sequence[Event]) -> bytes:
    """One frame."""
    payload = orjson.dumps(events)
    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


class Segment:
    """A segment that this process writes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.id = new_id()
        self.path = folder / f"{self.id}{SUFFIX}"
        lock = try_lock(self.path)
        if lock is None:  # a new random name
            raise FileExistsError(self.path.name)
        self._file = lock
        self.size = 0
        fsync_folder(folder)

    def append(self, frames: Sequence[bytes]) -> int:
        """Write and fsync; gives the end. After an `OSError` the segment must not be written again."""
        try:
            content = memoryview(b"".join(frames))
            while content:
                content = content[os.write(self._file, content) :]
            os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):  # nothing of the frames that were not acknowledged should come back
                os.ftruncate(self._file, self.size)
            raise
        self.size += sum(map(len, frames))
        return self.size

    def remove(self) -> None:
        """All its events are in files."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)

    def leave(self) -> None:
        """Release it without removing: the next collector recovers it."""
        os.close(self._file)


def abandoned(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """Segments whose collector is gone: id, path, and the lock that the caller now holds and must close."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            lock = try_lock(path)
        except FileNotFoundError:
            continue
        if lock is not None:
            if path.exists():
                yield path.name.removesuffix(SUFFIX), path, lock
            else:
                path.unlink(missing_ok=True)
                os.close(lock)


def frames(path: Path) -> Iterator[tuple[int, list[Event]]]:
    """The whole frames of a segment: where each ends, and its events."""
    with path.open("rb") as file:
        end = 0
        while len(header := file.read(_HEADER)) == _HEADER:
            length = int.from_bytes(header[:4], "little")
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != int.from_bytes(header[4:], "little"):
                return
            end += _HEADER + length
            yield end, [(index, event) for index, event in orjson.loads(payload)]
