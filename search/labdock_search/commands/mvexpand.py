"""`mvexpand` and `makemv`: several values into rows, and a text into several values."""

from dataclasses import dataclass

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame, Key
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind, Value
from labdock_search.patterns import to_re2
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults | eval m="a,b"'


@dataclass
class ExpandArguments:
    field: syntax.Word
    limit: int


@register
class MvExpand(Command):
    name = "mvexpand"
    usage = "mvexpand <field> [limit=<n>]"
    summary = "One row for each value of a multivalue field."
    examples = (Example(f'{DATA} | eval m=split(m, ",") | mvexpand m | table m', [{"m": "a"}, {"m": "b"}]),)

    def parse(self, piece: Piece) -> ExpandArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("limit",), span)
        words = found.words()
        if len(words) != 1:
            raise fault("mvexpand takes one field", words[1].span if len(words) > 1 else span, expected=self.usage)
        return ExpandArguments(words[0], found.whole("limit", 0))

    def plan(self, arguments: ExpandArguments, frame: Frame, plan: Plan) -> Frame:
        column = frame.find(arguments.field.value, arguments.field.span)
        if column is None or column.kind is not Kind.LIST:
            return frame
        frame = plan.keyed(frame)
        values: sql.E = sql.column(column.id)
        if arguments.limit:
            values = sql.call("list_slice", values, sql.number(1), sql.number(arguments.limit))
        nothing = sql.call("list_value", sql.cast(sql.null(), "VARCHAR"))
        filled = sql.case([(sql.binary(">", sql.call("len", sql.column(column.id)), sql.number(0)), values)], nothing)
        place, single = plan.new_id(), Column(plan.new_id(), Kind.STR)
        frame, whole = plan.compute(frame, Value(filled, Kind.LIST))
        numbers = sql.call("range", sql.call("len", sql.column(whole.id)))
        frame = plan.extend(
            frame, [(single.id, sql.call("unnest", sql.column(whole.id))), (place, sql.call("unnest", numbers))]
        )
        fields = {name: single if c is column else c for name, c in frame.fields.items()}
        return frame.with_(fields=fields, order=(*frame.order, Key(place)), natural=False)


@dataclass
class MakeArguments:
    field: syntax.Word
    delimiter: str
    tokenizer: str
    keep_empty: bool


@register
class MakeMv(Command):
    name = "makemv"
    usage = 'makemv [delim="<text>"|tokenizer="<regex with one group>"] [allowempty=<bool>] <field>'
    summary = "Splits a field into several values."
    examples = (
        Example(f'{DATA} | makemv delim="," m | table m', [{"m": ["a", "b"]}]),
        Example(f'{DATA} | makemv tokenizer="(\\w)" m | table m', [{"m": ["a", "b"]}]),
    )

    def parse(self, piece: Piece) -> MakeArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("delim", "tokenizer", "allowempty", "setsv"), span)
        words = found.words()
        if len(words) != 1:
            raise fault("makemv takes one field", words[1].span if len(words) > 1 else span, expected=self.usage)
        pattern = found.text("tokenizer")
        if pattern:
            pattern = to_re2(pattern, found.options["tokenizer"].span)
        return MakeArguments(words[0], found.text("delim", " "), pattern, found.truth("allowempty", default=False))

    def plan(self, arguments: MakeArguments, frame: Frame, plan: Plan) -> Frame:
        name = arguments.field.value
        column = frame.find(name, arguments.field.span)
        if column is None:
            return frame
        text = kinds.to_string(kinds.of_column(column))
        if arguments.tokenizer:
            parts = sql.call("regexp_extract_all", text.use(), sql.text(arguments.tokenizer), sql.number(1))
        else:
            parts = sql.call("string_split", text.use(), sql.text(arguments.delimiter))
        if not arguments.keep_empty:
            filled = sql.binary("!=", sql.column("item"), sql.text(""))
            parts = sql.call("list_filter", parts, sql.each("item", filled))
        frame, new = plan.compute(frame, Value(parts, Kind.LIST))
        return frame.with_(fields={**frame.fields, name: new})
