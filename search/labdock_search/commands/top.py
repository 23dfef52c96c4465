"""`top` and `rare`: the most and least frequent values."""

from dataclasses import dataclass

from sqlglot import exp

from labdock_search import sql, syntax
from labdock_search.aggregation import group_keys
from labdock_search.commands.base import Arguments, Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame, Key
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="h\na\nb\na\nb\na\nc"'
DEFAULT = 10


@dataclass
class TopArguments:
    limit: int
    words: list[syntax.Word]
    by: list[syntax.Word]
    options: Arguments


class Frequent(Command):
    """Both commands; `descending` tells them apart."""

    name = ""
    descending = True

    def parse(self, piece: Piece) -> TopArguments:
        span = Span(piece.start, piece.end - piece.start)
        known = ("limit", "countfield", "percentfield", "showcount", "showperc", "useother", "otherstr")
        found = arranged(parse_arguments(piece), known, span)
        items = [i for i in found.items if not is_comma(i)]
        at = next((i for i, item in enumerate(items) if keyword(item) == "by"), len(items))
        words, by = [as_word(i) for i in items[:at]], [as_word(i) for i in items[at + 1 :]]
        limit = found.whole("limit", DEFAULT)
        if words and not words[0].quote and words[0].value.isdecimal():
            limit, words = int(words[0].value), words[1:]
        if not words or (at < len(items) and not by):
            raise fault("No field is named", span, expected=self.usage)
        return TopArguments(limit, words, by, found)

    def plan(self, arguments: TopArguments, frame: Frame, plan: Plan) -> Frame:
        options = arguments.options
        counted = options.text("countfield", "count")
        shared = options.text("percentfield", "percent")
        frame, keys = group_keys(plan, frame, [*arguments.by, *arguments.words])
        names = [w.value for w in [*arguments.by, *arguments.words]]
        if keys is None:
            return plan.empty(dict.fromkeys([*names, counted, shared], Kind.STR))
        ids = [keys[n].id for n in names]
        count, total, place, share = (plan.new_id() for _ in range(4))
        trees = [*[sql.column(i) for i in ids], sql.alias(sql.call("count", exp.Star()), count)]
        query = sql.grouped(sql.select(*trees, source=sql.table(frame.relation)), [sql.column(i) for i in ids])
        found = Frame(plan.add(query, frame.relation), {})
        partition = [sql.column(keys[w.value].id) for w in arguments.by]
        order = [Key(count, self.descending), *[Key(i) for i in ids]]
        found = plan.extend(
            found,
            [
                (total, sql.over(sql.call("sum", sql.column(count)), partition)),
                (place, sql.over(sql.call("row_number"), [p.copy() for p in partition], [k.tree() for k in order])),
            ],
        )
        percent = sql.binary("/", sql.binary("*", sql.column(count), sql.number(100.0)), sql.column(total))
        found = plan.extend(found, [(share, percent)])
        if arguments.limit:
            found = plan.filter(found, sql.binary("<=", sql.column(place), sql.number(arguments.limit)))
        fields = {n: keys[n] for n in names}
        if options.truth("showcount", default=True):
            fields[counted] = Column(count, Kind.INT)
        if options.truth("showperc", default=True):
            fields[shared] = Column(share, Kind.NUM)
        groups = tuple(Key(keys[w.value].id) for w in arguments.by)
        return found.with_(fields=fields, order=(*groups, Key(place)), natural=False)


@register
class Top(Frequent):
    name = "top"
    usage = "top [<n>] [limit=<n>] [countfield=<name>] [percentfield=<name>] [showperc=<bool>] <fields> [by <fields>]"
    summary = f"The most frequent values ({DEFAULT} by default) with count and percent."
    examples = (
        Example(
            f"{DATA} | top 2 h", [{"h": "a", "count": 3, "percent": 50.0}, {"h": "b", "count": 2, "percent": 100 / 3}]
        ),
    )


@register
class Rare(Frequent):
    name = "rare"
    usage = "rare [<n>] [limit=<n>] [countfield=<name>] [percentfield=<name>] [showperc=<bool>] <fields> [by <fields>]"
    summary = f"The least frequent values ({DEFAULT} by default) with count and percent."
    descending = False
    examples = (Example(f"{DATA} | rare limit=1 showperc=f h", [{"h": "c", "count": 1}]),)
