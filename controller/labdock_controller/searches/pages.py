"""Pages of a finished search: sorted and filtered over the whole result in the engine, never in a browser.

A result is mapped once and its order is found once: the next page of the same order costs its own rows only.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
from sqlglot import exp

from labdock.errors import InvalidOptions
from labdock.names import not_found

OPERATORS: dict[str, type[exp.Binary]] = {
    "=": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}
CONTAINS = "contains"
MOST = 10_000
KEPT_RESULTS = 32  # mapped, so they take addresses rather than memory
KEPT_POSITIONS = 20_000_000  # of all kept orders together, 4 bytes each
LARGEST_EXACT = 2**53  # JavaScript's numbers are doubles
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Filter:
    """`field operator value`; `contains` looks for text, case aside."""

    field: str
    operator: str
    value: str


def filter_of(text: str) -> Filter:
    """`field operator value`; a field's name may hold spaces. Raises `InvalidOptions`."""
    for operator in (*sorted(OPERATORS, key=len, reverse=True), CONTAINS):
        name, found, value = text.partition(f" {operator} ")
        if found:
            return Filter(name, operator, value)
    raise InvalidOptions(f"{text!r} is no filter.", remedy="Write `field operator value`, such as `count > 5`.")


@dataclass(frozen=True)
class Page:
    """`rows` are those of the page; `matching` is how many the filters leave."""

    table: pa.Table
    matching: int


def read(path: Path) -> pa.Table:
    """The whole result, mapped, not copied."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        return reader.read_all()


class Kept(Generic[K, V]):
    """The things used last, as many as weigh no more than `capacity`; the newest one always stays.

    Safe for threads; what is missing may be made twice at once.
    """

    def __init__(self, capacity: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._capacity, self._weigh = capacity, weigh
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: K, make: Callable[[], V]) -> V:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and sum(map(self._weigh, self._kept.values())) > self._capacity:
                self._kept.popitem(last=False)
        return made


class MappedResult:
    """A finished search's rows, and where each batch of them begins."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.batches = table.to_batches()
        self.starts = np.cumsum([0, *(batch.num_rows for batch in self.batches)])

    def take(self, positions: "np.ndarray[Any, Any]") -> pa.Table:
        """The rows at these positions, in this order. Costs what these rows cost, however many there are."""
        if not len(positions):
            return self.table.slice(0, 0)
        of_batch = np.searchsorted(self.starts, positions, side="right") - 1
        grouped = np.argsort(of_batch, kind="stable")
        pieces = [
            self.batches[number].take(pa.array(positions[of_batch == number] - self.starts[number]))
            for number in np.unique(of_batch)
        ]
        back = np.empty(len(positions), dtype=np.int64)
        back[grouped] = np.arange(len(positions))
        return pa.Table.from_batches(pieces, self.table.schema).combine_chunks().take(pa.array(back))


class Pages:
    """Pages of results that no longer change, by the path of their file."""

    def __init__(self) -> None:
        self._results: Kept[Path, MappedResult] = Kept(KEPT_RESULTS)
        self._orders: Kept[tuple[Any, ...], np.ndarray[Any, Any]] = Kept(KEPT_POSITIONS, len)

    def result(self, path: Path) -> MappedResult:
        return self._results.of(path, lambda: MappedResult(read(path)))

    def page(self, path: Path, offset: int, count: int, sort: list[str], filters: list[Filter]) -> Page:
        """Rows `offset` to `offset + count`. `sort` names fields, `-f` descending; nulls are last."""
        found = self.result(path)
        if not sort and not filters:
            return Page(found.table.slice(offset, min(count, MOST)), found.table.num_rows)
        key = (path, *sort, *filters)
        positions = self._orders.of(key, lambda: order(found.table, sort, filters))
        return Page(found.take(positions[offset : offset + min(count, MOST)].astype(np.int64)), len(positions))


KEPT = Pages()


def page(table: pa.Table, offset: int, count: int, sort: list[str], filters: list[Filter]) -> Page:
    """A page of a table that no file holds; nothing of it is kept."""
    if not sort and not filters:
        return Page(table.slice(offset, min(count, MOST)), table.num_rows)
    positions = order(table, sort, filters)
    return Page(
        MappedResult(table).take(positions[offset : offset + min(count, MOST)].astype(np.int64)), len(positions)
    )


def order(table: pa.Table, sort: list[str], filters: list[Filter]) -> "np.ndarray[Any, Any]":
    """Positions of the rows that the filters leave, sorted; equal ones stay as they were."""
    # Positions instead of names: DuckDB takes `A` and `a` for one column.
    ids = {name: f"c{i}" for i, name in enumerate(table.column_names)}
    query = exp.select("at").from_("result")
    for condition in filters:
        query = query.where(_condition(condition, table, ids))
    for key in sort:
        name = key.removeprefix("-")
        column = exp.column(_id(name, ids))
        query = query.order_by(exp.Ordered(this=column, desc=key.startswith("-"), nulls_first=False))
    query = query.order_by(exp.column("at"))
    used = list(dict.fromkeys([key.removeprefix("-") for key in sort] + [each.field for each in filters]))
    at = pa.array(np.arange(table.num_rows, dtype=np.uint32))
    narrow = table.select(used).rename_columns([ids[name] for name in used]).append_column("at", at)
    with inside() as connection:
        connection.register("result", narrow)
        return np.asarray(connection.execute(query.sql("duckdb")).fetchnumpy()["at"])


def inside() -> duckdb.DuckDBPyConnection:
    """A database that reaches nothing but what is registered in it."""
    return duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": 2})


def _id(name: str, ids: dict[str, str]) -> str:
    if name not in ids:
        raise not_found("field", name, ids)
    return ids[name]


def _condition(condition: Filter, table: pa.Table, ids: dict[str, str]) -> Any:
    column: Any = exp.column(_id(condition.field, ids))
    if condition.operator == CONTAINS:
        needle = exp.Literal.string(condition.value.lower())
        text = exp.Lower(this=exp.cast(column, "VARCHAR"))
        return exp.func("contains", text, needle)
    if condition.operator not in OPERATORS:
        raise InvalidOptions(
            f"{condition.operator!r} is no operator.", remedy=f"There is: {', '.join([*OPERATORS, CONTAINS])}."
        )
    kind = table.schema.field(condition.field).type
    value: Any = exp.Literal.string(condition.value)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        try:
            value = exp.cast(exp.Literal.number(repr(float(condition.value))), "DOUBLE")
        except ValueError:
            raise InvalidOptions(
                f"{condition.value!r} is no number, and {condition.field!r} holds numbers.", remedy="Compare numbers."
            ) from None
    else:
        column = exp.cast(column, "VARCHAR")
    return OPERATORS[condition.operator](this=column, expression=value)


def rows(table: pa.Table, *, exact: bool = False) -> list[dict[str, Any]]:
    """A page as JSON values; NaN and infinities are texts, times ISO 8601.

    With `exact` whole numbers that a browser would round (beyond 2^53) are texts too.
    """
    found: list[dict[str, Any]] = table.to_pylist()
    return [{key: json_value(value, exact=exact) for key, value in row.items()} for row in found]


def json_value(value: Any, *, exact: bool = False) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if exact and isinstance(value, int) and abs(value) > LARGEST_EXACT:
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [json_value(item, exact=exact) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
