"""`labdock.register` for each framework: converted, compared with the original, kept in the outbox.

What is not installed is skipped; the Golden CPU image has all but PyTorch (`tests/images/test_register_in_image.py`
registers the same models there).
"""

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import labdock
from labdock import conversion, registration
from labdock.errors import InvalidFrame, InvalidOptions, ModelRefused

ort = pytest.importorskip("onnxruntime")
_spec = spec_from_file_location("framework_models", Path(__file__).with_name("framework_models.py"))
assert _spec is not None
assert _spec.loader is not None
models = module_from_spec(_spec)
sys.modules["framework_models"] = models  # its dataclass looks itself up
_spec.loader.exec_module(models)
X = models.X


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of which no controller knows: what is registered stays in its outbox."""
    for name in [n for n in os.environ if n.startswith("LABDOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LABDOCK_ENVIRONMENT_ID", "0" * 12)
    monkeypatch.setenv("LABDOCK_ENVIRONMENT", "__dev__")
    monkeypatch.setenv("LABDOCK_NOTEBOOKS", str(tmp_path))
    monkeypatch.setenv("JPY_SESSION_NAME", "/notebooks/a_notebook.ipynb")
    return tmp_path


def left(registered: labdock.Registered) -> tuple[Any, dict[str, Any]]:
    """The session of the file in the outbox, and its form."""
    assert registered.file is not None
    form = json.loads(registered.file.with_suffix(".json").read_text())
    return ort.InferenceSession(registered.file.read_bytes(), providers=["CPUExecutionProvider"]), form


def register(model: Any, data: Any = X, **options: Any) -> labdock.Registered:
    return labdock.register(model, "m", data, wait=0, **options)


CASES = [(framework, kind) for framework, kinds in models.MODELS.items() for kind in kinds]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("framework", "kind"), CASES)
def test_what_is_converted_scores_like_the_original(framework: str, kind: str) -> None:
    pytest.importorskip(framework)
    if framework in models.CONVERTERS:
        pytest.importorskip(models.CONVERTERS[framework])
    made = models.MODELS[framework][kind]()
    if kind.startswith("hist") and models.hist_cannot_be_converted():
        with pytest.raises(InvalidOptions) as refused:
            register(made.model, made.data)
        assert "protobuf<7" in refused.value.remedy
        return
    registered = register(made.model, made.data, target="y")
    assert registered.difference is not None
    assert registered.difference <= 1e-5
    session, form = left(registered)
    owner = "sklearn" if kind == "pipeline" else framework  # whatever ends a pipeline, it is scikit-learn's
    assert (form["target"], form["lineage"]["framework"]) == ("y", owner)
    given = session.get_inputs()
    if len(given) > 1:
        assert [i.name for i in given] == list(made.data.columns)
        feed = {c: made.data[[c]].to_numpy(None if c == "host" else np.float32) for c in made.data.columns}
    else:
        feed = {given[0].name: X.to_numpy(np.float32)}
    outputs = [o for o in session.run(None, feed) if o.size == made.scores.size]
    assert any(np.allclose(o.reshape(made.scores.shape), made.scores, rtol=1e-5, atol=1e-5) for o in outputs)


def linear(weights: list[float]) -> Any:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = np.array(weights, np.float32).reshape(-1, 1)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["score"])],
        "linear",
        [helper.make_tensor_value_info("x", kind, [None, len(weights)])],
        [helper.make_tensor_value_info("score", kind, [None, 1])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_what_is_onnx_already_passes_through_with_card_and_lineage(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = linear([1, 2, 3, 4, 5])
    path, card = tmp_path / "given.onnx", tmp_path / "card.md"
    onnx.save(model, path)
    card.write_text("# A card\n\nMissed beacon.")
    for given in (model, path, str(path), model.SerializeToString()):
        made = register(given, threshold=0.5, description="A line.", card=card, metrics={"recall": 0.9})
        assert (made.difference, made.rows, made.version) == (None, 600, None)
        assert "outbox" in repr(made)
        session, form = left(made)
        kept = session.get_modelmeta().custom_metadata_map
        assert json.loads(kept["feature_names"]) == list("abcde")
        assert kept["model_card"] == card.read_text()
        assert (form["threshold"], form["description"], form["metrics"]) == (0.5, "A line.", {"recall": 0.9})
        assert (form["lineage"]["notebook"], form["lineage"]["environment"]) == ("a_notebook.ipynb", "__dev__")
        assert len(form["lineage"]["data_sha256"]) == 64
        assert form["lineage"]["libraries"]["numpy"] == np.__version__


def test_unequal_scores_are_refused_with_the_worst_row(monkeypatch: pytest.MonkeyPatch) -> None:
    right = (X.to_numpy() @ np.array([1, 2, 3, 4, 5], np.float32)).reshape(-1, 1)

    def converted(wanted: np.ndarray) -> list[conversion.Converted]:
        content = linear([1, 2, 3, 4, 5]).SerializeToString()
        return [conversion.Converted(content, "made", lambda f: {"x": f.to_numpy(np.float32)}, None, wanted)]

    wrong = right.copy()
    wrong[[17, 40]] += [[0.001], [0.1]]
    with pytest.raises(ModelRefused, match="row 40"):
        registration.equal(converted(wrong), X)
    _, difference = registration.equal(converted(right), X)
    assert difference is not None
    assert difference <= 1e-5
    wrong[3] = np.nan
    with pytest.raises(ModelRefused, match="row 3"):
        registration.equal(converted(wrong), X)
    with pytest.raises(ModelRefused, match="scores"):
        registration.equal(converted(np.zeros((600, 3))), X)


@pytest.mark.parametrize(
    ("model", "data", "error"),
    [
        (object(), X, InvalidOptions),
        (linear, X, InvalidOptions),
        (b"", X.iloc[:0], InvalidFrame),
        (b"", np.zeros(3), InvalidFrame),
        (b"", pd.DataFrame([[1, 2]], columns=["a", "a"]), InvalidFrame),
    ],
)
def test_what_cannot_be_registered_is_said_at_once(model: Any, data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        register(model, data)
