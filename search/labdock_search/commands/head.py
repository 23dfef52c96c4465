"""`head` and `tail`: the first or last rows."""

from dataclasses import dataclass
from typing import Any

from labdock_search import sql
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.commands.sort import limited
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault, shown
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments, parse_expression
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="n\n1\n2\n3\n4"'
DEFAULT = 10


@dataclass
class HeadArguments:
    count: int
    condition: Any = None
    keep_last: bool = False


def count_of(piece: Piece, command: Command) -> int:
    """The one number that the command may be given."""
    found = arranged(parse_arguments(piece), ("limit",), Span(piece.start, piece.end - piece.start))
    words = found.words()
    if not words:
        return found.whole("limit", DEFAULT)
    if len(words) > 1 or not words[0].value.isdecimal() or len(words[0].value) > 15:
        raise fault(f"{shown(words[-1].value)} is no number of rows", words[-1].span, expected=command.usage)
    return int(words[0].value)


@register
class Head(Command):
    name = "head"
    usage = "head [<n>] | head (<condition>)"
    summary = f"The first rows ({DEFAULT} by default), or the rows before a condition is first false."
    examples = (
        Example(f"{DATA} | head 2", [{"n": 1}, {"n": 2}]),
        Example(f"{DATA} | head (n<3)", [{"n": 1}, {"n": 2}]),
    )

    def parse(self, piece: Piece) -> HeadArguments:
        if piece.text[piece.start : piece.end].lstrip().startswith("("):
            return HeadArguments(0, parse_expression(piece))
        return HeadArguments(count_of(piece, self))

    def plan(self, arguments: HeadArguments, frame: Frame, plan: Plan) -> Frame:
        if arguments.condition is None:
            return limited(plan, frame, arguments.count)
        scope = Scope(plan, plan.keyed(frame))
        condition = scope.condition(arguments.condition)
        fails = sql.case([(condition.use(), sql.number(0))], sql.number(1))
        id_ = plan.new_id()
        window = ("ROWS", "UNBOUNDED", "PRECEDING", "CURRENT ROW")
        running = sql.over(sql.call("sum", fails), order=scope.frame.order_trees(), frame=window)
        frame = plan.extend(scope.frame, [(id_, running)]).with_(natural=False)
        return plan.filter(frame, sql.binary("=", sql.column(id_), sql.number(0)))


@register
class Tail(Command):
    name = "tail"
    usage = "tail [<n>]"
    summary = f"The last rows ({DEFAULT} by default), the last one first."
    examples = (Example(f"{DATA} | tail 2", [{"n": 4}, {"n": 3}]),)

    def parse(self, piece: Piece) -> int:
        return count_of(piece, self)

    def plan(self, arguments: int, frame: Frame, plan: Plan) -> Frame:
        frame = plan.keyed(frame)
        reversed_keys = tuple(key.reversed() for key in frame.order)
        return limited(plan, frame.with_(order=reversed_keys, natural=False), arguments)
