"""Notebook modules as scikit-learn estimators, against the real thing."""

import gc
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import labdock
from labdock import NotebookModel
from labdock.environment import Environment
from labdock.lab import Lab

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 3 + RANDOM.normal(scale=0.1, size=60)
LABELS = np.where(X[:, 0] > 0, "high", "low")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("algo", "kind"), [("linear", "regressor"), ("nearest", "classifier"), ("means", None)])
def test_it_passes_scikit_learns_own_checks(env: Environment, algo: str, kind: str | None) -> None:
    estimator = NotebookModel(algo, environment="__dev__", kind=kind)
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    failed = [f"{r['check_name']}: {r['exception']!r}" for r in results if r["status"] == "failed"]
    assert not failed, "\n".join(failed)
    counts = {status: sum(r["status"] == status for r in results) for status in ("passed", "skipped")}
    print(kind, counts, sorted({r["check_name"] for r in results if r["status"] == "skipped"}))
    assert counts["passed"] >= 35  # 39 apply to an estimator without a kind, more to the others


def test_a_regressor_predicts_as_scikit_learn_does(env: Environment) -> None:
    expected = LinearRegression().fit(X, Y)
    model = NotebookModel("linear", kind="regressor").fit(X, Y)
    np.testing.assert_allclose(model.predict(X), expected.predict(X))
    assert model.score(X, Y) == pytest.approx(expected.score(X, Y))
    assert is_regressor(model)
    assert model.n_features_in_ == 3


def test_a_classifier_predicts_as_scikit_learn_does(env: Environment) -> None:
    expected = KNeighborsClassifier(1).fit(X, LABELS)
    model = NotebookModel("nearest", kind="classifier").fit(X, LABELS)
    fresh = RANDOM.normal(size=(20, 3))
    assert model.predict(fresh).tolist() == expected.predict(fresh).tolist()
    assert model.classes_.tolist() == ["high", "low"]
    assert is_classifier(model)
    scores = cross_val_score(model, X, LABELS, cv=3)
    assert scores.tolist() == pytest.approx(cross_val_score(expected, X, LABELS, cv=3).tolist())


def test_it_works_in_a_pipeline_and_a_grid_search(env: Environment) -> None:
    pipeline = make_pipeline(StandardScaler(), NotebookModel("linear", kind="regressor"))
    np.testing.assert_allclose(pipeline.fit(X, Y).predict(X), LinearRegression().fit(X, Y).predict(X))
    search = GridSearchCV(
        NotebookModel("linear", kind="regressor", params={"alpha": 1.0}), {"params__alpha": [0.0, 1e6]}, cv=2
    ).fit(X, Y)
    assert search.best_params_ == {"params__alpha": 0.0}
    assert search.best_score_ > 0.99


def test_frames_keep_their_columns_and_their_types(env: Environment) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 6.0], "who": ["x", "y", None]}, index=[5, 6, 7])
    model = NotebookModel("means").fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "who"]
    assert model.info_ == {"mean": 3.0, "rows": 3}
    assert model.metrics_["mean"] == 3.0
    assert model.predict(frame).tolist() == [-2.0, -1.0, 3.0]
    assert model.predict(pl.from_pandas(frame)).tolist() == [-2.0, -1.0, 3.0]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "b"}))


def test_several_columns_come_as_a_table_or_one_is_chosen(env: Environment) -> None:
    model = NotebookModel("several").fit(X)
    assert model.predict(X).shape == (60, 2)
    frame = pd.DataFrame(X, columns=list("abc"))
    assert list(NotebookModel("several").fit_predict(frame).columns) == ["low", "high"]
    np.testing.assert_allclose(NotebookModel("several", output="high").fit_predict(X), X[:, 0] + 1)
    with pytest.raises(labdock.InvalidFrame, match="no column 'middle'"):
        NotebookModel("several", output="middle").fit_predict(X)


def test_clones_and_parameters(env: Environment) -> None:
    model = NotebookModel("means", environment=env, into="kept_by_name", params={"scale": 2})
    copy: Any = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.environment is env
    copy.set_params(params__scale=3, params__more=1, output="outlier")
    assert copy.params == {"scale": 3, "more": 1}
    assert model.params == {"scale": 2}
    with pytest.raises(ValueError, match="nonsense"):
        model.set_params(nonsense=1)
    with pytest.raises(NotFittedError):
        copy.predict(X)


def test_models_without_a_name_go_away_with_their_estimator(env: Environment, lab: Lab) -> None:
    def names() -> set[str]:
        return {m.name for m in lab.models}

    model = NotebookModel("means").fit(X)
    first = model.model_
    assert first in names()
    model.fit(X)
    assert first not in names()
    second = model.model_
    del model
    gc.collect()
    assert second not in names()
    NotebookModel("means", into="estimated").fit(X)
    gc.collect()
    assert "estimated" in names()


def test_a_pickled_estimator_predicts_elsewhere_and_its_model_stays(env: Environment, lab: Lab) -> None:
    model = NotebookModel("means").fit(X)
    content, expected = pickle.dumps(model), model.predict(X)
    del model
    gc.collect()
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.predict(X), expected)
    lab.models.delete(again.model_)


def test_mistakes_are_named(env: Environment) -> None:
    with pytest.raises(labdock.InvalidOptions, match="no algo"):
        NotebookModel().fit(X)
    with pytest.raises(labdock.InvalidOptions, match="kind"):
        NotebookModel("means", kind="oracle").fit(X)
    with pytest.raises(labdock.NotFound, match="Did you mean 'means'"):
        NotebookModel("meens").fit(X)
    assert not hasattr(NotebookModel("means"), "score")
