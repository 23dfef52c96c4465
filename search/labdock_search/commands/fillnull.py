"""`fillnull`: a value where there is none."""

from dataclasses import dataclass

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Command, Example, arranged, fields_of, register
from labdock_search.faults import Span
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="a,b\n1,\n,x"'


@dataclass
class FillNullArguments:
    value: str
    words: list[syntax.Word]


@register
class FillNull(Command):
    name = "fillnull"
    usage = "fillnull [value=<value>] [<fields>]"
    summary = (
        "Fills missing values with 0 or `value`, in all fields or the named ones; a named field that is absent is made."
    )
    examples = (
        Example(f"{DATA} | fillnull", [{"a": 1, "b": "0"}, {"a": 0, "b": "x"}]),
        Example(
            f"{DATA} | fillnull value=unknown b c",
            [{"a": 1, "b": "unknown", "c": "unknown"}, {"a": None, "b": "x", "c": "unknown"}],
        ),
    )

    def parse(self, piece: Piece) -> FillNullArguments:
        found = arranged(parse_arguments(piece), ("value",), Span(piece.start, piece.end - piece.start))
        return FillNullArguments(found.text("value", "0"), found.words())

    def plan(self, arguments: FillNullArguments, frame: Frame, plan: Plan) -> Frame:
        names = fields_of(frame, arguments.words) if arguments.words else list(frame.fields)
        number = kinds.as_number(arguments.value)
        filling = kinds.number(number) if number is not None else kinds.text(arguments.value)
        fields = dict(frame.fields)
        columns: list[tuple[str, sql.E]] = []
        for name in names:
            column = fields.get(name)
            if column is None:
                fields[name] = Column(plan.new_id(), filling.kind)
                columns.append((fields[name].id, filling.use()))
                continue
            kind = Kind.LIST if column.kind is Kind.LIST else kinds.common([column.kind, filling.kind])
            old, new = kinds.convert(kinds.of_column(column), kind), kinds.convert(filling, kind)
            fields[name] = Column(plan.new_id(), kind)
            columns.append((fields[name].id, sql.call("coalesce", old.use(), new.use())))
        return plan.extend(frame, columns).with_(fields=fields)
