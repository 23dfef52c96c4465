"""What the engine needs from its host: indexes, lookups, environments, models and a clock.

The engine runs without a controller: whoever embeds it passes objects of these shapes. Every method that is asked
on behalf of somebody takes a `Caller` and answers only what that caller may read; the engine decides no rights.
Names that the caller may not see do not exist for him: the same `NotFound` either way.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from labdock.names import ModelRef
from labdock.wire import FrameOptions

if TYPE_CHECKING:  # hosts name these shapes when they start, long before the first table
    import pyarrow as pa


@dataclass(frozen=True)
class Caller:
    """On whose behalf, and from which app, a search runs.

    `capabilities` are what remains of the user's after the restriction of the token that asked; None: nothing is
    taken away. They can only narrow what the user may at that moment, never widen it.
    """

    user: str
    app: str = "search"
    capabilities: frozenset[str] | None = None


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of an index, with what is known of it without opening it.

    `earliest` and `latest` bound its `_time` (both inclusive, epoch seconds; None: unknown, never pruned by time).
    `values` maps a field to all the distinct values it has in this file; fields with many values, or nulls, are
    left out. Usual ones: `sourcetype`, `source`, `host`. The engine prunes files by both.
    `label` names the file to users and in `explain`; it is no path (`botsv3/2018-08-20/0003`).
    """

    path: str
    rows: int
    label: str
    earliest: float | None = None
    latest: float | None = None
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    schema: "pa.Schema | None" = None  # its own; None: the engine reads it from the file when it needs it


@dataclass(frozen=True)
class IndexData:
    """All files of an index and the union of their schemas by name, in the order in which fields were first seen.

    `_time` is a float64 of epoch seconds in every file. A field that has different types in different files has
    the type of `schema` in the union; DuckDB's `union_by_name` converts (a string wins over a number).
    Field names are case-sensitive and DuckDB's are not: a field whose column in the files has another name, because
    an earlier field differs from it in case only, names it in its schema field's metadata under `labdock.column`.
    Multivalue fields are lists of strings. `problems` name files that are damaged and therefore left out.
    Files must stay readable while a search may still be reading them: replaced ones are kept for an hour.
    """

    name: str
    files: Sequence[DataFile]
    schema: "pa.Schema"
    problems: Sequence[str] = ()


class Indexes(Protocol):
    def names(self, caller: Caller) -> Sequence[str]:
        """The indexes that the caller may read."""
        ...

    def default_names(self, caller: Caller) -> Sequence[str]:
        """Those searched when a search names none; a subset of `names`."""
        ...

    def open(self, name: str, caller: Caller) -> IndexData:
        """One index by its exact name. Cheap (cached): it is called at every search. Raises `NotFound`."""
        ...


@dataclass(frozen=True)
class LookupTable:
    """A lookup as Parquet that the engine may read, or as an Arrow table.

    Conversion from CSV is lossless: a column is a number only if every value keeps its text (`007`, `1e3` and
    numbers beyond 2^53 stay strings); an empty cell is null. A `path` stays readable for an hour after the lookup
    was replaced, so that a search that already resolved it never fails.
    """

    name: str
    schema: "pa.Schema"
    rows: int
    path: str | None = None
    table: "pa.Table | None" = None


class Lookups(Protocol):
    def names(self, caller: Caller) -> Sequence[str]:
        """The lookups that the caller sees from his app: his own, the app's, the global ones."""
        ...

    def open(self, name: str, caller: Caller) -> LookupTable:
        """The lookup of that name, with or without `.csv`; the caller's own first. Raises `NotFound`."""
        ...

    def write(self, name: str, batches: "pa.RecordBatchReader", caller: Caller, *, append: bool) -> int:
        """Replace or extend the caller's lookup atomically; gives the number of rows written.

        With `append`, columns are matched by name; a column that the lookup lacks is added. Raises `Forbidden`.
        """
        ...


@dataclass(frozen=True)
class Feature:
    """An input of a model: `kind` is what the search must send."""

    name: str
    kind: Literal["number", "string", "any"] = "number"


@dataclass(frozen=True)
class ModelInfo:
    """A model that the caller may use. `outputs` are the columns that applying an ONNX model gives, by type."""

    name: str
    kind: Literal["module", "onnx"]
    owner: str = ""
    app: str = ""
    sharing: str = "user"
    features: Sequence[Feature] = ()
    target: str = ""
    version: int = 1
    created: float = 0.0
    environment: str = ""
    module: str = ""
    outputs: "pa.Schema | None" = None  # names as the model gives them; `botnet` becomes `predicted(botnet)`
    id: str = ""  # the host's own key
    pinned: int = 0  # the version that the reference or a rollback asks for; 0: the newest of a module


class Models(Protocol):
    def list(self, caller: Caller) -> Sequence[ModelInfo]:
        """Every model that the caller sees, modules' and ONNX."""
        ...

    def resolve(self, ref: ModelRef, caller: Caller) -> ModelInfo:
        """The caller's own before shared ones; only shared ones with `ref.shared`. Raises `NotFound`."""
        ...

    def apply_onnx(
        self, model: ModelInfo, batches: "Iterator[pa.RecordBatch]", cancel: threading.Event
    ) -> "Iterator[pa.RecordBatch]":
        """One batch of predictions (schema `model.outputs`) for each batch of features.

        The engine sends the columns of `model.features` in their order: float64 for `number`, string for `string`,
        rows without nulls only. Batches may be empty.
        """
        ...

    def delete(self, ref: ModelRef, caller: Caller) -> None:
        """Delete a model with all its versions. Raises `NotFound`, `Forbidden`."""
        ...


@dataclass(frozen=True)
class Staged:
    rows: int
    files: Sequence[str]
    notices: Sequence[str] = ()


@dataclass(frozen=True)
class Predicted:
    """A module's answer: as many rows as were sent, columns as the module named them (no prefix)."""

    table: "pa.Table"
    info: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()


@dataclass(frozen=True)
class Job:
    """What goes with a frame: who asks, in which environment ("" is the host's default), and when to give up."""

    caller: Caller
    environment: str = ""
    cancel: threading.Event = field(default_factory=threading.Event)
    shared: bool = False  # `into app:m`: the model is shared with the app


class Environments(Protocol):
    """Environments that run modules. A stopped one is started on demand, with a notice.

    `options.features` name the columns that the module sees, in order; `frame` holds them and the target. `_time`
    is epoch seconds. Errors are those of `labdock.errors` (`ModuleError`, `LaunchError`, `NotFound`, …).
    """

    def stage(self, frame: "pa.Table", options: FrameOptions, job: Job) -> Staged: ...

    def fit(self, frame: "pa.Table", options: FrameOptions, job: Job) -> Predicted: ...

    def apply(self, frame: "pa.Table", options: FrameOptions, job: Job) -> Predicted: ...

    def summary(self, model: str, job: Job) -> Mapping[str, Any]: ...


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds."""
        ...
