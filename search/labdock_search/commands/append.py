"""`append`: the rows of another search below those there are."""

from sqlglot import exp

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame, Key
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column
from labdock_search.plan import Plan
from labdock_search.splitter import Piece


@register
class Append(Command):
    name = "append"
    usage = "append [ <search> ]"
    summary = "Adds the rows of another search at the end."
    examples = (
        Example(
            "| makeresults | eval a=1 | table a | append [| makeresults | eval b=2 | table b]",
            [{"a": 1, "b": None}, {"a": None, "b": 2}],
        ),
    )

    def parse(self, piece: Piece) -> syntax.Subsearch:
        return only_subsearch(piece, self, ("extendtimerange", "maxtime", "maxout", "timeout"))

    def plan(self, arguments: syntax.Subsearch, frame: Frame, plan: Plan) -> Frame:
        return joined_rows(plan, frame, inner(arguments, plan))


def only_subsearch(piece: Piece, command: Command, options: tuple[str, ...]) -> syntax.Subsearch:
    span = Span(piece.start, piece.end - piece.start)
    found = arranged(parse_arguments(piece), options, span)
    if len(found.items) != 1 or not isinstance(found.items[0], syntax.Subsearch):
        raise fault(f"{command.name} takes a [subsearch]", span, expected=command.usage)
    return found.items[0]


def inner(sub: syntax.Subsearch, plan: Plan) -> Frame:
    """The frame of a subsearch, in the same plan. It has the time range of the request."""
    from labdock_search.pipeline import run_steps  # noqa: PLC0415 - a pipeline contains commands

    bounds = plan.earliest, plan.latest
    frame = run_steps(sub.steps, plan)
    plan.earliest, plan.latest = bounds
    return frame


def joined_rows(plan: Plan, first: Frame, second: Frame) -> Frame:
    """The rows of both frames, in their orders, with all fields of both."""
    fields: dict[str, Column] = {}
    sides: list[list[sql.E]] = [[], []]
    frames = [plan.position(first), plan.position(second)]
    for name in dict.fromkeys([*first.fields, *second.fields]):
        columns = [frame.fields.get(name) for frame, _ in frames]
        kind = kinds.common([c.kind for c in columns if c])
        fields[name] = Column(plan.new_id(), kind)
        for side, column in zip(sides, columns, strict=True):
            value = kinds.of_column(column) if column else kinds.null()
            side.append(sql.alias(_as(value, kind), fields[name].id))
    part, place = plan.new_id(), plan.new_id()
    queries = []
    for number, (side, (frame, position)) in enumerate(zip(sides, frames, strict=True)):
        keys = [sql.alias(sql.number(number), part), sql.alias(sql.column(position.id), place)]
        queries.append(sql.select(*side, *keys, source=sql.table(frame.relation)))
    union = exp.Union(this=queries[0], expression=queries[1], distinct=False)
    whole = sql.select(source=exp.Subquery(this=union, alias=exp.TableAlias(this=sql.name("u"))))
    relation = plan.add(whole, frames[0][0].relation, frames[1][0].relation)
    return Frame(relation, fields, (Key(part), Key(place)), kind=first.kind, missing=first.missing + second.missing)


def _as(value: kinds.Value, kind: kinds.Kind) -> sql.E:
    types = {kinds.Kind.INT: "BIGINT", kinds.Kind.NUM: "DOUBLE", kinds.Kind.LIST: "VARCHAR[]"}
    if value.kind is kinds.Kind.NULL:
        return sql.cast(sql.null(), types.get(kind, "VARCHAR"))
    return kinds.convert(value, kind).use()
