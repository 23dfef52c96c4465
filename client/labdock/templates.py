"""Notebooks to start a module from: one for each kind, with exported cells, sample rows and a cell that tests them."""

import contextlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labdock.errors import Conflict
from labdock.names import check_name, not_found


@dataclass(frozen=True)
class Template:
    """What differs between the kinds; the rest of the notebook is the same."""

    title: str
    imports: str
    model: str  # an expression
    fit: str  # a line, from `X` and `y`
    apply: str  # an expression: columns from `X`
    rows: str  # an expression: a frame of sample rows
    features: list[str]
    target: list[str]
    check: str  # a line of the test cell, about `out` and `rows`


_NUMBERS = 'pd.DataFrame({"a": random.normal(size=200), "b": random.normal(size=200)})'
TEMPLATES: dict[str, Template] = {
    "classifier": Template(
        "A classifier",
        "from sklearn.ensemble import RandomForestClassifier",
        "RandomForestClassifier(n_estimators=50, random_state=0)",
        'model["estimator"].fit(X, y)',
        '{"label": estimator.predict(X), "score": estimator.predict_proba(X).max(axis=1)}',
        f'{_NUMBERS}.assign(y=lambda d: (d["a"] + d["b"] > 0).astype(int))',
        ["a", "b"],
        ["y"],
        'assert (out["label"] == rows["y"]).mean() > 0.9',
    ),
    "regressor": Template(
        "A regressor",
        "from sklearn.linear_model import Ridge",
        "Ridge()",
        'model["estimator"].fit(X, y)',
        '{"value": estimator.predict(X)}',
        f'{_NUMBERS}.assign(y=lambda d: 2 * d["a"] - d["b"])',
        ["a", "b"],
        ["y"],
        'assert (out["value"] - rows["y"]).abs().max() < 0.2',
    ),
    "forecaster": Template(
        "A forecaster: each row from the rows before it",
        "from sklearn.linear_model import LinearRegression",
        "LinearRegression()",
        'lags = past(X); model["estimator"].fit(lags[LAGS:], X.iloc[LAGS:, 0])',
        '{"forecast": np.r_[[np.nan] * LAGS, estimator.predict(past(X)[LAGS:])]}',
        'pd.DataFrame({"value": np.sin(np.arange(200) / 5) + random.normal(scale=0.01, size=200)})',
        ["value"],
        [],
        'assert (out["forecast"] - rows["value"]).abs().max() < 0.2',
    ),
    "clusterer": Template(
        "A clusterer",
        "from sklearn.cluster import KMeans",
        "KMeans(n_clusters=2, n_init=10, random_state=0)",
        'model["estimator"].fit(X)',
        '{"cluster": estimator.predict(X), "distance": estimator.transform(X).min(axis=1)}',
        'pd.DataFrame({"a": np.r_[random.normal(size=100), random.normal(10, 1, 100)], "b": random.normal(size=200)})',
        ["a", "b"],
        [],
        'assert out["cluster"].iloc[:100].nunique() == out["cluster"].iloc[100:].nunique() == 1',
    ),
    "text": Template(
        "A classifier of texts",
        "from sklearn.feature_extraction.text import TfidfVectorizer\n"
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.pipeline import make_pipeline",
        'make_pipeline(TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3)), LogisticRegression())',
        'model["estimator"].fit(X.iloc[:, 0].astype(str), y)',
        '{"label": estimator.predict(X.iloc[:, 0].astype(str))}',
        'pd.DataFrame({"text": ["open the door", "powershell -enc JAB"] * 50, "y": ["benign", "malicious"] * 50})',
        ["text"],
        ["y"],
        'assert (out["label"] == rows["y"]).all()',
    ),
}

_PAST = """

LAGS = 3


def past(X):
    column = X.iloc[:, 0]
    return np.column_stack([column.shift(lag).fillna(0) for lag in range(1, LAGS + 1)])"""


def notebook(name: str, kind: str) -> dict[str, Any]:
    """A notebook (nbformat 4) of that kind. Raises `NotFound` for a kind that there is not."""
    check_name(name, "notebook")
    template = TEMPLATES.get(kind)
    if template is None:
        raise not_found("kind of notebook", kind, TEMPLATES)
    into = f"{' from '.join([*template.target, ''])}{' '.join(template.features)} into {name}_model"
    said = f"# {template.title}\n\nSave it, then: `… | fit MLTKContainer algo={name} {into}`"
    cells = [_markdown(said), *(_code(source, cell) for cell, source in _cells(template))]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": _numbered(cells)}


def _cells(t: Template) -> list[tuple[str, str]]:
    """The exported cells by name; the test has none and stays in the notebook."""
    imports = f"import numpy as np\nimport pandas as pd\n{t.imports}"
    fit = [
        "def fit(model, df, param):",
        '    X = df[param["feature_variables"]]',
        *(['    y = df[param["target_variables"][0]]'] if t.target else []),
        *(f"    {line}" for line in t.fit.split("; ")),
        '    return {"rows": len(df)}',
    ]
    apply = [
        "def apply(model, df, param):",
        '    X, estimator = df[param["feature_variables"]], model["estimator"]',
        f"    return pd.DataFrame({t.apply}, index=df.index)",
    ]
    summary = 'def summary(model=None):\n    return {} if model is None else {"estimator": str(model["estimator"])}'
    test = [
        "# Tests the cells above; it is not part of the module.",
        "random = np.random.default_rng(0)",
        f"rows = {t.rows}",
        f"named = {{'feature_variables': {t.features!r}, 'target_variables': {t.target!r}}}",
        'param = {**named, "options": {"params": {}}}',
        "model = init(rows, param)",
        "info = fit(model, rows, param)",
        "out = apply(model, rows, param)",
        "assert len(out) == len(rows)",
        t.check,
        'print("The module works:", info)',
    ]
    return [
        ("mltkc_import", imports + (_PAST if "past(" in t.fit else "")),
        ("mltkc_init", f'def init(df, param):\n    return {{"estimator": {t.model}}}'),
        ("mltkc_fit", "\n".join(fit)),
        ("mltkc_apply", "\n".join(apply)),
        ("mltkc_summary", summary),
        ("", "\n".join(test)),
    ]


def _code(source: str, name: str) -> dict[str, Any]:
    metadata = {"name": name} if name else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


def _markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _numbered(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)]


def write(folder: Path, name: str, kind: str) -> Path:
    """Write `<name>.ipynb`; never over a file that is there. Raises `Conflict`."""
    path = folder / f"{name}.ipynb"
    content = json.dumps(notebook(name, kind), indent=1, ensure_ascii=False) + "\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise Conflict(f"{path} is there already.", remedy="Take another name.") from None
    return path


def write_numbered(folder: Path, name: str, kind: str, modules: Path) -> Path:
    """Write `<name>.ipynb`, or the first of `<name>_2`, `<name>_3`… that is no notebook there and no module yet."""
    for number in itertools.count(1):
        free = name if number == 1 else f"{name}_{number}"
        if (modules / f"{free}.py").exists():
            continue
        with contextlib.suppress(Conflict):
            return write(folder, free, kind)
    raise AssertionError("numbers do not end")
