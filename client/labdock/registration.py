"""`labdock.register`: from a trained model in a notebook or script to one that searches apply, in one call."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labdock import conversion, outbox
from labdock.conversion import Converted
from labdock.errors import InvalidFrame, ModelRefused
from labdock.fingerprint import fingerprint
from labdock.frames import check_columns, to_table
from labdock.models import Model, text_of

if TYPE_CHECKING:
    from labdock.lab import Lab

TOLERANCE = 1e-5  # relative and absolute
_ROWS = 4096
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "keras", "tensorflow-cpu", "torch", "xgboost-cpu", "lightgbm", "onnx")


@dataclass(frozen=True)
class Registered:
    """What became of a model. `difference` is the largest between the original's scores and the ONNX file's."""

    name: str
    version: int | None  # None while the controller has not taken it yet
    difference: float | None  # None: there was no original to compare with
    rows: int
    file: Path | None = None  # where it waits for the controller; None once that has it
    model: Model | None = None  # with a connection to a controller
    notices: list[str] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """As a search writes it."""
        return f"onnx:{self.name}"

    def __repr__(self) -> str:
        state = f"version {self.version}" if self.version else f"waits for the controller in {self.file}"
        equal = "" if self.difference is None else f", scores equal to {self.difference:.1e} on {self.rows:,} rows"
        return f"<Registered {self.reference}: {state}{equal}>"


def register(
    model: Any,
    name: str,
    X: Any,  # noqa: N803 - what everybody calls it
    *,
    target: str = "",
    features: Sequence[str] | None = None,
    threshold: float | None = None,
    description: str = "",
    card: "str | Path" = "",
    sharing: str = "",
    app: str = "search",
    metrics: Mapping[str, float] | None = None,
    lab: "Lab | None" = None,
    wait: float = 60.0,
) -> Registered:
    """Convert a trained model to ONNX, check that its scores are the original's on `X`, and upload it as `name`.

    `model` is of scikit-learn (pipelines too), Keras, PyTorch, XGBoost or LightGBM, or already ONNX (a path, bytes, a
    `ModelProto`). `X` are rows as the model takes them; a frame's columns name the features. `target` (default: the
    name) is what `predicted(<target>)` says. `card` is Markdown or the path of a file. Inside an environment that
    cannot reach its controller the file is left in the environment's outbox, which the controller empties every
    second or two in the owner's name; `wait` is how long its answer is waited for.

    Raises `ModelRefused` with the worst row where the scores differ by more than 1e-5, and what an upload raises.
    """
    frame = _frame(X, features)
    converted, difference = equal(conversion.convert(model, frame), frame)
    names = [str(column) for column in frame.columns]
    text = text_of(card)
    entries = {"feature_names": json.dumps(names, ensure_ascii=False), "model_card": text}
    content = conversion.with_metadata(converted.content, entries, description)
    lineage = _lineage(converted, frame, difference)
    form = {
        "name": name,
        "target": target or name,
        "threshold": threshold,
        "app": app,
        "sharing": sharing,
        "description": description,
        "metrics": dict(metrics or {}),
        "lineage": lineage,
    }
    folder = outbox.folder() if lab is None else None
    if folder is not None:
        return _leave(folder, content, form, len(frame), difference, wait)
    return _upload(lab, content, form, len(frame), difference)


def _frame(data: Any, features: Sequence[str] | None) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        frame = data if features is None else data[list(features)]
    else:
        array = np.asarray(data)
        if array.ndim != 2:
            raise InvalidFrame(
                f"X has {array.ndim} dimensions.", remedy="Pass rows and columns, as the model takes them."
            )
        names = features or [f"feature_{i}" for i in range(array.shape[1])]
        if len(names) != array.shape[1]:
            raise InvalidFrame(
                f"X has {array.shape[1]} columns and {len(names)} features are named.", remedy="Name each column."
            )
        frame = pd.DataFrame(array, columns=list(names))
    check_columns(list(frame.columns))
    if frame.empty:
        raise InvalidFrame("X has no rows.", remedy="Pass rows that the model knows, a hundred are plenty.")
    return frame.reset_index(drop=True)


def equal(ways: list[Converted], frame: pd.DataFrame) -> tuple[Converted, float | None]:
    """The first whose scores are the original's, and how far they differ at most. Raises `ModelRefused`."""
    worst: ModelRefused | None = None
    for converted in ways:
        try:
            return converted, _compare(converted, frame)
        except ModelRefused as refused:
            worst = worst or refused
        except Exception as error:
            if worst is not None:  # the second try does not even run: the first refusal is the one to tell
                break
            raise _refused(f"the ONNX model does not run: {' '.join(str(error).split())[:300]}", -1) from error
    assert worst is not None  # noqa: S101 - there is at least one way
    raise worst


def _compare(converted: Converted, frame: pd.DataFrame) -> float | None:
    outputs = _run(converted, frame)
    if converted.labels is None and converted.scores is None:
        return None
    difference = 0.0
    arrays = [o for o in outputs if isinstance(o, np.ndarray)]
    if converted.scores is not None:
        floats = [a for a in arrays if a.dtype.kind == "f"]
        wanted = np.asarray(converted.scores, np.float64).reshape(len(frame), -1)
        found = next((f for a in floats if (f := _shaped(a, wanted.shape)) is not None), None)
        if found is None:
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise _refused(f"the original gives {wanted.shape} scores, the ONNX model {shapes or 'none'}", -1)
        with np.errstate(invalid="ignore"):
            gap = np.where(found == wanted, 0.0, np.abs(found - wanted))
        allowed = TOLERANCE + TOLERANCE * np.nan_to_num(np.abs(wanted), posinf=0.0)
        gap = np.where(np.isnan(found) & np.isnan(wanted), 0.0, np.where(np.isnan(gap), np.inf, gap))
        row = int(np.argmax((gap / allowed).max(axis=1)))
        if (gap[row] > allowed[row]).any():
            at = int(np.argmax(gap[row]))
            raise _refused(f"{wanted[row, at]:.9g} became {found[row, at]:.9g} in row {row}", row)
        difference = float(gap.max(initial=0.0))
    if converted.labels is not None:
        _compare_labels(converted.labels, arrays, frame)
    return difference


def _compare_labels(labels: np.ndarray, arrays: list[np.ndarray], frame: pd.DataFrame) -> None:
    found = next((a.reshape(-1) for a in arrays if a.dtype.kind in "OSUbiu" and a.size == len(frame)), None)
    if found is None:
        raise _refused("the ONNX model gives no labels", -1)
    wrong = np.flatnonzero(found.astype(str) != np.asarray(labels).reshape(-1).astype(str))
    if len(wrong):
        row = int(wrong[0])
        raise _refused(f"the label {labels[row]!r} became {found[row]!r} in row {row} ({len(wrong)} rows differ)", row)


def _run(converted: Converted, frame: pd.DataFrame) -> list[Any]:
    ort = conversion.needed("onnxruntime", "onnxruntime")
    session = ort.InferenceSession(converted.content, providers=["CPUExecutionProvider"])
    parts: list[list[Any]] = []
    for start in range(0, len(frame), _ROWS):
        piece = frame.iloc[start : start + _ROWS]
        parts.append(session.run(None, converted.feed(piece)))
    return [np.concatenate(p) if isinstance(p[0], np.ndarray) else p for p in zip(*parts, strict=True)]


def _shaped(scores: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Scores as the original has them; of two classes the original may give the second one only."""
    flat = scores.astype(np.float64).reshape(len(scores), -1) if len(scores) == shape[0] else None
    if flat is not None and flat.shape == shape:
        return flat
    return flat[:, 1:] if flat is not None and flat.shape[1] == 2 and shape[1] == 1 else None


def _refused(found: str, row: int) -> ModelRefused:
    return ModelRefused(
        f"The ONNX model does not score like the original: {found}.",
        remedy="Scale inside the model and train on float32 values; large numbers such as epoch times lose digits.",
        check="scores",
        found=found,
        row=row,
    )


def _lineage(converted: Converted, frame: pd.DataFrame, difference: float | None) -> dict[str, Any]:
    """Where the model comes from: notebook or script, environment, the data's hash, versions."""
    notebook = os.environ.get("JPY_SESSION_NAME", "")
    script = "" if notebook or not sys.argv else Path(sys.argv[0]).name
    table, _ = to_table(frame)
    libraries = {"python": ".".join(map(str, sys.version_info[:3]))}
    for library in _LIBRARIES:
        try:
            libraries[library] = version(library)
        except PackageNotFoundError:
            continue
    known = {
        "notebook": Path(notebook).name,
        "script": script,
        "environment": os.environ.get("LABDOCK_ENVIRONMENT", ""),
        "data_sha256": fingerprint(table),
        "rows": len(frame),
        "framework": converted.framework,
        "converter": converted.converter,
        "difference": difference,
        "libraries": libraries,
    }
    return {key: value for key, value in known.items() if value not in ("", None)}


def _upload(lab: "Lab | None", content: bytes, form: dict[str, Any], rows: int, difference: float | None) -> Registered:
    import tempfile  # noqa: PLC0415

    from labdock.lab import connect  # noqa: PLC0415 - a client's whole way to a controller, only here

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        made = (lab or connect()).models.upload(path, **form)
    return Registered(made.name, made.version.get("version"), difference, rows, None, made, made.notices)


def _leave(
    folder: Path, content: bytes, form: dict[str, Any], rows: int, difference: float | None, wait: float
) -> Registered:
    left = outbox.leave(folder, content, form)
    answer = outbox.answer(folder, left, wait)
    name = str(form["name"])
    if answer is None:
        notice = "The controller has not taken it yet; it does when the environment runs, in its owner's name."
        return Registered(name, None, difference, rows, outbox.file(folder, left), None, [notice])
    return Registered(
        str(answer["name"]), answer.get("version"), difference, rows, None, None, list(answer.get("notices", []))
    )
