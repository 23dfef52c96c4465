"""Kinds of values, and how one becomes another. A kind is known before a search runs, so that no row is converted
that needs no conversion."""

import math
import re
from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from labdock_search import sql
from labdock_search.sql import E

NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class Kind(Enum):
    NULL = "null"
    BOOL = "boolean"  # of a condition; never of a field
    INT = "integer"
    NUM = "number"
    STR = "string"
    LIST = "multivalue"

    @property
    def numeric(self) -> bool:
        return self in {Kind.INT, Kind.NUM}


@dataclass(frozen=True, slots=True)
class Column:
    """A field's column: an internal id, since DuckDB's names are case-insensitive and fields' are not."""

    id: str
    kind: Kind


Constant = str | int | float | None


class Value:
    """An expression with its kind. `use()` gives its tree; each tree has one place, so a second use is a copy.

    `constant` is set for literals. `size` counts nodes and bounds what a hostile expression can grow to.
    """

    __slots__ = ("_taken", "_tree", "constant", "kind", "size")

    def __init__(self, tree: E, kind: Kind, constant: Constant = None, size: int = 1) -> None:
        self._tree = tree
        self._taken = False
        self.kind = kind
        self.constant = constant
        self.size = size

    def use(self) -> E:
        if self._taken:
            return self._tree.copy()
        self._taken = True
        return self._tree

    @property
    def simple(self) -> bool:
        """Cheap to repeat: a column or a literal."""
        return self.size <= 1


def null() -> Value:
    return Value(sql.null(), Kind.NULL)


def text(value: str) -> Value:
    return Value(sql.text(value), Kind.STR, value)


def number(value: float) -> Value:
    return Value(sql.number(value), Kind.INT if isinstance(value, int) else Kind.NUM, value)


def of_column(column: Column) -> Value:
    return Value(sql.column(column.id), column.kind)


def as_number(written: str) -> int | float | None:
    """The number a text stands for, or None. Words such as `nan` and `inf` are no numbers."""
    if len(written) > 400 or not NUMERIC.fullmatch(written):
        return None
    try:
        whole = int(written)
    except ValueError:
        found = float(written)
        return found if math.isfinite(found) else None
    return whole if abs(whole) < 2**63 else float(whole)


def shown_number(value: float) -> str:
    """A number as text: whole ones without a fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def to_number(value: Value) -> Value:
    """As a number, null where it is none."""
    if value.kind.numeric:
        return value
    if value.kind is Kind.NULL:
        return Value(sql.null(), Kind.NUM)
    if isinstance(value.constant, str):
        found = as_number(value.constant)
        return number(found) if found is not None else Value(sql.cast(sql.null(), "DOUBLE"), Kind.NUM)
    if value.kind is Kind.BOOL:
        return Value(sql.cast(value.use(), "BIGINT"), Kind.INT, size=value.size + 1)
    whole = to_string(value)
    # `nan` and `inf` are names of people and hosts far more often than numbers.
    check = sql.call("isfinite", sql.try_cast(whole.use(), "DOUBLE"))
    tree = sql.case([(check, sql.try_cast(whole.use(), "DOUBLE"))])
    return Value(tree, Kind.NUM, size=2 * whole.size + 4)


def to_string(value: Value) -> Value:
    """As text: whole numbers without a fraction, several values one a line."""
    if value.kind is Kind.STR:
        return value
    if value.kind is Kind.NULL:
        return Value(sql.cast(sql.null(), "VARCHAR"), Kind.STR)
    if isinstance(value.constant, int | float):
        return text(shown_number(value.constant))
    if value.kind is Kind.INT:
        return Value(sql.cast(value.use(), "VARCHAR"), Kind.STR, size=value.size + 1)
    if value.kind is Kind.BOOL:
        tree: E = sql.case([(value.use(), sql.text("True")), (sql.negate(value.use()), sql.text("False"))])
        return Value(tree, Kind.STR, size=2 * value.size + 3)
    if value.kind is Kind.LIST:
        return Value(sql.call("array_to_string", value.use(), sql.text("\n")), Kind.STR, size=value.size + 1)
    plain = sql.cast(value.use(), "VARCHAR")
    return Value(sql.call("regexp_replace", plain, sql.text(r"\.0$"), sql.text("")), Kind.STR, size=value.size + 3)


def to_list(value: Value) -> Value:
    """As several values; null stays null."""
    if value.kind is Kind.LIST:
        return value
    if value.kind is Kind.NULL:
        return Value(sql.cast(sql.null(), "VARCHAR[]"), Kind.LIST)
    whole = to_string(value)
    if whole.constant is not None:
        return Value(sql.call("list_value", whole.use()), Kind.LIST, size=2)
    tree = sql.case([(sql.not_null(whole.use()), sql.call("list_value", whole.use()))])
    return Value(tree, Kind.LIST, size=2 * whole.size + 3)


def convert(value: Value, kind: Kind) -> Value:
    if value.kind is kind:
        return value
    if kind is Kind.NUM and value.kind is Kind.INT:
        return Value(sql.cast(value.use(), "DOUBLE"), Kind.NUM, size=value.size + 1)
    if kind.numeric:
        return to_number(value)
    if kind is Kind.STR:
        return to_string(value)
    return to_list(value) if kind is Kind.LIST else value


def common(kinds: list[Kind]) -> Kind:
    """The kind that values of these kinds can share in one field."""
    found = {kind for kind in kinds if kind is not Kind.NULL}
    if not found:
        return Kind.NULL
    if len(found) == 1:
        only = found.pop()
        return Kind.STR if only is Kind.BOOL else only
    if Kind.LIST in found:
        return Kind.LIST
    return Kind.NUM if found <= {Kind.INT, Kind.NUM} else Kind.STR


def read(source: E, kind: pa.DataType) -> Value:
    """A column of a file or Arrow table as a value of ours. Most need no conversion."""
    types = pa.types
    if types.is_dictionary(kind):
        return read(source, kind.value_type)
    if types.is_uint64(kind) or types.is_decimal(kind):
        return Value(sql.cast(source, "DOUBLE"), Kind.NUM)
    if types.is_integer(kind):
        return Value(source, Kind.INT)
    if types.is_floating(kind):
        return Value(source, Kind.NUM)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Value(source, Kind.STR)
    if types.is_timestamp(kind):
        # A timestamp without a zone is UTC; with the session's zone set, a plain cast would read it as local.
        moment = source if kind.tz else sql.call("timezone", sql.text("UTC"), source)
        return Value(sql.call("epoch", moment), Kind.NUM)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        plain = types.is_string(kind.value_type) or types.is_large_string(kind.value_type)
        return Value(source if plain else sql.cast(source, "VARCHAR[]"), Kind.LIST)
    if types.is_nested(kind):
        return Value(sql.cast(sql.call("to_json", source), "VARCHAR"), Kind.STR)
    return Value(sql.cast(source, "VARCHAR"), Kind.STR)
