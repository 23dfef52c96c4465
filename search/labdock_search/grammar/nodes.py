"""From the grammars' rules to the nodes of `labdock_search.syntax`. Runs inside the parser: no tree, no recursion."""

import re
from typing import Any

from lark import Token, Transformer

from labdock_search import syntax
from labdock_search.faults import Span

ESCAPE = re.compile(r'\\(["\\])')
Children = list[Any]


def span_of(part: Any) -> Span:
    if isinstance(part, Token):
        return Span(part.start_pos or 0, len(part))
    found: Span = part.span
    return found


def between(children: Children) -> Span:
    """From the first child to the last."""
    return span_of(children[0]).to(span_of(children[-1]))


def unquote(token: str) -> str:
    r"""The text of `"…"`: `\"` and `\\` are unescaped, other backslashes stay (regular expressions)."""
    body = token[1:-1]
    return ESCAPE.sub(r"\1", body) if "\\" in body else body


class ExpressionNodes(Transformer):  # type: ignore[type-arg]
    """Rules of expression.lark."""

    def assignments(self, children: Children) -> Children:
        return children

    def assignment(self, children: Children) -> syntax.Assignment:
        target, value = children
        return syntax.Assignment(target.span.to(span_of(value)), target.name, value)

    def target(self, children: Children) -> syntax.Field:
        token = children[0]
        quoted = token.type != "TARGET"
        name = unquote(token) if token.type == "STRING" else token[1:-1] if quoted else str(token)
        return syntax.Field(span_of(token), name, quoted)

    def chain(self, children: Children) -> Any:
        if len(children) == 1:
            return children[0]
        return syntax.Chain(between(children), [str(op) for op in children[1::2]], children[0::2])

    def unary(self, children: Children) -> Any:
        if len(children) == 1:
            return children[0]
        return syntax.Unary(between(children), str(children[0]), children[1])

    def compare(self, children: Children) -> syntax.Compare:
        left, operator, right = children
        name = "=" if operator == "==" else str(operator)
        return syntax.Compare(between(children), name, left, right)

    def among(self, children: Children) -> syntax.Among:
        return syntax.Among(between(children), children[0], children[2:-1])

    def not_among(self, children: Children) -> syntax.Unary:
        span = between(children)
        return syntax.Unary(span, "NOT", syntax.Among(span, children[0], children[3:-1]))

    def number(self, children: Children) -> syntax.Number:
        return syntax.Number(span_of(children[0]), str(children[0]))

    def text(self, children: Children) -> syntax.Text:
        return syntax.Text(span_of(children[0]), unquote(children[0]))

    def quoted(self, children: Children) -> syntax.Field:
        return syntax.Field(span_of(children[0]), children[0][1:-1], quoted=True)

    def field(self, children: Children) -> syntax.Field:
        return syntax.Field(span_of(children[0]), str(children[0]))

    def function(self, children: Children) -> syntax.Call:
        arguments = [c for c in children[1:-1] if c is not None]
        return syntax.Call(between(children), str(children[0]), arguments)

    def group(self, children: Children) -> Any:
        return children[0]


class ArgumentNodes(ExpressionNodes):
    """Rules of arguments.lark."""

    def arguments(self, children: Children) -> Children:
        return children

    def word(self, children: Children) -> syntax.Word:
        token = children[0]
        if token[:1] == '"':
            return syntax.Word(span_of(token), unquote(token), '"')
        if token[:1] == "'" and token[-1:] == "'" and len(token) > 1:
            return syntax.Word(span_of(token), token[1:-1], "'")
        return syntax.Word(span_of(token), str(token))

    def option(self, children: Children) -> syntax.Option:
        operator = "!=" if children[1] == "!=" else "="
        return syntax.Option(between(children), str(children[0]), operator, children[2])

    def call(self, children: Children) -> syntax.Call:
        return syntax.Call(between(children), str(children[0]), children[1:-1])

    def eval_call(self, children: Children) -> syntax.Call:
        return syntax.Call(between(children), "eval", [children[1]])

    def subsearch(self, children: Children) -> syntax.Subsearch:
        return syntax.Subsearch(span_of(children[0]), "")


class SearchNodes(Transformer):  # type: ignore[type-arg]
    """Rules of search.lark."""

    def conjunction(self, children: Children) -> Any:
        parts = [c for c in children if not isinstance(c, Token)]
        return parts[0] if len(parts) == 1 else syntax.And(between(parts), parts)

    def disjunction(self, children: Children) -> Any:
        parts = children[0::2]
        return parts[0] if len(parts) == 1 else syntax.Or(between(parts), parts)

    def negation(self, children: Children) -> Any:
        return children[0] if len(children) == 1 else syntax.Not(between(children), children[1])

    def matches(self, children: Children) -> syntax.Matches:
        key, relation, value = children
        operator = "=" if relation == "==" else str(relation)
        return syntax.Matches(between(children), _plain(key), operator, _plain(value), value[:1] == '"')

    def among(self, children: Children) -> syntax.Or:
        key, values = _plain(children[0]), children[2:]
        parts = [syntax.Matches(span_of(v), key, "=", _plain(v), v[:1] == '"') for v in values]
        return syntax.Or(between(children), parts)

    def term(self, children: Children) -> syntax.Term:
        return syntax.Term(span_of(children[0]), str(children[0]))

    def phrase(self, children: Children) -> syntax.Term:
        return syntax.Term(span_of(children[0]), unquote(children[0]), quoted=True)

    def exact(self, children: Children) -> syntax.Term:
        token = children[0]
        return syntax.Term(span_of(token), token[5:-1].strip(), quoted=True, case=token.startswith("CASE"))

    def subsearch(self, children: Children) -> syntax.Subsearch:
        return syntax.Subsearch(span_of(children[0]), "")


def _plain(token: Token) -> str:
    return unquote(token) if token[:1] == '"' else str(token)
