"""`sort`: rows in another order."""

from dataclasses import dataclass
from typing import Any

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Command, Example, arranged, is_comma, keyword, register
from labdock_search.faults import Span, fault, shown
from labdock_search.frame import Frame, Key
from labdock_search.functions.comparison import ipv4_number
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Kind, Value
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

DEFAULT = 10_000
WAYS = ("auto", "num", "str", "ip")
DATA = '| makeresults format=csv data="a,b\n10,x\n9,y\n,z"'


@dataclass
class By:
    field: syntax.Word
    way: str
    descending: bool


@dataclass
class SortArguments:
    limit: int  # 0: all
    by: list[By]


@register
class Sort(Command):
    name = "sort"
    usage = "sort [<limit>] [-|+]<field> … [desc]"
    summary = f"Sorts; keeps {DEFAULT:,} rows unless another limit is given (0 for all). Missing values come last."
    notes = (
        "`auto(f)` is the default: by number where both values are numbers, else by text. `num(f)`, `str(f)` and "
        "`ip(f)` say how. A trailing `d` or `desc` reverses the whole order."
    )
    examples = (
        Example(f"{DATA} | sort -a | table a", [{"a": 10}, {"a": 9}, {"a": None}]),
        Example(f"{DATA} | sort 1 a | table a", [{"a": 9}]),
        Example(f"{DATA} | sort str(a) | table b", [{"b": "x"}, {"b": "y"}, {"b": "z"}]),
    )

    def parse(self, piece: Piece) -> SortArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("limit",), span)
        items = [i for i in found.items if not is_comma(i)]
        limit = found.whole("limit", DEFAULT)
        if items and isinstance(items[0], syntax.Word) and not items[0].quote and items[0].value.isdecimal():
            limit = int(items[0].value)
            items = items[1:]
        reverse = len(items) > 1 and keyword(items[-1]) in {"d", "desc"}
        if reverse or (len(items) > 1 and keyword(items[-1]) in {"a", "asc"}):
            items = items[:-1]
        by = order_fields(items, reverse=reverse)
        if not by:
            raise fault("No field to sort by", span, expected=self.usage)
        return SortArguments(limit, by)

    def plan(self, arguments: SortArguments, frame: Frame, plan: Plan) -> Frame:
        return sorted_frame(plan, frame, arguments.by, arguments.limit)


def order_fields(items: list[Any], *, reverse: bool) -> list[By]:
    found: list[By] = []
    sign = ""
    for item in items:
        text = item.value if isinstance(item, syntax.Word) else item.name
        if isinstance(item, syntax.Word) and not item.quote and text in {"+", "-"}:
            sign = text
            continue
        if not getattr(item, "quote", "") and text[:1] in {"+", "-"}:
            sign, text = text[0], text[1:]
        way = "auto"
        if isinstance(item, syntax.Call):
            text, way = _call(item, text)
        found.append(By(syntax.Word(item.span, text), way, (sign == "-") != reverse))
        sign = ""
    return found


def _call(item: syntax.Call, name: str) -> tuple[str, str]:
    """`num(f)`, or the field `predicted(f)`."""
    inside = [i for i in item.arguments if not is_comma(i)]
    if name in WAYS and len(inside) == 1 and isinstance(inside[0], syntax.Word):
        return inside[0].value, name
    source = item.source.lstrip("+-")
    if not source:
        raise fault(f"{shown(name)} is no way to sort", item.span, expected=", ".join(WAYS))
    return source, "auto"


def sorted_frame(plan: Plan, frame: Frame, by: list[By], limit: int) -> Frame:
    """The frame in another order; equal rows keep theirs."""
    frame = plan.keyed(frame)
    keys: list[Key] = []
    columns: list[tuple[str, sql.E]] = []
    for item in by:
        column = frame.find(item.field.value, item.field.span)
        if column is None:
            continue
        for value, simple in _keys(kinds.of_column(column), item):
            id_ = column.id if simple else plan.new_id()
            if not simple:
                columns.append((id_, value.use()))
            keys.append(Key(id_, item.descending and value.kind is not Kind.BOOL, nulls_first=False))
    frame = plan.extend(frame, columns).with_(order=(*keys, *frame.order), natural=False)
    return limited(plan, frame, limit) if limit else frame


def _keys(value: Value, item: By) -> list[tuple[Value, bool]]:
    """What to order by; the flag says that it is the field's own column."""
    if item.way == "num":
        return [(kinds.to_number(value), value.kind.numeric)]
    if item.way == "str":
        return [(kinds.to_string(value), value.kind is Kind.STR)]
    if item.way == "ip":
        return [(ipv4_number(value), False), (kinds.to_string(value), value.kind is Kind.STR)]
    if value.kind.numeric or value.kind is Kind.NULL:
        return [(value, True)]
    text = kinds.to_string(value)
    number = kinds.to_number(text)
    # Numbers before texts, or after them when descending; rows without a value last both ways.
    worded = sql.all_of([sql.is_null(number.use()), sql.not_null(text.use())])
    if item.descending:
        missing = Value(sql.is_null(text.use()), Kind.BOOL)
        wordy = Value(sql.case([(worded, sql.number(1))], sql.number(0)), Kind.INT)
        return [(missing, False), (wordy, False), (number, False), (text, value.kind is Kind.STR)]
    return [(number, False), (text, value.kind is Kind.STR)]


def limited(plan: Plan, frame: Frame, limit: int) -> Frame:
    """The first rows of a frame."""
    order = [] if frame.natural else frame.order_trees()
    query = sql.sorted_by(sql.select(source=sql.table(frame.relation)), order, limit)
    return frame.with_(relation=plan.add(query, frame.relation))
