"""Events: numbered in the store, in the transaction of the change they tell of, and announced in this process.

A listener reads from the store what came after the number it saw last, so a reconnecting one misses nothing.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from labdock_controller.store import Store
from labdock_controller.store.tables import EventRow

KEPT = 5_000
PAGE = 500
HEARTBEAT = 15.0


@dataclass(frozen=True)
class Event:
    id: int
    time: float
    kind: str
    environment_id: str | None
    data: dict[str, Any]


class Events:
    """`record` inside a transaction, `announce` after it; `listen` from the event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self.closing = False

    def record(self, session: Session, kind: str, environment_id: str | None, data: dict[str, Any]) -> None:
        """Write an event in the caller's transaction."""
        values = {"time": time.time(), "kind": kind, "environment_id": environment_id, "data": data}
        session.connection().execute(insert(EventRow), values)

    @contextmanager
    def changing(self, kind: str) -> Iterator[Session]:
        """A transaction that changes records of a kind: open pages look again at what they may see.

        The event itself says nothing of what changed.
        """
        with self._store.write() as session:
            yield session
            self.record(session, kind, None, {"sharing": "global"})
        self.announce()

    def announce(self) -> None:
        """Wake the listeners; from any thread."""
        with self._lock:
            listeners = list(self._listeners.items())
        for wake, loop in listeners:
            with suppress(RuntimeError):  # its loop ended meanwhile
                loop.call_soon_threadsafe(wake.set)

    def close(self) -> None:
        """End every stream: the controller shuts down."""
        self.closing = True
        self.announce()

    def last(self) -> int:
        """The number of the newest event."""
        with self._store.read() as session:
            return session.scalar(select(func.max(EventRow.id))) or 0

    def after(self, number: int) -> list[Event]:
        """At most a page of events after `number`, in order."""
        with self._store.read() as session:
            rows = session.scalars(select(EventRow).where(EventRow.id > number).order_by(EventRow.id).limit(PAGE))
            return [Event(r.id, r.time, r.kind, r.environment_id, r.data) for r in rows]

    async def listen(self, after: int | None = None) -> AsyncIterator[Event | None]:
        """Events after number `after` (None: from now on) as they come; None each 15 s without one."""
        wake = asyncio.Event()
        with self._lock:
            self._listeners[wake] = asyncio.get_running_loop()
        try:
            seen = await asyncio.to_thread(self.last) if after is None else after
            while not self.closing:
                wake.clear()
                events = await asyncio.to_thread(self.after, seen)
                for event in events:
                    seen = event.id
                    yield event
                if not events and not await _set_within(wake, HEARTBEAT):
                    yield None
        finally:
            with self._lock:
                del self._listeners[wake]

    def tidy(self) -> None:
        """Keep the newest events only."""
        with self._store.write() as session:
            newest = session.scalar(select(func.max(EventRow.id))) or 0
            session.execute(delete(EventRow).where(EventRow.id <= newest - KEPT))


async def _set_within(wake: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(wake.wait(), seconds)
    except TimeoutError:
        return False
    return True
