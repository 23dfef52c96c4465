"""What stats, eventstats, streamstats, chart, timechart and tstats share: `avg(x) as y … by a, b`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import as_word, is_comma, keyword
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault, shown
from labdock_search.frame import Frame, Key
from labdock_search.functions.aggregates import Aggregate, Gather, find
from labdock_search.functions.gathers import Grouped
from labdock_search.kinds import Column, Kind, Value
from labdock_search.plan import Plan
from labdock_search.sql import E


@dataclass
class Measure:
    """One aggregate: `avg(bytes_in) as avgBytes`. `argument` is a field's name, an expression, or None."""

    function: Aggregate
    called: str
    argument: Any
    name: str
    span: Span
    renamed: bool = False


@dataclass
class Clause:
    measures: list[Measure] = field(default_factory=list)
    by: list[syntax.Word] = field(default_factory=list)


def clause(items: Sequence[Any], span: Span, *, needs: bool = True) -> Clause:
    """Parse measures and the by-fields. Raises `SearchError`."""
    found = Clause()
    at = 0
    while at < len(items):
        item = items[at]
        if is_comma(item):
            at += 1
        elif keyword(item) in {"by", "groupby"}:
            found.by = [as_word(i) for i in items[at + 1 :] if not is_comma(i)]
            if not found.by:
                raise fault("No field after 'by'", item.span, expected="fields to group by")
            break
        else:
            at = _measure(items, at, found.measures)
    if needs and not found.measures:
        raise fault("There is nothing to compute", span, expected="a function such as count or avg(field)")
    return found


def _measure(items: Sequence[Any], at: int, measures: list[Measure]) -> int:
    item = items[at]
    if isinstance(item, syntax.Call):
        if item.name == "eval":
            raise fault("eval() stands inside a function here", item.span, expected="count(eval(condition))")
        function, argument = find(item.name, item.span), _argument(item)
        name = item.source
    elif isinstance(item, syntax.Word) and not item.quote:
        function, argument, name = find(item.value, item.span), None, item.value
    else:
        raise fault("This is no function", item.span, expected="a function such as avg(field)")
    if argument is None and function.needs_argument:
        raise fault(f"{function.name}() needs a field", item.span, expected=f"{function.name}(field)")
    called = item.name if isinstance(item, syntax.Call) else item.value
    if argument is None:
        name = called
    measure = Measure(function, called, argument, name, item.span)
    at += 1
    if at < len(items) and keyword(items[at]) == "as":
        if at + 1 >= len(items) or is_comma(items[at + 1]):
            raise fault("No name after 'as'", items[at].span, expected="a name for the result")
        measure.name = as_word(items[at + 1]).value
        measure.renamed = True
        at += 2
    measures.append(measure)
    return at


def _argument(item: syntax.Call) -> Any:
    """A field's name, or the node of an eval."""
    inner = [i for i in item.arguments if not is_comma(i)]
    if not inner:
        return None
    if len(inner) > 1:
        raise fault(f"{item.name}() takes one field", item.span, expected=f"{item.name}(field)")
    only = inner[0]
    if isinstance(only, syntax.Call):
        if only.name == "eval":
            return only.arguments[0]
        inside = " ".join(as_word(i).value for i in only.arguments)
        return syntax.Word(only.span, f"{only.name}({inside})")
    return only


def spread(measures: Sequence[Measure], frame: Frame, by: Sequence[str] = ()) -> list[Measure]:
    """Measures with wildcards as one measure for each field."""
    found: list[Measure] = []
    for measure in measures:
        pattern = measure.argument.value if isinstance(measure.argument, syntax.Word) else ""
        if "*" not in pattern:
            found.append(measure)
            continue
        for name in frame.expand(pattern):
            if name in by or name == "_time":
                continue
            title = measure.name.replace("*", name, 1) if measure.renamed else f"{measure.called}({name})"
            word = syntax.Word(measure.argument.span, name)
            found.append(Measure(measure.function, measure.called, word, title, measure.span, renamed=True))
    return found


def check_names(measures: Sequence[Measure], by: Sequence[str]) -> None:
    seen = set(by)
    for measure in measures:
        if measure.name in seen:
            raise fault(f"Two results are named {shown(measure.name)}", measure.span, remedy="Rename one with 'as'.")
        seen.add(measure.name)


def values(scope: Scope, measures: Sequence[Measure]) -> list[Value]:
    """The arguments, compiled; an eval's condition counts where it is true."""
    found: list[Value] = []
    for measure in measures:
        node = measure.argument
        if node is None:
            found.append(Value(exp.Star(), Kind.INT))
        elif isinstance(node, syntax.Word):
            column = scope.frame.find(node.value, node.span)
            found.append(kinds.of_column(column) if column else Value(sql.cast(sql.null(), "VARCHAR"), Kind.STR))
        else:
            value = scope.small(node)
            if value.kind is Kind.BOOL:
                value = Value(sql.case([(value.use(), sql.number(1))]), Kind.INT, size=value.size + 2)
            elif value.kind is Kind.NULL:
                value = Value(sql.cast(sql.null(), "VARCHAR"), Kind.STR)
            found.append(value)
    return found


def grouped(plan: Plan, frame: Frame, measures: Sequence[Measure], by: Sequence[syntax.Word]) -> Frame:
    """The frame of `stats measures by fields`."""
    names = list(dict.fromkeys(word.value for word in by))
    measures = spread(measures, frame, names)
    check_names(measures, names)
    scope = Scope(plan, frame)
    arguments = values(scope, measures)
    frame, keys = group_keys(plan, scope.frame, by)
    if keys is None:
        empty: dict[str, Kind] = dict.fromkeys([*names, *[m.name for m in measures]], Kind.STR)
        return plan.empty(empty).with_(kind="statistics", missing=frame.missing)
    frame, gather = gathering(plan, frame, measures)
    fields = {name: keys[name] for name in names}
    trees: list[E] = [sql.column(column.id) for column in fields.values()]
    for measure, argument in zip(measures, arguments, strict=True):
        value = measure.function.build(argument, gather)
        fields[measure.name] = Column(plan.new_id(), value.kind)
        trees.append(sql.alias(value.use(), fields[measure.name].id))
    query = sql.grouped(sql.select(*trees, source=sql.table(frame.relation)), [sql.column(fields[n].id) for n in names])
    order = tuple(Key(fields[name].id) for name in names)
    return Frame(plan.add(query, frame.relation), fields, order, kind="statistics", missing=frame.missing)


def gathering(plan: Plan, frame: Frame, measures: Sequence[Measure]) -> tuple[Frame, Gather]:
    """A `Gather` for groups; gives the frame order keys where a measure needs them."""
    if any(m.function.name in {"first", "last", "list"} for m in measures):
        frame = plan.keyed(frame)
    time = frame.fields.get("_time")
    return frame, Grouped(frame.order_trees(), kinds.of_column(time) if time else None)


def group_keys(plan: Plan, frame: Frame, by: Sequence[syntax.Word]) -> tuple[Frame, dict[str, Column] | None]:
    """The by-fields' columns, rows without one dropped, several values one row each. None: a field is nowhere."""
    keys: dict[str, Column] = {}
    for word in by:
        column = frame.find(word.value, word.span)
        if column is None:
            return frame, None
        keys[word.value] = column
    present = [sql.not_null(sql.column(c.id)) for c in keys.values()]
    if present:
        frame = plan.filter(frame, sql.all_of(present))
    for name, column in keys.items():
        if column.kind is Kind.LIST:
            single = Column(plan.new_id(), Kind.STR)
            each = sql.call("unnest", sql.call("list_distinct", sql.column(column.id)))
            frame = plan.extend(frame, [(single.id, each)])
            keys[name] = single
    return frame, keys
