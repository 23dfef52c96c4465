"""`transaction`: events that belong together as one row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from labdock.errors import LimitExceeded
from labdock_search import kinds, sql, syntax, times
from labdock_search.commands.base import Arguments, Command, Example, arranged, register
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame, Key
from labdock_search.grammar.parsers import parse_arguments, parse_search
from labdock_search.plan import Plan
from labdock_search.predicates import Predicates
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="_time,u,a\n1,x,login\n5,y,login\n9,x,read\n400,x,login"'


@dataclass
class TransactionArguments:
    words: list[syntax.Word]
    options: Arguments
    starts: Any
    ends: Any
    limits: tuple[float | None, float | None, int]  # maxspan, maxpause, maxevents


@dataclass
class Open:
    """A transaction that may still grow; events come newest first."""

    rows: list[int] = field(default_factory=list)
    newest: float = 0.0
    oldest: float = 0.0


@register
class Transaction(Command):
    name = "transaction"
    usage = (
        "transaction [<fields>] [maxspan=<span>] [maxpause=<span>] [maxevents=<n>] [startswith=<terms>] "
        "[endswith=<terms>]"
    )
    summary = "Groups events with equal fields into rows with `duration` and `eventcount`; fields become multivalue."
    notes = "Terms are a text in quotes (search terms) or eval(condition). At most 1000 events each by default."
    runs = True
    cuts = True
    examples = (
        Example(
            f"{DATA} | transaction u maxspan=60s | table u duration eventcount",
            [
                {"u": "x", "duration": 0.0, "eventcount": 1},
                {"u": "y", "duration": 0.0, "eventcount": 1},
                {"u": "x", "duration": 8.0, "eventcount": 2},
            ],
        ),
    )

    def parse(self, piece: Piece) -> TransactionArguments:
        span = Span(piece.start, piece.end - piece.start)
        known = (
            "maxspan",
            "maxpause",
            "maxevents",
            "startswith",
            "endswith",
            "mvlist",
            "keepevicted",
            "keeporphans",
            "delim",
            "connected",
        )
        found = arranged(parse_arguments(piece), known, span)
        words = found.words()
        if not words and not {"startswith", "endswith", "maxspan", "maxpause"} & found.options.keys():
            raise fault("transaction needs fields or limits", span, expected=self.usage)
        limits = (_seconds(found, "maxspan"), _seconds(found, "maxpause"), found.whole("maxevents", 1000, 1, 100_000))
        return TransactionArguments(words, found, _marker(found, "startswith"), _marker(found, "endswith"), limits)

    def plan(self, arguments: TransactionArguments, frame: Frame, plan: Plan) -> Frame:
        for word in arguments.words:
            if frame.find(word.value, word.span) is None:
                return plan.empty(
                    {
                        **{n: c.kind for n, c in frame.fields.items()},
                        "duration": kinds.Kind.NUM,
                        "eventcount": kinds.Kind.INT,
                    }
                )
        if "_time" not in frame.fields:
            raise fault("transaction needs the field _time", Span(0), remedy="Keep _time in the rows.")
        frame, marks = _marked(plan, frame, arguments)
        if plan.explaining or plan.executor is None:
            return frame
        newest = frame.with_(order=(Key(frame.fields["_time"].id, descending=True), *frame.order), natural=False)
        table = plan.executor.reader(newest, plan.select_ids(newest)).read_all()
        limit = plan.host.settings.max_transaction_events
        if table.num_rows > limit:
            raise LimitExceeded(
                f"transaction was given {table.num_rows:,} events; its limit is {limit:,}.",
                remedy="Narrow the search, or raise max_transaction_events.",
                limit="max_transaction_events",
                value=limit,
                setting="max_transaction_events",
            )
        groups = list(grouped_rows(table, [w.value for w in arguments.words], marks, arguments.limits))
        return plan.scan_arrow(
            assembled(table, groups, marks, plain=arguments.options.truth("mvlist", default=False)), "events"
        )


def _seconds(found: Arguments, name: str) -> float | None:
    if name not in found.options or found.text(name) == "-1":
        return None
    return times.parse_span(found.text(name), found.options[name].span).seconds


def _marker(found: Arguments, name: str) -> Any:
    """Search terms or an eval condition that begins or ends a transaction."""
    option = found.options.get(name)
    if option is None:
        return None
    value = option.value
    if isinstance(value, syntax.Call) and value.name == "eval":
        return value.arguments[0]
    if isinstance(value, syntax.Word):
        return parse_search(Piece(value.value, 0, len(value.value)))
    raise fault(f"{name} takes terms in quotes or eval(condition)", option.span)


def _marked(plan: Plan, frame: Frame, arguments: TransactionArguments) -> tuple[Frame, dict[str, str]]:
    """Fields that say of each event whether it begins or ends a transaction."""
    marks: dict[str, str] = {}
    for name, node in (("starts", arguments.starts), ("ends", arguments.ends)):
        if node is None:
            continue
        scope = Scope(plan, frame)
        if isinstance(node, syntax.Matches | syntax.Term | syntax.And | syntax.Or | syntax.Not):
            tree = Predicates(scope).tree(node)
        else:
            tree = scope.condition(node).use()
        marked = kinds.Value(sql.case([(tree, sql.number(1))], sql.number(0)), kinds.Kind.INT)
        frame, column = plan.compute(scope.frame, marked)
        marks[name] = f" {name}"
        frame = frame.with_(fields={**frame.fields, marks[name]: column})
    return frame, marks


def grouped_rows(
    table: pa.Table, by: list[str], marks: dict[str, str], limits: tuple[float | None, float | None, int]
) -> Iterator[list[int]]:
    """Row numbers of each transaction, newest event first; transactions by their start, newest first."""
    span, pause, most = limits
    moments = [t if t is not None else 0.0 for t in table.column("_time").to_pylist()]
    keys = list(zip(*[table.column(n).to_pylist() for n in by], strict=True)) if by else [()] * table.num_rows
    starts = table.column(marks["starts"]).to_pylist() if "starts" in marks else None
    ends = table.column(marks["ends"]).to_pylist() if "ends" in marks else None
    open_: dict[Any, Open] = {}
    closed: list[Open] = []
    for row, (moment, key) in enumerate(zip(moments, keys, strict=True)):
        if None in key:
            continue
        hashed = tuple(tuple(k) if isinstance(k, list) else k for k in key)
        group = open_.get(hashed)
        full = group is not None and (
            len(group.rows) >= most
            or (span is not None and group.newest - moment > span)
            or (pause is not None and group.oldest - moment > pause)
            or (ends is not None and ends[row] == 1)
        )
        if group is None or full:
            if group is not None:
                closed.append(group)
            group = open_[hashed] = Open(newest=moment)
        group.rows.append(row)
        group.oldest = moment
        if starts is not None and starts[row] == 1:
            closed.append(open_.pop(hashed))
    closed += open_.values()
    closed.sort(key=lambda g: -g.oldest)
    yield from (group.rows for group in closed)


def assembled(table: pa.Table, groups: list[list[int]], marks: dict[str, str], *, plain: bool) -> pa.Table:
    """One row for each group: distinct values of each field in time order."""
    columns: dict[str, pa.Array] = {}
    moments = table.column("_time").to_pylist()
    for name in table.column_names:
        if name in marks.values() or name == "_time":
            continue
        values = table.column(name).to_pylist()
        merged = [_merged([values[i] for i in reversed(rows)], plain=plain) for rows in groups]
        if all(m is None or len(m) == 1 for m in merged):
            columns[name] = pa.array(
                [m[0] if m else None for m in merged],
                table.schema.field(name).type if not pa.types.is_list(table.schema.field(name).type) else pa.string(),
            )
        else:
            texts = [[v if isinstance(v, str) else kinds.shown_number(v) for v in m] if m else None for m in merged]
            columns[name] = pa.array(texts, pa.list_(pa.string()))
    times_ = [moments[rows[-1]] for rows in groups]
    durations = [float((moments[rows[0]] or 0) - (moments[rows[-1]] or 0)) for rows in groups]
    whole = {"_time": pa.array(times_, pa.float64()), **columns}
    whole["duration"] = pa.array(durations, pa.float64())
    whole["eventcount"] = pa.array([len(rows) for rows in groups], pa.int64())
    return pa.table(whole)


def _merged(values: list[Any], *, plain: bool) -> list[Any] | None:
    flat = [v for value in values for v in (value if isinstance(value, list) else [value]) if v is not None]
    found = flat if plain else list(dict.fromkeys(flat))
    return found or None
