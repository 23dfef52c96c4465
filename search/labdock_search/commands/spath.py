"""`spath`: fields from JSON."""

import json
from dataclasses import dataclass
from typing import Any

from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import Arguments, Command, Example, arranged, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.functions.multivalue import extract_path
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.kinds import Column
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

SAMPLED = 2000
MAX_FIELDS = 500
DATA = '| makeresults | eval j="{\\"a\\": {\\"b\\": [{\\"c\\": 1}, {\\"c\\": 2}]}, \\"d\\": \\"x\\"}"'


@dataclass
class SpathArguments:
    input: str
    output: str
    path: str
    span: Span


@register
class Spath(Command):
    name = "spath"
    usage = "spath [input=<field>] [output=<name>] [path=<path>|<path>]"
    summary = "What a JSON text has at a path; without a path, a field for everything in it."
    notes = f"Without a path, the fields are those of the first {SAMPLED:,} rows."
    runs = True
    examples = (
        Example(f"{DATA} | spath input=j output=c path=a.b{{}}.c | table c", [{"c": ["1", "2"]}]),
        Example(f"{DATA} | spath input=j | table d a.b{{}}.c", [{"d": "x", "a.b{}.c": ["1", "2"]}]),
    )

    def parse(self, piece: Piece) -> SpathArguments:
        span = Span(piece.start, piece.end - piece.start)
        found: Arguments = arranged(parse_arguments(piece), ("input", "output", "path"), span)
        words: list[syntax.Word] = found.words()
        if len(words) > 1 or (words and "path" in found.options):
            raise fault("spath takes one path", words[-1].span, expected=self.usage)
        path = words[0].value if words else found.text("path")
        output = found.text("output", path)
        if output and not path:
            raise fault("output= needs a path", span, expected=self.usage)
        return SpathArguments(found.text("input", "_raw"), output, path, span)

    def plan(self, arguments: SpathArguments, frame: Frame, plan: Plan) -> Frame:
        column = frame.find(arguments.input, arguments.span)
        if column is None:
            return frame
        paths = {arguments.output: arguments.path} if arguments.path else _paths(plan, frame, column)
        fields = dict(frame.fields)
        trees: list[tuple[str, sql.E]] = []
        for name, path in paths.items():
            value = extract_path(kinds.to_string(kinds.of_column(column)), path, arguments.span)
            fields[name] = Column(plan.new_id(), value.kind)
            trees.append((fields[name].id, value.use()))
        return plan.extend(frame, trees).with_(fields=fields)


def _paths(plan: Plan, frame: Frame, column: Column) -> dict[str, str]:
    """Every leaf of the JSON texts of the first rows."""
    if plan.explaining or plan.executor is None:
        return {}
    name = plan.new_id()
    text = kinds.to_string(kinds.of_column(column))
    query = sql.select(sql.alias(text.use(), name), source=sql.table(frame.relation), where=sql.not_null(text.use()))
    relation = plan.add(sql.sorted_by(query, [], SAMPLED), frame.relation)
    found: dict[str, None] = {}
    for row in plan.executor.rows(relation):
        try:
            value = json.loads(row[name])
        except (ValueError, RecursionError):
            continue
        _leaves(value, "", found)
    if len(found) > MAX_FIELDS:
        plan.notice(f"The JSON has more than {MAX_FIELDS} fields; the first {MAX_FIELDS} are taken.")
    return {path: path for path in list(found)[:MAX_FIELDS]}


def _leaves(value: Any, prefix: str, found: dict[str, None]) -> None:
    stack = [(value, prefix)]
    while stack:
        item, path = stack.pop()
        if isinstance(item, dict):
            stack.extend((v, f"{path}.{k}" if path else k) for k, v in reversed(item.items()))
        elif isinstance(item, list):
            stack.extend((v, path + "{}") for v in reversed(item))
        elif path:
            found.setdefault(path)
