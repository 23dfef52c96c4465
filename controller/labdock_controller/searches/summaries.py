"""What a finished search's fields hold, over the whole result: how many values, which, from where to where."""

import math
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from labdock.names import not_found
from labdock_controller.searches.pages import inside, json_value

LONGEST_VALUE = 200  # characters of a value that a summary shows


def summarize(table: pa.Table, names: list[str] | None = None, top: int = 0) -> list[dict[str, Any]]:
    """For each field (all of them where none is named): `count` of values, `nulls`, `distinct`, `min`, `max`, `mean`.

    With `top`, that many of the most frequent values, with how often each occurs; a multivalue field counts each of
    its values. Raises `NotFound` with the nearest name.
    """
    wanted = table.column_names if names is None else names
    for name in wanted:
        if name not in table.column_names:
            raise not_found("field", name, table.column_names)
    if not wanted:
        return []
    ids = {name: f"c{i}" for i, name in enumerate(wanted)}
    narrow = table.select(wanted).rename_columns(list(ids.values()))
    with inside() as connection:
        connection.register("result", narrow)
        cursor = connection.execute(_facts(narrow.schema).sql("duckdb"))
        found = dict(zip([each[0] for each in cursor.description or []], cursor.fetchone() or (), strict=True))
        return [_summary(connection, table, name, column, found, top) for name, column in ids.items()]


def _facts(schema: pa.Schema) -> exp.Select:
    """One statement over all fields, so that the rows are read once."""
    parts: list[Any] = []
    for item in schema:
        column = exp.column(item.name)
        parts.append(exp.alias_(exp.Count(this=column), f"{item.name}_count"))
        parts.append(exp.alias_(exp.Count(this=exp.Distinct(expressions=[column.copy()])), f"{item.name}_distinct"))
        if pa.types.is_list(item.type) or pa.types.is_large_list(item.type):
            continue
        parts.append(exp.alias_(exp.Min(this=column.copy()), f"{item.name}_min"))
        parts.append(exp.alias_(exp.Max(this=column.copy()), f"{item.name}_max"))
        if is_number(item.type):
            parts.append(exp.alias_(exp.Avg(this=column.copy()), f"{item.name}_mean"))
    return exp.select(*parts).from_("result")


def _summary(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str, column: str, found: dict[str, Any], top: int
) -> dict[str, Any]:
    kind = table.schema.field(name).type
    several = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    shown: dict[str, Any] = {
        "name": name,
        "type": "multivalue" if several else "number" if is_number(kind) else "string",
        "count": found[f"{column}_count"],
        "nulls": table.num_rows - found[f"{column}_count"],
        "distinct": found[f"{column}_distinct"],
    }
    for fact in ("min", "max", "mean"):
        shown[fact] = _short(json_value(found.get(f"{column}_{fact}"), exact=True))
    if top:
        shown["top"] = _top(connection, column, top, several=several)
    return shown


def _top(connection: duckdb.DuckDBPyConnection, column: str, top: int, *, several: bool) -> list[dict[str, Any]]:
    value: Any = exp.func("unnest", exp.column(column)) if several else exp.column(column)
    values = exp.select(exp.alias_(value, "value")).from_("result").subquery("found")
    query = (
        exp.select("value", exp.alias_(exp.Count(this=exp.Star()), "count"))
        .from_(values)
        .where(exp.Not(this=exp.Is(this=exp.column("value"), expression=exp.Null())))
        .group_by("value")
        .order_by(exp.Ordered(this=exp.column("count"), desc=True), exp.Ordered(this=exp.column("value")))
        .limit(top)
    )
    rows = connection.execute(query.sql("duckdb")).fetchall()
    return [{"value": json_value(value, exact=True), "count": count} for value, count in rows]


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _short(value: Any) -> Any:
    return value[:LONGEST_VALUE] if isinstance(value, str) else value


def timeline(table: pa.Table, buckets: int) -> dict[str, Any]:
    """Rows over time: `span` in seconds, and `[start, count]` of each bucket, those without rows included."""
    if "_time" not in table.column_names or not is_number(table.schema.field("_time").type):
        return {"span": None, "buckets": []}
    with inside() as connection:
        connection.register("result", table.select(["_time"]).rename_columns(["c0"]))
        bounds = exp.select(exp.Min(this=exp.column("c0")), exp.Max(this=exp.column("c0"))).from_("result")
        first, last = connection.execute(bounds.sql("duckdb")).fetchone() or (None, None)
        if first is None or not math.isfinite(first) or not math.isfinite(last):
            return {"span": None, "buckets": []}
        span = span_for(last - first, buckets)
        counts = counted(connection, span)
    start, end = int(first // span), int(last // span)
    return {"span": span, "buckets": [[at * span, counts.get(at, 0)] for at in range(start, end + 1)]}


def counted(connection: duckdb.DuckDBPyConnection, span: int) -> dict[int, int]:
    """Rows by the number of their bucket."""
    number = exp.func("floor", exp.Div(this=exp.column("c0"), expression=exp.Literal.number(span), typed=False))
    query = (
        exp.select(exp.alias_(number, "at"), exp.alias_(exp.Count(this=exp.Star()), "count"))
        .from_("result")
        .where(exp.Not(this=exp.Is(this=exp.column("c0"), expression=exp.Null())))
        .group_by("at")
    )
    return {int(at): count for at, count in connection.execute(query.sql("duckdb")).fetchall()}


SPANS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


def span_for(seconds: float, buckets: int) -> int:
    """The smallest span that people think in which needs no more than `buckets` pieces."""
    wanted = seconds / max(buckets - 1, 1)
    fitting = next((span for span in SPANS if span >= wanted), None)
    return fitting or math.ceil(wanted / 86_400) * 86_400
