"""Predictions of an ONNX model over Arrow tables: in blocks, without pandas, with nulls kept apart."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.compute as pc

from labdock.errors import InvalidFrame
from labdock.names import nearest
from labdock_search.onnx.by_columns import by_columns
from labdock_search.onnx.schema import NUMPY_TYPES, ModelSchema

# Rows of a run: one over a million takes 4.8 GB for the lab's network. Half as many for a model whose weights want the
# core's cache for themselves: 16,384 rows are the fastest for 16 and 8 neurons, 8,192 for thrice 256.
BLOCK = 16_384
_SMALL_MODEL = 64 << 10  # bytes of its file

ARROW_TYPES = {
    "tensor(float)": pa.float32(),
    "tensor(double)": pa.float64(),
    "tensor(float16)": pa.float16(),
    "tensor(int64)": pa.int64(),
    "tensor(int32)": pa.int32(),
    "tensor(int16)": pa.int16(),
    "tensor(int8)": pa.int8(),
    "tensor(uint8)": pa.uint8(),
    "tensor(bool)": pa.bool_(),
    "tensor(string)": pa.string(),
}

Blocks = dict[str, list[Any]]


@dataclass(frozen=True)
class Predictions:
    """`columns` are as long as the table; `null_rows` had a null feature and got null predictions."""

    columns: dict[str, pa.Array]
    null_rows: int = 0
    warnings: list[str] = field(default_factory=list)


def usable_cpus() -> int:
    """CPUs that this process may really use: its affinity and its control group's quota."""
    cpus = float(len(os.sched_getaffinity(0)))
    for quota, period in (("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"), ("cpu.max", "")):
        try:
            words = Path("/sys/fs/cgroup", quota).read_text().split()
            limit = float(words[0]) / float(words[1] if not period else Path("/sys/fs/cgroup", period).read_text())
        except (OSError, ValueError, IndexError):
            continue
        if limit > 0:
            cpus = min(cpus, limit)
    return max(1, int(cpus))


class OnnxModel:
    """A loaded model; thread-safe. `features` in the model's order, `target` names the prediction.

    `threshold` turns a score into the label 0 or 1. `threads` defaults to the CPUs that may be used.
    """

    def __init__(
        self,
        content: bytes,
        schema: ModelSchema,
        features: Sequence[str],
        target: str,
        threshold: float | None = None,
        threads: int | None = None,
    ) -> None:
        self._threads = threads or usable_cpus()
        self._block = BLOCK if len(content) <= _SMALL_MODEL else BLOCK // 2
        options = ort.SessionOptions()
        # Each thread has blocks of its own: what it has gathered stays in its core's cache, and no operator waits.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        by_column = by_columns(content, schema)
        # The input that takes columns, where the model has one.
        content, self._columnar = by_column or (content, "")
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.schema, self.features, self.target, self.threshold = schema, list(features), target, threshold

    @property
    def prediction_type(self) -> pa.DataType:
        """The Arrow type of the prediction, found by a run on one row of zeros (or empty texts)."""
        zero = {n: pa.array([None], ARROW_TYPES[self._input(n).type]) for n in self.features}
        predicted = self.predict(pa.table(zero)).columns[f"predicted({self.target})"]
        return predicted.type

    def predict(
        self, table: pa.Table, *, details: bool = False, cancelled: Callable[[], bool] = lambda: False
    ) -> Predictions:
        """Predict each row of `table` from its feature columns.

        Gives `predicted(<target>)`, and with `details` `probability(<target>=<class>)` and `score(<target>)` where
        the model has them. Raises `InvalidFrame` for missing features and values that are no numbers, and
        `InterruptedError` when `cancelled()` says so between two blocks.
        """
        self._check_features(table.column_names)
        columns = [self._column(table, name) for name in self.features]
        valid = _all_valid(columns, table.num_rows)
        blocks = self._run([_values(c) for c in columns], table.num_rows, cancelled)
        mask = None if valid is None else ~valid
        result = {
            name: _to_arrow(values, mask) for name, values in self._columns(blocks, table.num_rows, details).items()
        }
        nulls = 0 if valid is None else int(table.num_rows - np.count_nonzero(valid))
        notes = [f"{nulls:,} rows have a null feature and no prediction."] if nulls else []
        return Predictions(result, nulls, notes)

    def infer(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's own inputs in, its own outputs out, and `predicted(<target>)` as `predict` gives it.

        Outputs that are no tensor with a row for each input row (probability maps) are left out. `feed` must have the
        declared types and one number of rows. Raises `InvalidFrame` for what the model refuses.
        """
        rows = len(next(iter(feed.values())))
        try:
            blocks = self._blocks(rows, lambda start, stop: self._fed(feed, start, stop))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own classes too: the values do not fit the graph
            text = " ".join(str(error).split())[:300]
            raise InvalidFrame(f"The model refuses the tensors: {text}", remedy="See its inputs' shapes.") from None
        found = self._columns(blocks, rows, details=False)
        for name, parts in blocks.items():
            if parts and all(isinstance(p, np.ndarray) and p.ndim for p in parts) and sum(map(len, parts)) == rows:
                found[name] = np.concatenate(parts)
        return found

    def _column(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        kind = ARROW_TYPES[self._input(name).type]
        column = table.column(name)
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if column.type == kind or (numeric and kind == pa.float32()):
            return column  # the block's assignment converts: one pass less
        try:
            return pc.cast(column, kind, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InvalidFrame(
                f"Feature {name!r} has values that are no {'text' if kind == pa.string() else 'numbers'}: "
                f"{_first_bad(column, kind)!r}.",
                remedy=f"Convert it first, for example | eval {name}=tonumber({name}).",
                column=name,
            ) from None

    def _check_features(self, known: list[str]) -> None:
        missing = [f for f in self.features if f not in known]
        if not missing:
            return
        hints = [f"{m!r} (did you mean {n!r}?)" if (n := nearest(m, known)) else repr(m) for m in missing]
        raise InvalidFrame(
            f"The model needs features that the data does not have: {', '.join(hints)}.",
            remedy=f"The data has: {', '.join(known[:40])}.",
            columns=missing,
            nearest=[nearest(m, known) for m in missing],
        )

    def _input(self, feature: str) -> Any:
        inputs = self.schema.inputs
        return inputs[0] if len(inputs) == 1 else inputs[self.features.index(feature)]

    def _run(self, values: list[np.ndarray], rows: int, cancelled: Callable[[], bool]) -> Blocks:
        """Run block by block; gives for each output the list of its blocks."""
        if len(self.schema.inputs) > 1 or len(self.schema.inputs[0].shape) != 2:
            return self._blocks(rows, lambda start, stop: self._named(values, start, stop), cancelled)
        name = self.schema.inputs[0].name
        own = threading.local()

        def feed(start: int, stop: int) -> dict[str, np.ndarray]:
            if not hasattr(own, "memory"):
                own.memory = np.empty(min(self._block, rows) * len(values), NUMPY_TYPES[self.schema.inputs[0].type])
            block = own.memory[: (stop - start) * len(values)]
            np.concatenate([column[start:stop] for column in values], out=block, casting="unsafe")
            columns = block.reshape(len(values), -1)
            return {self._columnar: columns} if self._columnar else {name: np.ascontiguousarray(columns.T)}

        return self._blocks(rows, feed, cancelled)

    def _blocks(
        self,
        rows: int,
        feed: Callable[[int, int], dict[str, np.ndarray]],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Blocks:
        def one(start: int) -> list[Any]:
            if cancelled():
                raise InterruptedError
            outputs: list[Any] = self._session.run(None, feed(start, min(start + self._block, rows)))
            return outputs

        blocks: Blocks = {o.name: [] for o in self.schema.outputs}
        for outputs in self._mapped(one, range(0, rows, self._block)):
            for output, block in zip(self.schema.outputs, outputs, strict=True):
                blocks[output.name].append(block)
        return blocks

    def _mapped(self, one: Callable[[int], list[Any]], starts: range) -> Iterator[list[Any]]:
        """`one` of each start, in their order, by as many threads as the model may use."""
        threads = min(self._threads, len(starts))
        if threads < 2:
            yield from map(one, starts)
            return
        with ThreadPoolExecutor(threads, "labdock-onnx") as pool:
            yield from pool.map(one, starts)

    def _fed(self, feed: Mapping[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
        """Rows of the model's own inputs. Raises `ValueError` for a shape that only the model's file would refuse."""
        if not self._columnar:
            return {name: value[start:stop] for name, value in feed.items()}
        ((name, value),) = feed.items()
        width = self.schema.inputs[0].shape[1]
        if value.ndim != 2 or width not in (None, value.shape[1]):
            raise ValueError(f"{name} has the shape {list(value.shape)}; it takes [{len(value)}, {width or 'any'}].")
        return {self._columnar: np.ascontiguousarray(value[start:stop].T)}

    def _named(self, values: list[np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
        """A tensor for each feature."""
        return {
            tensor.name: column[start:stop].astype(NUMPY_TYPES[tensor.type]).reshape((-1, 1)[: len(tensor.shape)])
            for tensor, column in zip(self.schema.inputs, values, strict=True)
        }

    def _columns(self, blocks: Blocks, rows: int, details: bool) -> dict[str, np.ndarray]:
        """Choose what the prediction is: labels as they are; a score as it is; else the likeliest class."""
        labels, scores, classes = None, {}, {}
        for name, parts in blocks.items():
            if parts and isinstance(parts[0], list):  # ZipMap: one dict a row
                classes.update(_from_maps([row for part in parts for row in part]))
                continue
            array = np.concatenate(parts) if parts else np.empty(0, np.float32)
            if array.ndim == 2 and array.shape[1] == 1:
                array = array[:, 0]
            if array.ndim == 1 and array.dtype.kind in "OSUbiu":
                labels = array if labels is None else labels
            elif array.ndim == 1:
                scores[name] = array
            elif array.ndim == 2:
                classes.update({str(i): array[:, i] for i in range(array.shape[1])})
        prediction = self._prediction(labels, scores, classes, rows)
        result = {f"predicted({self.target})": prediction}
        if details:
            result |= {f"probability({self.target}={c})": p for c, p in classes.items()}
            result |= {f"score({self.target})": s for s in list(scores.values())[:1] if s is not prediction}
        return result

    def _prediction(
        self, labels: np.ndarray | None, scores: dict[str, np.ndarray], classes: dict[str, np.ndarray], rows: int
    ) -> np.ndarray:
        if self.threshold is not None:
            score = next(iter(scores.values()), None)
            score = list(classes.values())[-1] if score is None and classes else score
            if score is not None:
                above: np.ndarray = (score >= self.threshold).astype(np.int64)
                return above
        if labels is not None:
            return labels
        if scores:
            return next(iter(scores.values()))
        if classes:
            likeliest: np.ndarray = np.argmax(np.stack(list(classes.values()), axis=1), axis=1)
            return likeliest
        return np.zeros(rows, np.float32)


def _all_valid(columns: list[pa.ChunkedArray], rows: int) -> "np.ndarray | None":
    """Which rows have no null among `columns`; None when all have none."""
    with_nulls = [c for c in columns if c.null_count]
    if not with_nulls:
        return None
    valid = np.ones(rows, bool)
    for column in with_nulls:
        valid &= column.is_valid().to_numpy()
    return valid


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """The column's values without a copy where there are no nulls; nulls become a harmless value."""
    if column.null_count:
        column = pc.fill_null(column, pa.scalar("" if pa.types.is_string(column.type) else 0).cast(column.type))
    values: np.ndarray = column.to_numpy()
    return values


def _to_arrow(values: np.ndarray, mask: "np.ndarray | None") -> pa.Array:
    return pa.array(values.tolist() if values.dtype == object else values, mask=mask)


def _from_maps(rows: list[dict[Any, float]]) -> dict[str, np.ndarray]:
    keys = list(rows[0]) if rows else []
    return {str(k): np.array([row[k] for row in rows], np.float32) for k in keys}


def _first_bad(column: pa.ChunkedArray, kind: pa.DataType) -> Any:
    for value in column.drop_null():
        try:
            value.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return value.as_py()
    return None
