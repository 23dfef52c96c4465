"""Reading indexes: which of them, which files, and what of the terms is left to ask of rows."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labdock.errors import NotFound
from labdock_search import kinds, sql, syntax, times
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault, placed
from labdock_search.frame import Frame, Key
from labdock_search.kinds import Kind, Value
from labdock_search.plan import Files, Plan
from labdock_search.predicates import Certain, Predicates, fits_text, outcome
from labdock_search.protocols import DataFile, IndexData

TIME_TERMS = {"earliest", "latest", "_index_earliest", "_index_latest"}


@dataclass
class Chosen:
    """A file that will be read, and the index it belongs to."""

    index: str
    file: DataFile


def scan_indexes(terms: Any, plan: Plan) -> Frame:
    """The events that fit `terms`, newest first."""
    terms = time_terms(terms, plan)
    names = index_names(terms, plan)
    opened = [plan.host.indexes.open(name, plan.request.caller) for name in names]
    for data in opened:
        for problem in data.problems:
            plan.notice(problem)
    chosen, skipped = prune(terms, opened, plan)
    total = len(chosen) + len(skipped)
    plan.trail.append(("search", f"indexes {', '.join(names) or 'none'}; {len(chosen)} of {total} files read"))
    frame = read_chosen(plan, opened, chosen, skipped)
    frame = within_time(plan, frame, chosen)
    if terms is not None:
        scope = Scope(plan, frame)
        condition = Predicates(scope, certainty(chosen)).tree(terms)
        if condition != sql.true():
            frame = plan.filter(scope.frame, condition)
    time = frame.fields.get("_time")
    order = (Key(time.id, descending=True), *frame.order) if time else frame.order
    return frame.with_(order=order, natural=time is None, kind="events")


def time_terms(terms: Any, plan: Plan) -> Any:
    """Take `earliest=` and `latest=` out of the terms; they win over the request's."""
    parts = terms.parts if isinstance(terms, syntax.And) else [terms] if terms is not None else []
    rest = []
    request = plan.request
    found = {"earliest": request.earliest, "latest": request.latest}
    span = Span(0)
    timed = False
    for part in parts:
        if isinstance(part, syntax.Matches) and part.field.lower() in TIME_TERMS and part.operator == "=":
            found[part.field.lower().removeprefix("_index_")] = part.value
            span, timed = part.span, True
        else:
            rest.append(part)
    plan.earliest = times.resolve(found["earliest"], plan.now, plan.timezone, span)
    plan.latest = times.resolve(found["latest"], plan.now, plan.timezone, span)
    if plan.earliest is not None and plan.latest is not None and plan.earliest > plan.latest:
        raise fault("The time range ends before it begins", span, expected="earliest before latest")
    if not timed:
        return terms
    return syntax.And(terms.span, rest) if rest else None


def index_names(terms: Any, plan: Plan) -> list[str]:
    """The indexes that can have fitting events. Raises `NotFound` for one that is named and unknown."""
    caller = plan.request.caller
    known = list(plan.host.indexes.names(caller))
    named = list(_named(terms, "index"))
    for node in named:
        if node.operator == "=" and "*" not in node.value and not any(fits_text(k, node.value) for k in known):
            try:
                plan.host.indexes.open(node.value, caller)
            except NotFound as error:
                raise placed(error, node.span) from None
    candidates = known if named else list(plan.host.indexes.default_names(caller))
    return [n for n in candidates if outcome(terms, {"index": frozenset([n])}) is not False]


def _named(terms: Any, field: str) -> Sequence[syntax.Matches]:
    """Every term about a field."""
    found, stack = [], [terms]
    while stack:
        node = stack.pop()
        if isinstance(node, syntax.Matches) and node.field == field:
            found.append(node)
        elif isinstance(node, syntax.And | syntax.Or):
            stack.extend(node.parts)
        elif isinstance(node, syntax.Not):
            stack.append(node.part)
    return found


def facts_of(index: str, file: DataFile) -> dict[str, frozenset[str]]:
    return {"index": frozenset([index]), **file.values}


def prune(terms: Any, opened: Sequence[IndexData], plan: Plan) -> tuple[list[Chosen], list[str]]:
    """The files that can have fitting events, and the labels of the others."""
    chosen, skipped = [], []
    for data in opened:
        for file in data.files:
            late = plan.latest is not None and file.earliest is not None and file.earliest >= plan.latest
            early = plan.earliest is not None and file.latest is not None and file.latest < plan.earliest
            never = terms is not None and outcome(terms, facts_of(data.name, file)) is False
            if late or early or never or file.rows == 0 or file.label in plan.left_out:
                skipped.append(file.label)
            else:
                chosen.append(Chosen(data.name, file))
    return chosen, skipped


def certainty(chosen: Sequence[Chosen]) -> Certain:
    """What is known of a term for all files; asks no file where some file knows nothing of the field."""
    facts = [facts_of(c.index, c.file) for c in chosen]
    fields = set.intersection(*[set(f) for f in facts]) if facts else set()

    def certain(node: syntax.Matches) -> bool | None:
        if node.field not in fields:
            return None
        found = {outcome(node, {node.field: f[node.field]}) for f in facts}
        return found.pop() if len(found) == 1 else None

    return certain


def within_time(plan: Plan, frame: Frame, chosen: Sequence[Chosen]) -> Frame:
    """Ask rows for their time only where a file reaches beyond the range."""
    time = frame.fields.get("_time")
    if time is None:
        return frame
    parts = []
    files = [c.file for c in chosen]
    if plan.earliest is not None and not all(f.earliest is not None and f.earliest >= plan.earliest for f in files):
        parts.append(sql.binary(">=", sql.column(time.id), sql.number(float(plan.earliest))))
    if plan.latest is not None and not all(f.latest is not None and f.latest < plan.latest for f in files):
        parts.append(sql.binary("<", sql.column(time.id), sql.number(float(plan.latest))))
    return plan.filter(frame, sql.all_of(parts)) if parts else frame


def read_chosen(plan: Plan, opened: Sequence[IndexData], chosen: list[Chosen], skipped: list[str]) -> Frame:
    """The frame of all rows of the chosen files, with the field `index`."""
    if not chosen:
        fields = {f.name: kinds.read(sql.null(), f.type).kind for data in opened for f in data.schema}
        return plan.empty({**fields, "index": Kind.STR})
    schemas = [schema_of(c.file, opened) for c in chosen]
    order = [f.name for data in opened for f in data.schema]
    schema = united(schemas, order)
    files = Files(
        [c.file.path for c in chosen],
        [c.file.label for c in chosen],
        union=any(s is not schemas[0] and s != schemas[0] for s in schemas),
        rows=sum(c.file.rows for c in chosen),
        skipped=skipped,
    )
    extra = [] if "index" in schema.names else [("index", index_value(chosen))]
    return plan.scan_files(files, schema, extra)


def index_value(chosen: Sequence[Chosen]) -> Value:
    """The index of a row, by the place of its file in the list."""
    names = list(dict.fromkeys(c.index for c in chosen))
    if len(names) == 1:
        return kinds.text(names[0])
    branches, seen = [], 0
    for name in names[:-1]:
        seen += sum(c.index == name for c in chosen)
        branches.append((sql.binary("<", sql.foreign("file_index"), sql.number(seen)), sql.text(name)))
    return Value(sql.case(branches, sql.text(names[-1])), Kind.STR, size=50)


def schema_of(file: DataFile, opened: Sequence[IndexData]) -> pa.Schema:
    if file.schema is not None:
        return file.schema
    if len(opened) == 1 and len(opened[0].files) == 1:
        return opened[0].schema
    status = os.stat(file.path)  # noqa: PTH116 - only the numbers
    return _read_schema(file.path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4096)
def _read_schema(path: str, changed: int, size: int) -> pa.Schema:  # noqa: ARG001 - part of the key
    return pq.read_schema(path)


def united(schemas: Sequence[pa.Schema], order: Sequence[str]) -> pa.Schema:
    """All fields by name, in the index's order; a string wins over a number, as in DuckDB's union."""
    distinct: list[pa.Schema] = []
    for schema in schemas:
        if not any(schema is d or schema.equals(d) for d in distinct):
            distinct.append(schema)
    types: dict[str, list[pa.DataType]] = {}
    metadata: dict[str, Any] = {}  # names the field's column where it is another
    for schema in distinct:
        for item in schema:
            types.setdefault(item.name, []).append(item.type)
            metadata[item.name] = metadata.get(item.name) or item.metadata
    names = dict.fromkeys([n for n in order if n in types] + list(types))
    return pa.schema([pa.field(n, _common(types[n]), metadata=metadata[n]) for n in names])


def _common(found: list[pa.DataType]) -> pa.DataType:
    first = found[0]
    if all(t == first for t in found):
        return first
    if all(pa.types.is_integer(t) for t in found):
        return pa.int64()
    if all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in found):
        return pa.float64()
    return pa.string()


def subsearch_terms(node: Any, plan: Plan) -> Any:
    """The terms with every subsearch replaced by what it found."""
    if isinstance(node, syntax.Subsearch):
        return found_terms(node, plan)
    if isinstance(node, syntax.And | syntax.Or):
        return type(node)(node.span, [subsearch_terms(part, plan) for part in node.parts])
    if isinstance(node, syntax.Not):
        return syntax.Not(node.span, subsearch_terms(node.part, plan))
    return node


def found_terms(node: syntax.Subsearch, plan: Plan) -> Any:
    """`(a=1 AND b=2) OR …` from a subsearch's rows; no row fits nothing."""
    from labdock_search.pipeline import run_steps  # noqa: PLC0415 - a pipeline contains searches

    nothing = syntax.Not(node.span, syntax.Term(node.span, "*"))
    if plan.explaining or plan.executor is None:
        return nothing
    limit = plan.host.settings.max_subsearch_rows
    bounds = plan.earliest, plan.latest
    frame = run_steps(node.steps, plan)
    plan.earliest, plan.latest = bounds
    visible = {n: c for n, c in frame.fields.items() if not n.startswith("_")}
    table = plan.executor.reader(frame.with_(fields=visible), [c.id for c in visible.values()]).read_all()
    if table.num_rows > limit:
        plan.notice(f"A subsearch found {table.num_rows:,} rows; the first {limit:,} are used.")
    rows = []
    for row in table.slice(0, limit).to_pylist():
        parts = [_row_term(node, name, value) for name, value in row.items() if value is not None]
        if parts:
            rows.append(parts[0] if len(parts) == 1 else syntax.And(node.span, parts))
    return syntax.Or(node.span, rows) if rows else nothing


def _row_term(node: syntax.Subsearch, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return syntax.Or(node.span, [_row_term(node, name, v) for v in value if v is not None])
    text = value if isinstance(value, str) else kinds.shown_number(value)
    if name in {"search", "query"}:
        return syntax.Term(node.span, text, quoted=True)
    return syntax.Matches(node.span, name, "=", text, quoted=True)
