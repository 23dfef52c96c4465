"""Functions over their arguments (over rows, see stats)."""

from labdock_search import kinds, sql
from labdock_search.functions.base import Arguments, function, numeric
from labdock_search.kinds import Kind, Value

FAMILY = "statistical"


def _extreme(args: Arguments, name: str) -> Value:
    """Text is greater than numbers, as in sorting."""
    values = [value for value in args.values() if value.kind is not Kind.NULL]
    if not values:
        return kinds.null()
    kind = kinds.common([value.kind for value in values])
    if all(isinstance(v.constant, str) and kinds.as_number(v.constant) is not None for v in values):
        kind = Kind.NUM
    parts = [kinds.convert(value, Kind.STR if kind is Kind.LIST else kind) for value in values]
    return Value(sql.call(name, *[p.use() for p in parts]), parts[0].kind, size=sum(p.size for p in parts) + 1)


@function("max", "max(value, …)", "The greatest.", FAMILY, 1, None, ("max(1, 3, 2)", 3))
def maximum(args: Arguments) -> Value:
    return _extreme(args, "greatest")


@function("min", "min(value, …)", "The least.", FAMILY, 1, None, ("min(1, 3, 2)", 1))
def minimum(args: Arguments) -> Value:
    return _extreme(args, "least")


def _folded(args: Arguments, name: str) -> Value:
    parts = [kinds.to_number(value) for value in args.values()]
    items = sql.call("list_value", *[sql.cast(part.use(), "DOUBLE") for part in parts])
    return numeric(sql.call(name, items), *parts)


@function("sum", "sum(value, …)", "The sum of the numbers.", FAMILY, 1, None, ("sum(1, 2, null())", 3.0))
def total(args: Arguments) -> Value:
    return _folded(args, "list_sum")


@function("avg", "avg(value, …)", "The mean of the numbers.", FAMILY, 1, None, ("avg(1, 2, null())", 1.5))
def mean(args: Arguments) -> Value:
    return _folded(args, "list_avg")


@function("random", "random()", "A whole number from 0 to 2147483647.", FAMILY, 0, -1, ("if(random() >= 0, 1, 0)", 1))
def random(args: Arguments) -> Value:
    scaled = sql.binary("*", sql.call("random"), sql.number(2147483648))
    return numeric(sql.cast(sql.call("floor", scaled), "BIGINT"), whole=True)
