"""`sample`: some of the rows, at random."""

from dataclasses import dataclass

from labdock_search import sql, syntax
from labdock_search.commands.base import Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.faults import Span, fault, shown
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind, as_number
from labdock_search.plan import Plan
from labdock_search.splitter import Piece


@dataclass
class SampleArguments:
    ratio: float | None
    count: int | None
    partitions: int | None
    seed: int
    by: list[syntax.Word]


@register
class Sample(Command):
    name = "sample"
    usage = "sample [<count>] [ratio=<0..1>|count=<n>|partitions=<n>] [seed=<n>] [by <field>]"
    summary = "A random part of the rows; the same seed on the same rows gives the same part."
    notes = "`partitions` keeps all rows and adds `partition_number`. `by` samples within each group."
    examples = (
        Example("| makeresults count=100 | sample count=7 seed=1 | stats count", [{"count": 7}]),
        Example("| makeresults count=10 | sample ratio=1.0 | stats count", [{"count": 10}]),
    )

    def parse(self, piece: Piece) -> SampleArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("ratio", "count", "partitions", "seed", "fieldname"), span)
        items = [i for i in found.items if not is_comma(i)]
        at = next((i for i, item in enumerate(items) if keyword(item) == "by"), len(items))
        by = [as_word(i) for i in items[at + 1 :]]
        ratio: float | None = None
        count = found.whole("count", 0) if "count" in found.options else None
        plain = as_number(as_word(items[0]).value) if at else None
        if at > 1 or (at and (plain is None or plain < 0)):
            raise fault(f"{shown(as_word(items[0]).value)} is no size of a sample", items[0].span, expected=self.usage)
        if isinstance(plain, int):
            count = plain
        elif plain is not None:
            ratio = plain
        if "ratio" in found.options:
            given = as_number(found.text("ratio"))
            if given is None or not 0 <= given <= 1:
                raise fault("The ratio is not between 0 and 1", found.options["ratio"].span, expected="ratio=0.1")
            ratio = float(given)
        partitions = found.whole("partitions", 0, 2, 1000) if "partitions" in found.options else None
        if sum(x is not None for x in (ratio, count, partitions)) != 1:
            raise fault("sample takes one of ratio, count and partitions", span, expected=self.usage)
        return SampleArguments(ratio, count, partitions, found.whole("seed", 0), by)

    def plan(self, arguments: SampleArguments, frame: Frame, plan: Plan) -> Frame:
        frame, position = plan.position(frame)
        mixed = sql.call("hash", sql.column(position.id), sql.number(arguments.seed))
        frame = plan.extend(frame, [(dice := plan.new_id(), mixed)]).with_(natural=False)
        share = sql.binary("/", sql.cast(sql.column(dice), "DOUBLE"), sql.number(2.0**64))
        if arguments.ratio is not None:
            return plan.filter(frame, sql.binary("<", share, sql.number(arguments.ratio)))
        if arguments.partitions is not None:
            number = sql.cast(sql.call("floor", sql.binary("*", share, sql.number(arguments.partitions))), "BIGINT")
            column = Column(plan.new_id(), Kind.INT)
            return plan.extend(frame, [(column.id, number)]).with_(fields={**frame.fields, "partition_number": column})
        found = [frame.find(w.value, w.span) for w in arguments.by]
        partition = [sql.column(c.id) for c in found if c]
        order = [sql.ordered(sql.column(dice)), sql.ordered(sql.column(position.id))]
        place = plan.new_id()
        frame = plan.extend(frame, [(place, sql.over(sql.call("row_number"), partition, order))])
        return plan.filter(frame, sql.binary("<=", sql.column(place), sql.number(arguments.count or 0)))
