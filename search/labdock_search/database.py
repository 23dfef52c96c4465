"""DuckDB for one statement: its own database, locked down to exactly the files that the statement reads.

External access is off but for those files, extensions cannot be loaded, the configuration is locked, memory is
bounded and spills to a folder. Whatever is in a search's text, there is nothing else to reach.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from labdock.errors import LabdockError, LimitExceeded, SearchError
from labdock_search import sql, statement
from labdock_search.frame import Frame
from labdock_search.plan import Files, Plan
from labdock_search.pythonfunctions import register
from labdock_search.settings import Settings
from labdock_search.spares import Spares, fresh

LONG = 40_000  # characters of a statement
INTERRUPT_EVERY = 0.05
INTERNAL = re.compile(r"\b[csaf]\d+\b")
PATH = re.compile(r"""["']?/[^\s"']+["']?""")


class Database:
    """Runs the statements of one search. `interrupt` stops whatever runs, from any thread."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.connections: list[duckdb.DuckDBPyConnection] = []
        self.lock = threading.Lock()
        self.scanned = 0
        self.reason: LabdockError | None = None  # why the search was stopped

    def reader(self, frame: Frame, columns: Sequence[str], *, final: bool = False) -> pa.RecordBatchReader:
        """The frame's rows in order, as record batches named like its fields. Before the `final` statement, streams
        that can be read only once are kept, since later statements may need them again."""
        self.check()
        self._keep_streams(frame.relation, final=final)
        text = statement.text(self.plan, frame, columns)
        files = statement.files_of(self.plan, frame.relation)
        connection = self._open(frame.relation, files, len(text))
        names = list(frame.fields)
        try:
            found = connection.sql(text).to_arrow_reader(self.plan.host.settings.batch_rows)
        except (duckdb.Error, OSError) as error:
            self._close(connection)
            raise self.translated(error, files) from None
        return self._guarded(renamed_schema(found.schema, names), found, connection, files)

    def rows(self, relation: str) -> list[dict[str, Any]]:
        """All rows of a small relation, by column."""
        self.check()
        self._keep_streams(relation, final=False)
        files = statement.files_of(self.plan, relation)
        query = statement.build(self.plan, Frame(relation, {}, natural=True), ["placeholder"])
        query.set("expressions", [exp.Star()])
        text = sql.render(query)
        connection = self._open(relation, files, len(text))
        try:
            found: list[dict[str, Any]] = connection.sql(text).to_arrow_table().to_pylist()
            return found
        except (duckdb.Error, OSError) as error:
            raise self.translated(error, files) from None
        finally:
            self._close(connection)

    def _keep_streams(self, relation: str, *, final: bool) -> None:
        names = statement.needed(self.plan, relation)
        uses = Counter(use for n in names if n in self.plan.relations for use in self.plan.relations[n].uses)
        once = all(count == 1 for name, count in uses.items() if not isinstance(self.plan.sources.get(name), Files))
        for source in statement.arrows_of(self.plan, relation).values():
            if isinstance(source.data, pa.RecordBatchReader) and not (final and once):
                try:
                    source.data = source.data.read_all()
                except (OSError, pa.ArrowException) as error:
                    raise self.translated(error, []) from None

    def _open(self, relation: str, files: Sequence[Files], length: int) -> duckdb.DuckDBPyConnection:
        paths = [path for f in files for path in f.paths]
        self.scanned += sum(f.rows for f in files)
        plan = self.plan
        connection = locked(
            plan.host.settings, paths, plan.timezone, plan.python, long=length > LONG, spares=plan.host.spares
        )
        for name, source in statement.arrows_of(self.plan, relation).items():
            connection.register(name, source.data)
        with self.lock:
            self.connections.append(connection)
        if self.reason is not None:  # stopped meanwhile
            self._close(connection)
            raise self.reason
        return connection

    def _close(self, connection: duckdb.DuckDBPyConnection) -> None:
        with self.lock:
            if connection in self.connections:
                self.connections.remove(connection)
        connection.close()

    def _guarded(
        self, schema: pa.Schema, found: pa.RecordBatchReader, connection: Any, files: Sequence[Files]
    ) -> pa.RecordBatchReader:
        def batches() -> Iterator[pa.RecordBatch]:
            try:
                while True:
                    self.check()
                    try:
                        batch = found.read_next_batch()
                    except StopIteration:
                        return
                    yield pa.RecordBatch.from_arrays(batch.columns[: len(schema)], schema=schema)
            except (duckdb.Error, OSError, pa.ArrowException) as error:
                raise self.translated(error, files) from None
            finally:
                found.close()
                self._close(connection)

        return Reader(schema, batches())

    def check(self) -> None:
        if self.reason is not None:
            raise self.reason

    def stop(self, reason: LabdockError) -> None:
        """Interrupt; what runs raises `reason`."""
        if self.reason is None:
            self.reason = reason
        if self._interrupt():
            # DuckDB forgets an interrupt that comes just before a statement begins: say it until all have ended.
            threading.Thread(target=self._insist, name="interrupt", daemon=True).start()

    def _insist(self) -> None:
        while self._interrupt():
            time.sleep(INTERRUPT_EVERY)

    def _interrupt(self) -> bool:
        """Interrupt what runs; False where nothing does."""
        with self.lock:
            for connection in self.connections:
                connection.interrupt()
            return bool(self.connections)

    def progress(self) -> float | None:
        """The share of the statement that is done, or None where DuckDB cannot tell."""
        with self.lock:
            found = [c.query_progress() for c in self.connections[-1:]]
        return found[0] / 100 if found and found[0] >= 0 else None

    def close(self) -> None:
        with self.lock:
            open_, self.connections = self.connections, []
        for connection in open_:
            connection.close()

    def translated(self, error: Exception, files: Sequence[Files]) -> LabdockError:
        """DuckDB's errors in our words, without paths and internal names."""
        if self.reason is not None:
            return self.reason
        if self.plan.failure is not None:
            return self.plan.failure
        text = str(error)
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in text:
            limit = self.plan.host.settings.memory_mb
            return LimitExceeded(
                f"The search needs more than its {limit} MB of memory, and more than the spill folder takes.",
                remedy="Narrow the time or the fields, or raise memory_mb.",
                limit="memory_mb",
                value=limit,
                setting="memory_mb",
            )
        for group in files:
            for path, label in zip(group.paths, group.labels, strict=True):
                if path in text:
                    return Damaged(label, lookup=group.lookup)
        if "expression depth" in text:
            return too_deep()
        if type(error) is duckdb.Error:  # what its Parquet reader says of broken pages, without the file's name
            damaged = next((found for group in files for found in broken(group)), None)
            if damaged is not None:
                return damaged
        plain = PATH.sub("a file", INTERNAL.sub("a field", text)).splitlines()[0][:300]
        return SearchError(
            f"The search failed while it ran: {plain}",
            remedy="If the search looks right, report this.",
            position=0,
            length=0,
            command="",
        )


def too_deep() -> SearchError:
    return SearchError(
        "The search is nested too deeply.",
        remedy="Compute parts of it with eval first, in several commands.",
        position=0,
        length=0,
        command="",
    )


def broken(group: Files) -> "Iterator[Damaged]":
    """The files that cannot be read whole. Reads them all, with their checksums: for when a search has failed."""
    for path, label in zip(group.paths, group.labels, strict=True):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches():
                    batch.validate()
        except (OSError, pa.ArrowException, ValueError):
            yield Damaged(label, lookup=group.lookup)


class Damaged(SearchError):
    """A file among others cannot be read."""

    def __init__(self, label: str, *, lookup: bool = False, **details: Any) -> None:
        self.lookup = lookup
        super().__init__(
            f"The file {label} is damaged or gone.",
            remedy="Restore it from a backup, or ingest its events again.",
            **{"label": label, "position": 0, "length": 0, "command": "", **details},
        )
        self.label = label


class Reader:
    """Record batches with a schema; like `pyarrow.RecordBatchReader`, but errors pass through it unchanged."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self.batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.batches

    def read_all(self) -> pa.Table:
        return pa.Table.from_batches(list(self.batches), self.schema)

    def close(self) -> None:
        close: Callable[[], None] | None = getattr(self.batches, "close", None)
        if close:
            close()


def renamed_schema(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """The columns' types under the fields' names."""
    return pa.schema([pa.field(name, item.type) for name, item in zip(names, schema, strict=False)])


def locked(
    settings: Settings,
    paths: Sequence[str],
    timezone: str,
    python: set[str],
    *,
    long: bool = False,
    spares: Spares | None = None,
) -> duckdb.DuckDBPyConnection:
    """A database that can reach `paths` and nothing else. For `long` statements without DuckDB's rewriter."""
    connection = spares.take() if spares is not None else fresh(settings)
    register(connection, python)
    options: list[tuple[str, Any]] = [
        ("enable_progress_bar_print", False),
        ("enable_progress_bar", True),
        ("TimeZone", timezone),
        # The rewriter takes cubic time: minutes for a thousand conditions that it cannot simplify.
        ("disabled_optimizers", "expression_rewriter" if long else ""),
        ("allow_community_extensions", False),
        ("allowed_paths", list(paths)),
        ("enable_external_access", False),
        ("lock_configuration", True),
    ]
    connection.execute("; ".join(sql.render(_setting(name, value)) for name, value in options))
    return connection


def _setting(name: str, value: Any) -> sql.E:
    """`SET name = value`, its value quoted by sqlglot."""
    if isinstance(value, bool):
        tree: sql.E = exp.Boolean(this=value)
    elif isinstance(value, list):
        tree = exp.Array(expressions=[sql.text(v) for v in value])
    else:
        tree = sql.text(value)
    assignment = exp.EQ(this=sql.name(name), expression=tree)
    return exp.Set(expressions=[exp.SetItem(this=assignment)])
