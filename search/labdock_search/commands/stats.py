"""`stats`: aggregates over all rows or groups."""

from labdock_search.aggregation import Clause, clause, grouped
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.faults import Span
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="h,u,n\na,x,1\na,y,3\nb,x,5\n,x,7"'


@register
class Stats(Command):
    name = "stats"
    usage = "stats <function>(<field>) [as <name>] … [by <fields>]"
    summary = "Aggregates over all rows, or over groups of equal by-fields."
    notes = (
        "Rows without a by-field are left out; a multivalue by-field counts once for each distinct value; the result "
        "is ordered by the by-fields. `count(eval(condition))` counts rows for which the condition is true."
    )
    examples = (
        Example(
            f"{DATA} | stats count sum(n) as total by h",
            [{"h": "a", "count": 2, "total": 4}, {"h": "b", "count": 1, "total": 5}],
        ),
        Example(
            f"{DATA} | stats count, count(h), dc(u), avg(n)", [{"count": 4, "count(h)": 3, "dc(u)": 2, "avg(n)": 4.0}]
        ),
        Example(f'{DATA} | stats count(eval(n>2 AND u="x")) as c values(u) as v', [{"c": 2, "v": ["x", "y"]}]),
        Example(f"{DATA} | stats max(*) as max_*", [{"max_h": "b", "max_u": "y", "max_n": 7}]),
    )

    def parse(self, piece: Piece) -> Clause:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("allnum", "delim", "partitions", "dedup_splitvals"), span)
        return clause(found.items, span)

    def plan(self, arguments: Clause, frame: Frame, plan: Plan) -> Frame:
        return grouped(plan, frame, arguments.measures, arguments.by)
