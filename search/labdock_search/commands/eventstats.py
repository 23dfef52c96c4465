"""`eventstats` and `streamstats`: aggregates beside the rows."""

from dataclasses import dataclass

from labdock_search import kinds, sql, syntax
from labdock_search.aggregation import Clause, Measure, check_names, clause, spread, values
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.commands.dedup import runs
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.functions.gathers import Windowed
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="h,n\na,1\nb,10\na,3"'
WindowFrame = tuple[str, str, str, str]


def beside(
    plan: Plan,
    frame: Frame,
    measures: list[Measure],
    by: list[syntax.Word],
    window: WindowFrame | None,
    more: list[str] | None = None,
) -> Frame:
    """The frame with aggregates over windows; rows without a by-field get none."""
    names = [word.value for word in by]
    measures = spread(measures, frame, names)
    check_names(measures, names)
    scope = Scope(plan, plan.keyed(frame))
    arguments = values(scope, measures)
    frame = scope.frame
    columns = [frame.find(word.value, word.span) for word in by]
    keys = [kinds.of_column(column) for column in columns if column is not None]
    parts = [(key if key.kind.numeric else kinds.to_string(key)).use() for key in keys]
    partition = [*parts, *[sql.column(i) for i in more or ()]]
    time = frame.fields.get("_time")
    gather = Windowed(partition, frame.order_trees(), window, kinds.of_column(time) if time else None)
    present = [sql.not_null(sql.column(c.id)) for c in columns if c is not None]
    if None in columns:
        present = [sql.false()]
    fields = dict(frame.fields)
    trees: list[tuple[str, sql.E]] = []
    for measure, argument in zip(measures, arguments, strict=True):
        value = measure.function.build(argument, gather)
        tree = sql.case([(sql.all_of([p.copy() for p in present]), value.use())]) if present else value.use()
        fields[measure.name] = Column(plan.new_id(), value.kind)
        trees.append((fields[measure.name].id, tree))
    return plan.extend(frame, trees).with_(fields=fields, natural=False)


@register
class EventStats(Command):
    name = "eventstats"
    usage = "eventstats <function>(<field>) [as <name>] … [by <fields>]"
    summary = "Adds aggregates over all rows, or over the row's group, to every row."
    examples = (
        Example(
            f"{DATA} | eventstats sum(n) as total by h",
            [{"h": "a", "n": 1, "total": 4}, {"h": "b", "n": 10, "total": 10}, {"h": "a", "n": 3, "total": 4}],
        ),
    )

    def parse(self, piece: Piece) -> Clause:
        span = Span(piece.start, piece.end - piece.start)
        return clause(arranged(parse_arguments(piece), ("allnum",), span).items, span)

    def plan(self, arguments: Clause, frame: Frame, plan: Plan) -> Frame:
        return beside(plan, frame, arguments.measures, arguments.by, None)


@dataclass
class StreamStatsArguments:
    clause: Clause
    window: int
    current: bool
    per_group: bool
    reset_on_change: bool


@register
class StreamStats(Command):
    name = "streamstats"
    usage = (
        "streamstats [window=<n>] [current=<bool>] [global=<bool>] [reset_on_change=<bool>] "
        "<function>(<field>) [as <name>] … [by <fields>]"
    )
    summary = "Adds running aggregates: over the rows so far, or the last `window` of them."
    notes = "`current=false` leaves the row itself out. With `by`, windows are of each group."
    examples = (
        Example(
            f"{DATA} | streamstats sum(n) as so_far",
            [{"h": "a", "n": 1, "so_far": 1}, {"h": "b", "n": 10, "so_far": 11}, {"h": "a", "n": 3, "so_far": 14}],
        ),
        Example(
            f"{DATA} | streamstats window=2 avg(n) as mean | table mean", [{"mean": 1.0}, {"mean": 5.5}, {"mean": 6.5}]
        ),
        Example(
            f"{DATA} | streamstats current=f last(n) as before by h | table before",
            [{"before": None}, {"before": None}, {"before": 1}],
        ),
    )

    def parse(self, piece: Piece) -> StreamStatsArguments:
        span = Span(piece.start, piece.end - piece.start)
        known = (
            "window",
            "current",
            "global",
            "reset_on_change",
            "allnum",
            "time_window",
            "reset_after",
            "reset_before",
        )
        found = arranged(parse_arguments(piece), known, span)
        for name in ("time_window", "reset_after", "reset_before"):
            if name in found.options:
                raise fault(f"{name} is not supported yet", found.options[name].span)
        return StreamStatsArguments(
            clause(found.items, span),
            found.whole("window", 0, 0, 100_000),
            found.truth("current", default=True),
            per_group=not found.truth("global", default=True),
            reset_on_change=found.truth("reset_on_change", default=False),
        )

    def plan(self, arguments: StreamStatsArguments, frame: Frame, plan: Plan) -> Frame:
        current, size = arguments.current, arguments.window
        start = str(size - 1 if current else size) if size else "UNBOUNDED"
        window = ("ROWS", start, "PRECEDING", "CURRENT ROW" if current else "1 PRECEDING")
        more: list[str] = []
        if arguments.reset_on_change:
            frame = plan.keyed(frame)
            columns = [frame.find(w.value, w.span) for w in arguments.clause.by]
            frame, run = runs(plan, frame, [c.id for c in columns if c])
            more = [run]
        return beside(plan, frame, arguments.clause.measures, arguments.clause.by, window, more)
