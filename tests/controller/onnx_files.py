"""ONNX models made by hand, whose answers are known without running them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(weights: list[float], path: Path, *, opset: int = 13) -> Path:
    """`x · weights`, one input `[N, k]`, one output `[N, 1]`."""
    values = np.array(weights, dtype=np.float32).reshape(-1, 1)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["score"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(values, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def network(features: int, hidden: int, path: Path, *, seed: int = 1, layers: int = 1) -> Path:
    """A network of dense layers with ReLU and a sigmoid, as Keras exports it: input `x`, output `score` `[N, 1]`."""
    random = np.random.default_rng(seed)
    nodes, weights, last, width = [], [], "x", features
    for number, units in enumerate([hidden] * layers + [1]):
        scale = np.float32(1 / np.sqrt(width))
        weights += [
            numpy_helper.from_array((random.normal(size=(width, units)) * scale).astype(np.float32), f"w{number}"),
            numpy_helper.from_array((random.normal(size=units) * scale).astype(np.float32), f"b{number}"),
        ]
        end = "score" if number == layers else f"h{number}"
        nodes += [
            helper.make_node("MatMul", [last, f"w{number}"], [f"m{number}"]),
            helper.make_node("Add", [f"m{number}", f"b{number}"], [f"a{number}"]),
            helper.make_node("Sigmoid" if number == layers else "Relu", [f"a{number}"], [end]),
        ]
        last, width = end, units
    return save(
        nodes, [("x", TensorProto.FLOAT, [None, features])], [("score", TensorProto.FLOAT, [None, 1])], path, weights
    )


def words(labels: dict[str, int], path: Path) -> Path:
    """A text in, its label out, both `[N, 1]`."""
    node = helper.make_node(
        "LabelEncoder",
        ["word"],
        ["label"],
        domain="ai.onnx.ml",
        keys_strings=list(labels),
        values_int64s=list(labels.values()),
        default_int64=-1,
    )
    return save([node], [("word", TensorProto.STRING, [None, 1])], [("label", TensorProto.INT64, [None, 1])], path)


def save(
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, int, list[int | None]]],
    outputs: list[tuple[str, int, list[int | None]]],
    path: Path,
    initializers: list[onnx.TensorProto] | None = None,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        initializers or [],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path
