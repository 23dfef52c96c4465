"""Notebook modules as scikit-learn estimators.

    from labdock import NotebookModel

    forest = NotebookModel(algo="a_threat_hunting_notebook", params={"contamination": 0.01})
    forest.fit(X).predict(X)

With scikit-learn installed it is a real `BaseEstimator`: it clones, works in `Pipeline`, `cross_val_score` and
`GridSearchCV` (over `params__<name>`), and passes `check_estimator` (docs/client.md says which checks do not apply).
Without it, `fit` and `predict` work all the same.
"""

import contextlib
import secrets
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from labdock.environment import Environment
from labdock.errors import InvalidFrame, InvalidOptions, LabdockError
from labdock.lab import connect

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    SKLEARN = False

    class BaseEstimator:  # type: ignore[no-redef]
        """What scikit-learn's gives, as far as the estimator alone needs it."""

        _NAMES = ("algo", "environment", "into", "params", "kind", "output")

        def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
            return {name: getattr(self, name) for name in self._NAMES}

        def set_params(self, **params: Any) -> Any:
            for name, value in params.items():
                if name not in self._NAMES:
                    raise ValueError(f"Invalid parameter {name!r} for {type(self).__name__}.")
                setattr(self, name, value)
            return self

    def available_if(check: Callable[[Any], bool]) -> Callable[[Any], Any]:  # noqa: ARG001 - nobody looks
        return lambda method: method
else:
    SKLEARN = True

KINDS = (None, "classifier", "regressor")

# Estimators are cloned and pickled: they hold names, and the environments they talk to are kept here.
_environments: dict[str | None, Environment] = {}


class NotebookModel(BaseEstimator):  # type: ignore[misc]
    """The module `algo` in `environment` as an estimator.

    algo: the module's name.
    environment: a name or an `Environment`; None means the only one that runs.
    into: name under which the model is kept; None makes a model that goes away with the estimator.
    params: what the module reads in `param["options"]["params"]`; `params__<name>` sets one of them.
    kind: `classifier` or `regressor` where scikit-learn should treat it as one (scoring, stratified folds).
    output: the column of the module's answer that `predict` gives; None gives the only one, or all of them.

    After `fit`: `model_` (its name), `info_` (what the module's `fit` returned), `metrics_`, `n_features_in_`,
    `feature_names_in_` where the columns have names, `classes_` for a classifier.
    """

    def __init__(
        self,
        algo: str = "",
        environment: str | Environment | None = None,
        into: str | None = None,
        params: Mapping[str, Any] | None = None,
        kind: str | None = None,
        output: str | None = None,
    ) -> None:
        self.algo = algo
        self.environment = environment
        self.into = into
        self.params = params
        self.kind = kind
        self.output = output

    def fit(self, X: Any, y: Any = None) -> "NotebookModel":  # noqa: N803 - scikit-learn's name
        """Train the module on `X`, with `y` as its target where it is given. Raises `ModuleError` and its like."""
        if not self.algo:
            raise InvalidOptions("NotebookModel has no algo.", remedy='Name a module: NotebookModel(algo="…").')
        if self.kind not in KINDS:
            raise InvalidOptions(f"kind is {self.kind!r}.", remedy=f"Use one of: {', '.join(map(str, KINDS))}.")
        frame, target = self._training(X, y)
        features = list(frame.columns)
        frame = frame.assign(**target)
        name = self.into or f"temporary_{secrets.token_hex(8)}"
        environment = self._environment()
        fitted = environment.fit(
            frame, algo=self.algo, features=features, target=list(target), into=name, params=self.params, progress=False
        )
        earlier = getattr(self, "_forget", None)
        if earlier is not None:
            earlier()
        self.model_ = fitted.name
        self.info_ = fitted.info
        self.metrics_ = fitted.metrics
        self._forget = None if self.into else weakref.finalize(self, _delete, environment, fitted.name)
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        """What the module's `apply` says: an array of one column, or of all (a frame where `X` is one)."""
        if SKLEARN:
            check_is_fitted(self, "model_")
        elif not hasattr(self, "model_"):
            raise InvalidOptions("This NotebookModel is not fitted.", remedy="Call fit first.")
        frame = self._frame(X, reset=False)
        answer = self._environment().apply(frame, self.model_, features=list(frame.columns), progress=False)
        if len(answer) != len(frame):
            raise InvalidFrame(
                f"The module {self.algo!r} answered {len(answer)} rows for {len(frame)}.",
                remedy="Make its apply return one row for each row.",
            )
        if self.output is None and answer.shape[1] != 1:
            return answer if hasattr(X, "columns") else answer.to_numpy()
        column = self.output if self.output is not None else answer.columns[0]
        if column not in answer.columns:
            raise InvalidFrame(
                f"The module {self.algo!r} answers no column {column!r}.",
                remedy=f"Its columns are: {', '.join(answer.columns)}.",
            )
        return answer[column].to_numpy()

    def fit_predict(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        """`fit` and `predict` on the same rows."""
        return self.fit(X, y).predict(X)

    @available_if(lambda self: self.kind is not None)  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any) -> float:  # noqa: N803
        """Accuracy of a classifier, R² of a regressor; there is none without a `kind`."""
        from sklearn.metrics import accuracy_score, r2_score  # noqa: PLC0415 - optional

        return float((accuracy_score if self.kind == "classifier" else r2_score)(y, self.predict(X)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments; with `deep` also each of `params` as `params__<name>`."""
        values: dict[str, Any] = super().get_params(deep=False)
        if deep and isinstance(self.params, Mapping):
            values |= {f"params__{k}": v for k, v in self.params.items()}
        return values

    def set_params(self, **params: Any) -> "NotebookModel":
        """Set arguments; `params__<name>` sets one of `params` and leaves the others."""
        inner = {k.removeprefix("params__"): params.pop(k) for k in list(params) if k.startswith("params__")}
        super().set_params(**params)
        if inner:
            self.params = {**(self.params or {}), **inner}
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags  # noqa: PLC0415 - scikit-learn asks for them

        tags = super().__sklearn_tags__()
        tags.estimator_type = self.kind
        tags.target_tags.required = self.kind is not None
        tags.classifier_tags = ClassifierTags() if self.kind == "classifier" else None
        tags.regressor_tags = RegressorTags() if self.kind == "regressor" else None
        tags.input_tags.allow_nan = True  # the module decides
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # Whoever reads the pickle needs the model: from now on it is kept.
        forget = getattr(self, "_forget", None)
        if forget is not None:
            forget.detach()
        state = dict(super().__getstate__() if SKLEARN else self.__dict__)
        state.pop("_forget", None)
        return state

    def _training(self, X: Any, y: Any) -> tuple[pd.DataFrame, dict[str, Any]]:  # noqa: N803
        """The features as a frame, and the target under a name that is free."""
        if not SKLEARN:
            frame = self._frame(X, reset=True)
            values = None if y is None else np.asarray(y)
        elif y is None and self.kind is None:
            frame, values = self._frame(X, reset=True), None
        else:
            tabular = hasattr(X, "columns")
            options: dict[str, Any] = {"skip_check_array": True} if tabular else _CHECKS
            X, values = validate_data(self, X, y, **options)  # noqa: N806
            frame = _named(X)
            values = _target(values, len(frame), numeric=self.kind == "regressor")
        if values is None:
            return frame, {}
        if self.kind == "classifier":
            from sklearn.utils.multiclass import check_classification_targets  # noqa: PLC0415 - optional

            check_classification_targets(values)
            self.classes_ = np.unique(values)
        name = str(getattr(y, "name", None) or "target")
        while name in frame.columns:
            name += "_"
        if values.ndim == 1:
            return frame, {name: values}
        return frame, {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:  # noqa: N803
        """`X` as a frame; its columns are those of `fit`."""
        if SKLEARN:
            options: dict[str, Any] = {"skip_check_array": True} if hasattr(X, "columns") else _CHECKS_X
            return _named(validate_data(self, X, reset=reset, **options))
        frame = _named(X)
        if reset:
            self.n_features_in_ = frame.shape[1]
        elif frame.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {frame.shape[1]} features, but {self.n_features_in_} were fitted.")
        return frame

    def _environment(self) -> Environment:
        if isinstance(self.environment, Environment):
            return self.environment
        known = _environments.get(self.environment)
        if known is not None:
            with contextlib.suppress(LabdockError):
                return known.refresh()
        lab = connect()
        found = lab.environments.only() if self.environment is None else lab.environments.get(self.environment)
        _environments[self.environment] = found
        return found


_CHECKS_X: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": False}
_CHECKS: dict[str, Any] = {**_CHECKS_X, "multi_output": True}


def _named(X: Any) -> pd.DataFrame:  # noqa: N803
    """A frame of what scikit-learn's callers pass: frames as they are, arrays with columns x0, x1, …"""
    if isinstance(X, pd.DataFrame):
        return X.set_axis([str(c) for c in X.columns], axis=1)
    if hasattr(X, "columns") and hasattr(X, "to_pandas"):
        frame: pd.DataFrame = X.to_pandas()
        return frame
    values = np.asarray(X)
    if values.ndim != 2:
        raise ValueError(f"Expected a table of two dimensions, got {values.ndim}.")
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])


def _target(values: Any, rows: int, *, numeric: bool) -> Any:
    from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d  # noqa: PLC0415

    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] > 1:
        return array
    array = column_or_1d(array, warn=True)
    if array.dtype.kind == "f":
        assert_all_finite(array, input_name="y")
    if numeric and array.dtype.kind == "O":
        array = array.astype(np.float64)
    check_consistent_length(array, np.empty(rows))
    return array


def _delete(environment: Environment, model: str) -> None:
    """A temporary model whose estimator is gone. Nobody is told of a failure: the controller may have gone first."""
    with contextlib.suppress(LabdockError):
        environment.lab.models.delete(model)
