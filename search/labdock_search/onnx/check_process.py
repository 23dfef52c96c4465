"""The throwaway process that reads an uploaded model: `python -I -m labdock_search.onnx.check_process`.

Standard input is the model file, the first argument a JSON object `{limits, features}`. Lines on standard output name
the check under way (so that the parent can say where a crash happened); the last line is `{"schema": …}` or
`{"refusal": {check, found, remedy}}`.
"""

import json
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from labdock_search.onnx import scan
from labdock_search.onnx.scan import Refusal
from labdock_search.onnx.schema import NUMPY_TYPES, ModelLimits, ModelSchema, TensorInfo

NAME = 1000
CARD = "model_card"  # the key of a model card in a file's metadata


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def memory_limit(limits: ModelLimits, size: int) -> int:
    """The bytes that may be mapped while a file of `size` is checked: what is mapped now plus the allowance."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    allowance = limits.max_memory_mb * 2**20 + 4 * size + 256 * 2**20  # threads' stacks and allocator arenas
    return mapped + allowance


def limit_process(limits: ModelLimits, size: int) -> None:
    """No file may be written, few opened, and memory is limited."""
    for what, value in (
        (resource.RLIMIT_AS, memory_limit(limits, size)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, int(limits.max_check_seconds) + 1),
    ):
        resource.setrlimit(what, (value, value))


def describe(args: list[Any]) -> list[TensorInfo]:
    return [TensorInfo(a.name, a.type, [d if isinstance(d, int) else None for d in a.shape or []]) for a in args]


def check_names(tensors: list[TensorInfo], which: str) -> None:
    """Inputs and outputs are kept in the record, and named in every answer."""
    long = next((t for t in tensors if len(t.name) > NAME), None)
    if long:
        found = f"the name of one of the {which} has {len(long.name):,} characters; at most {NAME:,} are allowed"
        raise Refusal(which, found, "Give it a shorter name.")


def input_width(inputs: list[TensorInfo], features: list[str]) -> int:
    """How many feature columns the inputs take: one `[N, k]` tensor or k tensors of one column each."""
    remedy = "Export the model with one input of shape [None, k] or one input for each feature."
    for tensor in inputs:
        if tensor.type not in NUMPY_TYPES:
            raise Refusal("inputs", f"input {tensor.name!r} is a {tensor.type}", remedy)
        if len(tensor.shape) not in (1, 2) or tensor.shape[0] not in (None, 0, 1):
            raise Refusal("inputs", f"input {tensor.name!r} has the shape {tensor.shape}; a table gives [N, k]", remedy)
    if not inputs:
        raise Refusal("inputs", "the model has no input", remedy)
    if len(inputs) == 1 and len(inputs[0].shape) == 2:
        return inputs[0].shape[1] or len(features) or 1
    wide = next((t for t in inputs if len(t.shape) == 2 and t.shape[1] not in (None, 1)), None)
    if wide:
        raise Refusal("inputs", f"there are several inputs and {wide.name!r} has the shape {wide.shape}", remedy)
    return len(inputs)


def file_features(model: onnx.ModelProto, inputs: list[TensorInfo], width: int, given: list[str]) -> list[str]:
    """Feature names that the file gives: its named inputs, or `feature_names` in its metadata.

    Where others are `given` the file's count for nothing if they cannot be right.
    """
    names = _file_features(model, inputs)
    if names and (len(names) != width or max(map(len, names)) > NAME):
        if not given:
            found = f"the model takes {width} feature columns and {len(names)} are named in the file"
            raise Refusal("features", found, f"Name {width}, in the model's order, of {NAME:,} characters at most.")
        return []
    return names


def _file_features(model: onnx.ModelProto, inputs: list[TensorInfo]) -> list[str]:
    if len(inputs) > 1:
        return [t.name for t in inputs]
    for entry in model.metadata_props:
        if entry.key in ("feature_names", "features"):
            try:
                names = json.loads(entry.value)
            except ValueError:
                names = entry.value.split(",")
            if isinstance(names, list):
                return [str(n).strip() for n in names]
    return []


def trial(session: ort.InferenceSession, inputs: list[TensorInfo], width: int, rows: int, seconds: float) -> list[Any]:
    """One run on `rows` rows of zeros, ended after `seconds`."""
    feed = {}
    for tensor in inputs:
        shape = (rows,) if len(tensor.shape) == 1 else (rows, width if len(inputs) == 1 else 1)
        dtype = NUMPY_TYPES[tensor.type]
        feed[tensor.name] = np.full(shape, "", dtype=object) if dtype == "object" else np.zeros(shape, dtype)
    options = ort.RunOptions()
    timer = threading.Timer(seconds, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        result: list[Any] = session.run(None, feed, options)
        return result
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises many classes, all of them refusals here
        if options.terminate:
            raise Refusal(
                "time", f"one run takes more than {seconds:g} s", "Upload a smaller model; loops must end."
            ) from None
        found = scan.first_line(error)
        raise Refusal("trial run", f"it fails on {rows} row(s): {found}", _remedy(found)) from None
    finally:
        timer.cancel()


def _remedy(found: str) -> str:
    """An encoder of texts that fails on one it does not know fails whole searches: it has to do without."""
    if "Unknown Category" in found:
        return "Train it with OneHotEncoder(handle_unknown='ignore'): a new text would end every search over it."
    return "Check it in a notebook."


def load(content: bytes) -> ort.InferenceSession:
    """A session with all optimizers off: constant folding would run the model's code while it loads."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - as above
        raise Refusal(
            "load", f"ONNX Runtime refuses it: {scan.first_line(error)}", "Export it with opset=13."
        ) from None


def check_outputs(outputs: list[Any], infos: list[TensorInfo], rows: int) -> None:
    """Some output must have one row for each input row; a list is a ZipMap's, one dict a row."""
    if not any(len(o) == rows for o in outputs if isinstance(o, list) or o.ndim > 0):
        raise Refusal(
            "outputs",
            f"no output has one row for each input row ({', '.join(i.name for i in infos)})",
            "Export the model with a free first dimension.",
        )


def _producer(model: onnx.ModelProto) -> str:
    """Program and version. tf2onnx puts its commit behind, which is None in its releases."""
    return f"{model.producer_name} {model.producer_version}".removesuffix(" None").strip()[:200]


def run(content: bytes, limits: ModelLimits, features: list[str]) -> ModelSchema:
    say(check="format")
    model = scan.parse(content)
    say(check="external data")
    scan.check_external_data(model)
    say(check="nodes")
    nodes = scan.check_nodes(model, limits)
    say(check="functions")
    scan.check_functions(model, limits)
    say(check="tensor size")
    parameters = scan.check_tensors(model, limits)
    say(check="operators")
    opset = scan.check_operators(model)
    say(check="checker")
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001 - as above
        raise Refusal("checker", scan.first_line(error), "Export the model again.") from None
    scan.check_inferred_shapes(model, limits)
    say(check="load")
    session = load(content)
    inputs, outputs = describe(session.get_inputs()), describe(session.get_outputs())
    check_names(inputs, "inputs")
    check_names(outputs, "outputs")
    width = input_width(inputs, features)
    say(check="trial run")
    trial(session, inputs, width, 1, limits.max_trial_seconds)
    check_outputs(trial(session, inputs, width, 3, 3 * limits.max_trial_seconds), outputs, 3)
    return ModelSchema(
        inputs=inputs,
        outputs=outputs,
        width=width,
        features=file_features(model, inputs, width, features),
        opset=opset,
        ir_version=model.ir_version,
        producer=_producer(model),
        nodes=nodes,
        parameters=parameters,
        metadata={p.key[:100]: p.value[:1000] for p in list(model.metadata_props)[:50] if p.key != CARD},
        description=model.doc_string[:1000],
        card=next((p.value[:100_000] for p in model.metadata_props if p.key == CARD), ""),
    )


def main() -> None:
    request = json.loads(sys.argv[1])
    limits = ModelLimits(**request["limits"])
    content = sys.stdin.buffer.read()
    ort.set_default_logger_severity(4)
    limit_process(limits, len(content))
    try:
        say(schema=run(content, limits, request["features"]).to_dict())
    except Refusal as refusal:
        say(refusal={"check": refusal.check, "found": refusal.found, "remedy": refusal.remedy})
    except MemoryError:
        say(
            refusal={
                "check": "memory",
                "found": "it needs more memory than a model may",
                "remedy": "Upload a smaller model.",
            }
        )


if __name__ == "__main__":
    main()
