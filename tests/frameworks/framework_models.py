"""Trained models of every kind that `labdock.register` converts, and what each says of the same rows.

Run as a program inside an environment it registers them all and prints, as one line of JSON, what became of each
(`tests/images/test_register_in_image.py` does).
"""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

RANDOM = np.random.default_rng(5)
X = pd.DataFrame(RANDOM.normal(size=(600, 5)).astype(np.float32), columns=list("abcde"))
Y = ((X["a"] + X["b"] * X["c"]) > 0.2).astype(int).to_numpy()
Z = (X["a"] * 2 - X["d"]).to_numpy()


@dataclass(frozen=True)
class Trained:
    """A model, rows as it takes them, its scores of them, and what it predicts (None: several numbers a row)."""

    model: Any
    data: Any
    scores: np.ndarray
    predicted: np.ndarray | None


def _of(module: str, name: str, **options: Any) -> Any:
    return getattr(importlib.import_module(f"sklearn.{module}"), name)(**options)


def _pipeline(*steps: Any) -> Any:
    return importlib.import_module("sklearn.pipeline").make_pipeline(*steps)


def _classifier(model: Any, data: Any = X) -> Trained:
    model.fit(data, Y)
    return Trained(model, data, model.predict_proba(data), model.predict(data))


def _regressor(model: Any) -> Trained:
    model.fit(X, Z)
    return Trained(model, X, model.predict(X), model.predict(X))


def _isolation_forest() -> Trained:
    data = X.to_numpy()
    model = _of("ensemble", "IsolationForest", n_estimators=20, random_state=0).fit(data)
    return Trained(model, data, model.decision_function(data), model.predict(data))


def _clusters() -> Trained:
    model = _of("cluster", "KMeans", n_clusters=3, n_init=2, random_state=0).fit(X)
    return Trained(model, X, model.transform(X), model.predict(X))


def _pca() -> Trained:
    model = _of("decomposition", "PCA", n_components=2).fit(X)
    return Trained(model, X, model.transform(X), None)


def _texts() -> Trained:
    frame = X[["a", "b"]].assign(host=[f"h{i % 4}" for i in range(len(X))])
    parts = [
        ("text", _of("preprocessing", "OneHotEncoder", handle_unknown="ignore"), ["host"]),
        ("numbers", _of("preprocessing", "StandardScaler"), ["a", "b"]),
    ]
    encoder = importlib.import_module("sklearn.compose").ColumnTransformer(parts)
    return _classifier(_pipeline(encoder, _of("linear_model", "LogisticRegression")), frame)


def _keras(kind: str) -> Trained:
    keras: Any = importlib.import_module("keras")
    layers = keras.layers
    if kind == "functional":
        inputs = keras.Input((5,))
        model = keras.Model(inputs, layers.Dense(1, "sigmoid")(layers.Dense(8, "relu")(inputs)))
    else:
        scaling = [layers.Normalization(mean=[1.0] * 5, variance=[4.0] * 5)] if kind == "scaled" else []
        model = keras.Sequential([keras.Input((5,)), *scaling, layers.Dense(8, "relu"), layers.Dense(1, "sigmoid")])
    scores = model.predict(X.to_numpy(), verbose=0)
    return Trained(model, X, scores, scores[:, 0])


def _pytorch() -> Trained:
    torch: Any = importlib.import_module("torch")
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    with torch.no_grad():
        scores = model.eval()(torch.from_numpy(X.to_numpy())).numpy()
    return Trained(model, X, scores, scores[:, 0])


def _xgboost(kind: str) -> Trained:
    xgboost: Any = importlib.import_module("xgboost")
    if kind == "Booster":
        model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(X, Z), 10)
        scores = model.predict(xgboost.DMatrix(X))
        return Trained(model, X, scores, scores)
    if kind == "XGBRegressor":
        return _regressor(xgboost.XGBRegressor(n_estimators=10))
    booster = xgboost.XGBClassifier(n_estimators=10)
    imputer = _of("impute", "SimpleImputer")  # a scaler's rounding moves rows across a tree's thresholds
    return _classifier(_pipeline(imputer, booster) if kind == "pipeline" else booster)


def _lightgbm(kind: str) -> Trained:
    lightgbm: Any = importlib.import_module("lightgbm")
    if kind == "LGBMClassifier":
        return _classifier(lightgbm.LGBMClassifier(n_estimators=10, verbose=-1))
    made = _regressor(lightgbm.LGBMRegressor(n_estimators=10, verbose=-1))
    return made if kind == "LGBMRegressor" else Trained(made.model.booster_, X, made.scores, made.predicted)


def _network() -> Any:
    scaler = _of("preprocessing", "StandardScaler")
    return _pipeline(scaler, _of("neural_network", "MLPClassifier", max_iter=30, random_state=0))


# Framework -> kind -> how it is made. The first of each framework goes the whole way alone.
MODELS: dict[str, dict[str, Callable[[], Trained]]] = {
    "sklearn": {
        "pipeline": lambda: _classifier(_network()),
        "logistic": lambda: _classifier(_of("linear_model", "LogisticRegression")),
        "forest": lambda: _classifier(_of("ensemble", "RandomForestClassifier", n_estimators=10, random_state=0)),
        "hist": lambda: _classifier(_of("ensemble", "HistGradientBoostingClassifier", max_iter=20)),
        "hist_regressor": lambda: _regressor(_of("ensemble", "HistGradientBoostingRegressor", max_iter=20)),
        "isolation_forest": _isolation_forest,
        "ridge": lambda: _regressor(_of("linear_model", "Ridge")),
        "clusters": _clusters,
        "pca": _pca,
        "texts": _texts,
    },
    "keras": {kind: lambda kind=kind: _keras(kind) for kind in ("scaled", "sequential", "functional")},  # type: ignore[misc]
    "torch": {"sequential": _pytorch},
    "xgboost": {
        kind: lambda kind=kind: _xgboost(kind)  # type: ignore[misc]
        for kind in ("XGBClassifier", "XGBRegressor", "Booster", "pipeline")
    },
    "lightgbm": {
        kind: lambda kind=kind: _lightgbm(kind)  # type: ignore[misc]
        for kind in ("LGBMClassifier", "LGBMRegressor", "Booster")
    },
}
CONVERTERS = {"sklearn": "skl2onnx", "keras": "tf2onnx", "xgboost": "onnxmltools", "lightgbm": "onnxmltools"}


def hist_cannot_be_converted() -> bool:
    """skl2onnx gives numpy's integers where protobuf 7 wants Python's."""
    return version("protobuf").split(".")[0] >= "7"


def main() -> None:
    import labdock
    from labdock import outbox
    from labdock.errors import LabdockError

    said: dict[str, Any] = {"absent": [], "models": {}}
    waiting = {}
    for framework, kinds in MODELS.items():
        try:
            importlib.import_module(framework)
        except ImportError:
            said["absent"].append(framework)
            continue
        for number, (kind, make) in enumerate(kinds.items()):
            name, made = f"{framework}_{kind}", make()
            done = labdock.register(made.model, name, made.data, target="y", wait=60 if number == 0 else 0)
            if done.file is not None:
                waiting[name] = done.file
            said["models"][name] = {
                "version": done.version,
                "difference": done.difference,
                "scores": made.scores.tolist(),
                "predicted": None if made.predicted is None else made.predicted.tolist(),
            }
    for name, file in waiting.items():
        try:
            answer = outbox.answer(file.parent, file.stem, 120)
        except LabdockError as error:
            said["models"][name]["refused"] = error.message
        else:
            said["models"][name]["version"] = answer and answer["version"]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
