"""The audit log: who did what, when, from where, and how it ended. One row for every call that changes something."""

import queue
import threading
import time
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy import insert, select

from labdock.errors import LabdockError
from labdock_controller.store import Store
from labdock_controller.store.tables import AuditRow

log = structlog.get_logger("labdock.audit")
GATHER = 0.25
BATCH = 1000


@dataclass(frozen=True)
class Entry:
    user: str
    via: str
    credential_id: str
    action: str  # method and route
    object: str  # the path asked for
    status: int
    request_id: str
    address: str
    time: float = field(default_factory=time.time)


class Audit:
    """`write` before the answer leaves; `write_later` where a frame's milliseconds count. `close` it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="audit", daemon=True)
        self._thread.start()

    def write(self, *entries: Entry) -> None:
        with self._store.write() as session:
            session.execute(insert(AuditRow), [_row(entry) for entry in entries])

    def write_later(self, entry: Entry) -> None:
        """Written within moments, together with what else comes; lost if the process is killed before."""
        self._waiting.put(entry)

    def newest(
        self, count: int, user: str | None = None, before: int | None = None, action: str = "", failed: bool = False
    ) -> list[dict[str, Any]]:
        """The newest entries first; `before` an id for the next page.

        `action` is a part of the method and route or of the path; `failed`: only what was refused or went wrong.
        """
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(count)
        if user is not None:
            query = query.where(AuditRow.user == user)
        if action:
            wanted = f"%{_like(action)}%"
            query = query.where(AuditRow.action.ilike(wanted, escape="\\") | AuditRow.object.ilike(wanted, escape="\\"))
        if failed:
            query = query.where(AuditRow.status >= HTTPStatus.BAD_REQUEST)
        if before is not None:
            query = query.where(AuditRow.id < before)
        with self._store.read() as session:
            return [
                {column.name: getattr(row, column.name) for column in AuditRow.__table__.columns}
                for row in session.scalars(query)
            ]

    def close(self) -> None:
        """Write what waits."""
        self._waiting.put(None)
        self._thread.join(10)

    def _drain(self) -> None:
        while (entry := self._waiting.get()) is not None:
            entries, closing = self._gather(entry)
            try:
                self.write(*entries)
            except LabdockError as error:
                # Not lost silently: the log has what the table has not.
                for one in entries:
                    log.error("not in the audit table", reason=error.message, **_row(one))
            if closing:
                return

    def _gather(self, first: Entry) -> tuple[list[Entry], bool]:
        """What comes within `GATHER` seconds of `first`, and whether that is all there will be.

        A transaction for each frame took the interpreter from the door: more than the frame's own passage.
        """
        entries, end = [first], time.monotonic() + GATHER
        while len(entries) < BATCH:
            try:
                more = self._waiting.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if more is None:
                return entries, True
            entries.append(more)
        return entries, False


def _like(text: str) -> str:
    """`text` as itself inside a LIKE pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _row(entry: Entry) -> dict[str, Any]:
    row = asdict(entry)
    row["object"] = entry.object[:255]
    row["action"] = entry.action[:128]
    return row
