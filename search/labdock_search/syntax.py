"""What the grammars give: the nodes of search terms, of expressions and of argument lists.

Chains of AND, OR, `.`, `+` and so on are one node with many parts, so that ten thousand terms are no deep tree.
"""

from dataclasses import dataclass, field
from typing import Any

from labdock_search.faults import Span


@dataclass(slots=True)
class Node:
    span: Span


# -- expressions of eval and where


@dataclass(slots=True)
class Number(Node):
    text: str


@dataclass(slots=True)
class Text(Node):
    value: str


@dataclass(slots=True)
class Field(Node):
    """A field's name; `quoted` where it was written in single quotes."""

    name: str
    quoted: bool = False


@dataclass(slots=True)
class Call(Node):
    """A function call; `source` is the text as written, for those who take it for a field's name."""

    name: str
    arguments: list[Any]
    source: str = ""


@dataclass(slots=True)
class Unary(Node):
    operator: str  # "-", "+", "NOT"
    operand: Any


@dataclass(slots=True)
class Chain(Node):
    """`parts` joined by `operators` (one fewer), applied from the left."""

    operators: list[str]
    parts: list[Any]


@dataclass(slots=True)
class Compare(Node):
    operator: str  # = != < <= > >= LIKE
    left: Any
    right: Any


@dataclass(slots=True)
class Among(Node):
    """`x IN (a, b)`."""

    operand: Any
    choices: list[Any]


@dataclass(slots=True)
class Assignment(Node):
    target: str
    value: Any


# -- search terms


@dataclass(slots=True)
class Term(Node):
    """Free text to be found in the event; `exact` for TERM() and CASE()."""

    value: str
    quoted: bool = False
    case: bool = False


@dataclass(slots=True)
class Matches(Node):
    """`field op value`: the value may hold `*`."""

    field: str
    operator: str
    value: str
    quoted: bool = False


@dataclass(slots=True)
class And(Node):
    parts: list[Any]


@dataclass(slots=True)
class Or(Node):
    parts: list[Any]


@dataclass(slots=True)
class Not(Node):
    part: Any


# -- argument lists


@dataclass(slots=True)
class Word(Node):
    """A bare word, a quoted text (`quote` is `"` or `'`), or a comma."""

    value: str
    quote: str = ""


@dataclass(slots=True)
class Option(Node):
    """`name=value` (or `name!=value`); the value is a Word, a Call or a Subsearch."""

    name: str
    operator: str
    value: Any


@dataclass(slots=True)
class Subsearch(Node):
    """`[ … ]`: the pieces of the inner pipeline."""

    text: str
    pieces: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)  # the parsed commands
