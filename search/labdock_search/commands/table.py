"""`table` and `fields`: which fields, in which order."""

from dataclasses import dataclass

from labdock_search import sql, syntax
from labdock_search.commands.base import Command, Example, arranged, fields_of, register, resolved
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="a,b1,b2\n1,2,3"'


def words_of(piece: Piece, command: Command) -> list[syntax.Word]:
    """The fields that a command is given; at least one."""
    span = Span(piece.start, piece.end - piece.start)
    found = arranged(parse_arguments(piece), (), span).words()
    if not found:
        raise fault("No field is named", Span(piece.end), expected=command.usage)
    return found


def with_absent(plan: Plan, frame: Frame, chosen: dict[str, Column | None]) -> Frame:
    """The frame with exactly the chosen fields; absent ones are empty."""
    absent = {name: Column(plan.new_id(), Kind.STR) for name, column in chosen.items() if column is None}
    nothing = [(column.id, sql.cast(sql.null(), "VARCHAR")) for column in absent.values()]
    frame = plan.extend(frame, nothing)
    return frame.with_(fields={name: column or absent[name] for name, column in chosen.items()})


@register
class Table(Command):
    name = "table"
    usage = "table <fields>"
    summary = "Keeps the named fields, in the order given; wildcards expand in schema order."
    examples = (
        Example(f"{DATA} | table b* a", [{"b1": 2, "b2": 3, "a": 1}]),
        Example(f"{DATA} | table a, nosuch", [{"a": 1, "nosuch": None}]),
    )

    def parse(self, piece: Piece) -> list[syntax.Word]:
        return words_of(piece, self)

    def plan(self, arguments: list[syntax.Word], frame: Frame, plan: Plan) -> Frame:
        return with_absent(plan, frame, resolved(frame, arguments)).with_(kind="statistics")


@dataclass
class FieldsArguments:
    words: list[syntax.Word]
    remove: bool


@register
class Fields(Command):
    name = "fields"
    usage = "fields [+|-] <fields>"
    summary = "Keeps the named fields, or with `-` removes them. Internal fields (`_…`) stay unless removed by name."
    examples = (
        Example(f"{DATA} | fields - b*", [{"a": 1}]),
        Example(f"{DATA} | fields b2 a", [{"b2": 3, "a": 1}]),
    )

    def parse(self, piece: Piece) -> FieldsArguments:
        words = words_of(piece, self)
        first = words[0]
        sign = "" if first.quote else first.value[0]
        if sign in {"+", "-"}:
            if first.value == sign:
                words = words[1:]
            else:
                words[0] = syntax.Word(first.span, first.value[1:])
        if not words:
            raise fault("No field is named", first.span, expected=self.usage)
        return FieldsArguments(words, remove=sign == "-")

    def plan(self, arguments: FieldsArguments, frame: Frame, plan: Plan) -> Frame:
        if arguments.remove:
            gone = set(fields_of(frame, arguments.words))
            return frame.with_(fields={n: c for n, c in frame.fields.items() if n not in gone})
        chosen = {n: c for n, c in resolved(frame, arguments.words).items() if c is not None}
        for name, column in frame.fields.items():
            if name.startswith("_"):
                chosen.setdefault(name, column)
        return frame.with_(fields=chosen)
