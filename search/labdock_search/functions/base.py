"""The registry of eval functions. A function is one decorated builder: its arguments' syntax to SQL."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labdock_search import kinds, sql, syntax
from labdock_search.faults import Span, fault, shown
from labdock_search.kinds import Kind, Value
from labdock_search.sql import E

if TYPE_CHECKING:
    from labdock_search.expressions import Scope

EVAL: dict[str, "Function"] = {}


@dataclass(frozen=True)
class Example:
    """An expression and what it gives; every one is run by the tests."""

    expression: str
    gives: Any


@dataclass(frozen=True)
class Function:
    name: str
    signature: str  # as the help shows it: "substr(text, start[, length])"
    summary: str
    family: str
    least: int
    most: int | None
    build: Callable[["Arguments"], Value]
    examples: tuple[Example, ...] = field(default=())

    def check(self, node: syntax.Call) -> None:
        count = len(node.arguments)
        if count < self.least or (self.most is not None and count > self.most):
            wanted = str(self.least) if self.most == self.least else f"at least {self.least}"
            if self.most is not None and self.most > self.least:
                wanted = f"{self.least} to {self.most}"
            raise fault(f"{self.name}() takes {wanted} arguments, not {count}", node.span, expected=self.signature)


class Arguments:
    """The arguments of one call, compiled when asked for."""

    def __init__(self, function: Function, node: syntax.Call, scope: "Scope") -> None:
        self.function = function
        self.node = node
        self.scope = scope

    def __len__(self) -> int:
        return len(self.node.arguments)

    @property
    def span(self) -> Span:
        return self.node.span

    def value(self, index: int) -> Value:
        return self.scope.small(self.node.arguments[index])

    def values(self) -> list[Value]:
        return [self.value(i) for i in range(len(self))]

    def number(self, index: int) -> Value:
        return kinds.to_number(self.value(index))

    def string(self, index: int) -> Value:
        return kinds.to_string(self.value(index))

    def list(self, index: int) -> Value:
        return kinds.to_list(self.value(index))

    def condition(self, index: int) -> Value:
        return self.scope.condition(self.node.arguments[index])

    def constant(self, index: int, what: str) -> str:
        """A text that must be written in the search: formats, patterns, units."""
        value = self.value(index)
        if value.constant is None:
            span = self.node.arguments[index].span
            raise fault(f"{self.function.name}() needs {what} as a literal", span, expected=f'{what} in "quotes"')
        return value.constant if isinstance(value.constant, str) else kinds.shown_number(value.constant)

    def whole(self, index: int, what: str) -> int:
        """A whole number that must be written in the search."""
        text = self.constant(index, what)
        found = kinds.as_number(text)
        if not isinstance(found, int):
            raise fault(f"{shown(text)} is not {what}", self.node.arguments[index].span, expected=what)
        return found

    def pattern(self, index: int) -> str:
        """A regular expression, checked and translated to RE2 (linear time)."""
        return check_pattern(self.constant(index, "a regular expression"), self.node.arguments[index].span, self.scope)


def check_pattern(pattern: str, span: Span, scope: "Scope") -> str:
    from labdock_search.patterns import to_re2  # noqa: PLC0415 - patterns need a session, sessions need functions

    return to_re2(pattern, span, scope.plan)


def function(
    name: str, signature: str, summary: str, family: str, least: int, most: int | None = -1, *examples: tuple[str, Any]
) -> Callable[[Callable[[Arguments], Value]], Callable[[Arguments], Value]]:
    """Register a builder under `name`. `most` is `least` unless given; None for any number."""

    def register(build: Callable[[Arguments], Value]) -> Callable[[Arguments], Value]:
        found = tuple(Example(text, gives) for text, gives in examples)
        limit = least if most == -1 else most
        EVAL[name] = Function(name, signature, summary, family, least, limit, build, found)
        return build

    return register


def numeric(tree: E, *parts: Value, whole: bool = False) -> Value:
    return Value(tree, Kind.INT if whole else Kind.NUM, size=size(parts))


def string(tree: E, *parts: Value) -> Value:
    return Value(tree, Kind.STR, size=size(parts))


def several(tree: E, *parts: Value) -> Value:
    return Value(tree, Kind.LIST, size=size(parts))


def truth(tree: E, *parts: Value) -> Value:
    return Value(tree, Kind.BOOL, size=size(parts))


def size(parts: tuple[Value, ...]) -> int:
    return sum(part.size for part in parts) + 2


def attempt(tree: E) -> E:
    """Null instead of an error for values outside a function's domain."""
    return sql.call("try", tree)
