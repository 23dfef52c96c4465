"""`chart`: aggregates as a table for drawing, over one field and by another."""

from dataclasses import dataclass
from typing import Any

from labdock_search import kinds, syntax, times
from labdock_search.aggregation import Clause, clause, group_keys, grouped, spread
from labdock_search.commands.base import Arguments, Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.commands.bin import added, bucket, labelled
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Kind, Value
from labdock_search.pivot import Split, pivoted
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="h,k,n\na,x,1\na,y,2\nb,x,3"'
SPLIT_OPTIONS = ("limit", "useother", "usenull", "otherstr", "nullstr", "cont", "partial", "agg", "sep", "format")


@dataclass
class ChartArguments:
    clause: Clause
    over: syntax.Word
    split: syntax.Word | None
    span: times.TimeSpan | None
    options: Arguments


def split_of(column: kinds.Column, options: Arguments) -> Split:
    return Split(
        column,
        _limit(options),
        options.truth("useother", default=True),
        options.truth("usenull", default=True),
        options.text("otherstr", "OTHER"),
        options.text("nullstr", "NULL"),
    )


def _limit(options: Arguments) -> int:
    text = options.text("limit").lower().removeprefix("top").strip()
    if "limit" in options.options and text.isdecimal():
        return min(int(text), 10_000)
    return options.whole("limit", 10, 0, 10_000)


@register
class Chart(Command):
    name = "chart"
    usage = "chart [limit=<n>] [span=<span>] <function>(<field>) … over <field> [by <field>] | by <field> [<field>]"
    summary = "A table with a row for each value of one field and a column for each value of another."
    runs = True
    examples = (
        Example(f"{DATA} | chart sum(n) over h by k", [{"h": "a", "x": 1, "y": 2}, {"h": "b", "x": 3, "y": None}]),
        Example(f"{DATA} | chart count by h", [{"h": "a", "count": 2}, {"h": "b", "count": 1}]),
        Example(
            f"{DATA} | chart limit=1 count over h by k",
            [{"h": "a", "x": 1, "OTHER": 1}, {"h": "b", "x": 1, "OTHER": 0}],
        ),
    )

    def parse(self, piece: Piece) -> ChartArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("span", "bins", *SPLIT_OPTIONS), span)
        items, over = _without_over(found.items)
        parsed = clause(items, span)
        fields = ([over] if over else []) + parsed.by
        if not fields or len(fields) > 2:
            raise fault("chart needs one or two fields", span, expected=self.usage)
        size = times.parse_span(found.text("span"), found.options["span"].span) if "span" in found.options else None
        return ChartArguments(parsed, fields[0], fields[1] if len(fields) == 2 else None, size, found)

    def plan(self, arguments: ChartArguments, frame: Frame, plan: Plan) -> Frame:
        over = arguments.over
        if arguments.span is not None:
            frame = spanned(plan, frame, over, arguments.span)
        if arguments.split is None:
            return grouped(plan, frame, arguments.clause.measures, [over]).with_(kind="visualization")
        frame, keys = group_keys(plan, frame, [over])
        column = frame.find(arguments.split.value, arguments.split.span)
        if keys is None or column is None:
            return grouped(plan, frame, arguments.clause.measures, [over]).with_(kind="visualization")
        measures = spread(arguments.clause.measures, frame, [over.value, arguments.split.value])
        split = split_of(column, arguments.options)
        return pivoted(plan, frame, (over.value, keys[over.value]), measures, split)


def spanned(plan: Plan, frame: Frame, word: syntax.Word, size: times.TimeSpan) -> Frame:
    """The frame with a field rounded down to a span."""
    column = frame.find(word.value, word.span)
    if column is None:
        return frame
    value = kinds.to_number(kinds.of_column(column))
    if size.unit or word.value == "_time":
        return added(plan, frame, word.value, Value(bucket(value, size, plan.timezone), Kind.NUM))
    return added(plan, frame, word.value, labelled(value, size.amount))


def _without_over(items: list[Any]) -> tuple[list[Any], syntax.Word | None]:
    """Take `over field` out of the list."""
    kept = [item for item in items if not is_comma(item)]
    for at, item in enumerate(kept):
        if keyword(item) == "over":
            if at + 1 >= len(kept):
                raise fault("No field after 'over'", item.span, expected="a field")
            return kept[:at] + kept[at + 2 :], as_word(kept[at + 1])
    return items, None
