"""How SQL aggregates are written for groups and for windows: the `Gather`s that the builders of stats functions ask."""

from sqlglot import exp

from labdock_search import sql
from labdock_search.kinds import Value
from labdock_search.sql import E


class Grouped:
    """Aggregates of a GROUP BY."""

    def __init__(self, order: list[E], time: Value | None) -> None:
        self.order = order
        self.time = time

    def __call__(
        self, name: str, *arguments: E, distinct: bool = False, ordered: bool = False, where: E | None = None
    ) -> E:
        tree = _called(name, arguments, distinct=distinct, order=self.order if ordered else [])
        return exp.Filter(this=tree, expression=exp.Where(this=where)) if where is not None else tree


class Windowed:
    """The same aggregates over a window, for eventstats and streamstats."""

    def __init__(
        self, partition: list[E], order: list[E], frame: tuple[str, str, str, str] | None, time: Value | None
    ) -> None:
        self.partition = partition
        self.order = order
        self.frame = frame
        self.time = time

    def __call__(
        self, name: str, *arguments: E, distinct: bool = False, ordered: bool = False, where: E | None = None
    ) -> E:
        if name in {"first", "last"}:  # window functions skip nulls by IGNORE NULLS, not by FILTER
            tree: E = exp.IgnoreNulls(this={"first": exp.FirstValue, "last": exp.LastValue}[name](this=arguments[0]))
            where = None
        else:
            tree = _called(name, arguments, distinct=distinct, order=[])
        if where is not None:
            tree = exp.Filter(this=tree, expression=exp.Where(this=where))
        frame = self.frame or (("ROWS", "UNBOUNDED", "PRECEDING", "UNBOUNDED FOLLOWING") if ordered else None)
        order = self.order if ordered or self.frame else []
        return sql.over(tree, [p.copy() for p in self.partition], [o.copy() for o in order], frame)


def _called(name: str, arguments: tuple[E, ...], *, distinct: bool, order: list[E]) -> E:
    first, rest = arguments[0], arguments[1:]
    if distinct:
        first = exp.Distinct(expressions=[first])
    if order:
        first = exp.Order(this=first, expressions=[o.copy() for o in order])
    return sql.call(name, first, *rest)
