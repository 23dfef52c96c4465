"""Models of other frameworks as ONNX, and what the original says about the same rows.

Each framework's converter is imported when a model of it comes; `labdock` itself depends on none of them.
"""

import copy
import importlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labdock.errors import InvalidFrame, InvalidOptions

# The lab's opset; scikit-learn's trees need the third of ai.onnx.ml.
OPSET = 13
TARGET = {"": OPSET, "ai.onnx.ml": 3}

Feed = dict[str, np.ndarray]


@dataclass
class Converted:
    """A model as ONNX, how a frame fills its inputs, and what the original says (None: there is no original)."""

    content: bytes
    framework: str
    feed: Callable[[pd.DataFrame], Feed]
    labels: np.ndarray | None = None
    scores: np.ndarray | None = None
    converter: str = ""


def framework_of(model: Any) -> str:
    """Which framework a model belongs to. Raises `InvalidOptions` for one that cannot be converted."""
    if isinstance(model, bytes | bytearray | str | Path):
        return "onnx"
    roots = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    for root in ("onnx", "xgboost", "lightgbm", "keras", "tensorflow", "tf_keras", "torch", "sklearn"):
        if root in roots:
            return {"tensorflow": "keras", "tf_keras": "keras"}.get(root, root)
    raise InvalidOptions(
        f"A {type(model).__module__}.{type(model).__name__} cannot be converted to ONNX.",
        remedy="Register a scikit-learn, Keras, PyTorch, XGBoost or LightGBM model, or an ONNX file.",
    )


def convert(model: Any, frame: pd.DataFrame) -> list[Converted]:
    """`model` as ONNX, in the ways worth trying: the first whose scores are equal is the one to keep."""
    framework = framework_of(model)
    ways: dict[str, Callable[[Any, pd.DataFrame], list[Converted]]] = {
        "onnx": _onnx,
        "sklearn": _sklearn,
        "keras": _keras,
        "torch": _torch,
        "xgboost": _xgboost,
        "lightgbm": _lightgbm,
    }
    return ways[framework](model, frame)


def needed(module: str, package: str) -> Any:
    """Import a converter; `InvalidOptions` with the command where it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise InvalidOptions(
            f"{package} is needed to convert this model: {error}.",
            remedy=f'pip install "labdock[frameworks]" (or {package}); Golden CPU has it.',
        ) from None


def tensor(frame: pd.DataFrame, dtype: Any = np.float32) -> np.ndarray:
    """All columns as one tensor. Raises `InvalidFrame` that names a column which is not numeric."""
    wrong = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c].dtype)]
    if wrong:
        raise InvalidFrame(
            f"The columns {', '.join(map(repr, wrong[:10]))} are no numbers.",
            remedy="Encode them inside the model (a scikit-learn Pipeline), or leave them out.",
            columns=wrong,
        )
    return np.ascontiguousarray(frame.to_numpy(dtype=dtype, na_value=np.nan))


def _one(name: str, dtype: Any = np.float32) -> Callable[[pd.DataFrame], Feed]:
    return lambda frame: {name: tensor(frame, dtype)}


def _onnx(model: Any, _: pd.DataFrame) -> list[Converted]:
    if isinstance(model, str | Path):
        content = Path(model).read_bytes()
    else:
        content = bytes(model) if isinstance(model, bytes | bytearray) else model.SerializeToString()
    session = needed("onnxruntime", "onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    types = {"tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(string)": np.object_}
    kinds = {tensor_.name: types.get(tensor_.type, np.float32) for tensor_ in inputs}
    if len(inputs) == 1 and len(inputs[0].shape) == 2:
        return [Converted(content, "onnx", _one(inputs[0].name, kinds[inputs[0].name]))]
    return [Converted(content, "onnx", lambda f: _named(f, kinds))]


def _named(frame: pd.DataFrame, kinds: dict[str, Any]) -> Feed:
    """One column for each input, by order where the names differ."""
    columns = {name: name if name in frame.columns else frame.columns[at] for at, name in enumerate(kinds)}
    return {
        name: frame[column].to_numpy(dtype=kinds[name]).reshape(-1, 1)
        if kinds[name] is not np.object_
        else frame[column].astype(str).to_numpy(dtype=object).reshape(-1, 1)
        for name, column in columns.items()
    }


def _sklearn(model: Any, frame: pd.DataFrame) -> list[Converted]:
    skl2onnx = needed("skl2onnx", "skl2onnx")
    types = importlib.import_module("skl2onnx.common.data_types")
    _know_boosters(model, skl2onnx)
    labels, scores = _sklearn_says(model, frame)
    options: dict[Any, Any] = {}
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if getattr(last, "_estimator_type", "") == "classifier" or hasattr(last, "classes_"):
        options[id(last)] = {"zipmap": False}
    found: list[Converted] = []
    for kind, dtype in ((types.FloatTensorType, np.float32), (types.DoubleTensorType, np.float64)):
        initial, feed = _sklearn_inputs(frame, types, kind, dtype, by_name=_takes_names(model))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = skl2onnx.convert_sklearn(model, initial_types=initial, options=options, target_opset=TARGET)
        except Exception as error:
            if found:  # double precision is the second try; not every operator has it
                break
            trees = "TreeEnsemble" in str(error) and "uint32" in str(error)  # skl2onnx's, with protobuf 7
            raise InvalidOptions(
                f"skl2onnx cannot convert this {type(model).__name__}: {' '.join(str(error).split())[:300]}",
                remedy='pip install "protobuf<7", as in Golden CPU.'
                if trees
                else "Replace the step that it names; functions of one's own never convert.",
            ) from error
        content = made.SerializeToString()
        found.append(Converted(content, "sklearn", feed, labels, scores, f"skl2onnx {skl2onnx.__version__}"))
    return found


def _takes_names(model: Any) -> bool:
    """Whether columns are chosen by their names somewhere inside (a ColumnTransformer)."""
    parts = [step for _, step in getattr(model, "steps", [])] or [model]
    return any("ColumnTransformer" in type(part).__name__ or hasattr(part, "transformers") for part in parts)


def _sklearn_inputs(
    frame: pd.DataFrame, types: Any, kind: Any, dtype: Any, *, by_name: bool
) -> tuple[list[tuple[str, Any]], Callable[[pd.DataFrame], Feed]]:
    if not by_name:
        return [("features", kind([None, frame.shape[1]]))], _one("features", dtype)
    kinds: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name].dtype
        if pd.api.types.is_integer_dtype(column):
            kinds[name] = np.int64
        else:
            kinds[name] = dtype if pd.api.types.is_numeric_dtype(column) else np.object_
    tensors = {np.int64: types.Int64TensorType, dtype: kind, np.object_: types.StringTensorType}
    return [(n, tensors[k]([None, 1])) for n, k in kinds.items()], lambda f: _named(f, kinds)


def _sklearn_says(model: Any, frame: pd.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    data: Any = frame if hasattr(model, "feature_names_in_") else frame.to_numpy()
    if not hasattr(model, "predict"):
        return None, np.asarray(model.transform(data))
    predicted = np.asarray(model.predict(data))
    for method in ("predict_proba", "decision_function"):
        if hasattr(model, method) and predicted.dtype.kind in "OSUbiu":
            return predicted, np.asarray(getattr(model, method)(data))
    return (predicted, None) if predicted.dtype.kind in "OSUbiu" else (None, predicted)


def _know_boosters(model: Any, skl2onnx: Any) -> None:
    """XGBoost and LightGBM inside a scikit-learn pipeline."""
    for part in [step for _, step in getattr(model, "steps", [])]:
        root = type(part).__module__.partition(".")[0]
        if root not in ("xgboost", "lightgbm"):
            continue
        base = f"onnxmltools.convert.{root}"
        needed(base, "onnxmltools")
        title = {"xgboost": "XGBoost", "lightgbm": "LightGbm"}[root]
        converters = importlib.import_module(f"{base}.operator_converters.{title}")
        shapes = importlib.import_module("skl2onnx.common.shape_calculator")
        classifies = hasattr(part, "predict_proba")
        shape = getattr(shapes, f"calculate_linear_{'classifier' if classifies else 'regressor'}_output_shapes")
        skl2onnx.update_registered_converter(
            type(part),
            f"{root}{type(part).__name__}",
            shape,
            getattr(converters, f"convert_{root}"),
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]} if classifies else None,
        )


def _keras(model: Any, frame: pd.DataFrame) -> list[Converted]:
    keras = needed("keras", "keras")
    tf2onnx = needed("tf2onnx", "tf2onnx")
    scores = np.asarray(model.predict(tensor(frame), verbose=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A bare Sequential fails in tf2onnx; a Model over the same tensors does not.
        made, _ = tf2onnx.convert.from_keras(keras.Model(model.inputs, model.outputs), opset=OPSET)
    feed = _one(made.graph.input[0].name)
    return [Converted(made.SerializeToString(), "keras", feed, None, scores, f"tf2onnx {tf2onnx.__version__}")]


def _torch(model: Any, frame: pd.DataFrame) -> list[Converted]:
    torch = needed("torch", "torch")
    model = copy.deepcopy(model).cpu().eval()
    rows = torch.from_numpy(tensor(frame))
    with torch.no_grad():
        scores = model(rows).numpy()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (rows[:2] if len(rows) > 1 else rows.repeat(2, 1),),
            file,
            input_names=["features"],
            output_names=["score"],
            dynamic_axes={"features": {0: "rows"}, "score": {0: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return [Converted(file.getvalue(), "torch", _one("features"), None, scores, f"torch {torch.__version__}")]


def _xgboost(model: Any, frame: pd.DataFrame) -> list[Converted]:
    xgboost = needed("xgboost", "xgboost-cpu")
    onnxmltools = needed("onnxmltools", "onnxmltools")
    labels, scores = None, None
    if isinstance(model, xgboost.Booster):
        scores = model.predict(xgboost.DMatrix(frame))
    elif hasattr(model, "predict_proba"):
        labels, scores = model.predict(frame), model.predict_proba(frame)
    else:
        scores = model.predict(frame)
    plain = copy.deepcopy(model)  # the converter knows features by their number only
    booster = plain if isinstance(plain, xgboost.Booster) else plain.get_booster()
    booster.feature_names = booster.feature_types = None
    return [_by_onnxmltools(onnxmltools, "convert_xgboost", plain, frame, "xgboost", labels, scores)]


def _lightgbm(model: Any, frame: pd.DataFrame) -> list[Converted]:
    needed("lightgbm", "lightgbm")
    onnxmltools = needed("onnxmltools", "onnxmltools")
    labels, scores = None, model.predict(frame)
    if hasattr(model, "predict_proba"):
        labels, scores = scores, model.predict_proba(frame)
    return [_by_onnxmltools(onnxmltools, "convert_lightgbm", model, frame, "lightgbm", labels, scores)]


def _by_onnxmltools(
    onnxmltools: Any,
    function: str,
    model: Any,
    frame: pd.DataFrame,
    framework: str,
    labels: np.ndarray | None,
    scores: np.ndarray | None,
) -> Converted:
    types = needed("onnxmltools.convert.common.data_types", "onnxmltools")
    initial = [("features", types.FloatTensorType([None, frame.shape[1]]))]
    options = {"zipmap": False} if framework == "lightgbm" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(onnxmltools, function)(model, initial_types=initial, target_opset=OPSET, **options)
    for output in made.graph.output:  # LightGBM's labels are announced as one, however many rows there are
        output.type.tensor_type.shape.dim[0].Clear()
    by = f"onnxmltools {onnxmltools.__version__}"
    return Converted(made.SerializeToString(), framework, _one("features"), labels, scores, by)


def with_metadata(content: bytes, entries: dict[str, str], description: str) -> bytes:
    """The file with these entries in its metadata, in place of what it had under the same keys."""
    onnx = needed("onnx", "onnx")
    model = onnx.load_model_from_string(content)
    kept = [entry for entry in model.metadata_props if entry.key not in entries]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for key, value in entries.items():
        if value:
            model.metadata_props.add(key=key, value=value)
    model.doc_string = description or model.doc_string
    result: bytes = model.SerializeToString()
    return result
