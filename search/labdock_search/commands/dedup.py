"""`dedup`: the first rows of each combination of values."""

from dataclasses import dataclass

from labdock_search import sql, syntax
from labdock_search.commands.base import Command, Example, arranged, is_comma, keyword, register
from labdock_search.commands.sort import By, order_fields, sorted_frame
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="h,n\na,1\na,2\nb,3\n,4"'


@dataclass
class DedupArguments:
    count: int
    words: list[syntax.Word]
    sortby: list[By]
    keep_empty: bool
    keep_events: bool
    consecutive: bool


@register
class Dedup(Command):
    name = "dedup"
    usage = "dedup [<n>] <fields> [keepempty=<bool>] [consecutive=<bool>] [sortby [-]<field> …]"
    summary = (
        "Keeps the first n rows (1 by default) of each combination of values; drops rows without one of the fields."
    )
    examples = (
        Example(f"{DATA} | dedup h", [{"h": "a", "n": 1}, {"h": "b", "n": 3}]),
        Example(f"{DATA} | dedup h sortby -n", [{"h": "b", "n": 3}, {"h": "a", "n": 2}]),
        Example(f"{DATA} | dedup h keepempty=true | stats count", [{"count": 3}]),
    )

    def parse(self, piece: Piece) -> DedupArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("keepempty", "keepevents", "consecutive"), span)
        items = [i for i in found.items if not is_comma(i)]
        at = next((i for i, item in enumerate(items) if keyword(item) == "sortby"), len(items))
        sortby = order_fields(items[at + 1 :], reverse=False)
        words = list(arranged(items[:at], (), span).words())
        count = 1
        if words and not words[0].quote and words[0].value.isdecimal():
            count = int(words[0].value)
            words = words[1:]
        if not words or count < 1:
            raise fault("No field is named" if count else "The number of rows is 0", span, expected=self.usage)
        truth = [found.truth(n, default=False) for n in ("keepempty", "keepevents", "consecutive")]
        return DedupArguments(count, words, sortby, *truth)

    def plan(self, arguments: DedupArguments, frame: Frame, plan: Plan) -> Frame:
        frame = plan.keyed(frame)
        if arguments.sortby:
            frame = sorted_frame(plan, frame, arguments.sortby, 0)
        found = {w.value: frame.find(w.value, w.span) for w in arguments.words}
        columns = [c for c in found.values() if c]
        if len(columns) < len(found) and not arguments.keep_empty:
            return plan.filter(frame, sql.false())
        present = sql.all_of([sql.not_null(sql.column(c.id)) for c in columns])
        if not arguments.keep_empty:
            frame = plan.filter(frame, present)
        return self._ranked(arguments, frame, plan, [c.id for c in columns], present)

    def _ranked(self, arguments: DedupArguments, frame: Frame, plan: Plan, ids: list[str], present: sql.E) -> Frame:
        """Number the rows of each combination and keep the first."""
        partition = [sql.column(i) for i in ids]
        if arguments.consecutive:
            frame, run = runs(plan, frame, ids)
            partition.append(sql.column(run))
        id_ = plan.new_id()
        number = sql.over(sql.call("row_number"), partition, frame.order_trees())
        frame = plan.extend(frame, [(id_, number)]).with_(natural=False)
        first = sql.binary("<=", sql.column(id_), sql.number(arguments.count))
        if arguments.keep_events:
            gone = sql.binary(">", sql.column(id_), sql.number(arguments.count))
            return cleared(plan, frame, ids, gone)
        if arguments.keep_empty:
            first = sql.any_of([first, sql.is_not_true(present.copy())])
        return plan.filter(frame, first)


def cleared(plan: Plan, frame: Frame, ids: list[str], when: sql.E) -> Frame:
    """Rows stay; the given columns are emptied where `when` holds."""
    fields = dict(frame.fields)
    trees = []
    for name, column in frame.fields.items():
        if column.id in ids:
            fields[name] = type(column)(plan.new_id(), column.kind)
            trees.append((fields[name].id, sql.case([(sql.negate(when.copy()), sql.column(column.id))])))
    return plan.extend(frame, trees).with_(fields=fields)


def runs(plan: Plan, frame: Frame, ids: list[str]) -> tuple[Frame, str]:
    """A column that grows whenever one of the given columns changes from row to row."""
    changes = []
    for id_ in ids:
        before = sql.over(sql.call("lag", sql.column(id_)), order=frame.order_trees())
        same = sql.call("coalesce", sql.binary("=", before, sql.column(id_)), sql.false())
        changes.append(sql.negate(same))
    change, total = plan.new_id(), plan.new_id()
    frame = plan.extend(frame, [(change, sql.case([(sql.any_of(changes), sql.number(1))], sql.number(0)))])
    window = ("ROWS", "UNBOUNDED", "PRECEDING", "CURRENT ROW")
    running = sql.over(sql.call("sum", sql.column(change)), order=frame.order_trees(), frame=window)
    return plan.extend(frame, [(total, running)]), total
