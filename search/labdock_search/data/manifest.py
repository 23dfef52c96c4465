"""The list of an index's files: a log of commits, one line each, that readers follow.

A commit adds and drops any number of files at once. Its line is written with one `write` and fsynced; a line that a
crash cut short has a wrong checksum and counts for nothing, and the next commit cuts it off. So an ingest is there
whole or not at all, and a compaction never shows an event twice.
"""

import json
import os
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labdock.home import fsync_folder
from labdock_search.data.fields import common_type
from labdock_search.data.files import locked, new_id, storage_errors

NAME = "manifest.log"
_SETS = ("sourcetype", "source", "host")
MAX_DISTINCT = 64  # more distinct values of a metadata field are not listed: the file is then always read
_COMPACT_LINES = 2_000


@dataclass(frozen=True)
class FileEntry:
    """What is known of a Parquet file without opening it."""

    name: str
    rows: int
    bytes: int
    earliest: float
    latest: float
    schema: str  # key into Snapshot.schemas
    values: Mapping[str, tuple[str, ...] | None]  # distinct sourcetype, source, host; None: too many to list
    created: float
    digest: str = ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "FileEntry":
        sets = {k: None if v is None else tuple(v) for k, v in value.pop("values").items()}
        return cls(**value, values=sets)


# A schema: for each field its column's name in the file and its type's name.
Schema = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Commit:
    """One line of the log."""

    add: tuple[FileEntry, ...] = ()
    drop: tuple[str, ...] = ()
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)  # event collector segment -> offset that is in files now
    inputs: Mapping[str, int] = field(default_factory=dict)  # what was ingested -> rows
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Snapshot:
    """The index after some commit. Treated as immutable once handed out."""

    files: dict[str, FileEntry] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, float] = field(default_factory=dict)  # file -> when; removed from disk after a grace
    warnings: list[str] = field(default_factory=list)
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)  # field -> its column in files, common type

    def copy(self) -> "Snapshot":
        return Snapshot(
            dict(self.files),
            dict(self.schemas),
            dict(self.applied),
            dict(self.inputs),
            dict(self.settings),
            dict(self.dropped),
            list(self.warnings),
            dict(self.columns),
        )

    def apply(self, value: dict[str, Any]) -> None:
        for entry in value.get("add", ()):
            file = FileEntry.from_json(entry)
            self.files[file.name] = file
        for name in value.get("drop", ()):
            if self.files.pop(name, None):
                self.dropped[name] = value["at"]
        for name in value.get("gone", ()):
            self.dropped.pop(name, None)
        for key, columns in value.get("schemas", {}).items():
            self.schemas[key] = tuple((f, p, t) for f, p, t in columns)
            for name, physical, type_ in columns:
                known = self.columns.get(name)
                self.columns[name] = (physical, common_type([known[1], type_]) if known else type_)
        self.applied.update(value.get("applied", {}))
        for name in value.get("forget", ()):
            self.applied.pop(name, None)
        self.inputs.update(value.get("inputs", {}))
        self.settings.update(value.get("settings", {}))
        self.dropped.update(value.get("dropped", {}))


def _line(value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parse(line: bytes) -> dict[str, Any] | None:
    if len(line) < 10 or line[8:9] != b" ":
        return None
    body = line[9:]
    try:
        if int(line[:8], 16) != zlib.crc32(body):
            return None
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class Manifest:
    """The manifest of the index in `folder`, for any number of readers and writers in any number of processes."""

    def __init__(self, folder: Path, index: str) -> None:
        self.folder = folder
        self.index = index
        self._path = folder / NAME
        self._mutex = threading.Lock()
        self._snapshot = Snapshot()
        self._inode = -1
        self._offset = 0  # the end of the last whole line that was read
        self._lines = 0

    def lock(self) -> Any:
        """Held while files are renamed and a commit is written."""
        return locked(self.folder / ".lock")

    def create(self) -> None:
        """Make an empty manifest where there is none."""
        with storage_errors(f"index {self.index}", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.lock():
                if not self._path.exists():
                    self._rewrite(Snapshot())
            fsync_folder(self.folder.parent)

    def read(self) -> Snapshot:
        """The newest state. Cheap when nothing changed: one `stat`."""
        with self._mutex, storage_errors(f"index {self.index}", self.folder):
            self._follow()
            return self._snapshot

    def _follow(self) -> None:
        status = self._path.stat()
        if status.st_ino == self._inode and status.st_size == self._offset:
            return
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            fresh = status.st_ino != self._inode or status.st_size < self._offset
            start = 0 if fresh else self._offset
            file.seek(start)
            content = file.read()
        snapshot = Snapshot() if fresh else self._snapshot.copy()
        self._lines = 0 if fresh else self._lines
        end = content.rfind(b"\n") + 1
        for line in content[:end].splitlines():
            value = _parse(line)
            self._lines += 1
            if value is None:
                self._damaged(snapshot, last=content.rfind(line) + len(line) + 1 >= end)
            else:
                snapshot.apply(value)
        self._snapshot, self._inode, self._offset = snapshot, status.st_ino, start + end

    def _damaged(self, snapshot: Snapshot, *, last: bool) -> None:
        where = "its last line" if last else f"line {self._lines}"
        snapshot.warnings.append(
            f"Index {self.index}: {where} of its list of files is damaged; events added there are not searched."
        )

    def commit(self, change: Commit) -> Snapshot:
        """Write `change`; the caller holds `lock()` and has renamed the files. Durable when it returns."""
        value: dict[str, Any] = {"at": time.time()}
        if change.add:
            value["add"] = [asdict(e) for e in change.add]
        value |= {k: v for k in ("schemas", "applied", "inputs", "settings") if (v := dict(getattr(change, k)))}
        if change.drop:
            value["drop"] = list(change.drop)
        return self._append(value)

    def forget(self, *, gone: Iterable[str] = (), segments: Iterable[str] = ()) -> Snapshot:
        """Note that dropped files have left the disk and that collector segments are no more."""
        return self._append({"at": time.time(), "gone": list(gone), "forget": list(segments)})

    def _append(self, value: dict[str, Any]) -> Snapshot:
        with self._mutex, storage_errors(f"index {self.index}", self.folder):
            self._follow()
            with self._path.open("r+b") as file:
                file.truncate(self._offset)  # what a crash left after the last whole line
                file.seek(self._offset)
                try:
                    file.write(_line(value))
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    # The kernel may have dropped the pages: take the line back rather than sync again.
                    file.truncate(self._offset)
                    raise
            self._follow()
            snapshot = self._snapshot
            if self._lines > _COMPACT_LINES and self._lines > 2 * len(snapshot.files):
                self._rewrite(snapshot)
                self._follow()
            return self._snapshot

    def _rewrite(self, snapshot: Snapshot) -> None:
        value = {
            "at": time.time(),
            "add": [asdict(e) for e in snapshot.files.values()],
            "schemas": {k: snapshot.schemas[k] for k in {e.schema for e in snapshot.files.values()}},
            "applied": snapshot.applied,
            "inputs": snapshot.inputs,
            "settings": snapshot.settings,
            "dropped": snapshot.dropped,
        }
        temporary = self.folder / f".{NAME}.{new_id()}"
        with temporary.open("xb") as file:
            file.write(_line(value))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        fsync_folder(self.folder)
