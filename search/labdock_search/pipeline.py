"""From the text of a search to parsed commands, and from those to a frame."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labdock.errors import RequestError
from labdock_search.commands import MISSING, Command, load
from labdock_search.faults import Origin, Span, fault, finish, shown, unknown
from labdock_search.frame import Frame
from labdock_search.plan import Plan
from labdock_search.settings import Settings
from labdock_search.splitter import Piece, Split, split

NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")
LINE_START = re.compile(r'"(?:[^"\\]|\\.)*"|\n[ \t]*([a-z0-9_]+)(?=\s+\S)', re.DOTALL)
EMPTY = Frame("", {})


@dataclass
class Step:
    """One parsed command."""

    name: str
    command: Command
    arguments: Any
    span: Span
    piece: Piece


@dataclass
class Pipeline:
    """A parsed search."""

    text: str
    origin: Origin
    steps: list[Step]


def parse(text: str, settings: Settings | None = None) -> Pipeline:
    """Parse a whole search. Raises `SearchError` with position, length and command."""
    try:
        parts = split(text, settings.macros if settings else None)
    except RequestError as error:
        finish(error, "", _Same())
        raise
    if not parts.text.strip():
        raise fault("The search is empty", Span(0), expected="search terms, or a command after a |")
    return Pipeline(text, parts.origin, _steps(parts.pieces, parts))


class _Same:
    def of(self, position: int) -> int:
        return position


def _steps(pieces: Sequence[Piece], parts: Split) -> list[Step]:
    found: list[Step] = []
    commands = load()
    blank = not pieces[0].text[pieces[0].start : pieces[0].end].strip()
    for index, piece in enumerate(pieces[1:] if blank and len(pieces) > 1 else pieces):
        implicit = index == 0 and not blank
        name = ""
        try:
            name, rest = _named(piece, commands, implicit=implicit)
            command = commands[name]
            for sub in piece.subsearches.values():
                if piece.start <= sub.span.position < piece.end and not sub.steps:
                    sub.steps = _steps(sub.pieces, parts)
            if index and command.generating and name != "inputlookup":
                remedy = f"Put `| {name}` first, or into append [| {name} …]."
                raise fault(f"{name!r} begins a search", Span(piece.start, len(name)), remedy=remedy)
            _check_lines(commands, rest)
            arguments = command.parse(rest)
            if index == 0 and name == "search":
                arguments.first = True
            elif index == 0 and not command.generating:
                remedy = f"Begin with search terms, or a command such as | inputlookup, before | {name}."
                raise fault(f"{name!r} needs rows to work on", Span(rest.start - len(name), len(name)), remedy=remedy)
        except RequestError as error:
            finish(error, name, parts.origin)
            raise
        found.append(Step(name, command, arguments, Span(piece.start, piece.end - piece.start), rest))
    return found


def _named(piece: Piece, commands: dict[str, Command], *, implicit: bool) -> tuple[str, Piece]:
    """The command's name and the piece after it."""
    match = NAME.match(piece.text, piece.start, piece.end)
    word = match.group(1) if match else ""
    if implicit:
        if match is None or word == "search":
            return "search", piece.part(match.end() if match else piece.start)
        after = piece.text[match.end() : match.end() + 1]
        known = word in commands or (word in MISSING and word not in {"from", "format", "set", "rest", "return"})
        if known and (after == "" or after.isspace()) and not _compares(piece, match.end()):
            remedy = f"Write `| {word} …`: a command begins with a pipe. To search for the word, put it in quotes."
            raise fault(f"{word!r} is a command, not a search term", Span(match.start(1), len(word)), remedy=remedy)
        return "search", piece
    if match is None:
        text = piece.text[piece.start : piece.end].strip()
        raise fault(
            f"{shown(text[:20])} is no command" if text else "A command is missing after the pipe",
            Span(piece.start, max(piece.end - piece.start, 0)),
            expected="a command such as stats",
        )
    lower = word if word in commands or word in MISSING else word.lower()
    span = Span(match.start(1), len(word))
    if lower in commands:
        return lower, piece.part(match.end())
    if lower in MISSING:
        raise fault(f"The command {word!r} is not supported yet", span, remedy="See the list of commands in the help.")
    raise unknown("command", word, commands, span)


def _compares(piece: Piece, at: int) -> bool:
    return re.match(r"\s*(=|!=|<|>|IN\s*\()", piece.text[at : min(at + 20, piece.end)]) is not None


def _check_lines(commands: dict[str, Command], rest: Piece) -> None:
    """A line that begins with a command and lacks its pipe, as in the printed lab guide."""
    if "\n" not in rest.text[rest.start : rest.end]:
        return
    for match in LINE_START.finditer(rest.text, rest.start, rest.end):
        word = match.group(1)
        if word in commands and word not in {"search", "score", "head", "summary"} and not _compares(rest, match.end()):
            remedy = f"Write `| {word} …` if the command is meant; put it on the line before if it is a field."
            message = f"The line begins with the command {word!r} and no pipe"
            raise fault(message, Span(match.start(1), len(word)), remedy=remedy)


def run_steps(steps: Sequence[Step], plan: Plan, frame: Frame = EMPTY) -> Frame:
    """Plan commands one after the other; some run a part of the search already."""
    for step in steps:
        try:
            frame = step.command.plan(step.arguments, frame, plan)
        except RequestError as error:
            if plan.origin is not None:
                finish(error, step.name, plan.origin)
            raise
        plan.trail.append((step.name, ", ".join(list(frame.fields)[:40])))
    return frame
