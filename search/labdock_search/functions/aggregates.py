"""Functions of stats and its relatives. One builder serves groups, windows over all rows and running windows: it asks
a `Gather` for each SQL aggregate."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from labdock_search import kinds, sql
from labdock_search.faults import Span, fault, unknown
from labdock_search.kinds import Kind, Value
from labdock_search.sql import E

LIST_LIMIT = 100
PERCENTILE = re.compile(r"(exactperc|upperperc|perc|p)(\d{1,3}(?:\.\d+)?)")


class Gather(Protocol):
    """How an SQL aggregate is written here. `ordered` asks for the rows' order, `where` leaves rows out."""

    time: Value | None

    def __call__(
        self, name: str, *arguments: E, distinct: bool = False, ordered: bool = False, where: E | None = None
    ) -> E: ...


Builder = Callable[[Value, Gather], Value]


@dataclass(frozen=True)
class Aggregate:
    name: str
    aliases: tuple[str, ...]
    summary: str
    build: Builder
    needs_argument: bool = True


AGGREGATES: dict[str, Aggregate] = {}


def find(name: str, span: Span) -> Aggregate:
    """The function of that name or alias; `perc95`, `p99` and the like. Raises `SearchError`."""
    found = AGGREGATES.get(name) or AGGREGATES.get(name.lower())
    if found:
        return found
    match = PERCENTILE.fullmatch(name.lower())
    if match:
        share = float(match.group(2)) / 100
        if share > 1:
            raise fault("A percentile is at most 100", span)
        return Aggregate(name, (), "", lambda value, gather: _quantile(value, gather, share))
    raise unknown("function", name, AGGREGATES, span)


def aggregate(name: str, summary: str, *aliases: str, needs_argument: bool = True) -> Callable[[Builder], Builder]:
    def register(build: Builder) -> Builder:
        found = Aggregate(name, aliases, summary, build, needs_argument)
        for key in (name, *aliases):
            AGGREGATES[key] = found
        return build

    return register


def _numbers(value: Value) -> Value:
    return kinds.to_number(value)


def _plain(value: Value) -> Value:
    """One value a row: several are one text."""
    return kinds.to_string(value) if value.kind is Kind.LIST else value


def _number_list(value: Value) -> E:
    """The numbers among several values."""
    number = sql.try_cast(sql.column("item"), "DOUBLE")
    return sql.call("list_transform", value.use(), sql.each("item", number))


def _flat(value: Value, gather: Gather, *, ordered: bool) -> E:
    """All values of all rows as one list."""
    text = kinds.to_list(value) if value.kind is Kind.LIST else kinds.to_string(value)
    found = gather("list", text.use(), ordered=ordered, where=sql.not_null(text.use()))
    return sql.call("flatten", found) if value.kind is Kind.LIST else found


@aggregate("count", "How many events, or how many values of a field.", "c", needs_argument=False)
def count(value: Value, gather: Gather) -> Value:
    if value.kind is Kind.LIST:
        total = gather("sum", sql.call("len", value.use()))
        return Value(sql.cast(sql.call("coalesce", total, sql.number(0)), "BIGINT"), Kind.INT)
    return Value(gather("count", value.use()), Kind.INT)


@aggregate("dc", "How many distinct values.", "distinct_count")
def distinct_count(value: Value, gather: Gather) -> Value:
    if value.kind is Kind.LIST:
        whole = sql.call("list_distinct", _flat(value, gather, ordered=False))
        return Value(sql.call("coalesce", sql.call("len", whole), sql.number(0)), Kind.INT)
    return Value(gather("count", value.use(), distinct=True), Kind.INT)


@aggregate("estdc", "How many distinct values, about.")
def estimated_count(value: Value, gather: Gather) -> Value:
    return Value(gather("approx_count_distinct", kinds.to_string(value).use()), Kind.INT)


@aggregate("sum", "The sum of the numbers.")
def total(value: Value, gather: Gather) -> Value:
    if value.kind is Kind.LIST:
        return Value(gather("sum", sql.call("list_sum", _number_list(value))), Kind.NUM)
    number = _numbers(value)
    tree = gather("sum", number.use())
    # The sum of 64-bit numbers is wider in DuckDB; nobody's table has a column for that.
    return Value(sql.cast(tree, "BIGINT") if number.kind is Kind.INT else tree, number.kind)


@aggregate("sumsq", "The sum of the squares.")
def sum_of_squares(value: Value, gather: Gather) -> Value:
    number = kinds.convert(_numbers(value), Kind.NUM)
    return Value(gather("sum", sql.binary("*", number.use(), number.use())), Kind.NUM)


@aggregate("avg", "The mean of the numbers.", "mean")
def mean(value: Value, gather: Gather) -> Value:
    if value.kind is Kind.LIST:
        numbers = _number_list(value)
        each = gather("sum", sql.call("list_count", numbers.copy()))
        return Value(sql.binary("/", gather("sum", sql.call("list_sum", numbers)), each), Kind.NUM)
    return Value(gather("avg", _numbers(value).use()), Kind.NUM)


def _extreme(value: Value, gather: Gather, name: str) -> Value:
    """By number where all values are numbers, else by text."""
    if value.kind.numeric:
        return Value(gather(name, value.use()), value.kind)
    if value.kind is Kind.LIST:
        value = Value(sql.call(f"list_{name}", value.use()), Kind.STR, size=value.size)
    text = kinds.to_string(value)
    number = kinds.to_number(text)
    same = sql.binary("=", gather("count", number.use()), gather("count", text.use()))
    best = kinds.to_string(Value(gather(name, number.use()), Kind.NUM))
    return Value(sql.case([(same, best.use())], gather(name, text.use())), Kind.STR)


@aggregate("min", "The least value.")
def minimum(value: Value, gather: Gather) -> Value:
    return _extreme(value, gather, "min")


@aggregate("max", "The greatest value.")
def maximum(value: Value, gather: Gather) -> Value:
    return _extreme(value, gather, "max")


@aggregate("range", "The difference between the greatest and the least number.")
def spread(value: Value, gather: Gather) -> Value:
    number = _numbers(value)
    return Value(sql.binary("-", gather("max", number.use()), gather("min", number.use())), number.kind)


def _quantile(value: Value, gather: Gather, share: float) -> Value:
    number = kinds.convert(_numbers(value), Kind.NUM)
    return Value(gather("quantile_cont", number.use(), sql.number(share)), Kind.NUM)


@aggregate("median", "The middle number; perc<n>, p<n>, exactperc<n> give other percentiles.")
def median(value: Value, gather: Gather) -> Value:
    return _quantile(value, gather, 0.5)


def _register_moment(name: str, target: str, summary: str) -> None:
    @aggregate(name, summary)
    def build(value: Value, gather: Gather) -> Value:
        number = kinds.convert(_numbers(value), Kind.NUM)
        tree = gather(target, number.use())
        if target.endswith("_samp"):  # one value has no sample deviation in SQL; here it is 0
            single = sql.binary("=", gather("count", number.use()), sql.number(1))
            tree = sql.case([(single, sql.number(0.0))], tree)
        return Value(tree, Kind.NUM)


_register_moment("stdev", "stddev_samp", "The sample standard deviation.")
_register_moment("stdevp", "stddev_pop", "The population standard deviation.")
_register_moment("var", "var_samp", "The sample variance.")
_register_moment("varp", "var_pop", "The population variance.")


@aggregate("mode", "The most frequent value.")
def mode(value: Value, gather: Gather) -> Value:
    plain = _plain(value)
    return Value(gather("mode", plain.use()), plain.kind)


@aggregate("values", "The distinct values in lexicographic order.")
def values(value: Value, gather: Gather) -> Value:
    if value.kind is Kind.LIST:
        whole: E = sql.call("list_distinct", _flat(value, gather, ordered=False))
    else:
        text = kinds.to_string(value)
        whole = gather("list", text.use(), distinct=True, where=sql.not_null(text.use()))
    return Value(sql.call("list_sort", whole), Kind.LIST)


@aggregate("list", f"The first {LIST_LIMIT} values in row order.")
def listed(value: Value, gather: Gather) -> Value:
    whole = _flat(value, gather, ordered=True)
    return Value(sql.call("list_slice", whole, sql.number(1), sql.number(LIST_LIMIT)), Kind.LIST)


def _edge(value: Value, gather: Gather, name: str) -> Value:
    plain = _plain(value)
    return Value(gather(name, plain.use(), ordered=True, where=sql.not_null(plain.use())), plain.kind)


@aggregate("first", "The value of the first row that has one.")
def first(value: Value, gather: Gather) -> Value:
    return _edge(value, gather, "first")


@aggregate("last", "The value of the last row that has one.")
def last(value: Value, gather: Gather) -> Value:
    return _edge(value, gather, "last")


def _by_time(value: Value, gather: Gather, name: str) -> Value:
    plain = _plain(value)
    if gather.time is None:
        return Value(sql.null(), plain.kind)
    return Value(gather(name, plain.use(), gather.time.use(), where=sql.not_null(plain.use())), plain.kind)


@aggregate("earliest", "The value of the oldest event that has one.")
def earliest(value: Value, gather: Gather) -> Value:
    return _by_time(value, gather, "arg_min")


@aggregate("latest", "The value of the newest event that has one.")
def latest(value: Value, gather: Gather) -> Value:
    return _by_time(value, gather, "arg_max")


def _time_of(value: Value, gather: Gather, name: str) -> Value:
    if gather.time is None:
        return Value(sql.null(), Kind.NUM)
    return Value(gather(name, gather.time.use(), where=sql.not_null(value.use())), Kind.NUM)


@aggregate("earliest_time", "The time of the oldest event that has the field.")
def earliest_time(value: Value, gather: Gather) -> Value:
    return _time_of(value, gather, "min")


@aggregate("latest_time", "The time of the newest event that has the field.")
def latest_time(value: Value, gather: Gather) -> Value:
    return _time_of(value, gather, "max")


@aggregate("rate", "The change of a counter per second, between its oldest and newest value.")
def rate(value: Value, gather: Gather) -> Value:
    number = kinds.convert(_numbers(value), Kind.NUM)
    change = sql.binary("-", _by_time(number, gather, "arg_max").use(), _by_time(number, gather, "arg_min").use())
    length = sql.binary("-", _time_of(number, gather, "max").use(), _time_of(number, gather, "min").use())
    return Value(sql.binary("/", change, length), Kind.NUM)
