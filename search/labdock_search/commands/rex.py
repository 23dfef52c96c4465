"""`rex` and `regex`: regular expressions over a field. They take linear time (RE2), so no look-around."""

import re
from dataclasses import dataclass

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.faults import Span, fault, shown
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind, Value
from labdock_search.patterns import group_names, to_re2
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

SED = re.compile(r"\s*(?:s(.)(.*?)(?<!\\)\1(.*?)(?<!\\)\1(g|\d*)|y(.)(.*?)(?<!\\)\5(.*?)(?<!\\)\5)\s*", re.DOTALL)
DATA = '| makeresults | eval m="user=anna id=7 user=bert"'


@dataclass
class RexArguments:
    field: str
    pattern: str
    groups: dict[str, int]
    matches: int
    sed: tuple[str, str, bool] | None
    letters: tuple[str, str] | None
    span: Span


@register
class Rex(Command):
    name = "rex"
    usage = (
        'rex [field=<field>] "<regex with (?<name>…)>" [max_match=<n>] | rex [field=<field>] mode=sed '
        '"s/<regex>/<text>/g"'
    )
    summary = "Fields from the named groups of a regular expression, or replacement as in sed."
    notes = "Without `field` it reads `_raw`. `max_match` above 1, or 0 for all, gives multivalue fields."
    examples = (
        Example(
            f'{DATA} | rex field=m "user=(?<who>\\w+) id=(?<id>\\d+)" | table who id', [{"who": "anna", "id": "7"}]
        ),
        Example(f'{DATA} | rex field=m max_match=0 "user=(?<who>\\w+)" | table who', [{"who": ["anna", "bert"]}]),
        Example(f'{DATA} | rex field=m mode=sed "s/user=(\\w+)/<\\1>/g" | table m', [{"m": "<anna> id=7 <bert>"}]),
    )

    def parse(self, piece: Piece) -> RexArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("field", "max_match", "mode", "offset_field"), span)
        words = found.words()
        if len(words) != 1 or words[0].quote != '"':
            raise fault(
                "rex takes one pattern in quotes", words[1].span if len(words) > 1 else span, expected=self.usage
            )
        pattern, at = words[0].value, words[0].span
        field = found.text("field", "_raw")
        if found.choice("mode", ("sed",), "") == "sed":
            return _sed(field, pattern, at)
        translated = to_re2(pattern, at)
        names = group_names(translated)
        if not names:
            raise fault("The pattern names no field", at, expected="a named group: (?<name>…)")
        if len(set(names)) < len(names):
            raise fault("The pattern names a field twice", at)
        places = re.compile(translated).groupindex if _python_reads(translated) else {}
        groups = {name: places.get(name, i) for i, name in enumerate(names, 1)}
        matches = found.whole("max_match", 1, 0, 10_000)
        return RexArguments(field, translated, groups, matches, None, None, at)

    def plan(self, arguments: RexArguments, frame: Frame, plan: Plan) -> Frame:
        column = frame.find(arguments.field, arguments.span)
        if column is None:
            return frame
        subject = kinds.to_string(kinds.of_column(column))
        fields = dict(frame.fields)
        trees: list[tuple[str, sql.E]] = []
        if arguments.sed or arguments.letters:
            fields[arguments.field] = Column(plan.new_id(), Kind.STR)
            trees.append((fields[arguments.field].id, _replaced(arguments, subject)))
        for name, place in arguments.groups.items():
            value = _captured(arguments, subject, place)
            old = frame.fields.get(name)
            if old is not None:
                kind = kinds.common([value.kind, old.kind])
                parts = [kinds.convert(value, kind).use(), kinds.convert(kinds.of_column(old), kind).use()]
                value = Value(sql.call("coalesce", *parts), kind)
            fields[name] = Column(plan.new_id(), value.kind)
            trees.append((fields[name].id, value.use()))
        return plan.extend(frame, trees).with_(fields=fields)


def _python_reads(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _captured(arguments: RexArguments, subject: Value, place: int) -> Value:
    pattern = sql.text(arguments.pattern)
    if arguments.matches == 1:
        one = sql.call("regexp_extract", subject.use(), pattern, sql.number(place))
        return Value(sql.call("nullif", one, sql.text("")), Kind.STR)
    several = sql.call("regexp_extract_all", subject.use(), pattern, sql.number(place))
    if arguments.matches:
        several = sql.call("list_slice", several, sql.number(1), sql.number(arguments.matches))
    return Value(sql.call("nullif", several, sql.call("list_value")), Kind.LIST)


def _replaced(arguments: RexArguments, subject: Value) -> sql.E:
    if arguments.letters:
        old, new = arguments.letters
        return sql.call("translate", subject.use(), sql.text(old), sql.text(new))
    assert arguments.sed is not None  # noqa: S101 - one of the two is set
    pattern, by, everywhere = arguments.sed
    options = [sql.text("g")] if everywhere else []
    return sql.call("regexp_replace", subject.use(), sql.text(pattern), sql.text(by), *options)


def _sed(field: str, script: str, span: Span) -> RexArguments:
    match = SED.fullmatch(script)
    if match is None:
        raise fault(f"{shown(script)} is no sed script", span, expected="s/regex/text/g or y/abc/xyz/")
    mark, pattern, by, flag, other, old, new = match.groups()
    if other is not None:
        if len(old) != len(new):
            raise fault("Both sides of y must be equally long", span)
        return RexArguments(field, "", {}, 1, None, (old, new), span)
    if flag not in {"", "g", "1"}:
        raise fault("Only s/…/…/ and s/…/…/g are supported yet", span)
    plain = to_re2(pattern.replace("\\" + mark, mark), span)
    return RexArguments(field, "", {}, 1, (plain, by.replace("\\" + mark, mark), flag == "g"), None, span)


@dataclass
class RegexArguments:
    field: str
    pattern: str
    keep: bool
    span: Span


@register
class Regex(Command):
    name = "regex"
    usage = 'regex [<field>=|<field>!=]"<regex>"'
    summary = "Keeps rows whose field (`_raw` by default) fits, or with != does not fit, a regular expression."
    examples = (
        Example(f'{DATA} | regex m="id=\\d" | stats count', [{"count": 1}]),
        Example(f'{DATA} | regex m!="id=\\d" | stats count', [{"count": 0}]),
    )

    def parse(self, piece: Piece) -> RegexArguments:
        items = parse_arguments(piece)
        span = Span(piece.start, piece.end - piece.start)
        if len(items) != 1:
            raise fault("regex takes one pattern", span, expected=self.usage)
        item = items[0]
        if isinstance(item, syntax.Option) and isinstance(item.value, syntax.Word):
            pattern = to_re2(item.value.value, item.value.span)
            return RegexArguments(item.name, pattern, item.operator == "=", item.span)
        if isinstance(item, syntax.Word) and item.quote == '"':
            return RegexArguments("_raw", to_re2(item.value, item.span), keep=True, span=item.span)
        raise fault("regex takes a pattern in quotes", item.span, expected=self.usage)

    def plan(self, arguments: RegexArguments, frame: Frame, plan: Plan) -> Frame:
        column = frame.find(arguments.field, arguments.span)
        if column is None:
            return plan.filter(frame, sql.false()) if arguments.keep else frame
        subject = kinds.to_string(kinds.of_column(column))
        fits = sql.call("regexp_matches", subject.use(), sql.text(arguments.pattern))
        return plan.filter(frame, fits if arguments.keep else sql.is_not_true(fits))
