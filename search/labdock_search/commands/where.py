"""`where`: rows for which a condition is true."""

from typing import Any

from labdock_search.commands.base import Command, Example, register
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_expression
from labdock_search.plan import Plan
from labdock_search.splitter import Piece


@register
class Where(Command):
    name = "where"
    usage = "where <condition>"
    summary = "Keeps the rows for which an eval condition is true."
    notes = "AND binds tighter than OR. Comparison is case-sensitive. `\"x\"` is a text, `'x'` a field."
    examples = (
        Example(
            '| makeresults format=csv data="a,b\n1,x\n20,X\n3,y" | where a>2 AND b!="y" | table a b',
            [{"a": 20, "b": "X"}],
        ),
        Example("| makeresults | eval x=5 | where x=1 OR x=5 AND 1=1 | table x", [{"x": 5}]),
    )

    def parse(self, piece: Piece) -> Any:
        if not piece.text[piece.start : piece.end].strip():
            raise fault("There is no condition", Span(piece.end), expected="a comparison such as x > 1")
        return parse_expression(piece)

    def plan(self, arguments: Any, frame: Frame, plan: Plan) -> Frame:
        scope = Scope(plan, frame)
        condition = scope.condition(arguments)
        return plan.filter(scope.frame, condition.use())
