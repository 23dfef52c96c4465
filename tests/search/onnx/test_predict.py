"""Predictions over tables, against plain ONNX Runtime on the model as it lies in its file."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from labdock.errors import InvalidFrame
from labdock_search.onnx import OnnxModel, check_model
from labdock_search.onnx.by_columns import by_columns
from labdock_search.onnx.predict import BLOCK

FEATURES = ["a", "b", "c"]
TYPES = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.INT64: np.int64,
    TensorProto.INT32: np.int32,
}


def dense(kind: int = TensorProto.FLOAT, name: str = "x") -> bytes:
    """`(x - 1) @ w`: what a scaler and a layer do. Numbers of every type that a product takes."""
    weights = np.arange(6).reshape(3, 2).astype(TYPES[kind])
    nodes = [
        helper.make_node("Sub", [name, "one"], ["x_by_columns"]),  # the name that a first try would take
        helper.make_node("MatMul", ["x_by_columns", "w"], ["score"]),
    ]
    given = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([1], TYPES[kind]), "one")]
    inputs = [helper.make_tensor_value_info(name, kind, ["rows", 3])]
    outputs = [helper.make_tensor_value_info("score", kind, ["rows", 2])]
    graph = helper.make_graph(nodes, "dense", inputs, outputs, given)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )


def loaded(content: bytes, tmp_path: Path, features: list[str] = FEATURES) -> OnnxModel:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    return OnnxModel(content, check_model(path, features), features, "y")


def plain(content: bytes, values: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: values})
    return found


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("rows", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_columns_in_chunks_give_what_the_file_gives_for_rows(kind: int, rows: int, tmp_path: Path) -> None:
    values = np.random.default_rng(rows).integers(-50, 50, (rows, 3)).astype(TYPES[kind])
    third = rows // 3
    table = pa.table(
        {name: pa.chunked_array([values[:third, i], values[third:, i]]) for i, name in enumerate(FEATURES)}
    )
    found = loaded(dense(kind), tmp_path).predict(table, details=True).columns
    (wanted,) = plain(dense(kind), values)
    for i in range(2):
        assert np.array_equal(found[f"probability(y={i})"], wanted[:, i])
    assert np.array_equal(found["predicted(y)"], wanted.argmax(axis=1))


def test_other_types_than_the_model_has_are_converted(tmp_path: Path) -> None:
    values = np.arange(30).reshape(10, 3)
    kinds = [np.int64, np.float64, np.uint8]
    table = pa.table({n: values[:, i].astype(k) for i, (n, k) in enumerate(zip(FEATURES, kinds, strict=True))})
    found = loaded(dense(), tmp_path).predict(table, details=True).columns
    assert np.array_equal(found["probability(y=1)"], plain(dense(), values.astype(np.float32))[0][:, 1])


def test_a_forest_of_scikit_learn_gives_its_own_labels(tmp_path: Path) -> None:
    """Its operators are those of ai.onnx.ml; with no other domain named the rows go in as they are."""
    values = np.random.default_rng(3).normal(size=(BLOCK + 300, 3)).astype(np.float32)
    forest = RandomForestClassifier(5, random_state=0).fit(values, values.sum(axis=1) > 0)
    model = to_onnx(forest, values[:1], options={"zipmap": False}, target_opset={"": 13, "ai.onnx.ml": 3})
    table = pa.table(dict(zip(FEATURES, values.T, strict=True)))
    for domains in (("", "ai.onnx.ml"), ("ai.onnx.ml",)):
        kept = [each for each in model.opset_import if each.domain in domains]
        del model.opset_import[:]
        model.opset_import.extend(kept)
        if "" not in domains:  # what only a graph of ai.onnx needs
            for node in [n for n in model.graph.node if n.domain == ""]:
                model.graph.node.remove(node)
            model.graph.output[0].name = next(n for n in model.graph.node).output[0]
        given = loaded(model.SerializeToString(), tmp_path)
        assert (by_columns(model.SerializeToString(), given.schema) is None) == ("" not in domains)
        found = given.predict(table).columns["predicted(y)"]
        assert np.array_equal(np.asarray(found).astype(bool), forest.predict(values))


def test_tensors_of_rows_give_the_same_and_wrong_ones_are_refused_by_name(tmp_path: Path) -> None:
    values = np.random.default_rng(4).normal(size=(BLOCK + 3, 3)).astype(np.float32)
    model = loaded(dense(name="rows of x"), tmp_path)
    found = model.infer({"rows of x": values})
    assert np.array_equal(found["score"], plain(dense(), values)[0])
    for wrong in (values[:, :2], values[:, 0], values[None]):
        with pytest.raises(InvalidFrame, match="rows of x has the shape") as caught:
            model.infer({"rows of x": wrong})
        assert "3]" in caught.value.message
