"""`rename`: other names for fields."""

import re

from labdock_search import syntax
from labdock_search.commands.base import Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

Pair = tuple[syntax.Word, syntax.Word]


@register
class Rename(Command):
    name = "rename"
    usage = 'rename <field> as <name>[, <field> as "<name>"]…'
    summary = "Renames fields; with a wildcard on both sides, all that fit. A field of the new name is replaced."
    examples = (
        Example('| makeresults format=csv data="a,b\n1,2" | rename a as "the a"', [{"the a": 1, "b": 2}]),
        Example('| makeresults format=csv data="x_a,x_b\n1,2" | rename x_* as *', [{"a": 1, "b": 2}]),
    )

    def parse(self, piece: Piece) -> list[Pair]:
        items = [i for i in arranged(parse_arguments(piece), (), Span(piece.start)).items if not is_comma(i)]
        if not items or len(items) % 3:
            raise fault("rename takes pairs", Span(piece.start, piece.end - piece.start), expected=self.usage)
        pairs = []
        for i in range(0, len(items), 3):
            if keyword(items[i + 1]) != "as":
                raise fault("'as' is missing", items[i + 1].span, expected=self.usage)
            old, new = as_word(items[i]), as_word(items[i + 2])
            if old.value.count("*") != new.value.count("*") or new.value == "":
                raise fault("Both names must have the same wildcards", new.span, expected="as many * on both sides")
            pairs.append((old, new))
        return pairs

    def plan(self, arguments: list[Pair], frame: Frame, plan: Plan) -> Frame:
        for old, new in arguments:
            frame = frame.with_(fields=_renamed(frame, old, new))
        return frame


def _renamed(frame: Frame, old: syntax.Word, new: syntax.Word) -> dict[str, Column]:
    names: dict[str, str] = {}
    if "*" in old.value:
        for name in frame.expand(old.value):
            names[name] = _filled(name, old.value, new.value)
    elif frame.find(old.value, old.span) is not None:
        names[old.value] = new.value
    targets = {new for old, new in names.items()}
    found: dict[str, Column] = {}
    for name, column in frame.fields.items():
        if name in names:
            found[names[name]] = column
        elif name not in targets:
            found[name] = column
    return found


def _filled(name: str, pattern: str, target: str) -> str:
    """The parts of `name` that the wildcards of `pattern` matched, put into those of `target`."""
    match = re.fullmatch("(.*)".join(re.escape(part) for part in pattern.split("*")), name, re.DOTALL)
    parts = list(match.groups()) if match else []
    return re.sub(r"\*", lambda _: parts.pop(0) if parts else "", target)
