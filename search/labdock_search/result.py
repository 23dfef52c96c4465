"""What a search gives: fields, rows as Arrow batches, messages, progress."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from labdock.errors import Conflict, LimitExceeded
from labdock_search.database import Damaged, Database, Reader
from labdock_search.frame import Frame, ResultKind


@dataclass(frozen=True)
class FieldInfo:
    name: str
    type: Literal["number", "string", "multivalue"]


@dataclass(frozen=True)
class Message:
    level: Literal["info", "warning"]
    text: str


class Result:
    """One search under way. Reading `schema` or `batches()` runs it; `cancel()` stops it from any thread.

    Batches can be read once. After the last one `done` is true, and `messages` and `scanned` are complete.
    """

    def __init__(
        self, database: Database, finish: Callable[[], Frame], seconds: float | None, rows: int | None
    ) -> None:
        self._database = database
        self._finish = finish
        self._rows = rows
        self._frame: Frame | None = None
        self._reader: Reader | None = None
        self._seconds = seconds
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        self._messages: list[Message] = []
        self.done = False
        self.returned = 0
        if seconds is not None:
            self._timer = threading.Timer(seconds, self._out_of_time)
            self._timer.daemon = True
            self._timer.start()

    def note(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        if not any(m.text == text for m in self._messages):
            self._messages.append(Message(level, text))

    @property
    def messages(self) -> list[Message]:
        return list(self._messages)

    @property
    def kind(self) -> ResultKind:
        return self._prepared().kind

    @property
    def schema(self) -> pa.Schema:
        """The fields with their Arrow types."""
        self._prepared()
        assert self._reader is not None  # noqa: S101 - set by _prepared
        return self._reader.schema

    @property
    def fields(self) -> list[FieldInfo]:
        return [FieldInfo(f.name, _type_of(f.type)) for f in self.schema]

    @property
    def scanned(self) -> int:
        """Rows of files that the search reads."""
        return self._database.scanned

    @property
    def progress(self) -> float | None:
        return 1.0 if self.done else self._database.progress()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows. Raises what went wrong; a closed iterator stops the search."""
        self._prepared()
        reader, self._reader = self._reader, Reader(self.schema, iter(()))
        assert reader is not None  # noqa: S101
        left = self._rows
        try:
            for batch in reader:
                piece = batch if left is None or batch.num_rows <= left else batch.slice(0, left)
                self.returned += piece.num_rows
                yield piece
                left = None if left is None else left - piece.num_rows
                if left == 0:
                    self.note(f"Only the first {self._rows:,} rows are returned.", "warning")
                    break
        finally:
            reader.close()
            self.close()

    def table(self) -> pa.Table:
        """All rows at once."""
        schema = self.schema
        return pa.Table.from_batches(list(self.batches()), schema)

    def rows(self) -> list[dict[str, Any]]:
        """All rows as dicts."""
        found: list[dict[str, Any]] = self.table().to_pylist()
        return found

    def cancel(self) -> None:
        self._database.plan.request.cancel.set()
        self._database.stop(Conflict("The search was cancelled.", remedy="Run it again.", reason="cancelled"))

    def close(self) -> None:
        """End it and give back what it holds. Called by itself after the last batch."""
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
        self._database.close()

    def _out_of_time(self) -> None:
        self._database.plan.request.cancel.set()
        self._database.stop(
            LimitExceeded(
                f"The search ran longer than {self._seconds:g} s.",
                remedy="Narrow its time or raise the time limit.",
                limit="seconds",
                value=self._seconds,
                setting="max_search_time",
            )
        )

    def _prepared(self) -> Frame:
        """Run up to the last statement; a damaged file is left out and named, the rest is served."""
        with self._lock:
            for _ in range(20):
                if self._frame is not None:
                    return self._frame
                try:
                    frame = self._finish()
                    columns = [c.id for c in frame.fields.values()]
                    self._reader = self._first_batch(self._database.reader(frame, columns, final=True))
                    self._frame = frame
                except Damaged as error:
                    if error.lookup:
                        self.close()
                        raise
                    self._database.plan.forget(error.label)
                    self.note(f"{error.message} It was left out.", "warning")
                except BaseException:
                    self.close()
                    raise
            self.close()
            raise self._database.reason or Damaged("(several files)")

    @staticmethod
    def _first_batch(reader: Any) -> Reader:
        """Read ahead one batch, so that what fails at the start fails before anything was given out."""
        first = next(reader.batches, None)

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                if first is not None:
                    yield first
                yield from reader.batches
            finally:
                reader.close()

        return Reader(reader.schema, batches())


def _type_of(kind: pa.DataType) -> Literal["number", "string", "multivalue"]:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "multivalue"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "string"
