"""`bin` (`bucket`): values in ranges of equal size."""

import math
from dataclasses import dataclass

from labdock_search import kinds, sql, syntax, times
from labdock_search.commands.base import Arguments, Command, Example, arranged, as_word, keyword, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.functions.moments import moment
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Kind, Value
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DEFAULT_BINS = 100
NICE = (1, 2, 5)


@dataclass
class BinArguments:
    field: syntax.Word
    name: str
    span: times.TimeSpan | None
    bins: int
    minimum: float | None = None


@register
class Bin(Command):
    name = "bin"
    aliases = ("bucket", "discretize")
    usage = "bin [span=<span>|bins=<n>] <field> [as <name>]"
    summary = f"Rounds values down to ranges of one size; at most {DEFAULT_BINS} ranges without `span`."
    notes = "Spans of seconds, minutes and hours are multiples of the epoch; a day and longer begin in the user's zone."
    examples = (
        Example(
            '| makeresults format=csv data="_time\n61\n119\n120" | bin _time span=1m',
            [{"_time": 60}, {"_time": 60}, {"_time": 120}],
        ),
        Example(
            '| makeresults format=csv data="n\n7\n12" | bin span=5 n as five | table five',
            [{"five": "5-10"}, {"five": "10-15"}],
        ),
    )

    def parse(self, piece: Piece) -> BinArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("span", "bins", "minspan", "aligntime", "start", "end"), span)
        items = found.items
        if not items or len(items) not in {1, 3} or (len(items) == 3 and keyword(items[1]) != "as"):
            at = items[1].span if len(items) > 1 else span
            raise fault("bin takes one field", at, expected=self.usage)
        field = as_word(items[0])
        name = as_word(items[2]).value if len(items) == 3 else field.value
        return BinArguments(field, name, span_option(found), found.whole("bins", DEFAULT_BINS, 2, 50_000))

    def plan(self, arguments: BinArguments, frame: Frame, plan: Plan) -> Frame:
        column = frame.find(arguments.field.value, arguments.field.span)
        if column is None:
            return frame
        value = kinds.to_number(kinds.of_column(column))
        size = arguments.span or automatic(plan, frame, value, arguments.bins, timed=arguments.field.value == "_time")
        timed = arguments.field.value == "_time" or size.unit != ""
        if timed:
            tree = bucket(value, size, plan.timezone)
            return added(plan, frame, arguments.name, Value(tree, Kind.NUM))
        return added(plan, frame, arguments.name, labelled(value, size.amount))


def span_option(found: Arguments) -> times.TimeSpan | None:
    option = found.options.get("span")
    return times.parse_span(found.text("span"), option.span) if option else None


def added(plan: Plan, frame: Frame, name: str, value: Value) -> Frame:
    """The frame with a field of that value."""
    frame, column = plan.compute(frame, value)
    return frame.with_(fields={**frame.fields, name: column})


def bucket(value: Value, size: times.TimeSpan, zone: str) -> sql.E:
    """The start of the range of a time."""
    seconds = size.seconds
    if seconds is not None and size.unit not in {"d", "w"}:
        whole = sql.call("floor", sql.binary("/", value.use(), sql.number(seconds)))
        return sql.binary("*", whole, sql.number(seconds))
    if size.unit == "":
        whole = sql.call("floor", sql.binary("/", value.use(), sql.number(size.amount)))
        return sql.binary("*", whole, sql.number(size.amount))
    names = {"d": "day", "w": "week", "mon": "month", "q": "quarter", "y": "year"}
    count = int(size.amount)
    if count == 1:
        start = sql.call("date_trunc", sql.text(names[size.unit]), moment(value))
    else:
        length = {"d": ("to_days", 1), "w": ("to_days", 7), "mon": ("to_months", 1), "q": ("to_months", 3)}
        function, factor = length.get(size.unit, ("to_months", 12))
        start = sql.call("time_bucket", sql.call(function, sql.number(count * factor)), moment(value), sql.text(zone))
    return sql.call("epoch", start)


def labelled(value: Value, size: float) -> Value:
    """`10-20`, as Splunk names the ranges of numbers."""
    size = int(size) if float(size).is_integer() else size
    start = Value(
        sql.binary("*", sql.call("floor", sql.binary("/", value.use(), sql.number(size))), sql.number(size)), Kind.NUM
    )
    end = Value(sql.binary("+", start.use(), sql.number(size)), Kind.NUM)
    low, high = kinds.to_string(start), kinds.to_string(end)
    tree = sql.binary("||", sql.binary("||", low.use(), sql.text("-")), high.use())
    return Value(tree, Kind.STR)


def automatic(plan: Plan, frame: Frame, value: Value, bins: int, *, timed: bool) -> times.TimeSpan:
    """A round span that makes at most `bins` ranges of the values there are."""
    low, high = extent(plan, frame, value)
    if timed and plan.earliest is not None and plan.latest is not None:
        low, high = plan.earliest, plan.latest
    wanted = max(high - low, 0.0) / bins
    if timed:
        for amount, unit in times_choices():
            span = times.TimeSpan(amount, unit)
            if (span.seconds or 2_678_400) >= wanted:
                return span
        return times.TimeSpan(1, "y")
    size = 1e-9
    while size < 1e300 and math.isfinite(wanted):
        for step in NICE:
            if step * size >= wanted:
                return times.TimeSpan(step * size if step * size < 1 else round(step * size), "")
        size *= 10
    return times.TimeSpan(1, "")


def times_choices() -> list[tuple[int, str]]:
    return [
        *((n, "s") for n in (1, 5, 10, 30)),
        *((n, "m") for n in (1, 5, 10, 30)),
        (1, "h"),
        (1, "d"),
        (1, "mon"),
    ]


def extent(plan: Plan, frame: Frame, value: Value) -> tuple[float, float]:
    """The least and the greatest value; asks the data."""
    if plan.explaining or plan.executor is None:
        return 0.0, 0.0
    names = [plan.new_id(), plan.new_id()]
    trees = [
        sql.alias(sql.call(f, sql.cast(value.use(), "DOUBLE")), n) for f, n in zip(("min", "max"), names, strict=True)
    ]
    row = plan.executor.rows(plan.add(sql.select(*trees, source=sql.table(frame.relation)), frame.relation))[0]
    return row[names[0]] or 0.0, row[names[1]] or 0.0
