"""Static checks of a parsed ONNX model. Runs in the throwaway process only: nothing here is executed or allocated.

Each check raises `Refusal(check, found, remedy)`; `check.py` turns it into `labdock.errors.ModelRefused`.
"""

import math
from collections.abc import Iterator
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto

from labdock_search.onnx.schema import ModelLimits

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
OLDEST_OPSET = 7  # what ONNX Runtime still guarantees

# First bytes of files that people take for models.
MAGIC = {
    b"PK\x03\x04": "a zip archive (a Keras .keras, PyTorch .pt or numpy .npz file?)",
    b"\x80\x02": "a Python pickle (joblib or PyTorch?)",
    b"\x80\x03": "a Python pickle (joblib?)",
    b"\x80\x04": "a Python pickle (joblib?)",
    b"\x80\x05": "a Python pickle (joblib?)",
    b"\x89HDF": "an HDF5 file (Keras .h5?)",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"GGUF": "a GGUF file",
    b"ORTM": "an ONNX Runtime format file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x7fELF": "a program",
    b"<": "HTML or XML",
    b"{": "JSON",
}

Graphs = Iterator[tuple[onnx.GraphProto | onnx.FunctionProto, int]]


FOUND = 500  # characters that are told of what was found


class Refusal(Exception):
    """A check that failed: its name, what was found, what to do."""

    def __init__(self, check: str, found: str, remedy: str) -> None:
        super().__init__(found)
        # A file's own names are in it, and they may have megabytes.
        self.found = found if len(found) <= FOUND else f"{found[:FOUND]}…"
        self.check, self.remedy = check, remedy


def parse(content: bytes) -> onnx.ModelProto:
    """The file's protobuf, without loading external data. Refuses what is no ONNX model."""
    kind = next((name for magic, name in MAGIC.items() if content.startswith(magic)), None)
    if len(content) > 8 and content[4:8] == b"TFL3":
        kind = "a TensorFlow Lite file"
    if kind or not content:
        raise Refusal("format", f"the file is {kind or 'empty'}", "Export the model as ONNX and upload the .onnx file.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # noqa: BLE001 - protobuf's own DecodeError, RecursionError, ValueError by backend
        raise Refusal(
            "format", f"the file is not ONNX ({error})", "Export the model again; it may be cut off."
        ) from None
    if not model.HasField("graph") or not model.graph.node:
        raise Refusal("format", "the model has no graph or an empty one", "Export the model again.")
    if not model.graph.output:
        raise Refusal("format", "the graph has no output", "Export the model again.")
    return model


def graphs(model: onnx.ModelProto) -> Graphs:
    """Every graph and function with its depth, those inside attributes and training information included."""
    stack: list[tuple[Any, int]] = [(model.graph, 0), *((f, 0) for f in model.functions)]
    for info in model.training_info:
        stack += [(info.initialization, 0), (info.algorithm, 0)]
    while stack:
        graph, depth = stack.pop()
        yield graph, depth
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    stack.append((attribute.g, depth + 1))
                stack += [(g, depth + 1) for g in attribute.graphs]


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor at any depth: initializers, sparse ones, and those in attributes."""
    for graph, _ in graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        attributes: list[AttributeProto] = [a for node in graph.node for a in node.attribute]
        for attribute in [*attributes, *getattr(graph, "attribute_proto", ())]:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            pairs = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in [*pairs, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)


def check_external_data(model: onnx.ModelProto) -> None:
    """No tensor may live outside the file: a path in a model is a way to read the server's files."""
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            place = next((e.value for e in tensor.external_data if e.key == "location"), "")
            raise Refusal(
                "external data",
                f"tensor {tensor.name!r} points outside the file ({place!r})",
                "Save it in one file: onnx.save(model, path, save_as_external_data=False).",
            )


def check_nodes(model: onnx.ModelProto, limits: ModelLimits) -> int:
    """Caps on the number of nodes and on nesting; gives the number of nodes."""
    count = 0
    for graph, depth in graphs(model):
        count += len(graph.node)
        if depth > limits.max_depth:
            raise Refusal(
                "nesting", f"graphs are nested deeper than {limits.max_depth}", "Flatten the model's control flow."
            )
        if count > limits.max_nodes:
            raise Refusal(
                "nodes",
                f"the model has more than {limits.max_nodes:,} nodes",
                "Upload a smaller model, or raise max_nodes in the model settings.",
            )
    return count


def check_functions(model: onnx.ModelProto, limits: ModelLimits) -> None:
    """Functions must end, and not unfold to more nodes than a model may have: thirty that call the one before twice
    are a billion."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    unfolded: dict[tuple[str, str], int] = {}
    path: list[tuple[str, str]] = []

    def size(key: tuple[str, str]) -> int:
        if key in path or len(path) > limits.max_depth:
            what = "calls itself" if key in path else "is nested too deep"
            raise Refusal("functions", f"the function {key[1][:100]!r} {what}", "Export the model without functions.")
        if key not in unfolded:
            path.append(key)
            unfolded[key] = sum(size(k) if (k := (n.domain, n.op_type)) in bodies else 1 for n in bodies[key].node)
            path.pop()
        return unfolded[key]

    total = 0
    for graph, _ in graphs(model):
        total += sum(size(key) for n in graph.node if (key := (n.domain, n.op_type)) in bodies)
        if total > limits.max_nodes:
            raise Refusal(
                "functions",
                f"they unfold to more than {limits.max_nodes:,} nodes",
                "Export the model without functions.",
            )


def check_tensors(model: onnx.ModelProto, limits: ModelLimits) -> int:
    """Declared sizes are bounded and equal what is stored (a few bytes can claim gigabytes); gives the elements."""
    total = 0
    sparse_indices = {id(s.indices) for g, _ in graphs(model) for s in getattr(g, "sparse_initializer", ())}
    for tensor in tensors(model):
        if any(d < 0 for d in tensor.dims):
            raise Refusal("tensor size", f"tensor {tensor.name!r} has a negative dimension", "Export the model again.")
        if tensor.HasField("segment"):
            raise Refusal("tensor size", f"tensor {tensor.name!r} is a segment of another", "Export the model again.")
        declared = math.prod(tensor.dims)
        if declared > limits.max_tensor_elements:
            raise Refusal(
                "tensor size",
                f"tensor {tensor.name!r} declares {declared:,} elements; at most {limits.max_tensor_elements:,}",
                "Upload a smaller model, or raise max_tensor_elements in the model settings.",
            )
        stored = stored_elements(tensor)
        if stored != declared and id(tensor) not in sparse_indices:
            raise Refusal(
                "tensor size",
                f"tensor {tensor.name!r} declares {declared:,} elements and holds {stored:,}",
                "Export the model again; the file is damaged.",
            )
        total += declared
    return total


def stored_elements(tensor: TensorProto) -> int:
    """How many elements a tensor really holds; -1 for a type that is not known."""
    kind = tensor.data_type
    if kind == TensorProto.STRING:
        return len(tensor.string_data)
    if kind == TensorProto.UNDEFINED or kind not in TensorProto.DataType.values():
        return -1
    complex_parts = 2 if kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else 1
    if tensor.HasField("raw_data"):
        bits = _BITS.get(kind, 0)
        if not bits:
            return -1
        elements = len(tensor.raw_data) * 8 // bits
        # 2- and 4-bit types are padded to a byte
        return (
            min(elements, math.prod(tensor.dims))
            if bits < 8 and elements - math.prod(tensor.dims) < 8 // bits
            else elements
        )
    stored = max(
        len(tensor.float_data),
        len(tensor.int32_data),
        len(tensor.int64_data),
        len(tensor.double_data),
        len(tensor.uint64_data),
    )
    if _BITS.get(kind, 8) < 8 and stored == math.ceil(math.prod(tensor.dims) * _BITS[kind] / 8):
        return math.prod(tensor.dims)
    return stored // complex_parts


_BITS = {
    getattr(TensorProto, name): bits
    for bits, names in {
        2: ("INT2", "UINT2"),
        4: ("INT4", "UINT4", "FLOAT4E2M1"),
        8: ("INT8", "UINT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
        16: ("INT16", "UINT16", "FLOAT16", "BFLOAT16"),
        32: ("INT32", "UINT32", "FLOAT"),
        64: ("INT64", "UINT64", "DOUBLE", "COMPLEX64"),
        128: ("COMPLEX128",),
    }.items()
    for name in names
    if hasattr(TensorProto, name)
}


def check_operators(model: onnx.ModelProto) -> int:
    """Opsets and operator domains that the runtime supports; gives the opset of the standard operators."""
    newest = onnx.defs.onnx_opset_version()
    # skl2onnx names the same opset twice; two that differ are another thing.
    versions = list({entry.version: None for entry in model.opset_import if entry.domain in ("", "ai.onnx")})
    opset = versions[0] if versions else 0
    if len(versions) > 1 or (versions and not OLDEST_OPSET <= opset <= newest):
        raise Refusal(
            "opset",
            f"the model uses opset {' and '.join(map(str, versions))}; supported is one of {OLDEST_OPSET} to {newest}",
            f"Export it with opset=13 (any from {OLDEST_OPSET} to {newest}).",
        )
    local = {(f.domain, f.name) for f in model.functions}
    for graph, _ in graphs(model):
        for node in graph.node:
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in local:
                raise Refusal(
                    "operator domain",
                    f"operator {node.op_type!r} belongs to the domain {node.domain!r}",
                    "Use only standard operators (ai.onnx, ai.onnx.ml).",
                )
            if node.domain in DOMAINS and not onnx.defs.has(
                node.op_type, "ai.onnx.ml" if node.domain == "ai.onnx.ml" else ""
            ):
                raise Refusal(
                    "operator", f"there is no operator {node.op_type!r} in ONNX", "Use only standard operators."
                )
    return opset


def check_inferred_shapes(model: onnx.ModelProto, limits: ModelLimits) -> None:
    """Shapes that follow from constants alone must be bounded too (`ConstantOfShape`, `Expand`, `Tile`, …)."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # noqa: BLE001 - the library's own InferenceError and what protobuf raises
        raise Refusal(
            "checker", f"shapes do not fit together: {first_line(error)}", "Export the model again."
        ) from None
    for value in [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]:
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim if d.HasField("dim_value")]
        if dims and math.prod(dims) > limits.max_tensor_elements:
            raise Refusal(
                "tensor size",
                f"value {value.name!r} has {math.prod(dims):,} elements; at most {limits.max_tensor_elements:,}",
                "Upload a smaller model, or raise max_tensor_elements in the model settings.",
            )


def first_line(error: BaseException) -> str:
    """The part of a library's message that a person needs."""
    text = " ".join(str(error).split())
    return text[:300]
