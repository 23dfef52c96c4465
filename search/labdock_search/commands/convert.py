"""`convert`: fields into other forms."""

from dataclasses import dataclass

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.faults import Span, fault, unknown
from labdock_search.frame import Frame
from labdock_search.functions.moments import format_parts, parse_time
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Kind, Value
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

FORMAT = "%m/%d/%Y %H:%M:%S"
DATA = '| makeresults | eval x="1,234", t=60, s="25 MB", d="1+02:03:04"'


@dataclass
class Conversion:
    function: str
    pattern: str
    name: str
    span: Span


@dataclass
class ConvertArguments:
    format: str
    conversions: list[Conversion]


@register
class Convert(Command):
    name = "convert"
    usage = 'convert [timeformat="<format>"] <function>(<field>) [as <name>] …'
    summary = "Converts fields: ctime, mktime, num, auto, rmunit, rmcomma, memk, dur2sec, mstime, none."
    examples = (
        Example(
            f"{DATA} | convert rmcomma(x) rmunit(s) dur2sec(d) | table x s d", [{"x": 1234.0, "s": 25.0, "d": 93784.0}]
        ),
        Example(f'{DATA} | convert timeformat="%H:%M" ctime(t) as clock | table clock', [{"clock": "00:01"}]),
    )

    def parse(self, piece: Piece) -> ConvertArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("timeformat",), span)
        items = [i for i in found.items if not is_comma(i)]
        conversions: list[Conversion] = []
        at = 0
        while at < len(items):
            item = items[at]
            if not isinstance(item, syntax.Call) or len(item.arguments) != 1:
                raise fault("This is no conversion", item.span, expected=self.usage)
            if item.name not in FUNCTIONS:
                raise unknown("conversion", item.name, FUNCTIONS, item.span)
            field = as_word(item.arguments[0]).value
            name = field
            if at + 2 < len(items) and keyword(items[at + 1]) == "as":
                name = as_word(items[at + 2]).value
                at += 2
            conversions.append(Conversion(item.name, field, name, item.span))
            at += 1
        if not conversions:
            raise fault("There is nothing to convert", span, expected=self.usage)
        return ConvertArguments(found.text("timeformat", FORMAT), conversions)

    def plan(self, arguments: ConvertArguments, frame: Frame, plan: Plan) -> Frame:
        untouched = {c.pattern for c in arguments.conversions if c.function == "none"}
        for item in arguments.conversions:
            if item.function == "none":
                continue
            for name in frame.expand(item.pattern):
                column = frame.find(name, item.span)
                if column is None or (name in untouched and "*" in item.pattern):
                    continue
                value = converted(item, kinds.of_column(column), arguments.format, plan)
                target = item.name if "*" not in item.pattern else name
                frame, new = plan.compute(frame, value)
                frame = frame.with_(fields={**frame.fields, target: new})
        return frame


FUNCTIONS = ("auto", "ctime", "dur2sec", "memk", "mktime", "mstime", "none", "num", "rmcomma", "rmunit")


def converted(item: Conversion, value: Value, form: str, plan: Plan) -> Value:
    text = kinds.to_string(value)
    if item.function == "ctime":
        parts = format_parts(kinds.to_number(value), form, item.span)
        tree = parts[0]
        for part in parts[1:]:
            tree = sql.binary("||", tree, part)
        return Value(tree, Kind.STR)
    if item.function == "mktime":
        return parse_time(text, form, item.span, plan.timezone)
    if item.function in {"num", "auto"}:
        number = kinds.to_number(value)
        if item.function == "num" or value.kind.numeric:
            return number
        # auto() leaves a text that is no number as it is.
        return value
    return Value(_number_of(item.function, text), Kind.NUM)


def _number_of(function: str, text: Value) -> sql.E:
    """The number inside a text, null where there is none."""
    if function == "rmcomma":
        return sql.try_cast(sql.call("replace", text.use(), sql.text(","), sql.text("")), "DOUBLE")
    if function == "rmunit":
        found = sql.call(
            "regexp_extract", text.use(), sql.text(r"^\s*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)"), sql.number(1)
        )
        return sql.try_cast(found, "DOUBLE")
    if function == "memk":
        number = sql.try_cast(
            sql.call("regexp_extract", text.use(), sql.text(r"^\s*(\d+\.?\d*)"), sql.number(1)), "DOUBLE"
        )
        unit = sql.call(
            "lower", sql.call("regexp_extract", text.use(), sql.text(r"([kmgKMG])[bB]?\s*$"), sql.number(1))
        )
        pairs = [(sql.binary("=", unit.copy(), sql.text(u)), sql.number(f)) for u, f in (("m", 1024), ("g", 1048576))]
        return sql.binary("*", number, sql.case(pairs, sql.number(1)))
    return _seconds(function, text)


def _seconds(function: str, text: Value) -> sql.E:
    """`[D+]HH:MM:SS` (dur2sec) or `[MM:]SS.mmm` (mstime) in seconds."""
    pattern = (
        r"^(?:(\d+)\+)?(\d+):(\d+):(\d+(?:\.\d+)?)$" if function == "dur2sec" else r"^()()(?:(\d+):)?(\d+(?:\.\d+)?)$"
    )
    total: sql.E | None = None
    for group, factor in ((1, 86400), (2, 3600), (3, 60), (4, 1)):
        part = sql.try_cast(sql.call("regexp_extract", text.use(), sql.text(pattern), sql.number(group)), "DOUBLE")
        filled = sql.call("coalesce", part, sql.number(0.0)) if group < 4 else part
        term = sql.binary("*", filled, sql.number(factor))
        total = term if total is None else sql.binary("+", total, term)
    assert total is not None  # noqa: S101 - four groups
    return total
