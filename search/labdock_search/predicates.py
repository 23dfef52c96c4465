"""From search terms to SQL: values are case-insensitive, `*` matches anything, OR binds tighter than AND.

`certain` tells what is already known of a term for every file that will be read, so that it need not be asked of
every row. It is also what prunes files: see `outcome`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp

from labdock.errors import RequestError
from labdock_search import kinds, sql, syntax
from labdock_search.expressions import Scope, compare
from labdock_search.faults import Span, fault
from labdock_search.frame import wildcard
from labdock_search.kinds import Column, Kind, Value
from labdock_search.sql import E

Facts = Mapping[str, frozenset[str]]
Certain = Callable[[syntax.Matches], bool | None]
EXACT = 2**53
MAX_TERMS = 300


def nothing_certain(node: syntax.Matches) -> bool | None:  # noqa: ARG001 - the shape of Certain
    return None


class Predicates:
    """Compiles terms over a frame. The scope's frame may grow columns."""

    def __init__(self, scope: Scope, certain: Certain = nothing_certain) -> None:
        self.scope = scope
        self.certain = certain
        self.terms = 0
        self.subject: Column | None = None  # the text that free terms are looked for in

    def tree(self, node: Any) -> E:
        """A condition; null counts as false, so NOT is taken of `IS TRUE`."""
        if isinstance(node, syntax.And):
            return sql.all_of([self.tree(part) for part in node.parts])
        if isinstance(node, syntax.Or):
            return self.either(node)
        if isinstance(node, syntax.Not):
            return sql.is_not_true(self.tree(node.part))
        if isinstance(node, syntax.Matches):
            return self.matches(node)
        if isinstance(node, syntax.Term):
            return self.term(node)
        raise fault("This is no search term", node.span)

    def either(self, node: syntax.Or) -> E:
        """OR; equalities of one field become one IN."""
        texts: dict[str, dict[str, E]] = {}
        numbers: dict[str, dict[str, E]] = {}
        rest: list[E] = []
        for part in node.parts:
            column = self.scope.frame.fields.get(part.field) if isinstance(part, syntax.Matches) else None
            if column is None or part.operator != "=" or "*" in part.value or self.certain(part) is not None:
                rest.append(self.tree(part))
                continue
            number = kinds.as_number(part.value)
            if column.kind is Kind.STR and number is None:
                lowered = part.value.lower()
                texts.setdefault(column.id, {})[lowered] = sql.text(lowered)
            elif column.kind.numeric and number is not None:
                numbers.setdefault(column.id, {})[part.value] = sql.number(number)
            else:
                rest.append(self.tree(part))
        rest += [sql.one_of(sql.call("lower", sql.column(id_)), found.values()) for id_, found in texts.items()]
        rest += [sql.one_of(sql.column(id_), found.values()) for id_, found in numbers.items()]
        return sql.any_of(rest)

    def matches(self, node: syntax.Matches) -> E:
        known = self.certain(node)
        if known is not None:
            return exp.Boolean(this=known)
        column = self.scope.frame.find(node.field, node.span)
        if column is None:
            return sql.false()
        value = kinds.of_column(column)
        if node.operator == "=":
            return equals(column, node.value)
        if node.operator == "!=":
            differs = sql.is_not_true(equals(column, node.value))
            return sql.all_of([sql.not_null(value.use()), differs])
        return compare(node.operator, value, kinds.text(node.value)).use()

    def term(self, node: syntax.Term) -> E:
        """Free text: in `_raw` where there is one, else in any field."""
        if not node.quoted and set(node.value) == {"*"}:
            return sql.true()
        self.terms += 1
        if self.terms > MAX_TERMS:
            remedy = "Search a field: field IN (a, b, …)."
            raise fault(f"More than {MAX_TERMS} words to look for in events", node.span, remedy=remedy)
        if self.subject is None:
            self.subject = self._event_text()
        return sql.call("regexp_matches", sql.column(self.subject.id), sql.text(_term_pattern(node)))

    def _event_text(self) -> Column:
        """`_raw`, else all fields one a line, in a column that all terms share."""
        fields = self.scope.frame.fields
        raw = fields.get("_raw")
        if raw is not None and raw.kind is Kind.STR:
            return raw
        visible = [c for name, c in fields.items() if not name.startswith("_")]
        parts = [kinds.to_string(kinds.of_column(c)).use() for c in ([raw] if raw else visible)]
        whole = Value(sql.call("concat_ws", sql.text("\n"), *parts) if parts else sql.text(""), Kind.STR)
        self.scope.frame, column = self.scope.plan.compute(self.scope.frame, whole)
        return column


def _term_pattern(node: syntax.Term) -> str:
    """The term between characters that are neither letters nor digits."""
    body = r"[^\n]*".join(re.escape(part) for part in re.split(r"\*+", node.value))
    before = "" if node.value[:1] == "*" or not node.value[:1].isalnum() else r"(?:^|[^\pL\pN])"
    after = "" if node.value[-1:] == "*" or not node.value[-1:].isalnum() else r"(?:$|[^\pL\pN])"
    return ("" if node.case else "(?i)") + before + body + after


def equals(column: Column, written: str) -> E:
    """`field=value` of search: any case, `*` for anything, numbers by value."""
    value = kinds.of_column(column)
    if re.fullmatch(r"\*+", written):
        return sql.not_null(value.use())
    number = kinds.as_number(written)
    if column.kind.numeric and "*" not in written:
        return sql.binary("=", value.use(), sql.number(number)) if number is not None else sql.false()
    if column.kind is Kind.LIST:
        fits = _text_equals(sql.column("item"), written, number)
        hits = sql.call("list_filter", value.use(), sql.each("item", fits))
        return sql.binary(">", sql.call("len", hits), sql.number(0))
    return _text_equals(kinds.to_string(value).use(), written, number)


def _text_equals(subject: E, written: str, number: float | None) -> E:
    lowered = sql.call("lower", subject)
    if "*" in written:
        return like(lowered, written.lower())
    if number is not None and abs(number) <= EXACT:
        return sql.binary("=", sql.try_cast(subject, "DOUBLE"), sql.number(number))
    return sql.binary("=", lowered, sql.text(written.lower()))


def like(subject: E, pattern: str) -> E:
    """`*` matches anything; a plain LIKE where nothing needs escaping, since DuckDB optimises it."""
    if not re.search(r"[%_\\]", pattern):
        return exp.Like(this=subject, expression=sql.text(re.sub(r"\*+", "%", pattern)))
    escaped = re.sub(r"([%_\\])", r"\\\1", pattern)
    return sql.call("like_escape", subject, sql.text(re.sub(r"\*+", "%", escaped)), sql.text("\\"))


def condition_of_text(text: str, span: Span, scope: Scope) -> Value:
    """Search terms inside an expression: `searchmatch("…")`."""
    from labdock_search.grammar.parsers import parse_search  # noqa: PLC0415 - only where it is used
    from labdock_search.splitter import Piece, check  # noqa: PLC0415

    check(text)
    try:
        node = parse_search(Piece(text, 0, len(text)))
    except RequestError as error:
        raise fault(f"searchmatch() cannot read its terms: {error}", span) from None
    return Value(sql.is_true(Predicates(scope).tree(node)), Kind.BOOL, size=20)


# -- what is known without reading rows


def outcome(node: Any, facts: Facts) -> bool | None:
    """Whether rows of a file with these facts fit: always, never, or None for some."""
    if isinstance(node, syntax.And):
        found = [outcome(part, facts) for part in node.parts]
        return False if False in found else None if None in found else True
    if isinstance(node, syntax.Or):
        found = [outcome(part, facts) for part in node.parts]
        return True if True in found else None if None in found else False
    if isinstance(node, syntax.Not):
        inner = outcome(node.part, facts)
        return None if inner is None else not inner
    if isinstance(node, syntax.Matches) and node.field in facts and node.operator in {"=", "!="}:
        fits = {fits_text(value, node.value) for value in facts[node.field]}
        if len(fits) != 1:
            return None
        return fits.pop() == (node.operator == "=")
    return None


def fits_text(value: str, written: str) -> bool:
    """Whether a value fits `=written`, as `equals` decides it row by row."""
    if "*" in written:
        return wildcard(written.lower()).fullmatch(value.lower()) is not None
    wanted = kinds.as_number(written)
    if wanted is not None and abs(wanted) <= EXACT:
        return kinds.as_number(value) == wanted
    return value.lower() == written.lower()
