# ruff: noqa: E501 - a table
"""Hostile and broken model files, each with the checks that may refuse it. Nothing here is harmless to load."""

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

Case = tuple[str, bytes, set[str]]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
SIZE, EXTERNAL = {"tensor size"}, {"external data"}
ANY_LIMIT = {"tensor size", "memory", "time", "trial run", "load", "checker", "nodes"}
HUGE = 10**12


def cases() -> Iterator[Case]:
    for made in families().values():
        yield from made


def families() -> dict[str, Iterator[Case]]:
    """The cases by what is wrong with them."""
    makers = (
        *(_external, _bombs, _opsets, _operators, _graphs, _shapes),
        *(_tensors, _nesting, _names, _cut, _random, _other),
    )
    return {maker.__name__.strip("_"): maker() for maker in makers}


# -- building


def info(name: str, shape: Any = (None, 2), kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: list[Any] | None = None,
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    initializers: list[Any] | None = None,
    opset: int = 13,
    **more: Any,
) -> onnx.ModelProto:
    """`x [N, 2]` to `y [N, 2]`; the good model of which all others are bad versions."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])] if nodes is None else nodes
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x")] if inputs is None else inputs,
        [info("y")] if outputs is None else outputs,
        initializers or [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def data(made: onnx.ModelProto) -> bytes:
    content: bytes = made.SerializeToString()
    return content


def constant(name: str, values: Any, kind: Any = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def declared(name: str, dims: list[int], kind: int = FLOAT, raw: bytes = b"") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=kind)
    tensor.dims.extend(dims)
    if raw:
        tensor.raw_data = raw
    return tensor


def pointing(location: str, **entries: Any) -> onnx.TensorProto:
    tensor = declared("w", [2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


ADD = [helper.make_node("Add", ["x", "w"], ["y"])]


# -- external data: onnx #3991, #7717, GHSA-cmw6-hcpp-c6jp, CVE-2022-25882, CVE-2024-27318, CVE-2026-27489;
# onnxruntime #27430


def _external() -> Iterator[Case]:
    places = [
        "../../../etc/passwd", "/etc/passwd", "/proc/self/environ", "/proc/self/mem", "/dev/zero", "/dev/stdin", "weights.bin",
        "./weights.bin", "a/../../b", "..\\..\\windows\\win.ini", "C:\\windows\\win.ini", "file:///etc/passwd",
        "\\\\host\\share\\x", "~/.ssh/id_rsa", "link.bin", "hardlink.bin", "%2e%2e/%2e%2e/etc/passwd", "..%c0%afetc/passwd",
        "etc/passwd\0.bin", "", ".", "..", "a" * 5000, "/proc/self/fd/0", "*/_ORT_MEM_ADDR_/*", "https://example.org/w",
    ]  # fmt: skip
    for number, place in enumerate(places):
        yield f"external location {number} {place[:30]!r}", data(model(ADD, initializers=[pointing(place)])), EXTERNAL
    spans = [
        ("offset", -1),
        ("offset", 2**63 - 1),
        ("length", 2**63 - 1),
        ("length", -5),
        ("offset", "x"),
        ("checksum", "0"),
    ]
    for key, value in spans:
        tensor = pointing("weights.bin", **{key: value})
        yield f"external {key} {value}", data(model(ADD, initializers=[tensor])), EXTERNAL
    inside = helper.make_node("Constant", [], ["w"])
    inside.attribute.add(name="value", type=AttributeProto.TENSOR).t.CopyFrom(pointing("/etc/passwd"))
    yield "external in an attribute", data(model([inside, *ADD])), EXTERNAL
    listed = helper.make_node("Relu", ["x"], ["y"])
    listed.attribute.add(name="many", type=AttributeProto.TENSORS).tensors.append(pointing("/etc/passwd"))
    yield "external in a list of tensors", data(model([listed])), EXTERNAL
    branch = helper.make_graph(ADD, "b", [], [info("y")], [pointing("../w")])
    nested = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    yield "external in a subgraph", data(model([nested], initializers=[constant("c", True, bool)])), EXTERNAL
    sparse = model()
    sparse.graph.sparse_initializer.add().values.CopyFrom(pointing("../w"))
    yield "external in a sparse tensor", data(sparse), EXTERNAL
    indices = model()
    indices.graph.sparse_initializer.add().indices.CopyFrom(pointing("../w"))
    yield "external in sparse indices", data(indices), EXTERNAL
    trained = model()
    trained.training_info.add().initialization.initializer.append(pointing("../w"))
    yield "external in training information", data(trained), EXTERNAL
    function = model()
    local = function.functions.add(name="F", domain="d")
    local.node.append(inside)
    yield "external in a function", data(function), EXTERNAL
    default = model()
    local = default.functions.add(name="F", domain="d")
    local.attribute_proto.add(name="v", type=AttributeProto.TENSOR).t.CopyFrom(pointing("../w"))
    yield "external in a function's default", data(default), EXTERNAL
    unmarked = declared("w", [2], raw=b"\0" * 8)
    unmarked.external_data.add(key="location", value="../w")
    yield "external without its mark", data(model(ADD, initializers=[unmarked])), EXTERNAL


# -- bombs: onnxruntime #28709, #28730


def _bombs() -> Iterator[Case]:
    limit = {"tensor size"}
    size = constant("n", [HUGE])
    fill = helper.make_node("ConstantOfShape", ["n"], ["big"])
    total = helper.make_node("ReduceMax", ["big"], ["m"], keepdims=1)
    mixed = helper.make_node("Add", ["x", "m"], ["y"])
    for count in (10**8, 2**31 - 1, 2**40, HUGE, 2**62):
        yield (
            f"ConstantOfShape {count}",
            data(model([fill, total, mixed], initializers=[constant("n", [count])])),
            ANY_LIMIT,
        )
    yield (
        "ConstantOfShape of a matrix",
        data(model([fill, total, mixed], initializers=[constant("n", [10**6, 10**6])])),
        limit,
    )
    yield (
        "ConstantOfShape overflowing",
        data(model([fill, total, mixed], initializers=[constant("n", [2**33, 2**33])])),
        ANY_LIMIT,
    )
    node = helper.make_node("Constant", [], ["n"], value=size)
    yield "ConstantOfShape by a Constant", data(model([node, fill, total, mixed])), ANY_LIMIT
    one = constant("one", [[1.0]], np.float32)
    for name, shape in (("Expand", [10**5, 10**6]), ("Tile", [10**5, 10**6])):
        grow = helper.make_node(name, ["one", "n"], ["big"])
        made = model([grow, total, mixed], initializers=[one, constant("n", shape)])
        yield f"{name} of a constant", data(made), limit
        by_rows = helper.make_node(name, ["x", "n"], ["big"])
        made = model([by_rows, total, mixed], initializers=[constant("n", [10**6, 10**6])])
        yield f"{name} of the input", data(made), ANY_LIMIT
    number = [constant("a", 0), constant("b", HUGE), constant("s", 1)]
    cast = helper.make_node("Cast", ["big"], ["f"], to=FLOAT)
    count = helper.make_node("ReduceMax", ["f"], ["m"], keepdims=0)
    ranged = [helper.make_node("Range", ["a", "b", "s"], ["big"]), cast, count, mixed]
    yield "Range", data(model(ranged, initializers=number)), ANY_LIMIT
    yield (
        "Range by tiny steps",
        data(
            model(
                [
                    helper.make_node("Range", ["a", "b", "s"], ["big"]),
                    helper.make_node("ReduceMax", ["big"], ["m"]),
                    mixed,
                ],
                initializers=[constant(n, v, np.float32) for n, v in (("a", 0), ("b", 1e9), ("s", 1e-3))],
            )
        ),
        ANY_LIMIT,
    )
    for name in ("Loop", "Loop without an end"):
        body = helper.make_graph(
            [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Identity", ["v"], ["vo"])],
            "body",
            [info("i", [], INT64), info("c", [], TensorProto.BOOL), info("v")],
            [info("co", [], TensorProto.BOOL), info("vo")],
        )
        trips = "" if "without" in name else "t"
        loop = helper.make_node("Loop", [trips, "go", "x"], ["y"], body=body)
        yield name, data(model([loop], initializers=[constant("t", HUGE), constant("go", True, bool)])), {"time"}
    gathering = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Identity", ["v"], ["vo"]), helper.make_node("Expand", ["v", "wide"], ["so"])],
        "body",
        [info("i", [], INT64), info("c", [], TensorProto.BOOL), info("v", None)],
        [info("co", [], TensorProto.BOOL), info("vo", None), info("so", None)],
        [constant("wide", [1000, 2])],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["t", "go", "x"], ["y", "scan"], body=gathering)
    yield (
        "Loop that gathers",
        data(model([loop], initializers=[constant("t", HUGE), constant("go", True, bool)])),
        ANY_LIMIT,
    )
    doubling, last = [], "x"
    for step in range(64):
        doubling.append(helper.make_node("Concat", [last, last], [f"d{step}"], axis=1))
        last = f"d{step}"
    yield (
        "Concat that doubles 64 times",
        data(model([*doubling, helper.make_node("Relu", [last], ["y"])], outputs=[info("y", None)])),
        ANY_LIMIT,
    )
    for name, attributes in (("Pad", {}), ("Resize", {})):
        extra = [constant("n", [0, 0, 10**9, 10**9])] if name == "Pad" else [constant("n", [1e6, 1e6], np.float32)]
        inputs = ["x", "n"] if name == "Pad" else ["x", "", "n"]
        yield (
            f"{name} of the input",
            data(model([helper.make_node(name, inputs, ["big"], **attributes), total, mixed], initializers=extra)),
            ANY_LIMIT,
        )
    hot = helper.make_node("OneHot", ["ids", "depth", "v"], ["big"])
    ids = helper.make_node("Cast", ["x"], ["ids"], to=INT64)
    made = model(
        [ids, hot, total, mixed], initializers=[constant("depth", HUGE), constant("v", [0.0, 1.0], np.float32)]
    )
    yield "OneHot", data(made), ANY_LIMIT
    for name, attributes in (
        ("RandomNormal", {"shape": [10**6, 10**6]}),
        ("RandomUniform", {"shape": [10**5, 10**5]}),
        ("EyeLike", {}),
    ):
        node = helper.make_node(name, ["n0"] if name == "EyeLike" else [], ["big"], **attributes)
        start = [helper.make_node("ConstantOfShape", ["n"], ["n0"])] if name == "EyeLike" else []
        yield name, data(model([*start, node, total, mixed], initializers=[constant("n", [10**6, 10**6])])), ANY_LIMIT
    product = [
        helper.make_node("ConstantOfShape", ["n"], ["tall"]),
        helper.make_node("Transpose", ["tall"], ["wide"]),
        helper.make_node("MatMul", ["tall", "wide"], ["big"]),
    ]
    yield (
        "MatMul of two long vectors",
        data(model([*product, total, mixed], initializers=[constant("n", [10**6, 1])])),
        ANY_LIMIT,
    )
    counted = declared("w", [HUGE])
    yield "152 bytes that claim a terabyte", data(model(ADD, initializers=[counted])), limit


# -- versions and operators


def _opsets() -> Iterator[Case]:
    for opset in (-1, 1, 2, 3, 6, 99, 2**31 - 1, 2**62):
        yield f"opset {opset}", data(model(opset=opset)), {"opset"}
    none = model()
    del none.opset_import[:]
    yield "no opset", data(none), {"checker", "load", "opset"}
    zero = model()
    zero.opset_import[0].version = 0
    yield "opset 0", data(zero), {"checker", "load", "opset"}
    for ir in (-1, 0, 1, 2, 99, 2**40):
        old = model()
        old.ir_version = ir
        yield f"ir {ir}", data(old), {"checker", "load"}
    ml = model([helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])])
    yield "ai.onnx.ml without an opset", data(ml), {"checker", "load"}
    ml.opset_import.append(helper.make_opsetid("ai.onnx.ml", 999))
    yield "ai.onnx.ml 999", data(ml), {"opset", "checker", "load"}
    twice = model()
    twice.opset_import.append(helper.make_opsetid("", 7))
    yield "two opsets of one domain", data(twice), {"checker", "load", "opset"}


def _operators() -> Iterator[Case]:
    for domain in (
        "com.microsoft",
        "ai.onnx.contrib",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "x",
        "AI.ONNX",
        "com.microsoft.nchwc",
        " ",
    ):
        made = model([helper.make_node("Gelu", ["x"], ["y"], domain=domain)])
        made.opset_import.append(helper.make_opsetid(domain, 1))
        yield f"domain {domain!r}", data(made), {"operator domain"}
    for name in ("PyOp", "Evil", "ATen", "", "relu", "Relu "):
        yield f"operator {name!r}", data(model([helper.make_node(name, ["x"], ["y"])])), {"operator"}
    inner = helper.make_graph([helper.make_node("Evil", ["x"], ["y"], domain="x")], "b", [], [info("y")])
    nested = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    yield "domain in a subgraph", data(model([nested], initializers=[constant("c", True, bool)])), {"operator domain"}
    function = model([helper.make_node("F", ["x"], ["y"], domain="d")])
    function.opset_import.append(helper.make_opsetid("d", 1))
    body = [helper.make_node("Evil", ["a"], ["b"], domain="e")]
    function.functions.append(helper.make_function("d", "F", ["a"], ["b"], body, [helper.make_opsetid("e", 1)]))
    yield "domain in a function", data(function), {"operator domain"}
    recursive = model([helper.make_node("F", ["x"], ["y"], domain="d")])
    recursive.opset_import.append(helper.make_opsetid("d", 1))
    itself = [helper.make_node("F", ["a"], ["b"], domain="d")]
    recursive.functions.append(helper.make_function("d", "F", ["a"], ["b"], itself, [helper.make_opsetid("d", 1)]))
    yield "function that calls itself", data(recursive), {"functions"}
    mutual = model([helper.make_node("F", ["x"], ["y"], domain="d")])
    mutual.opset_import.append(helper.make_opsetid("d", 1))
    for name, other in (("F", "G"), ("G", "F")):
        node = helper.make_node(other, ["a"], ["b"], domain="d")
        mutual.functions.append(helper.make_function("d", name, ["a"], ["b"], [node], [helper.make_opsetid("d", 1)]))
    yield "functions that call each other", data(mutual), {"functions"}
    doubling = model([helper.make_node("F29", ["x"], ["y"], domain="d")])
    doubling.opset_import.append(helper.make_opsetid("d", 1))
    for level in range(30):
        name, below = f"F{level}", f"F{level - 1}"
        calls = (
            [("Relu", "a", "c", ""), ("Relu", "c", "b", "")]
            if not level
            else [(below, "a", "c", "d"), (below, "c", "b", "d")]
        )
        nodes = [helper.make_node(n, [i], [o], domain=d) for n, i, o, d in calls]
        ids = [helper.make_opsetid("", 13), helper.make_opsetid("d", 1)]
        doubling.functions.append(helper.make_function("d", name, ["a"], ["b"], nodes, ids))
    yield "functions that unfold to a billion nodes", data(doubling), {"functions"}
    for name, attributes in (("Relu", {"alpha": 1.0}), ("Gemm", {"alpha": "x"}), ("Cast", {"to": 99}), ("Concat", {})):
        inputs = ["x", "x"] if name in ("Gemm", "Concat") else ["x"]
        yield (
            f"attribute of {name}",
            data(model([helper.make_node(name, inputs, ["y"], **attributes)])),
            {"checker", "load", "trial run"},
        )
    for count in (0, 2, 9):
        yield (
            f"Relu of {count} inputs",
            data(model([helper.make_node("Relu", ["x"] * count, ["y"])])),
            {"checker", "load"},
        )


# -- graphs, inputs and outputs


def _graphs() -> Iterator[Case]:
    relu = helper.make_node
    yield "cycle of one", data(model([relu("Relu", ["y"], ["y"])])), {"checker", "load"}
    yield "cycle of two", data(model([relu("Relu", ["b"], ["y"]), relu("Relu", ["y"], ["b"])])), {"checker", "load"}
    yield "wrong order", data(model([relu("Relu", ["a"], ["y"]), relu("Relu", ["x"], ["a"])])), {"checker", "load"}
    yield "unknown input", data(model([relu("Relu", ["z"], ["y"])])), {"checker", "load"}
    yield "output of nobody", data(model(outputs=[info("z")])), {"checker", "load"}
    yield "empty graph", data(model([])), {"format"}
    yield "no graph", data(onnx.ModelProto(ir_version=8)), {"format"}
    yield "empty model", data(onnx.ModelProto()), {"format"}
    yield "no outputs", data(model(outputs=[])), {"format"}
    fixed = [helper.make_node("Constant", [], ["y"], value=constant("v", [[1.0, 2.0]], np.float32))]
    yield "no inputs", data(model(fixed, inputs=[])), {"inputs", "outputs"}
    yield (
        "two nodes of one output",
        data(model([relu("Relu", ["x"], ["y"]), relu("Abs", ["x"], ["y"])])),
        {"checker", "load"},
    )
    yield "two inputs of one name", data(model(inputs=[info("x"), info("x")])), {"checker", "load"}
    yield (
        "two initializers of one name",
        data(model(ADD, initializers=[constant("w", [1, 2], np.float32)] * 2)),
        {"checker", "load"},
    )
    yield "unnamed input", data(model([relu("Relu", [""], ["y"])], inputs=[info("")])), {"checker", "load"}
    yield (
        "one output for all rows",
        data(model([relu("ReduceSum", ["x"], ["y"], keepdims=0)], outputs=[info("y", [])])),
        {"outputs"},
    )
    yield "output of fixed rows", data(model(fixed)), {"outputs"}
    many = [relu("Relu", ["x"], ["y"]), *(relu("Relu", ["x"], [f"n{i}"]) for i in range(20_001))]
    yield "20,002 nodes", data(model(many)), {"nodes"}
    kinds = {"sequence": helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))}
    kinds["optional"] = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    kinds["map"] = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, [2]))
    for name, kind in kinds.items():
        nodes = [relu("Identity", ["x"], ["y"])]
        made = model(
            nodes, inputs=[helper.make_value_info("x", kind)], outputs=[helper.make_value_info("y", kind)], opset=16
        )
        yield f"input that is a {name}", data(made), {"inputs", "checker", "load"}
    typeless = model(inputs=[onnx.ValueInfoProto(name="x")])
    yield "input without a type", data(typeless), {"checker", "load", "inputs"}


def _shapes() -> Iterator[Case]:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    for shape in ([], [None, 2, 2], [None, 2, 2, 2], [5, 2], [7], [None, HUGE], [2**31, 2**31], [HUGE, 1]):
        made = model(relu, inputs=[info("x", shape)], outputs=[info("y", shape)])
        yield f"input {shape}", data(made), {"inputs", "tensor size", "trial run", "memory"}
    negative = model(relu, inputs=[info("x", [None, -5])], outputs=[info("y", None)])
    yield "input of negative width", data(negative), {"inputs", "checker", "load", "trial run", "tensor size"}
    cast = [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)]
    for kind in (TensorProto.COMPLEX64, TensorProto.BFLOAT16, TensorProto.UNDEFINED, 99):
        yield (
            f"input of type {kind}",
            data(model(cast, inputs=[info("x", [None, 2], kind)])),
            {"inputs", "checker", "load"},
        )
    wide = model(
        [helper.make_node("Concat", ["x", "z"], ["y"], axis=1)],
        inputs=[info("x"), info("z")],
        outputs=[info("y", [None, 4])],
    )
    yield "two wide inputs", data(wide), {"inputs"}
    multiply = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    yield (
        "shapes that do not fit",
        data(model(multiply, initializers=[constant("w", np.ones((3, 2)), np.float32)])),
        {"checker", "load"},
    )
    yield "types that do not fit", data(model(ADD, initializers=[constant("w", [1, 2])])), {"checker", "load"}
    lying = model(outputs=[info("y", [None, 7])])
    yield "output that lies about its width", data(lying), {"checker", "load"}


# -- tensors


def _tensors() -> Iterator[Case]:
    for dims in ([-1], [-1, -1], [2, -9], [2**62, 4]):
        yield f"tensor of {dims}", data(model(ADD, initializers=[declared("w", dims, raw=b"\0" * 8)])), SIZE
    for dims, raw in (([2], b"\0" * 4), ([2], b"\0" * 12), ([4, 4], b""), ([3], b"\0" * 11), ([10**7], b"\0" * 8)):
        yield f"tensor {dims} of {len(raw)} bytes", data(model(ADD, initializers=[declared("w", dims, raw=raw)])), SIZE
    for kind in (0, 99, 2**30):
        yield (
            f"tensor of type {kind}",
            data(model(ADD, initializers=[declared("w", [2], kind, b"\0" * 8)])),
            SIZE | {"checker"},
        )
    both = declared("w", [2], raw=b"\0" * 8)
    both.float_data.extend([1.0, 2.0, 3.0])
    yield "two kinds of data", data(model(ADD, initializers=[both])), {"checker", "tensor size", "load"}
    foreign = declared("w", [2])
    foreign.int64_data.extend([1, 2])
    yield "floats kept as integers", data(model(ADD, initializers=[foreign])), {"checker", "load", "tensor size"}
    segment = declared("w", [2], raw=b"\0" * 8)
    segment.segment.begin, segment.segment.end = 0, HUGE
    yield "segment", data(model(ADD, initializers=[segment])), {"checker", "load", "tensor size"}
    unnamed = declared("", [2], raw=b"\0" * 8)
    yield "tensor without a name", data(model(initializers=[unnamed])), {"checker", "load"}
    for dims, values, places in (
        ([HUGE], [1.0], [0]),
        ([10], [1.0, 2.0], [3, 11]),
        ([10], [1.0, 2.0], [3, 3]),
        ([10], [1.0], [-1]),
    ):
        made = model([helper.make_node("Add", ["x", "w"], ["y"])], outputs=[info("y", None)])
        sparse = made.graph.sparse_initializer.add()
        sparse.dims.extend(dims)
        sparse.values.CopyFrom(constant("w", values, np.float32))
        sparse.indices.CopyFrom(constant("i", places))
        yield f"sparse {dims} {places}", data(made), SIZE | {"checker", "load"}
    attribute = helper.make_node("Constant", [], ["w"])
    attribute.attribute.add(name="value", type=AttributeProto.TENSOR).t.CopyFrom(declared("v", [HUGE]))
    yield "attribute that claims a terabyte", data(model([attribute, *ADD])), SIZE
    strings = TensorProto(name="w", data_type=TensorProto.STRING)
    strings.dims.append(5)
    strings.string_data.append(b"one")
    yield "too few texts", data(model(ADD, initializers=[strings])), SIZE


def _nesting() -> Iterator[Case]:
    for depth in (17, 25):
        inner = helper.make_graph([helper.make_node("Relu", ["x"], ["o"])], "g0", [], [info("o")])
        for _ in range(depth):
            inner = helper.make_graph([_if(inner)], "g", [], [info("o")])
        made = model([_if(inner), helper.make_node("Relu", ["o"], ["y"])], initializers=[constant("c", True, bool)])
        yield f"{depth} graphs deep", data(made), {"nesting"}
    yield "10,000 graphs deep", _deep(10_000), {"format", "nesting"}
    yield "100,000 graphs deep", _deep(100_000), {"format", "nesting"}
    # Protobuf's own recursion: a type inside a type, 10,000 times.
    kind = b""
    for _ in range(10_000):
        kind = _field(4, _field(1, kind))
    yield (
        "10,000 types deep",
        _field(7, _field(1, b"\x22\x04Relu") + _field(11, _field(1, b"x") + _field(2, kind))),
        {"format"},
    )


def _if(inner: onnx.GraphProto) -> onnx.NodeProto:
    """One branch only: the size stays linear."""
    node = helper.make_node("If", ["c"], ["o"])
    node.attribute.add(name="then_branch", type=AttributeProto.GRAPH).g.CopyFrom(inner)
    return node


def _field(number: int, content: bytes) -> bytes:
    """One length-delimited field of a protobuf message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _deep(depth: int) -> bytes:
    """Graph inside attribute inside node inside graph, written from the inside out without protobuf's help."""
    parts, size = [], 0
    for _ in range(depth):  # lengths first: building strings within strings would take quadratic time
        for number in (6, 5, 1):  # attribute.g, node.attribute, graph.node
            head = bytes([number << 3 | 2]) + _varint(size)
            parts.append(head)
            size += len(head)
    graph = b"".join(reversed(parts))
    return b"\x08\x08" + _field(7, graph)


def _names() -> Iterator[Case]:
    good = data(model())
    for bad in (b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80"):
        broken = good.replace(b"\x0a\x01x\x12\x01y", b"\x0a" + bytes([len(bad)]) + bad + b"\x12\x01y")
        broken = broken if broken != good else good.replace(b"Relu", bad.ljust(4, b"\xff"))
        yield f"name {bad!r}", broken, {"format", "operator", "checker", "load"}
    long = "n" * 10_000_000
    yield "name of 10 MB that nobody gives", data(model([helper.make_node("Relu", [long], ["y"])])), {"checker", "load"}
    yield "input of 10 MB", data(model([helper.make_node("Relu", [long], ["y"])], [info(long)])), {"inputs"}
    yield "output of 10 MB", data(model([helper.make_node("Relu", ["x"], [long])], outputs=[info(long)])), {"outputs"}
    yield "operator of 10 MB", data(model([helper.make_node(long, ["x"], ["y"])])), {"operator"}
    yield "domain of 10 MB", data(model([helper.make_node("Relu", ["x"], ["y"], domain=long)])), {"operator domain"}


# -- what is no model


def _cut() -> Iterator[Case]:
    weights = np.random.default_rng(1).normal(size=(2, 8192)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    good = data(model(nodes, outputs=[info("y", [None, 8192])], initializers=[constant("w", weights, np.float32)]))
    size = 1
    while size < len(good):
        yield (
            f"cut off at {size}",
            good[:size],
            {"format", "checker", "tensor size", "load", "operators", "operator", "opset"},
        )
        size *= 2
    for place in range(0, 60, 6):
        flipped = bytearray(data(model()))
        flipped[place] ^= 0xFF
        yield f"byte {place} turned", bytes(flipped), {"*"}


def _random() -> Iterator[Case]:
    random = np.random.default_rng(7)
    for size in (1, 2, 7, 64, 1000, 65_536, 1_000_000):
        yield f"{size} random bytes", random.bytes(size), {"format"}
    for byte in (b"\0", b"\xff", b"\x0a", b"\x3a", b"\x08"):
        yield f"10,000 times {byte!r}", byte * 10_000, {"format"}
    yield "nothing", b"", {"format"}


def _other() -> Iterator[Case]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\0" * 1_000_000)
    arrays = io.BytesIO()
    np.savez(arrays, a=np.zeros(3))
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    files = {
        "zip": archive.getvalue(),
        "npz": arrays.getvalue(),
        "npy": array.getvalue(),
        **{f"pickle {p}": pickle.dumps({"a": [1, 2]}, protocol=p) for p in range(6)},
        "joblib": pickle.dumps(np.zeros(3), protocol=4),
        "pickle that would run a command": b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0" * 2000,
        "safetensors": len(header).to_bytes(8, "little") + header + b"\0" * 4,
        "ELF": b"\x7fELF\x02\x01\x01" + b"\0" * 2000,
        "PDF": b"%PDF-1.7\n1 0 obj",
        "gzip": gzip.compress(b"\0" * 1_000_000),
        "PNG": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "GGUF": b"GGUF\x03\0\0\0" + b"\0" * 100,
        "ORT": b"\x20\0\0\0ORTM" + b"\0" * 100,
        "TFLite": b"\x1c\0\0\0TFL3" + b"\0" * 100,
        "Parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
        "Arrow": b"ARROW1\0\0" + b"\0" * 100,
        "HTML": b"<!doctype html><html></html>",
        "JSON": b'{"ir_version": 8}',
        "text": b"This is not a model.\n" * 50,
        "Python": b"import os\nos.system('id')\n",
        "script": b"#!/bin/sh\nid\n",
        "CSV": b"a,b,c\n1,2,3\n",
        "UTF-16": "not a model".encode("utf-16"),
        "ONNX as text": b'ir_version: 8\ngraph { name: "g" }\n',
        "tar": b"weights.bin".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 300,
        "7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 100,
        "zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 100,
        "Windows program": b"MZ\x90\0" + b"\0" * 500,
        "SavedModel": b"\x08\x01\x12\x05\x0a\x03abc" * 20,
    }
    for name, content in files.items():
        yield name, content, {"format"}
