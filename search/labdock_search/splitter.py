"""Cut the text of a search into the pieces between pipes.

Knows double quotes with backslash escapes, single-quoted field names (not in search terms, where an apostrophe is
a letter), `[subsearches]`, ```comments``` and, through `macros`, `macros`. One pass with one regular expression:
linear in the text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from labdock_search.faults import Span, fault, shown
from labdock_search.macros import Macro, Origin, expand
from labdock_search.syntax import Subsearch

MAX_LENGTH = 1_048_576
MAX_NESTING = 8
MAX_COMMANDS = 250
MAX_SUBSEARCHES = 50

STOP = re.compile(r'```|["\'`\[\]|\\]')
COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|```', re.DOTALL)
STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")
BEFORE_QUOTE = re.compile(r"[\s(,=<>!+\-*/%.|]")


@dataclass(slots=True)
class Piece:
    """One command: `text[start:end]`. Positions are those of the whole search; in `text`, subsearches are masked
    (`[`, as many U+0001 as they are long, `]`), and `subsearches` has them by the position of their bracket."""

    text: str
    start: int
    end: int
    subsearches: dict[int, Subsearch] = field(default_factory=dict)

    def part(self, start: int, end: int | None = None) -> "Piece":
        """The same piece, less what is before `start` and after `end`."""
        return Piece(self.text, start, self.end if end is None else end, self.subsearches)


@dataclass(slots=True)
class Split:
    text: str  # comments blanked, macros expanded
    pieces: list[Piece]
    origin: Origin  # where a position of `text` was in what the user wrote


def split(text: str, macros: Mapping[str, Macro] | None = None) -> Split:
    """The pieces of a search. Raises `SearchError`."""
    check(text)
    expanded, origin = expand(blank_comments(text), macros or {})
    splitter = _Splitter(expanded)
    pieces, end = splitter.pipeline(0, 0)
    if end < len(expanded):
        raise fault("This ']' closes nothing", Span(end, 1), expected="'[' before it, or quotes around it")
    return Split(expanded, pieces, origin)


def check(text: str) -> None:
    """Refuse what no search can be."""
    if len(text) > MAX_LENGTH:
        raise fault(
            f"The search has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed",
            Span(MAX_LENGTH, len(text) - MAX_LENGTH),
            remedy="Put long lists of values into a lookup.",
        )
    bad = re.search(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]", text)
    if bad:
        raise fault(
            f"The search contains the control character U+{ord(bad.group()):04X}",
            Span(bad.start(), 1),
            remedy="Remove it; a search is text.",
        )


def blank_comments(text: str) -> str:
    """Replace ```comments``` by spaces, so that positions stay. Quoted text is no comment."""
    if "```" not in text:
        return text
    parts: list[str] = []
    at = done = 0
    while match := COMMENT.search(text, at):
        start, at = match.span()
        if match.group()[0] == '"':
            continue
        end = text.find("```", at)
        if end < 0:
            raise fault("This comment is not closed", Span(start, 3), expected="``` at its end")
        at = end + 3
        parts += [text[done:start], " " * (at - start)]
        done = at
    return "".join(parts) + text[done:]


class _Splitter:
    def __init__(self, text: str) -> None:
        self.text = text
        self.subsearches = 0

    def pipeline(self, start: int, depth: int) -> tuple[list[Piece], int]:
        """Pieces from `start` to the end of the text or an unopened `]`; and where it stopped."""
        text, begin, at = self.text, start, start
        bounds: list[tuple[int, int]] = []
        inner: dict[int, Subsearch] = {}
        end = len(text)
        while match := STOP.search(text, at):
            found, at = match.group(), match.end()
            if found == "|":
                bounds.append((begin, match.start()))
                begin = at
                self.limit(len(bounds), match)
            elif found == '"':
                at = self.after_string(match.start())
            elif found == "'":
                at = self.after_name(match.start(), begin)
            elif found == "[":
                inner[match.start()], at = self.subsearch(match.start(), depth)
            elif found == "]":
                if depth == 0:
                    raise fault("This ']' closes nothing", Span(at - 1, 1), expected="'[' before it, or quotes")
                end = match.start()
                break
            elif found == "\\":
                at += 1
        bounds.append((begin, end))
        masked = mask(text, inner)
        return [Piece(masked, first, last, inner) for first, last in bounds], end

    def limit(self, commands: int, match: re.Match[str]) -> None:
        if commands > MAX_COMMANDS:
            raise fault(
                f"The search has more than {MAX_COMMANDS} commands",
                Span(match.start(), 1),
                remedy="Join neighbouring commands, for instance several eval into one.",
            )

    def after_string(self, start: int) -> int:
        end = STRING_END.match(self.text, start + 1)
        if end is None:
            raise fault(
                f"The text that begins with {shown(self.text[start : start + 20])} is not closed",
                Span(start, len(self.text) - start),
                expected='a closing "',
            )
        return end.end()

    def after_name(self, start: int, begin: int) -> int:
        """Past a single-quoted field name, or just past an apostrophe."""
        name = NAME.match(self.text, begin)
        if name is None or name.group(1) == "search" or not BEFORE_QUOTE.match(self.text, start - 1):
            return start + 1
        if begin == 0 and not self.text[:start].lstrip().startswith("|"):
            return start + 1  # the implicit search
        end = self.text.find("'", start + 1)
        return end + 1 if end > 0 else start + 1

    def subsearch(self, start: int, depth: int) -> tuple[Subsearch, int]:
        self.subsearches += 1
        if depth >= MAX_NESTING or self.subsearches > MAX_SUBSEARCHES:
            limit = f"{MAX_NESTING} levels deep" if depth >= MAX_NESTING else f"{MAX_SUBSEARCHES} in one search"
            raise fault(f"Too many subsearches: at most {limit}", Span(start, 1), remedy="Use lookups or join.")
        pieces, end = self.pipeline(start + 1, depth + 1)
        if end >= len(self.text):
            raise fault("This '[' is not closed", Span(start, 1), expected="']', or quotes around it")
        return Subsearch(Span(start, end + 1 - start), self.text[start + 1 : end], pieces), end + 1


def mask(text: str, inner: dict[int, Subsearch]) -> str:
    """`text` with the inside of every subsearch replaced by U+0001, which no search may contain."""
    if not inner:
        return text
    parts, at = [], 0
    for start, sub in inner.items():
        parts += [text[at : start + 1], "\x01" * (sub.span.length - 2)]
        at = start + sub.span.length - 1
    return "".join(parts) + text[at:]
