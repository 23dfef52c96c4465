"""`eval`: fields from expressions."""

from typing import Any

from labdock_search import kinds, syntax
from labdock_search.commands.base import Command, Example, register
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_assignments
from labdock_search.kinds import Column, Kind
from labdock_search.plan import Plan
from labdock_search.splitter import Piece


@register
class Eval(Command):
    name = "eval"
    usage = "eval <field>=<expression>[, <field>=<expression>]…"
    summary = "Computes fields; later expressions see earlier fields."
    examples = (
        Example('| makeresults | eval a=2, b=a*3, c="n=".b | table a b c', [{"a": 2, "b": 6, "c": "n=6"}]),
        Example("| makeresults | eval 'my field'=1 | eval x='my field'+1 | table x", [{"x": 2}]),
        Example('| makeresults | eval x=1/0 | eval y=if(isnull(x), "none", x) | table y', [{"y": "none"}]),
    )

    def parse(self, piece: Piece) -> list[syntax.Assignment]:
        if not piece.text[piece.start : piece.end].strip():
            raise fault("There is nothing to compute", Span(piece.end), expected="field=expression")
        found = parse_assignments(piece)
        for item in found:
            if item.target.startswith("{"):
                raise fault("Names from values are not supported yet", item.span, remedy="Name the field.")
        return found

    def plan(self, arguments: list[syntax.Assignment], frame: Frame, plan: Plan) -> Frame:
        scope = Scope(plan, frame)
        pending: dict[str, tuple[Column, Any]] = {}

        def flush() -> None:
            scope.frame = plan.extend(scope.frame, [(column.id, value.use()) for column, value in pending.values()])
            fields = {**scope.frame.fields, **{name: column for name, (column, _) in pending.items()}}
            scope.frame = scope.frame.with_(fields=fields)
            pending.clear()

        for item in arguments:
            if pending and (item.target in pending or names_in(item.value) & pending.keys()):
                flush()
            value = scope.result(item.value)
            if value.kind is Kind.NULL:
                value = kinds.to_string(value)
            pending[item.target] = (Column(plan.new_id(), value.kind), value)
        flush()
        return scope.frame


def names_in(node: Any) -> set[str]:
    """The fields that an expression names; all, for a text that may name some."""
    found: set[str] = set()
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, syntax.Field):
            found.add(item.name)
        for part in ("arguments", "parts", "choices"):
            stack.extend(getattr(item, part, ()))
        stack.extend(getattr(item, part) for part in ("left", "right", "operand") if hasattr(item, part))
    return found
