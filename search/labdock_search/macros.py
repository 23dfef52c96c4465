"""Search macros: `` `name` `` and `` `name(a, b)` `` stand for text that an administrator or user defined."""

import bisect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from labdock_search.faults import Span, fault, unknown

MAX_DEPTH = 16
MAX_EXPANDED = 1_048_576
CALL = re.compile(r"\s*([A-Za-z0-9_:.-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
ARGUMENT = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,"]*)\s*(?:,|$)', re.DOTALL)


@dataclass(frozen=True)
class Macro:
    """`definition` with `$argument$` where an argument goes."""

    definition: str
    arguments: tuple[str, ...] = ()


@dataclass(slots=True)
class Origin:
    """Maps a position of the expanded text back to what the user wrote (a macro's text to its call)."""

    starts: list[int] = field(default_factory=lambda: [0])
    sources: list[tuple[int, bool]] = field(default_factory=lambda: [(0, True)])  # position, moves along

    def of(self, position: int) -> int:
        i = bisect.bisect_right(self.starts, position) - 1
        source, moves = self.sources[i]
        return source + (position - self.starts[i] if moves else 0)


def expand(text: str, macros: Mapping[str, Macro]) -> tuple[str, Origin]:
    """`text` with every macro replaced. A key of `macros` is `name` or `name(2)`, by number of arguments."""
    origin = Origin()
    if "`" not in text:
        return text, origin
    parts: list[str] = []
    at = length = 0
    while (start := _next_tick(text, at)) >= 0:
        end = text.find("`", start + 1)
        if end < 0:
            raise fault("This macro is not closed", Span(start, 1), expected="a closing `")
        body = _expand_one(text[start + 1 : end], macros, Span(start, end + 1 - start), 0)
        parts += [text[at:start], body]
        origin.starts += [length + start - at, length + start - at + len(body)]
        origin.sources += [(start, False), (end + 1, True)]
        length += start - at + len(body)
        at = end + 1
    parts.append(text[at:])
    return "".join(parts), origin


def _next_tick(text: str, at: int) -> int:
    """The next backtick outside double quotes."""
    pattern = re.compile(r'`|"(?:[^"\\]|\\.)*"?', re.DOTALL)
    while match := pattern.search(text, at):
        if match.group() == "`":
            return match.start()
        at = match.end()
    return -1


def _expand_one(call: str, macros: Mapping[str, Macro], span: Span, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise fault(f"Macros call one another more than {MAX_DEPTH} deep", span, remedy="One of them calls itself.")
    match = CALL.fullmatch(call)
    if match is None:
        raise fault("This is no macro call", span, expected="`name` or `name(argument, …)`")
    name, inside = match.group(1), match.group(2)
    values = _arguments(inside) if inside is not None and inside.strip() else []
    macro = macros.get(f"{name}({len(values)})") if values else macros.get(name)
    if macro is None or len(macro.arguments) != len(values):
        known = [key.partition("(")[0] for key in macros]
        if name in known:
            raise fault(f"The macro {name!r} does not take {len(values)} arguments", span)
        raise unknown("macro", name, known, span, remedy="No macro is defined; put text in double quotes.")
    text = macro.definition
    for argument, value in zip(macro.arguments, values, strict=True):
        text = text.replace(f"${argument}$", value)
    while (start := _next_tick(text, 0)) >= 0:
        end = text.find("`", start + 1)
        if end < 0:
            raise fault(f"The macro {name!r} contains an unclosed `", span)
        text = text[:start] + _expand_one(text[start + 1 : end], macros, span, depth + 1) + text[end + 1 :]
        if len(text) > MAX_EXPANDED:
            raise fault(f"The macro {name!r} expands to more than {MAX_EXPANDED:,} characters", span)
    return text


def _arguments(inside: str) -> list[str]:
    values, at = [], 0
    while at < len(inside):
        match = ARGUMENT.match(inside, at)
        if match is None or match.end() == at:
            break
        value = match.group(1).strip()
        values.append(value[1:-1] if value.startswith('"') and len(value) > 1 else value)
        at = match.end()
    return values
