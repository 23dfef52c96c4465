"""`timechart`: aggregates over time, with empty ranges shown."""

import contextlib
import math
from dataclasses import dataclass

import pyarrow as pa

from labdock_search import kinds, sql, syntax, times
from labdock_search.aggregation import Clause, Measure, clause, grouped, spread
from labdock_search.commands.base import Arguments, Command, Example, arranged, register
from labdock_search.commands.bin import automatic, bucket
from labdock_search.commands.chart import SPLIT_OPTIONS, split_of
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Kind, Value
from labdock_search.pivot import COUNTS, pivoted
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

MAX_BUCKETS = 100_000
DEFAULT_BINS = 100
DATA = '| makeresults format=csv data="_time,h,n\n0,a,1\n10,b,2\n130,a,4"'


@dataclass
class TimechartArguments:
    clause: Clause
    span: times.TimeSpan | None
    bins: int
    options: Arguments


@register
class Timechart(Command):
    name = "timechart"
    usage = (
        "timechart [span=<span>] [bins=<n>] [limit=<n>] [useother=<bool>] [cont=<bool>] "
        "<function>(<field>) … [by <field>]"
    )
    summary = "Aggregates for each range of time; a column for each value of the by-field."
    notes = "Ranges without events are there too (count 0, others empty); `cont=false` leaves them out."
    runs = True
    examples = (
        Example(
            f"{DATA} | timechart span=1m count",
            [{"_time": 0, "count": 2}, {"_time": 60, "count": 0}, {"_time": 120, "count": 1}],
        ),
        Example(
            f"{DATA} | timechart span=1m sum(n) by h",
            [{"_time": 0, "a": 1, "b": 2}, {"_time": 60, "a": None, "b": None}, {"_time": 120, "a": 4, "b": None}],
        ),
    )

    def parse(self, piece: Piece) -> TimechartArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("span", "bins", "minspan", "fixedrange", *SPLIT_OPTIONS), span)
        parsed = clause(found.items, span)
        if len(parsed.by) > 1:
            raise fault("timechart takes one by-field", parsed.by[1].span, expected=self.usage)
        size = times.parse_span(found.text("span"), found.options["span"].span) if "span" in found.options else None
        if size is not None and size.unit == "":
            size = times.TimeSpan(size.amount, "s")
        return TimechartArguments(parsed, size, found.whole("bins", DEFAULT_BINS, 1, 50_000), found)

    def plan(self, arguments: TimechartArguments, frame: Frame, plan: Plan) -> Frame:
        time = frame.fields.get("_time")
        if time is None:
            names = ["_time", *[m.name for m in arguments.clause.measures]]
            return plan.empty(dict.fromkeys(names, Kind.NUM)).with_(kind="visualization")
        value = kinds.to_number(kinds.of_column(time))
        size = arguments.span or automatic(plan, frame, value, arguments.bins, timed=True)
        frame, column = plan.compute(frame, Value(bucket(value, size, plan.timezone), Kind.NUM))
        original = frame
        frame = plan.filter(frame, sql.not_null(sql.column(column.id)))
        frame = frame.with_(fields={**original.fields, "_time": column})
        by = [w.value for w in arguments.clause.by]
        measures = spread(arguments.clause.measures, frame, ["_time", *by])
        split = frame.find(by[0], arguments.clause.by[0].span) if by else None
        if split is not None:
            found = pivoted(plan, frame, ("_time", column), measures, split_of(split, arguments.options))
            counts = _zero_columns(found, measures)
        else:
            word = syntax.Word(Span(0), "_time")
            found = grouped(plan, frame, measures, [word]).with_(kind="visualization")
            counts = {m.name for m in measures if m.function.name in COUNTS}
        if not arguments.options.truth("cont", default=True):
            return found
        return continuous(plan, found, size, counts)


def _zero_columns(found: Frame, measures: list[Measure]) -> set[str]:
    """The columns of a pivot that count."""
    counting = [m for m in measures if m.function.name in COUNTS]
    if len(measures) == 1:
        return set(found.fields) - {"_time"} if counting else set()
    return {name for name in found.fields for m in counting if name.startswith(f"{m.name}: ")}


def continuous(plan: Plan, frame: Frame, size: times.TimeSpan, counts: set[str]) -> Frame:
    """The frame with the ranges between that have no events."""
    if plan.explaining or plan.executor is None:
        return frame
    names = list(frame.fields)
    table = plan.executor.reader(frame, plan.select_ids(frame)).read_all()
    found = [t for t in table.column("_time").to_pylist() if t is not None]
    low, high = (min(found), max(found)) if found else (math.inf, -math.inf)
    if plan.earliest is not None and plan.latest is not None:
        low = min(low, start_of(plan.earliest, size, plan.timezone))
        high = max(high, start_of(plan.latest - 1e-6, size, plan.timezone))
    if low > high:
        return plan.scan_arrow(table, "visualization")
    starts = series(low, high, size, plan.timezone)
    if starts is None:
        plan.notice(f"More than {MAX_BUCKETS:,} ranges: empty ones are left out. Use a longer span.")
        return plan.scan_arrow(table, "visualization")
    known = {t: i for i, t in enumerate(table.column("_time").to_pylist())}
    indices = pa.array([known.get(t) for t in starts], pa.int64())
    columns = [pa.array(starts, pa.float64())]
    for name in names[1:]:
        taken = table.column(name).combine_chunks().take(indices)
        columns.append(taken.fill_null(0) if name in counts else taken)
    return plan.scan_arrow(pa.table(columns, names=names), "visualization")


def start_of(moment: float, size: times.TimeSpan, zone: str) -> float:
    """The start of the range of a time, as `bucket` computes it."""
    seconds = size.seconds
    if seconds is not None and size.unit not in {"d", "w"}:
        return math.floor(moment / seconds) * seconds
    if size.amount == 1:
        snap = times.Step(size.unit, snap=True, weekday=1 if size.unit == "w" else 0)
        with contextlib.suppress(*times.BEYOND):
            return times.shift(moment, [snap], zone)
    return moment


def series(low: float, high: float, size: times.TimeSpan, zone: str) -> list[float] | None:
    """All range starts from `low` to `high`; None where there are too many, or beyond what calendars count."""
    seconds = size.seconds
    if seconds is not None and size.unit not in {"d", "w"}:
        first, last = round(low / seconds), round(high / seconds)
        return [float(i * seconds) for i in range(first, last + 1)] if last - first < MAX_BUCKETS else None
    starts, step = [low], times.Step(size.unit, int(size.amount))
    while starts[-1] < high and len(starts) <= MAX_BUCKETS:
        try:
            starts.append(times.shift(starts[-1], [step], zone))
        except times.BEYOND:
            return None
    return [s for s in starts if s <= high] if len(starts) <= MAX_BUCKETS else None
