"""The plan of one search: named relations, each a SQL query over earlier ones, and where a frame's rows come from.

Neighbouring relational commands add relations; `text` renders those that a frame needs as one statement. Columns of
files are only read where something uses them, so a hidden order key costs nothing where nothing needs it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
from sqlglot import exp

from labdock.errors import LabdockError
from labdock_search import sql
from labdock_search.faults import Origin
from labdock_search.frame import Frame, Key
from labdock_search.kinds import Column, Kind, Value, read
from labdock_search.protocols import Caller, Clock, Environments, Indexes, Lookups, Models
from labdock_search.settings import Limits, Settings
from labdock_search.spares import Spares
from labdock_search.sql import E


@dataclass
class Host:
    """What the engine was given."""

    indexes: Indexes
    lookups: Lookups
    environments: Environments
    models: Models
    clock: Clock
    settings: Settings
    spares: Spares | None = None


@dataclass
class Request:
    """One search: on whose behalf, over which time, within which limits."""

    caller: Caller
    earliest: str = ""
    latest: str = ""
    timezone: str = "UTC"
    limits: Limits = field(default_factory=Limits)
    explain: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)


def column_of(item: pa.Field) -> str:
    """The field's column in files: its own name, unless another field has that name but for case (`protocols`)."""
    column: bytes = (item.metadata or {}).get(b"labdock.column") or item.name.encode()
    return column.decode()


@dataclass
class Files:
    """Parquet files read as one table; `labels` stand for them wherever users look."""

    paths: list[str]
    labels: list[str]
    union: bool
    rows: int
    skipped: list[str] = field(default_factory=list)
    lookup: bool = False

    def tree(self, *, shown: bool) -> E:
        listed = exp.Array(expressions=[sql.text(p) for p in (self.labels if shown else self.paths)])
        options = [exp.EQ(this=sql.name("union_by_name"), expression=sql.true())] if self.union else []
        return sql.call("read_parquet", listed, *options)


@dataclass
class Arrow:
    """An Arrow table, or a reader that can be read once."""

    data: pa.Table | pa.RecordBatchReader


@dataclass
class Relation:
    query: exp.Select
    uses: tuple[str, ...]
    scanned: bool = False  # its select list is cut down to the columns that are used


class Executor(Protocol):
    """Runs the statement of a frame (`labdock_search.database`)."""

    def reader(self, frame: Frame, columns: Sequence[str]) -> pa.RecordBatchReader: ...

    def rows(self, relation: str) -> list[dict[str, Any]]: ...


class Plan:
    def __init__(self, host: Host, request: Request, notice: Callable[[str], None]) -> None:
        self.host = host
        self.request = request
        self.notice = notice
        self.now = host.clock.now()
        self.timezone = request.timezone
        self.earliest: float | None = None
        self.latest: float | None = None
        self.executor: Executor | None = None
        self.origin: Origin | None = None
        self.relations: dict[str, Relation] = {}
        self.sources: dict[str, Files | Arrow] = {}
        self.python: set[str] = set()
        self.failure: LabdockError | None = None  # what went wrong inside a stream
        self.left_out: set[str] = set()  # labels of files that turned out to be damaged
        self.trail: list[tuple[str, str]] = []  # what happened step by step, for explain
        self._columns = 0

    @property
    def explaining(self) -> bool:
        return self.request.explain

    # -- building

    def new_id(self) -> str:
        self._columns += 1
        return f"c{self._columns}"

    def add(self, query: exp.Select, *uses: str, scanned: bool = False) -> str:
        """Name a query; `uses` are the relations that it reads."""
        relation = f"s{len(self.relations) + 1}"
        self.relations[relation] = Relation(query, uses, scanned)
        return relation

    def extend(self, frame: Frame, columns: Sequence[tuple[str, E]]) -> Frame:
        """The frame's relation with further columns; nothing visible changes."""
        if not columns:
            return frame
        query = sql.select(
            *sql.star(*[sql.alias(tree, id_) for id_, tree in columns]), source=sql.table(frame.relation)
        )
        return frame.with_(relation=self.add(query, frame.relation))

    def compute(self, frame: Frame, value: Value) -> tuple[Frame, Column]:
        """The frame with a value as a hidden column."""
        column = Column(self.new_id(), value.kind)
        return self.extend(frame, [(column.id, value.use())]), column

    def filter(self, frame: Frame, condition: E) -> Frame:
        query = sql.select(source=sql.table(frame.relation), where=condition)
        return frame.with_(relation=self.add(query, frame.relation))

    def keyed(self, frame: Frame) -> Frame:
        """The frame with its row order as keys, so that a window or a join can keep it."""
        if frame.order or not frame.natural:
            return frame
        id_ = self.new_id()
        numbered = self.extend(frame, [(id_, sql.over(sql.call("row_number")))])
        return numbered.with_(order=(Key(id_),), natural=True)

    def position(self, frame: Frame) -> tuple[Frame, Column]:
        """A column that counts rows in order, from 1."""
        frame = self.keyed(frame)
        id_ = self.new_id()
        window = sql.over(sql.call("row_number"), order=frame.order_trees())
        return self.extend(frame, [(id_, window)]), Column(id_, Kind.INT)

    def uses_python(self, function: str) -> None:
        """The statement calls one of the functions that DuckDB lacks."""
        self.python.add(function)

    # -- sources

    def scan_files(self, files: Files, schema: pa.Schema, extra: Sequence[tuple[str, Value]] = ()) -> Frame:
        """The frame of Parquet files: fields of `schema`, then computed ones; ordered as stored."""
        name = f"f{len(self.sources) + 1}"
        self.sources[name] = files
        fields: dict[str, Column] = {}
        trees: list[E] = []
        for item in schema:
            value = read(sql.foreign(column_of(item)), item.type)
            fields[item.name] = Column(self.new_id(), value.kind)
            trees.append(sql.alias(value.use(), fields[item.name].id))
        for field_name, value in extra:
            fields[field_name] = Column(self.new_id(), value.kind)
            trees.append(sql.alias(value.use(), fields[field_name].id))
        keys = (Key(self.new_id()), Key(self.new_id())) if len(files.paths) > 1 else (Key(self.new_id()),)
        if len(keys) == 2:
            trees.append(sql.alias(sql.foreign("file_index"), keys[0].id))
        trees.append(sql.alias(sql.foreign("file_row_number"), keys[-1].id))
        relation = self.add(sql.select(*trees, source=sql.table(name)), name, scanned=True)
        return Frame(relation, fields, keys, natural=True)

    def scan_arrow(self, data: pa.Table | pa.RecordBatchReader, kind: str = "statistics") -> Frame:
        """The frame of an Arrow table whose columns are named like fields, in its order."""
        name = f"a{len(self.sources) + 1}"
        ids = [self.new_id() for _ in data.schema.names]
        fields: dict[str, Column] = {}
        trees: list[E] = []
        for source, item in zip(ids, data.schema, strict=True):
            value = read(sql.column(source), item.type)
            fields[item.name] = Column(self.new_id(), value.kind)
            trees.append(sql.alias(value.use(), fields[item.name].id))
        self.sources[name] = Arrow(renamed(data, ids))
        relation = self.add(sql.select(*(trees or [sql.number(1)]), source=sql.table(name)), name, scanned=bool(trees))
        return Frame(relation, fields, natural=True, kind=kind)  # type: ignore[arg-type]

    def scan_stream(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], kind: str) -> Frame:
        """The frame of batches that are computed while they are read, once. What fails in them is kept: DuckDB
        would turn it into a text."""

        def kept() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except LabdockError as error:
                self.failure = error
                raise

        return self.scan_arrow(pa.RecordBatchReader.from_batches(schema, kept()), kind)

    def empty(self, fields: dict[str, Kind]) -> Frame:
        """A frame without rows."""
        types = {Kind.INT: "BIGINT", Kind.NUM: "DOUBLE", Kind.LIST: "VARCHAR[]"}
        columns = {name: Column(self.new_id(), kind) for name, kind in fields.items()}
        nothing = {c.id: sql.cast(sql.null(), types.get(c.kind, "VARCHAR")) for c in columns.values()}
        trees: list[E] = [sql.alias(tree, id_) for id_, tree in nothing.items()]
        query = sql.select(*trees or [sql.number(1)], where=sql.false())
        return Frame(self.add(query), columns, natural=True)

    def forget(self, label: str) -> None:
        """Begin again without a damaged file."""
        self.left_out.add(label)
        self.relations.clear()
        self.sources.clear()
        self.trail.clear()
        self.failure = None

    def select_ids(self, frame: Frame) -> list[str]:
        return [column.id for column in frame.fields.values()]


def renamed(data: pa.Table | pa.RecordBatchReader, names: Sequence[str]) -> pa.Table | pa.RecordBatchReader:
    """The same data under internal names."""
    if isinstance(data, pa.Table):
        return data.rename_columns(list(names))
    schema = pa.schema([pa.field(n, f.type) for n, f in zip(names, data.schema, strict=True)])
    batches = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in data)
    return pa.RecordBatchReader.from_batches(schema, batches)
