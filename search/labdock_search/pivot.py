"""Rows to columns, for chart and timechart: one column for each value of a split field."""

from collections.abc import Sequence
from dataclasses import dataclass

from labdock_search import kinds, sql
from labdock_search.aggregation import Measure, gathering, values
from labdock_search.expressions import Scope
from labdock_search.frame import Frame, Key
from labdock_search.kinds import Column, Kind, Value
from labdock_search.plan import Plan

MAX_SERIES = 1000
COUNTS = {"count", "dc", "estdc"}  # a combination that never occurred has 0 of these, and none of the others


@dataclass
class Split:
    """How the split field's values become columns."""

    column: Column
    limit: int = 10
    use_other: bool = True
    use_null: bool = True
    other: str = "OTHER"
    null: str = "NULL"


def pivoted(plan: Plan, frame: Frame, over: tuple[str, Column], measures: Sequence[Measure], split: Split) -> Frame:
    """One row for each value of `over`, one column for each series. Asks the data which series there are."""
    text = kinds.to_string(kinds.of_column(split.column))
    frame, label = plan.compute(frame, text)
    series, others, has_null = chosen_series(plan, frame, over, measures, split, label)
    label_tree = sql.column(label.id)
    branches: list[tuple[sql.E, sql.E]] = []
    if others:
        known = sql.one_of(label_tree.copy(), [sql.text(s) for s in series] or [sql.null()])
        outside = sql.all_of([sql.not_null(label_tree.copy()), sql.is_not_true(known)])
        branches.append((outside, sql.text(split.other) if split.use_other else sql.null()))
    if has_null:
        branches.append((sql.is_null(label_tree.copy()), sql.text(split.null)))
    named = list(series) + ([split.other] if others and split.use_other else []) + ([split.null] if has_null else [])
    frame, mapped = plan.compute(frame, Value(sql.case(branches, label_tree) if branches else label_tree, Kind.STR))
    return _columns(plan, frame, over, measures, mapped, list(dict.fromkeys(named)))


def chosen_series(
    plan: Plan, frame: Frame, over: tuple[str, Column], measures: Sequence[Measure], split: Split, label: Column
) -> tuple[list[str], bool, bool]:
    """The series by size, whether others are left, and whether rows lack the split field."""
    if plan.explaining or plan.executor is None:
        return ["(one for each value)"], False, False
    scope = Scope(plan, frame)
    argument = values(scope, measures[:1])[0]
    grown, gather = gathering(plan, scope.frame, measures[:1])
    size, total = plan.new_id(), plan.new_id()
    value = kinds.convert(kinds.to_number(measures[0].function.build(argument, gather)), Kind.NUM)
    keys = [sql.column(label.id), sql.column(over[1].id)]
    cells = sql.grouped(sql.select(*keys, sql.alias(value.use(), size), source=sql.table(grown.relation)), keys)
    relation = plan.add(cells, grown.relation)
    summed = sql.alias(sql.call("sum", sql.column(size)), total)
    sums = sql.grouped(sql.select(sql.column(label.id), summed, source=sql.table(relation)), [sql.column(label.id)])
    order = [sql.ordered(sql.column(total), descending=True), sql.ordered(sql.column(label.id))]
    rows = plan.executor.rows(plan.add(sql.sorted_by(sums, order, 100_000), relation))
    labels = [row[label.id] for row in rows if row[label.id] is not None]
    kept = labels[: split.limit or MAX_SERIES]
    if split.limit == 0 and len(labels) > MAX_SERIES:
        plan.notice(f"There are {len(labels):,} series; the largest {MAX_SERIES:,} are shown.")
    has_null = split.use_null and len(labels) < len(rows)
    return sorted(kept), len(kept) < len(labels), has_null


def _columns(
    plan: Plan, frame: Frame, over: tuple[str, Column], measures: Sequence[Measure], label: Column, series: list[str]
) -> Frame:
    scope = Scope(plan, frame)
    arguments = values(scope, measures)
    grown, gather = gathering(plan, scope.frame, measures)
    name, column = over
    trees: list[sql.E] = [sql.column(column.id), sql.column(label.id)]
    cells: list[Column] = []
    for measure, argument in zip(measures, arguments, strict=True):
        value = measure.function.build(argument, gather)
        cells.append(Column(plan.new_id(), value.kind))
        trees.append(sql.alias(value.use(), cells[-1].id))
    keys = [sql.column(column.id), sql.column(label.id)]
    relation = plan.add(sql.grouped(sql.select(*trees, source=sql.table(grown.relation)), keys), grown.relation)
    fields = {name: column}
    final: list[sql.E] = [sql.column(column.id)]
    for one in series:
        for measure, cell in zip(measures, cells, strict=True):
            title = one if len(measures) == 1 else f"{measure.name}: {one}"
            same = sql.binary("=", sql.column(label.id), sql.text(one))
            tree = sql.aggregate("any_value", sql.column(cell.id), where=same)
            if measure.function.name in COUNTS:
                tree = sql.call("coalesce", tree, sql.number(0))
            fields[title] = Column(plan.new_id(), cell.kind)
            final.append(sql.alias(tree, fields[title].id))
    query = sql.grouped(sql.select(*final, source=sql.table(relation)), [sql.column(column.id)])
    return Frame(plan.add(query, relation), fields, (Key(column.id),), kind="visualization")
