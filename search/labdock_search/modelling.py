"""What the model commands share: arguments, inputs, names of outputs, streaming through an ONNX model."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from labdock.errors import InvalidName, LimitExceeded, NotFound
from labdock.names import ModelRef
from labdock_search import kinds, sql, syntax
from labdock_search.commands.base import as_word, is_comma, keyword
from labdock_search.faults import Span, fault, placed, unknown
from labdock_search.frame import Frame, Missing
from labdock_search.kinds import Column
from labdock_search.plan import Plan
from labdock_search.protocols import Job, ModelInfo


@dataclass
class Target:
    """`into [app:]m as out`: the model and the name of the outputs."""

    ref: ModelRef | None = None
    output: str = ""
    span: Span = field(default_factory=lambda: Span(0))


def tail(items: list[Any], usage: str) -> tuple[list[Any], Target]:
    """Take `into m` and `as out` out of a list."""
    rest: list[Any] = []
    target = Target()
    at = 0
    while at < len(items):
        found = keyword(items[at])
        if found in {"into", "as"}:
            if at + 1 >= len(items) or is_comma(items[at + 1]):
                raise fault(f"Nothing after {found!r}", items[at].span, expected=usage)
            word = as_word(items[at + 1])
            if found == "into":
                target.ref, target.span = model_ref(word), word.span
                if target.ref.version:
                    raise fault("A fit makes the model's next version, it cannot name one", word.span, expected=usage)
            else:
                target.output = word.value
            at += 2
        else:
            rest.append(items[at])
            at += 1
    return rest, target


def model_ref(word: syntax.Word) -> ModelRef:
    try:
        return ModelRef.parse(word.value)
    except InvalidName as error:
        raise fault(error.message, word.span, remedy=error.remedy) from None


def resolve(plan: Plan, ref: ModelRef, span: Span) -> ModelInfo:
    """The model, or `NotFound` with the position."""
    try:
        return plan.host.models.resolve(ref, plan.request.caller)
    except NotFound as error:
        raise placed(error, span) from None


def job(plan: Plan, environment: str = "", *, shared: bool = False) -> Job:
    return Job(plan.request.caller, environment or plan.host.settings.environment, plan.request.cancel, shared)


def check_features(frame: Frame, names: Sequence[str], span: Span) -> None:
    """Every feature must be a field. Raises a `SearchError` that names each missing one and the nearest field."""
    absent = [name for name in names if frame.find(name, span) is None]
    if not absent:
        return
    error = unknown("field", absent[0], frame.fields, span)
    if len(absent) > 1:
        error.message = f"The fields {', '.join(map(repr, absent[:20]))} are missing."
        error.args = (error.message,)
    error.details["missing"] = absent
    raise error


def collected(plan: Plan, frame: Frame) -> pa.Table:
    """All rows, bounded by max_inputs."""
    assert plan.executor is not None  # noqa: S101 - commands check `explaining` first
    limit = plan.host.settings.max_inputs
    batches, rows = [], 0
    reader = plan.executor.reader(frame, plan.select_ids(frame))
    for batch in reader:
        rows += batch.num_rows
        if rows > limit:
            reader.close()
            raise LimitExceeded(
                f"More than {limit:,} rows reach the model.",
                remedy="Narrow the search, aggregate, or take a | sample; or raise max_inputs.",
                limit="max_inputs",
                value=limit,
                setting="max_inputs",
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def for_module(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns that a module is sent; several values one a line, as in the peer's CSV."""
    found = table.select(list(names))
    for at, item in enumerate(found.schema):
        if pa.types.is_list(item.type):
            found = found.set_column(at, item.name, pc.binary_join(found.column(at), "\n"))
    return found


def with_predictions(plan: Plan, table: pa.Table, answer: pa.Table, prefix: str, frame: Frame) -> Frame:
    """The rows with the module's columns as `<prefix>_<column>`."""
    if answer.num_rows != table.num_rows:
        raise fault(
            f"The module answered {answer.num_rows:,} rows for {table.num_rows:,}",
            Span(0),
            remedy="Let apply return one row for each row it is given.",
        )
    for name, column in zip(answer.column_names, answer.columns, strict=True):
        title = f"{prefix}_{name}"
        if title in table.column_names:
            table = table.drop_columns([title])
        table = table.append_column(title, column)
    return plan.scan_arrow(table, frame.kind).with_(missing=frame.missing)


def prefix_of(output: str) -> str:
    return output or "predicted"


def expecting(frame: Frame, prefix: str) -> Frame:
    """For explain: the module's columns exist, which they are is not known yet."""
    return frame.with_(open_prefix=prefix)


def lacking(frame: Frame, prefix: str, algo: str, model: str) -> Frame:
    """After staging alone: a later `predicted_*` is an error that says what to run."""
    reason = Missing(
        f"{prefix}_",
        f"mode=stage only sends the rows to the environment, and no model {model!r} is fitted yet.",
        f"Fit it once without mode=stage: | fit MLTKContainer algo={algo} … into app:{model}",
    )
    return frame.with_(missing=(*frame.missing, reason))


# -- ONNX


def output_names(model: ModelInfo, output: str) -> list[str]:
    """`predicted(<name>)` for each output; with `as`, that name (numbered from the second on)."""
    names = [f.name for f in model.outputs] if model.outputs is not None else [model.target]
    if not output:
        return [f"predicted({name})" for name in names]
    return [output if i == 0 else f"{output}_{name}" for i, name in enumerate(names)]


def onnx_frame(plan: Plan, frame: Frame, model: ModelInfo, output: str, span: Span) -> Frame:
    """The frame with the model's predictions, computed batch by batch while the rows are read."""
    features = list(model.features)
    check_features(frame, [f.name for f in features], span)
    outputs = model.outputs if model.outputs is not None else pa.schema([pa.field(model.target, pa.float64())])
    titles = output_names(model, output)
    inputs: list[str] = []
    trees: list[tuple[str, sql.E]] = []
    for feature in features:
        column = frame.fields[feature.name]
        value = kinds.of_column(column)
        if feature.kind == "number":
            value = kinds.convert(kinds.to_number(value), kinds.Kind.NUM)
        elif feature.kind == "string":
            value = kinds.to_string(value)
        inputs.append(plan.new_id())
        trees.append((inputs[-1], value.use()))
    visible = {name: column for name, column in frame.fields.items() if name not in titles}
    if plan.explaining or plan.executor is None:
        fields = {**visible}
        for title, item in zip(titles, outputs, strict=True):
            fields[title] = Column(plan.new_id(), kinds.read(sql.null(), item.type).kind)
        return frame.with_(fields=fields, open_prefix="predicted(")
    extended = plan.extend(frame, trees)
    hidden = {f" {i}": Column(id_, kinds.Kind.NUM) for i, id_ in enumerate(inputs)}
    wide = extended.with_(fields={**visible, **hidden})
    reader = plan.executor.reader(wide, plan.select_ids(wide))
    schema = pa.schema([*list(reader.schema)[: len(visible)], *_renamed(outputs, titles)])
    stream = predicted_batches(plan, reader, model, len(visible), schema)
    return plan.scan_stream(schema, stream, frame.kind).with_(missing=frame.missing)


def _renamed(outputs: pa.Schema, titles: Sequence[str]) -> list[pa.Field]:
    return [pa.field(title, item.type) for title, item in zip(titles, outputs, strict=True)]


def predicted_batches(
    plan: Plan, reader: Any, model: ModelInfo, visible: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Rows with predictions. A row with a null feature stays, its prediction is null, and it is counted."""
    waiting: deque[tuple[pa.RecordBatch, pa.Array]] = deque()
    names = [f.name for f in model.features]
    incomplete = 0

    def inputs() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            features = pa.RecordBatch.from_arrays(batch.columns[visible:], names=names)
            complete = _complete(features)
            waiting.append((batch, complete))
            yield features if complete is None else features.filter(complete)

    cancel: threading.Event = plan.request.cancel
    for answer in plan.host.models.apply_onnx(model, inputs(), cancel):
        batch, complete = waiting.popleft()
        columns = list(answer.columns)
        if complete is not None:
            incomplete += batch.num_rows - answer.num_rows
            places = _places(complete)
            columns = [column.take(places) for column in columns]
        typed = [c.cast(schema.field(visible + i).type) for i, c in enumerate(columns)]
        yield pa.RecordBatch.from_arrays([*batch.columns[:visible], *typed], schema=schema)
    if incomplete:
        plan.notice(f"{incomplete:,} rows lack a feature of {model.name!r} and have no prediction.")


def _complete(features: pa.RecordBatch) -> pa.Array | None:
    """Which rows have every feature; None where all do."""
    if not any(column.null_count for column in features.columns):
        return None
    mask = None
    for column in features.columns:
        valid = pc.is_valid(column)
        mask = valid if mask is None else pc.and_(mask, valid)
    return mask


def _places(complete: pa.Array) -> pa.Array:
    """For each row its place among the complete ones, or null."""
    running = pc.subtract(pc.cumulative_sum(complete.cast(pa.int64())), 1)
    return pc.if_else(complete, running, pa.scalar(None, pa.int64()))
