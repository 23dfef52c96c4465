"""The event collector's write path: durable when it answers, searchable within a second.

`submit` hands events to one thread that writes all waiting requests as frames of a segment (`segments`) and fsyncs
once for all of them: a request's future is done when its events survive a crash. A second thread moves durable events
into the indexes' Parquet files twice a second, and notes in the same commit how far the segment is applied, so that
every event is there exactly once whenever the process dies. Memory is bounded: beyond `max_pending` bytes that are
not in files yet, `submit` refuses.
"""

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from labdock.errors import Busy, LabdockError
from labdock_search.data.files import storage_errors
from labdock_search.data.indexes import Indexes
from labdock_search.data.readers.json import table_of
from labdock_search.data.segments import FOLDER, Event, Segment, abandoned, encode, frames
from labdock_search.data.writer import IndexWriter

MAX_PENDING = 64 << 20
INTERVAL = 0.5
SEGMENT_BYTES = 32 << 20
GROUP_BYTES = 8 << 20
BATCH = 20_000
_RETRY = 5.0

log = logging.getLogger(__name__)


@dataclass
class _Request:
    events: Sequence[Event]
    frame: bytes
    done: "Future[None]" = field(default_factory=Future)


@dataclass
class _Batch:
    """Durable events of one segment that are not in files yet, by index."""

    segment: Segment
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    end: int = 0
    bytes: int = 0


class Collector:
    """Takes events for any index of one home. Threads: any number may `submit`. `close` when done."""

    def __init__(self, indexes: Indexes, *, max_pending: int = MAX_PENDING, interval: float = INTERVAL) -> None:
        self._indexes = indexes
        self._folder = indexes.folder / FOLDER
        self._max_pending = max_pending
        self._interval = interval
        self._changed = threading.Condition()
        self._queue: list[_Request] = []
        self._pending: list[_Batch] = []
        self._bytes = 0  # queued or not in files yet
        self._closing = False
        self._moving = threading.Lock()
        self._segment: Segment | None = None
        self._touched: dict[str, set[str]] = {}  # segment -> indexes that note it
        recover(indexes)
        self._writer = threading.Thread(target=self._write_loop, name="collector-write", daemon=True)
        self._mover = threading.Thread(target=self._move_loop, name="collector-move", daemon=True)
        self._writer.start()
        self._mover.start()

    @property
    def busy(self) -> bool:
        """Whether `submit` would refuse."""
        return self._bytes >= self._max_pending

    def submit(self, events: Sequence[Event]) -> "Future[None]":
        """Take events (index and fields; `_time`, `source`, `sourcetype` and `host` among them).

        The future is done when they are durable; it raises `StorageError` when they could not be written. Raises
        `Busy` when too much waits already, and after `close`.
        """
        frame = encode(events)
        request = _Request(events, frame)
        with self._changed:
            if self._closing:
                raise Busy("The event collector is shutting down.", remedy="Send the events again soon.", retry_after=5)
            if self._bytes and self._bytes + len(frame) > self._max_pending:
                raise Busy(
                    "The event collector is busy: more events wait than it may keep in memory.",
                    remedy="Send the events again soon, or raise max_collector_memory_mb.",
                    retry_after=1,
                )
            self._bytes += len(frame)
            self._queue.append(request)
            self._changed.notify_all()
        return request.done

    def flush(self) -> None:
        """Return when everything that was durable before the call is in files. Raises what moving raised."""
        self._move()

    def close(self) -> None:
        """Write and move what was taken, then stop. Events that cannot be moved stay in their segment."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join()
        self._mover.join()
        try:
            self._move()
        except LabdockError:
            log.exception("Events stay in the collector's log until the next start.")
        for batch in self._pending:
            if batch.segment is not self._segment:
                batch.segment.leave()
        if self._segment is not None:
            if self._pending:
                self._segment.leave()
            else:
                self._retire(self._segment)

    # The writing thread

    def _write_loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                group = self._take_group()
            self._write(group)

    def _take_group(self) -> list[_Request]:
        size, count = 0, 0
        for request in self._queue:
            if count and size + len(request.frame) > GROUP_BYTES:
                break
            size += len(request.frame)
            count += 1
        group, self._queue = self._queue[:count], self._queue[count:]
        return group

    def _write(self, group: list[_Request]) -> None:
        try:
            with storage_errors("the event collector's log", self._indexes.folder):
                if self._segment is None or self._segment.size > SEGMENT_BYTES:
                    self._segment = Segment(self._folder)
                segment = self._segment
                end = segment.append([r.frame for r in group])
        except LabdockError as error:
            self._segment = None  # never written again: the kernel may have dropped what it could not write
            with self._changed:
                self._bytes -= sum(len(r.frame) for r in group)
            for request in group:
                request.done.set_exception(error)
            return
        with self._changed:
            batch = self._pending[-1] if self._pending and self._pending[-1].segment is segment else None
            if batch is None:
                batch = _Batch(segment)
                self._pending.append(batch)
            for request in group:
                for index, event in request.events:
                    batch.events.setdefault(index, []).append(event)
                batch.bytes += len(request.frame)
            batch.end = end
            self._changed.notify_all()
        for request in group:
            request.done.set_result(None)

    # The moving thread

    def _move_loop(self) -> None:
        wait = self._interval
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, timeout=wait):
                    return
            try:
                self._move()
                wait = self._interval
            except Exception:
                # The events are safe in their segment; senders are refused when too many wait.
                log.exception("Moving collected events into indexes failed; it is tried again.")
                wait = _RETRY

    def _move(self) -> None:
        """Move all durable events into files."""
        with self._moving:
            while True:
                with self._changed:
                    if not self._pending:
                        break
                    batch = self._pending[0]
                    events, end, size = batch.events, batch.end, batch.bytes
                    batch.events, batch.bytes = {}, 0
                try:
                    self._store(batch.segment.id, events, end)
                except BaseException:
                    with self._changed:  # `_store` took out what it could store
                        for index, later in batch.events.items():
                            events.setdefault(index, []).extend(later)
                        batch.events, batch.bytes = events, batch.bytes + size
                    raise
                with self._changed:
                    self._bytes -= size
                    if not batch.events:
                        self._pending.remove(batch)
                        finished = batch.segment is not self._segment
                if not batch.events and finished:
                    self._retire(batch.segment)

    def _store(self, segment: str, events: dict[str, list[dict[str, Any]]], end: int) -> None:
        for index in list(events):
            with self._indexes.writer(index) as writer:
                store(writer, events[index], segment, end)
            self._touched.setdefault(segment, set()).add(index)
            del events[index]

    def _retire(self, segment: Segment) -> None:
        """All its events are in files: remove it, then what the indexes note of it."""
        segment.remove()
        for index in self._touched.pop(segment.id, set()):
            if self._indexes.exists(index):
                manifest = self._indexes.manifest(index)
                with manifest.lock():
                    manifest.forget(segments=[segment.id])


def store(writer: IndexWriter, events: Sequence[dict[str, Any]], segment: str, end: int) -> None:
    """Put events into files and note that the segment is applied up to `end`, in one commit."""
    for start in range(0, len(events), BATCH):
        writer.add(table_of(list(events[start : start + BATCH])))
    writer.commit(applied={segment: end})


def recover(indexes: Indexes) -> int:
    """Put the durable events of collectors that died into files; gives how many. Cheap when there are none."""
    recovered = 0
    for segment, path, lock in abandoned(indexes.folder / FOLDER):
        try:
            waiting: dict[str, list[dict[str, Any]]] = {}
            applied: dict[str, int] = {}
            end = 0
            for end, events in frames(path):
                for index, event in events:
                    if index not in applied:
                        exists = indexes.exists(index)
                        applied[index] = indexes.manifest(index).read().applied.get(segment, 0) if exists else 0
                    if end > applied[index]:
                        waiting.setdefault(index, []).append(event)
            for index, found in waiting.items():
                with indexes.writer(index) as writer:
                    store(writer, found, segment, end)
                recovered += len(found)
            path.unlink()
            for index in applied:
                manifest = indexes.manifest(index)
                with manifest.lock():
                    manifest.forget(segments=[segment])
        finally:
            os.close(lock)
    return recovered
