"""The Open Inference Protocol, version 2: models as tensors, in JSON and in its binary tensor extension.

A model's own inputs and outputs are shown as the file names them, and `predicted(<target>)` besides: what `apply`
gives in a search. Instead of its own inputs a request may name the features, one tensor of a column each.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from labdock.errors import InvalidFrame
from labdock_controller.model_rows import Model, Version
from labdock_search.onnx import OnnxModel
from labdock_search.onnx.schema import NUMPY_TYPES, TensorInfo

EXTENSIONS = ["binary_tensor_data"]
PLATFORM = "onnxruntime_onnx"
DATATYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
NAMES = {np.dtype(kind): name for name, kind in DATATYPES.items()}


@dataclass
class Answer:
    """A response: its JSON object, and what follows it where outputs were asked for as binary data."""

    head: dict[str, Any]
    binary: list[bytes] = field(default_factory=list)

    def body(self) -> tuple[bytes, int | None]:
        """The bytes, and the length of the JSON part where something follows it."""
        text = json.dumps(self.head).encode()
        return b"".join([text, *self.binary]), len(text) if self.binary else None


def metadata(model: Model, version: Version, loaded: OnnxModel) -> dict[str, Any]:
    """A model as the protocol describes it."""
    outputs = [_described(t) for t in loaded.schema.outputs if t.type in NUMPY_TYPES]
    kind = NAMES.get(np.dtype(loaded.prediction_type.to_pandas_dtype()), "BYTES")
    predicted = {"name": f"predicted({loaded.target})", "datatype": kind, "shape": [-1]}
    return {
        "name": model.name,
        "versions": [str(v.version) for v in model.versions],
        "platform": PLATFORM,
        "inputs": [_described(tensor) for tensor in loaded.schema.inputs],
        "outputs": [*outputs, predicted],
        "parameters": {
            "version": str(version.version),
            "features": json.dumps(version.features),
            "target": loaded.target,
            "description": model.description,
        },
    }


def infer(model: Model, version: Version, loaded: OnnxModel, body: bytes, head_size: int | None) -> Answer:
    """Answer an inference request. Raises `InvalidFrame` that names the tensor."""
    request = _parse(body if head_size is None else body[:head_size])
    tensors = _inputs(request, b"" if head_size is None else body[head_size:])
    found = _run(loaded, tensors)
    whole_binary = bool(_parameters(request).get("binary_data_output", False))
    asked = request.get("outputs") or [{"name": name} for name in found]
    answer = Answer({"model_name": model.name, "model_version": str(version.version), "outputs": []})
    if isinstance(request.get("id"), str):
        answer.head["id"] = request["id"]
    for output in asked:
        name = output.get("name") if isinstance(output, dict) else None
        if name not in found:
            raise _wrong(f"There is no output {name!r}.", f"There is: {', '.join(found)}.")
        binary = bool(_parameters(output).get("binary_data", whole_binary))
        _add(answer, str(name), found[str(name)], binary=binary)
    return answer


def _described(tensor: TensorInfo) -> dict[str, Any]:
    shape = [-1 if size is None else size for size in tensor.shape]
    if shape:
        shape[0] = -1  # a model that names one row takes any number
    return {"name": tensor.name, "datatype": NAMES[np.dtype(NUMPY_TYPES[tensor.type])], "shape": shape}


def _parse(text: bytes) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong("The request is no JSON.", "Send an object with inputs.") from None
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list) or not request["inputs"]:
        raise _wrong("The request has no inputs.", 'Send {"inputs": [{"name", "shape", "datatype", "data"}]}.')
    if not isinstance(request.get("outputs") or [], list):
        raise _wrong("outputs is no list.", 'Send for example {"outputs": [{"name": "score"}]}.')
    return request


def _inputs(request: dict[str, Any], binary: bytes) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    at = 0
    for item in request["inputs"]:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name in tensors:
            raise _wrong("An input has no name, or the same as another.", "Name each tensor once.")
        shape, kind = item.get("shape"), item.get("datatype")
        sizes = shape if isinstance(shape, list) else []
        if kind not in DATATYPES or not 1 <= len(sizes) <= 4 or not all(type(n) is int and n >= 0 for n in sizes):
            raise _wrong(
                f"Input {name!r} has the datatype {kind!r} and the shape {shape!r}.",
                f"Send a shape such as [2, 30] and one of {', '.join(DATATYPES)}.",
            )
        size = _parameters(item).get("binary_data_size")
        if size is None:
            tensors[name] = _from_json(name, item.get("data"), kind, sizes)
            continue
        if type(size) is not int or size < 0 or at + size > len(binary):
            raise _wrong(f"Input {name!r} has {size!r} bytes of binary data.", "Send them behind the JSON object.")
        tensors[name] = _from_binary(name, binary[at : at + size], kind, sizes)
        at += size
    if at != len(binary):
        raise _wrong(f"{len(binary) - at} bytes belong to no input.", "Set binary_data_size of each input.")
    return tensors


def _from_json(name: str, data: Any, kind: str, shape: list[int]) -> np.ndarray:
    flat: list[Any] = []
    stack = [data]
    while stack:  # flat, or nested as the shape says
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(reversed(value))
        else:
            flat.append(value)
    _check_size(name, len(flat), shape)
    fits = {"BYTES": str, "BOOL": bool}.get(kind, (int, float) if kind.startswith("FP") else int)
    bad = next((v for v in flat if not isinstance(v, fits) or (isinstance(v, bool) and kind != "BOOL")), flat)
    if bad is not flat:
        raise _wrong(f"Input {name!r} holds {str(bad)[:80]!r}.", f"Send values of {kind}.")
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=DATATYPES[kind])
    except (ValueError, OverflowError, TypeError):
        raise _wrong(f"Input {name!r} holds values that are no {kind}.", "Send values of its datatype.") from None
    return array.reshape(shape)


def _from_binary(name: str, data: bytes, kind: str, shape: list[int]) -> np.ndarray:
    if kind != "BYTES":
        dtype = np.dtype(DATATYPES[kind]).newbyteorder("<")
        if len(data) % dtype.itemsize:
            raise _wrong(f"Input {name!r} has {len(data)} bytes.", f"{kind} takes {dtype.itemsize} bytes each.")
        _check_size(name, len(data) // dtype.itemsize, shape)
        return np.frombuffer(data, dtype).astype(DATATYPES[kind], copy=False).reshape(shape)
    texts: list[str] = []
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        texts.append(data[at + 4 : at + 4 + size].decode("utf-8", "replace"))
        at += 4 + size
    if at != len(data):
        raise _wrong(f"Input {name!r} ends within a text.", "Each is four bytes of length and its bytes.")
    _check_size(name, len(texts), shape)
    return np.array(texts, dtype=np.object_).reshape(shape)


def _check_size(name: str, found: int, shape: list[int]) -> None:
    if found != math.prod(shape):
        raise _wrong(f"Input {name!r} has {found} values.", f"The shape {shape} takes {math.prod(shape)}.")


def _run(loaded: OnnxModel, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    declared = {t.name: t for t in loaded.schema.inputs}
    rows = {len(t) for t in tensors.values()}
    if len(rows) != 1:
        raise _wrong("The inputs have different numbers of rows.", "Send one row of each for each prediction.")
    if set(tensors) == set(declared):
        for name, tensor in tensors.items():
            wanted = np.dtype(NUMPY_TYPES[declared[name].type])
            if tensor.dtype != wanted:
                raise _wrong(f"Input {name!r} is {NAMES[tensor.dtype]}.", f"The model takes {NAMES[wanted]}.")
        if rows == {0}:
            raise _wrong("The inputs have no rows.", "Send at least one.")
        return loaded.infer(tensors)
    if not set(loaded.features) <= set(tensors):
        raise _wrong(
            f"The model does not take the inputs {', '.join(map(repr, tensors))}.",
            f"Send {', '.join(map(repr, declared))}, or one tensor for each feature.",
        )
    wide = next((name for name, tensor in tensors.items() if tensor.size != len(tensor)), None)
    if wide is not None:
        raise _wrong(f"Feature {wide!r} has several columns.", "Send the shape [rows] or [rows, 1].")
    table = pa.table({name: pa.array(tensor.reshape(-1)) for name, tensor in tensors.items()})
    predicted = loaded.predict(table, details=True).columns
    return {name: np.asarray(column.to_numpy(zero_copy_only=False)) for name, column in predicted.items()}


def _add(answer: Answer, name: str, values: np.ndarray, *, binary: bool) -> None:
    kind = NAMES.get(values.dtype, "BYTES")
    output: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(values.shape)}
    if binary:
        data = _to_binary(values, kind)
        output["parameters"] = {"binary_data_size": len(data)}
        answer.binary.append(data)
    elif kind in ("FP16", "FP32", "FP64"):  # JSON knows neither NaN nor infinity
        exact = values.astype(np.float64).ravel()
        output["data"] = [v if math.isfinite(v) else None for v in exact.tolist()]
    else:
        output["data"] = values.ravel().tolist()
    answer.head["outputs"].append(output)


def _to_binary(values: np.ndarray, kind: str) -> bytes:
    if kind != "BYTES":
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [str(v).encode() for v in values.ravel().tolist()]
    return b"".join(len(t).to_bytes(4, "little") + t for t in texts)


def _parameters(item: Any) -> dict[str, Any]:
    found = item.get("parameters") if isinstance(item, dict) else None
    return found if isinstance(found, dict) else {}


def _wrong(message: str, remedy: str) -> InvalidFrame:
    return InvalidFrame(message, remedy=remedy)
