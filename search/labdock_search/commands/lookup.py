"""`lookup` and `join`: fields from elsewhere, by equal values."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from labdock_search import kinds, sql, syntax
from labdock_search.commands.append import inner
from labdock_search.commands.base import Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.commands.inputlookup import open_lookup
from labdock_search.faults import Span, fault, unknown
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column, Kind
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

MAX_MATCHES = 1000
Pair = tuple[syntax.Word, str]  # a field there, and its name here


@dataclass
class LookupArguments:
    lookup: syntax.Word
    keys: list[Pair]
    outputs: list[Pair] | None  # None: all other fields
    only_new: bool


@register
class Lookup(Command):
    name = "lookup"
    usage = "lookup <lookup> <field there> [as <field here>] … [OUTPUT|OUTPUTNEW <field there> [as <name>] …]"
    summary = "Adds fields of the lookup's rows that have equal keys; several matches give multivalue fields."
    notes = "OUTPUT (the default) overwrites fields where the lookup has a value; OUTPUTNEW fills only missing ones."
    examples = (Example("| inputlookup flows.csv | lookup hosts.csv ip as src_ip OUTPUT owner as src_owner"),)

    def parse(self, piece: Piece) -> LookupArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("local", "update", "event_time_field"), span)
        items = [i for i in found.items if not is_comma(i)]
        at = next((i for i, item in enumerate(items) if keyword(item) in {"output", "outputnew"}), len(items))
        if len(items) < 2 or at < 2:
            raise fault("lookup takes a lookup and a field of it", span, expected=self.usage)
        outputs = _pairs(items[at + 1 :], self) if at < len(items) else None
        if outputs == []:
            raise fault("No field after OUTPUT", items[at].span, expected=self.usage)
        only_new = at < len(items) and keyword(items[at]) == "outputnew"
        return LookupArguments(as_word(items[0]), _pairs(items[1:at], self), outputs, only_new)

    def plan(self, arguments: LookupArguments, frame: Frame, plan: Plan) -> Frame:
        other = open_lookup(plan, arguments.lookup)
        for word, _ in [*arguments.keys, *(arguments.outputs or [])]:
            if word.value not in other.fields:
                raise unknown(f"field of the lookup {arguments.lookup.value!r}:", word.value, other.fields, word.span)
        keys = [(word.value, here) for word, here in arguments.keys]
        taken = {there for there, _ in keys}
        outputs = (
            [(word.value, here) for word, here in arguments.outputs]
            if arguments.outputs is not None
            else [(name, name) for name in other.fields if name not in taken]
        )
        here = [frame.find(name, word.span) for word, name in arguments.keys]
        if None in here:
            return frame
        columns = [c for c in here if c is not None]
        other, gathered = by_key(plan, other, [other.fields[t] for t, _ in keys], [other.fields[t] for t, _ in outputs])
        names = [name for _, name in outputs]
        return matched(plan, frame, columns, other, gathered, names, replace=not arguments.only_new)


def _pairs(items: Sequence[object], command: Command) -> list[Pair]:
    found: list[Pair] = []
    at = 0
    while at < len(items):
        there = as_word(items[at])
        if at + 2 < len(items) and keyword(items[at + 1]) == "as":
            found.append((there, as_word(items[at + 2]).value))
            at += 3
        elif keyword(items[at]) == "as":
            raise fault("A field is missing around 'as'", there.span, expected=command.usage)
        else:
            found.append((there, there.value))
            at += 1
    return found


@dataclass
class Gathered:
    """One row for each key of the other side: key columns as text or number, and output columns."""

    keys: list[Column]
    outputs: list[Column]


def by_key(plan: Plan, other: Frame, keys: list[Column], outputs: list[Column]) -> tuple[Frame, Gathered]:
    """Group the other side by its keys, unless every key is there once."""
    if is_unique(plan, other, keys):
        return other, Gathered(keys, outputs)
    other, position = plan.position(other)
    place = sql.ordered(sql.column(position.id))
    trees: list[sql.E] = [sql.column(k.id) for k in keys]
    found = []
    for column in outputs:
        text = kinds.to_string(kinds.of_column(column))
        whole = sql.aggregate("list", text.use(), [place.copy()], sql.not_null(text.use()))
        found.append(Column(plan.new_id(), Kind.LIST))
        trees.append(sql.alias(sql.call("list_slice", whole, sql.number(1), sql.number(MAX_MATCHES)), found[-1].id))
    query = sql.grouped(sql.select(*trees, source=sql.table(other.relation)), [sql.column(k.id) for k in keys])
    return Frame(plan.add(query, other.relation), {}), Gathered(keys, found)


def is_unique(plan: Plan, other: Frame, keys: list[Column]) -> bool:
    """Whether no two rows have the same keys. Assumed where nothing may run."""
    if plan.explaining or plan.executor is None:
        return True
    count = plan.new_id()
    trees = [sql.alias(sql.call("count", exp.Star()), count)]
    ids = [sql.column(k.id) for k in keys]
    query = sql.grouped(sql.select(*trees, source=sql.table(other.relation)), ids)
    groups = plan.add(query, other.relation)
    most = plan.add(
        sql.select(sql.alias(sql.call("max", sql.column(count)), plan.new_id()), source=sql.table(groups)), groups
    )
    row = plan.executor.rows(most)[0]
    return next(iter(row.values())) in {None, 1}


def matched(
    plan: Plan, frame: Frame, here: list[Column], other: Frame, there: Gathered, names: list[str], *, replace: bool
) -> Frame:
    """LEFT JOIN on equal keys, and the outputs as fields."""
    frame = plan.keyed(frame)
    on = sql.all_of([equal(a, b) for a, b in zip(here, there.keys, strict=True)])
    temporary = [plan.new_id() for _ in names]
    trees: list[sql.E] = [exp.Column(this=exp.Star(), table=sql.name("l"))]
    for column, id_ in zip(there.outputs, temporary, strict=True):
        trees.append(sql.alias(sql.column(column.id, "r"), id_))
    joined = plan.add(join_query(frame.relation, other.relation, trees, on, "LEFT"), frame.relation, other.relation)
    frame = frame.with_(relation=joined, natural=False)
    fields = dict(frame.fields)
    extra: list[tuple[str, sql.E]] = []
    for name, id_, column in zip(names, temporary, there.outputs, strict=True):
        new, old = Column(id_, column.kind), fields.get(name)
        if old is None:
            fields[name] = new
            continue
        kind = kinds.common([new.kind, old.kind])
        pair = [kinds.convert(kinds.of_column(c), kind).use() for c in ((new, old) if replace else (old, new))]
        fields[name] = Column(plan.new_id(), kind)
        extra.append((fields[name].id, sql.call("coalesce", *pair)))
    return plan.extend(frame, extra).with_(fields=fields)


def equal(left: Column, right: Column) -> sql.E:
    """Equal keys: numbers by value, all else by text."""
    a, b = sql.column(left.id, "l"), sql.column(right.id, "r")
    if left.kind.numeric and right.kind.numeric:
        return sql.binary("=", a, b)
    texts = [kinds.to_string(kinds.Value(tree, column.kind)).use() for tree, column in ((a, left), (b, right))]
    return sql.binary("=", *texts)


def join_query(left: str, right: str, trees: Sequence[sql.E], on: sql.E, side: str) -> exp.Select:
    first, second = sql.table(left), sql.table(right)
    first.set("alias", exp.TableAlias(this=sql.name("l")))
    second.set("alias", exp.TableAlias(this=sql.name("r")))
    query = sql.select(*trees, source=first)
    query.set("joins", [exp.Join(this=second, on=on, **({"side": "LEFT"} if side == "LEFT" else {}))])
    return query


@dataclass
class JoinArguments:
    words: list[syntax.Word]
    left: bool
    most: int
    overwrite: bool
    sub: syntax.Subsearch


@register
class Join(Command):
    name = "join"
    usage = "join [type=inner|left] [max=<n>] [overwrite=<bool>] [<fields>] [ <search> ]"
    summary = "Joins rows of another search that have equal fields (all common ones by default)."
    notes = "`max=1` (the default) takes the first row of each key, 0 all."
    examples = (
        Example(
            '| makeresults format=csv data="h,n\na,1\nb,2" | join h [| makeresults format=csv data="h,o\na,x"]',
            [{"h": "a", "n": 1, "o": "x"}],
        ),
        Example(
            '| makeresults format=csv data="h,n\na,1\nb,2" '
            '| join type=left h [| makeresults format=csv data="h,o\na,x"] | table n o',
            [{"n": 1, "o": "x"}, {"n": 2, "o": None}],
        ),
    )

    def parse(self, piece: Piece) -> JoinArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("type", "max", "overwrite", "usetime", "earlier", "keepsingle"), span)
        subs = [i for i in found.items if isinstance(i, syntax.Subsearch)]
        if len(subs) != 1:
            raise fault("join takes one [subsearch]", span, expected=self.usage)
        words = [as_word(i) for i in found.items if not is_comma(i) and not isinstance(i, syntax.Subsearch)]
        left = found.choice("type", ("inner", "left", "outer"), "inner") != "inner"
        return JoinArguments(words, left, found.whole("max", 1), found.truth("overwrite", default=True), subs[0])

    def plan(self, arguments: JoinArguments, frame: Frame, plan: Plan) -> Frame:
        other = inner(arguments.sub, plan)
        names = [w.value for w in arguments.words] or [n for n in frame.fields if n in other.fields and n[0] != "_"]
        if not names:
            raise fault("The two searches have no field in common", arguments.sub.span, remedy="Name a field.")
        here, there = [frame.fields.get(n) for n in names], [other.fields.get(n) for n in names]
        if None in here or None in there:
            return frame if arguments.left else plan.filter(frame, sql.false())
        keys = [c for c in there if c]
        if arguments.most:
            other = first_of_each(plan, other, keys, arguments.most)
        return self._joined(arguments, frame, other, plan, [c for c in here if c], keys, names)

    def _joined(
        self,
        arguments: JoinArguments,
        frame: Frame,
        other: Frame,
        plan: Plan,
        here: list[Column],
        keys: list[Column],
        names: list[str],
    ) -> Frame:
        frame, other = plan.keyed(frame), plan.keyed(other)
        on = sql.all_of([equal(a, b) for a, b in zip(here, keys, strict=True)])
        trees: list[sql.E] = [exp.Column(this=exp.Star(), table=sql.name("l"))]
        fields = dict(frame.fields)
        for name, column in other.fields.items():
            if name in names or (name in fields and not arguments.overwrite):
                continue
            fields[name] = Column(plan.new_id(), column.kind)
            trees.append(sql.alias(sql.column(column.id, "r"), fields[name].id))
        order = [type(key)(plan.new_id(), key.descending, key.nulls_first) for key in other.order]
        trees += [sql.alias(sql.column(old.id, "r"), new.id) for old, new in zip(other.order, order, strict=True)]
        query = join_query(frame.relation, other.relation, trees, on, "LEFT" if arguments.left else "")
        relation = plan.add(query, frame.relation, other.relation)
        return frame.with_(relation=relation, fields=fields, order=(*frame.order, *order), natural=False)


def first_of_each(plan: Plan, frame: Frame, keys: list[Column], most: int) -> Frame:
    frame = plan.keyed(frame)
    id_ = plan.new_id()
    number = sql.over(sql.call("row_number"), [sql.column(k.id) for k in keys], frame.order_trees())
    frame = plan.extend(frame, [(id_, number)]).with_(natural=False)
    return plan.filter(frame, sql.binary("<=", sql.column(id_), sql.number(most)))
