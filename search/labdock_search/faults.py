"""Errors of a search: where, in which command, what was expected, what was probably meant."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from labdock.errors import NotFound, RequestError, SearchError
from labdock.names import nearest

SHOWN = 60


class Origin(Protocol):
    """Where a position of the expanded search was in what the user wrote."""

    def of(self, position: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the search's text: 0-based offset and length."""

    position: int
    length: int = 0

    def to(self, other: "Span") -> "Span":
        """From the start of this span to the end of the other."""
        return Span(self.position, max(other.position + other.length - self.position, self.length))


def shown(text: str) -> str:
    """`text` as a message may quote it: printable and short."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: SHOWN + 1])
    return repr(clean if len(clean) <= SHOWN else clean[:SHOWN] + "…")


def fault(message: str, span: Span, *, remedy: str = "", expected: str = "") -> SearchError:
    """A `SearchError` at `span`. `finish` adds the command and the position to its message."""
    if expected and not remedy:
        remedy = f"Expected {expected}."
    return SearchError(
        message.rstrip(".") + ".",
        remedy=remedy,
        position=span.position,
        length=span.length,
        command="",
        expected=expected,
    )


def finish(error: RequestError, command: str, origin: Origin) -> None:
    """Say in which command and where, in terms of the text that the user wrote."""
    if error.details.get("command") or "position" not in error.details:
        return
    position = error.details["position"]
    end = origin.of(position + error.details["length"])
    error.details["position"] = origin.of(position)
    error.details["length"] = max(end - error.details["position"], 0)
    error.details["command"] = command or "search"
    where = f"{command!r}, " if command else ""
    error.message = f"{error.message.rstrip('.')} ({where}at character {error.details['position'] + 1})."
    error.args = (error.message,)


def unknown(kind: str, name: str, known: Iterable[str], span: Span, remedy: str = "") -> SearchError:
    """A `SearchError` for an unknown command, function, option or field, with the nearest known one."""
    choices = sorted(known)
    best = nearest(name[:200], choices)
    hint = f"Did you mean {best!r}?" if best else remedy
    if not hint and choices:
        hint = f"There is: {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}."
    error = fault(f"Unknown {kind} {shown(name)}", span, remedy=hint)
    error.details.update(kind=kind, name=name[:200], nearest=best)
    return error


def placed(error: NotFound, span: Span) -> NotFound:
    """A host's `NotFound` with the position of the name in the search."""
    error.details.update(position=span.position, length=span.length, command="")
    return error
