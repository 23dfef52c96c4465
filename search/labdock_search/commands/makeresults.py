"""`makeresults`: rows made on the spot."""

import csv
import io
import json
from typing import Any

import pyarrow as pa

from labdock_search.commands.base import Arguments, Command, Example, arranged, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import as_number, shown_number
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

MAX_ROWS = 10_000_000


@register
class MakeResults(Command):
    name = "makeresults"
    usage = "makeresults [count=<n>] [format=csv|json data=<text>]"
    summary = "Makes rows with `_time` now, or the rows of a CSV or JSON text."
    generating = True
    examples = (
        Example("| makeresults count=3 | stats count", [{"count": 3}]),
        Example('| makeresults format=csv data="a,b\n1,x" | table a b', [{"a": 1, "b": "x"}]),
        Example('| makeresults format=json data="[{\\"a\\": 1}, {\\"a\\": 2}]" | stats sum(a)', [{"sum(a)": 3}]),
    )

    def parse(self, piece: Piece) -> Arguments:
        known = ("count", "format", "data", "annotate", "splunk_server", "splunk_server_group")
        found = arranged(parse_arguments(piece), known, Span(piece.start, piece.end - piece.start))
        if found.items:
            raise fault("makeresults takes options only", found.items[0].span, expected=self.usage)
        found.whole("count", 1, 0, MAX_ROWS)
        found.choice("format", ("csv", "json"), "csv")
        return found

    def plan(self, arguments: Arguments, frame: Frame, plan: Plan) -> Frame:
        if "data" in arguments.options:
            span = arguments.options["data"].span
            text = arguments.text("data")
            json_ = arguments.choice("format", ("csv", "json"), "csv") == "json"
            return plan.scan_arrow(_json_table(text, span) if json_ else _csv_table(text, span))
        count = arguments.whole("count", 1, 0, MAX_ROWS)
        return plan.scan_arrow(pa.table({"_time": pa.repeat(pa.scalar(float(int(plan.now))), count)}))


def _csv_table(text: str, span: Span) -> pa.Table:
    rows = [row for row in csv.reader(io.StringIO(text.strip())) if row]
    if not rows:
        raise fault("The data is empty", span, expected="a line of names and lines of values")
    names = [name.strip() for name in rows[0]]
    if len(set(names)) < len(names) or "" in names:
        raise fault("The names in the data's first line are empty or repeated", span)
    columns = [[row[i] if i < len(row) else "" for row in rows[1:]] for i in range(len(names))]
    return pa.table([typed(column) for column in columns], names=names)


def _json_table(text: str, span: Span) -> pa.Table:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        raise fault("The data is not JSON", span, expected='a list such as [{"a": 1}]') from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise fault("The data is not a list of objects", span, expected='a list such as [{"a": 1}]')
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: typed([_text(row.get(name)) for row in rows]) for name in names})


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def typed(values: list[str]) -> pa.Array:
    """Numbers where every value is one and keeps its text (`007` and `1.0` do not); an empty text is no value."""
    numbers = [as_number(v) for v in values]
    numbers = [n if n is not None and shown_number(n) == v else None for n, v in zip(numbers, values, strict=True)]
    filled = [n for n, v in zip(numbers, values, strict=True) if v != ""]
    if filled and all(n is not None for n in filled):
        whole = all(isinstance(n, int) for n in filled)
        return pa.array(numbers, pa.int64() if whole else pa.float64())
    return pa.array([v or None for v in values], pa.string())
