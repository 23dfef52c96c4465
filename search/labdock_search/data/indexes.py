"""Indexes: searchable events below `LABDOCK_HOME/indexes/<index>/`, Parquet files and a manifest each."""

import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labdock.errors import InvalidOptions, NotFound
from labdock.home import fsync_folder
from labdock.names import check_name, not_found
from labdock_search.data import compaction
from labdock_search.data.fields import type_name
from labdock_search.data.files import new_id, storage_errors
from labdock_search.data.manifest import NAME, Commit, Manifest
from labdock_search.data.scan import FileCheck, View, schema_of
from labdock_search.data.writer import IndexWriter
from labdock_search.protocols import Caller, IndexData

GRACE = 3_600.0  # a search that began before a compaction may still open the files that it replaced


@dataclass(frozen=True)
class IndexStatistics:
    """What an index holds, told from its manifest."""

    name: str
    rows: int
    bytes: int
    files: int
    earliest: float | None
    latest: float | None
    sourcetypes: dict[str, int]  # rows by sourcetype; files that hold several count under each
    retention_days: float | None
    readers: list[str] | None  # who may search it; None: everybody


MayRead = Callable[[Caller, str, Collection[str] | None], bool]


def everything(caller: Caller, index: str, readers: Collection[str] | None) -> bool:  # noqa: ARG001 - a `MayRead`
    """May read: everybody everything. For the engine without a controller."""
    return True


class Indexes:
    """All indexes of one home. Safe for threads and for several processes on the same home.

    `may_read(caller, index, readers)` decides which indexes a caller sees, given the readers that the index names
    (`restrict`); others do not exist for him. Implements the engine's `Indexes`.
    """

    def __init__(self, home: Path, may_read: MayRead = everything) -> None:
        self.folder = home / "indexes"
        self._may_read = may_read
        self._check = FileCheck()
        self._manifests: dict[str, Manifest] = {}
        self._views: dict[str, View] = {}
        self._mutex = threading.Lock()

    def names(self, caller: Caller) -> list[str]:
        """The indexes that the caller may read, sorted."""
        return [n for n in self.all_names() if self._may_read(caller, n, self.readers(n))]

    def default_names(self, caller: Caller) -> list[str]:
        """Those that a search without `index=` reads: all but internal ones, which begin with `_`."""
        return [n for n in self.names(caller) if not n.startswith("_")]

    def open(self, name: str, caller: Caller) -> IndexData:
        """What a search sees of the index now. Cheap: one `stat` for each file. Raises `NotFound`.

        Damaged files are left out and named in `problems`. Where a file turns out to be damaged while it is read,
        `verify` finds it, and the next `open` leaves it out.
        """
        manifest = self._readable(name, caller)
        snapshot = manifest.read()
        with self._mutex:
            view = self._views.setdefault(name, View(name, manifest.folder, self._check))
            return view.data(snapshot)

    def verify(self, name: str, caller: Caller) -> list[str]:
        """Read every file of the index with its checksums; the names of damaged ones."""
        manifest = self._readable(name, caller)
        entries = manifest.read().files.values()
        return [e.name for e in entries if self._check.verify(manifest.folder / e.name, e)]

    def _readable(self, name: str, caller: Caller) -> Manifest:
        known = self.names(caller)
        if name not in known:
            raise not_found("index", name, known, "Add events with `labdock ingest FILE --index …`.")
        return self.manifest(name)

    def all_names(self) -> list[str]:
        """All indexes, sorted, whoever may read them."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if p.name[0] != "." and (p / NAME).exists())

    def exists(self, index: str) -> bool:
        return (self.folder / check_name(index, "index") / NAME).exists()

    def create(self, index: str) -> Manifest:
        """The index's manifest; makes the index if there is none. Raises `InvalidName`."""
        manifest = Manifest(self.folder / check_name(index, "index"), index)
        with self._mutex:
            known = self._manifests.get(index)
            if known and self.exists(index):
                return known
            manifest.create()
            compaction.tidy(manifest, GRACE)
            self._manifests[index] = manifest
            return manifest

    def manifest(self, index: str) -> Manifest:
        """The manifest of an existing index. Raises `NotFound` with the nearest name."""
        if not self.exists(index):
            raise not_found("index", index, self.all_names(), "Add events with `labdock ingest FILE --index …`.")
        with self._mutex:
            return self._manifests.setdefault(index, Manifest(self.folder / index, index))

    def writer(self, index: str) -> IndexWriter:
        """A writer to the index, which is made if there is none."""
        return IndexWriter(self.create(index))

    def statistics(self, index: str) -> IndexStatistics:
        """Rows, bytes, time span and sourcetypes, without opening a file."""
        snapshot = self.manifest(index).read()
        entries = list(snapshot.files.values())
        sourcetypes: dict[str, int] = {}
        for entry in entries:
            for sourcetype in entry.values.get("sourcetype") or ():
                sourcetypes[sourcetype] = sourcetypes.get(sourcetype, 0) + entry.rows
        return IndexStatistics(
            name=index,
            rows=sum(e.rows for e in entries),
            bytes=sum(e.bytes for e in entries),
            files=len(entries),
            earliest=min((e.earliest for e in entries), default=None),
            latest=max((e.latest for e in entries), default=None),
            sourcetypes=dict(sorted(sourcetypes.items())),
            retention_days=snapshot.settings.get("retention_days"),
            readers=snapshot.settings.get("readers"),
        )

    def fields(self, index: str) -> dict[str, str]:
        """Each field of the index and its type, the leading ones first."""
        schema = schema_of(self.manifest(index).read())
        return {f.name: type_name(f.type) for f in schema}

    def configure(self, index: str, *, retention_days: float | None) -> None:
        """Events in files whose newest event is older than this are removed by `maintain`; None keeps all."""
        if retention_days is not None and not retention_days > 0:
            raise InvalidOptions(
                f"A retention of {retention_days} days is not possible.", remedy="Give a number above 0, or none."
            )
        manifest = self.manifest(index)
        with manifest.lock():
            manifest.commit(Commit(settings={"retention_days": retention_days}))

    def readers(self, index: str) -> list[str] | None:
        """Who may search the index, in words of the host's; None: everybody. One that vanishes has no readers."""
        try:
            settings = self.manifest(index).read().settings
        except NotFound:
            return []
        found: list[str] | None = settings.get("readers")
        return found

    def restrict(self, index: str, readers: Sequence[str] | None) -> None:
        """Only `readers` may search the index from now on; None: everybody. Searches under way go on."""
        manifest = self.manifest(index)
        with manifest.lock():
            manifest.commit(Commit(settings={"readers": None if readers is None else list(readers)}))

    def delete(self, index: str) -> None:
        """Remove the index and its events. Raises `NotFound`."""
        manifest = self.manifest(index)
        doomed = self.folder / f".deleted-{new_id()}"
        with storage_errors(f"index {index}", self.folder), manifest.lock():
            manifest.folder.rename(doomed)
            fsync_folder(self.folder)
        with self._mutex:
            self._manifests.pop(index, None)
            self._views.pop(index, None)
        shutil.rmtree(doomed, ignore_errors=True)

    def maintain(self, now: float | None = None, grace: float = GRACE) -> dict[str, Any]:
        """The background function: retention, compaction of small files, removal of what nobody needs."""
        now = time.time() if now is None else now
        done: dict[str, Any] = {"expired": 0, "compacted": 0, "removed": 0}
        for index in self.all_names():
            manifest = self.manifest(index)
            done["expired"] += compaction.expire(manifest, now)
            done["compacted"] += compaction.compact(manifest, self._check)
            done["removed"] += compaction.tidy(manifest, grace)
        for leftover in self.folder.glob(".deleted-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return done
