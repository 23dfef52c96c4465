"""Keeping an index in shape: merging small files, expiring old ones, removing what crashes and merges left."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from labdock_search.data import fields
from labdock_search.data.files import storage_errors, try_lock
from labdock_search.data.manifest import Commit, FileEntry, Manifest, Snapshot
from labdock_search.data.scan import FileCheck
from labdock_search.data.writer import DAY, MAX_ROWS, MIN_ROWS, NEW, PREFIX, IndexWriter

SMALL_FILES = 8  # that many neighbours are worth a merge
MAX_BYTES = 64 << 20  # compressed, of one merge: bounds its memory
MAX_SPAN = 7 * DAY  # sparse events share a file of at most a week, unless it still has few rows


def compact(manifest: Manifest, check: FileCheck) -> int:
    """Merge runs of small files of the same sourcetype; returns how many files went. One process at a time."""
    lock = try_lock(manifest.folder / ".compact")
    if lock is None:
        return 0
    try:
        return sum(_merge(manifest, run, check) for run in _runs(manifest.read()))
    finally:
        os.close(lock)


def _runs(snapshot: Snapshot) -> Iterator[list[FileEntry]]:
    """Runs of small files with compatible types, in order of time."""
    groups: dict[tuple[str, ...], list[FileEntry]] = {}
    for entry in snapshot.files.values():
        sourcetypes = entry.values.get("sourcetype")
        if sourcetypes and entry.rows < MIN_ROWS:
            groups.setdefault(sourcetypes, []).append(entry)
    for entries in groups.values():
        run: list[FileEntry] = []
        types: dict[str, str] = {}
        for entry in sorted(entries, key=lambda e: (e.earliest, e.name)):
            found = {f: t for f, _, t in snapshot.schemas[entry.schema]}
            if not _fits(run, types, entry, found):
                if len(run) >= SMALL_FILES:
                    yield run
                run, types = [], {}
            run.append(entry)
            types |= found
        if len(run) >= SMALL_FILES:
            yield run


def _fits(run: list[FileEntry], types: dict[str, str], entry: FileEntry, found: dict[str, str]) -> bool:
    """Whether `entry` may join: a merge changes no value's type and stays small."""
    if not run:
        return True
    if sum(e.rows for e in run) + entry.rows > MAX_ROWS or sum(e.bytes for e in run) + entry.bytes > MAX_BYTES:
        return False
    span = max(entry.latest, *(e.latest for e in run)) - run[0].earliest
    if span > MAX_SPAN and sum(e.rows for e in run) >= MIN_ROWS:
        return False
    return all(types.get(f, t) == t for f, t in found.items())


def _merge(manifest: Manifest, run: list[FileEntry], check: FileCheck) -> int:
    snapshot = manifest.read()
    good = [e for e in run if e.name in snapshot.files and not check.verify(manifest.folder / e.name, e)]
    if len(good) < SMALL_FILES:
        return 0
    with IndexWriter(manifest, buffer_bytes=1 << 40) as writer:
        for entry in good:
            writer.add(read_entry(manifest, snapshot, entry))
        writer.commit(drop=tuple(e.name for e in good))
    return len(good)


def read_entry(manifest: Manifest, snapshot: Snapshot, entry: FileEntry) -> pa.Table:
    """The events of one file under their fields' own names."""
    table = pq.read_table(manifest.folder / entry.name, partitioning=None)
    names = {physical: name for name, physical, _ in snapshot.schemas[entry.schema]}
    table = table.rename_columns([names[c] for c in table.column_names])
    return fields.conform(table, pa.schema([(f, fields.type_of(t)) for f, _, t in snapshot.schemas[entry.schema]]))


def expire(manifest: Manifest, now: float) -> int:
    """Drop the files whose newest event is older than the index's retention."""
    snapshot = manifest.read()
    days = snapshot.settings.get("retention_days")
    if not days:
        return 0
    old = tuple(e.name for e in snapshot.files.values() if e.latest < now - days * DAY)
    if old:
        with manifest.lock():
            manifest.commit(Commit(drop=old))
    return len(old)


def tidy(manifest: Manifest, grace: float) -> int:
    """Remove files dropped more than `grace` seconds ago, files of commits that never happened, and the folders of
    writers that died. Returns how many."""
    removed = 0
    with storage_errors(f"index {manifest.index}", manifest.folder), manifest.lock():
        snapshot = manifest.read()
        for path in manifest.folder.glob(f"{PREFIX}*.parquet"):
            if path.name not in snapshot.files and path.name not in snapshot.dropped:
                path.unlink()  # renamed right before a crash: no line names it
                removed += 1
        old = [n for n, at in snapshot.dropped.items() if at <= time.time() - grace]
        for name in old:
            (manifest.folder / name).unlink(missing_ok=True)
        if old:
            manifest.forget(gone=old)
        for folder in (manifest.folder / NEW).glob("*"):
            removed += _remove_if_dead(folder)
    return removed + len(old)


def _remove_if_dead(folder: Path) -> int:
    try:
        lock = try_lock(folder / ".lock")
    except OSError:
        return 0
    if lock is None:
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
    return 1
