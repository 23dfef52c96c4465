"""Building blocks of SQL as sqlglot expressions, and their text in DuckDB's dialect. No SQL is pasted from strings."""

from collections.abc import Iterable, Sequence

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

E = exp.Expr
_DIALECT = DuckDB()
_SIMPLE = (exp.Column, exp.Literal, exp.Func, exp.Paren, exp.Null, exp.Boolean, exp.Case, exp.Identifier, exp.Array)
_TYPES = {
    name: exp.DataType(this=getattr(exp.DataType.Type, name)) for name in ("DOUBLE", "BIGINT", "VARCHAR", "BOOLEAN")
}
_TYPES["VARCHAR[]"] = exp.DataType(
    this=exp.DataType.Type.ARRAY, expressions=[exp.DataType(this=exp.DataType.Type.VARCHAR)], nested=True
)


def render(tree: E, *, pretty: bool = False) -> str:
    """The text of a tree, which is used up."""
    return str(_DIALECT.generator(pretty=pretty).generate(tree, copy=False))


def name(identifier: str) -> exp.Identifier:
    return exp.Identifier(this=identifier, quoted=False)


def column(identifier: str, table: str = "") -> exp.Column:
    """One of our own columns (`c12`)."""
    return exp.Column(this=name(identifier), table=name(table) if table else None)


def foreign(identifier: str) -> exp.Column:
    """A column of a file, whatever its name."""
    return exp.Column(this=exp.Identifier(this=identifier, quoted=True))


def table(identifier: str) -> exp.Table:
    return exp.Table(this=name(identifier))


def text(value: str) -> exp.Literal:
    return exp.Literal.string(value)


def number(value: float) -> E:
    """A literal: BIGINT or DOUBLE, never DECIMAL."""
    if isinstance(value, int) and abs(value) < 2**63:
        literal: E = exp.Literal.number(str(abs(value)))
    else:
        shown = repr(abs(float(value)))
        literal = exp.Literal.number(shown if "e" in shown else shown + "e0")
    return exp.Paren(this=exp.Neg(this=literal)) if value < 0 else literal


def true() -> exp.Boolean:
    return exp.Boolean(this=True)


def false() -> exp.Boolean:
    return exp.Boolean(this=False)


def null() -> exp.Null:
    return exp.Null()


def call(function: str, *arguments: E) -> exp.Anonymous:
    """A call of a DuckDB function, left alone by sqlglot's translations."""
    return exp.Anonymous(this=function, expressions=list(arguments))


def cast(value: E, kind: str) -> exp.Cast:
    return exp.Cast(this=value, to=_TYPES[kind].copy())


def try_cast(value: E, kind: str) -> exp.TryCast:
    return exp.TryCast(this=value, to=_TYPES[kind].copy())


def wrap(value: E) -> E:
    """In parentheses where an operator around it could bind tighter."""
    if isinstance(value, exp.Connector) or not isinstance(value, _SIMPLE):
        return exp.Paren(this=value)
    return value


_BINARY: dict[str, type[exp.Binary]] = {
    "=": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
    "+": exp.Add,
    "-": exp.Sub,
    "*": exp.Mul,
    "/": exp.Div,
    "%": exp.Mod,
    "//": exp.IntDiv,
    "||": exp.DPipe,
}


def binary(operator: str, left: E, right: E) -> E:
    return _BINARY[operator](this=wrap(left), expression=wrap(right))


def is_null(value: E) -> E:
    return exp.Is(this=wrap(value), expression=exp.Null())


def not_null(value: E) -> E:
    return exp.Is(this=wrap(value), expression=exp.Not(this=exp.Null()))


def negate(value: E) -> E:
    return exp.Not(this=wrap(value))


def is_true(value: E) -> E:
    """Never null."""
    return exp.Is(this=wrap(value), expression=exp.Boolean(this=True))


def is_not_true(value: E) -> E:
    return exp.Is(this=wrap(value), expression=exp.Not(this=exp.Boolean(this=True)))


def _balanced(parts: Sequence[E], kind: type[exp.Connector]) -> E:
    """A tree of logarithmic depth: nothing recurses over ten thousand levels."""
    if len(parts) == 1:
        return parts[0]
    level = [wrap(part) for part in parts]
    while len(level) > 1:
        pairs = zip(level[0::2], level[1::2], strict=False)
        joined: list[E] = [kind(this=left, expression=right) for left, right in pairs]
        level = joined + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def all_of(parts: Sequence[E]) -> E:
    parts = [part for part in parts if not (isinstance(part, exp.Boolean) and part.this)]
    return _balanced(parts, exp.And) if parts else true()


def any_of(parts: Sequence[E]) -> E:
    parts = [part for part in parts if not (isinstance(part, exp.Boolean) and not part.this)]
    return _balanced(parts, exp.Or) if parts else false()


def one_of(value: E, choices: Iterable[E]) -> E:
    return exp.In(this=wrap(value), expressions=list(choices))


def case(branches: Iterable[tuple[E, E]], default: E | None = None) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=when, true=then) for when, then in branches], default=default)


def each(parameter: str, body: E) -> exp.Lambda:
    """`LAMBDA parameter : body` for the list functions."""
    return exp.Lambda(this=body, expressions=[name(parameter)])


def alias(value: E, identifier: str) -> exp.Alias:
    return exp.Alias(this=value, alias=name(identifier))


def ordered(value: E, *, descending: bool = False, nulls_first: bool = False) -> exp.Ordered:
    return exp.Ordered(this=value, desc=descending, nulls_first=nulls_first)


def aggregate(function: str, argument: E, order: Sequence[E] = (), where: E | None = None) -> E:
    """`function(argument ORDER BY …) FILTER (WHERE …)`."""
    inner = exp.Order(this=argument, expressions=list(order)) if order else argument
    found: E = call(function, inner)
    return exp.Filter(this=found, expression=exp.Where(this=where)) if where is not None else found


def over(
    value: E, partition: Sequence[E] = (), order: Sequence[E] = (), frame: tuple[str, str, str, str] | None = None
) -> exp.Window:
    """A window; `frame` is kind, start, its side, end (`ROWS`, `5`, `PRECEDING`, `CURRENT ROW`)."""
    spec = None
    if frame is not None:
        kind, start, side, end = frame
        spec = exp.WindowSpec(kind=kind, start=start, start_side=side, end=end)
    return exp.Window(
        this=value,
        partition_by=list(partition),
        order=exp.Order(expressions=list(order)) if order else None,
        spec=spec,
    )


def select(*expressions: E, source: E | None = None, where: E | None = None) -> exp.Select:
    """`SELECT expressions FROM source WHERE where`; all columns without expressions."""
    found = exp.Select(expressions=list(expressions) or [exp.Star()])
    if source is not None:
        found.set("from_", exp.From(this=source))
    if where is not None:
        found.set("where", exp.Where(this=where))
    return found


def grouped(query: exp.Select, keys: Sequence[E]) -> exp.Select:
    if keys:
        query.set("group", exp.Group(expressions=list(keys)))
    return query


def sorted_by(query: exp.Select, order: Sequence[E], limit: int | None = None) -> exp.Select:
    if order:
        query.set("order", exp.Order(expressions=list(order)))
    if limit is not None:
        query.set("limit", exp.Limit(expression=exp.Literal.number(str(limit))))
    return query


def star(*others: E) -> list[E]:
    return [exp.Star(), *others]
