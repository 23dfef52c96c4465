"""Scores of predictions, as scikit-learn defines them."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def label(value: Any) -> str:
    """Classes are compared as text, whole numbers without a fraction."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def accuracy(actual: Sequence[Any], predicted: Sequence[Any], **_: str) -> float | None:
    if not actual:
        return None
    return sum(label(a) == label(p) for a, p in zip(actual, predicted, strict=True)) / len(actual)


def _of_class(actual: list[str], predicted: list[str], one: str) -> tuple[float, float, float, int]:
    """Precision, recall, F1 and support of one class."""
    hit = sum(a == one == p for a, p in zip(actual, predicted, strict=True))
    said, was = predicted.count(one), actual.count(one)
    precision = hit / said if said else 0.0
    recall = hit / was if was else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1, was


def _averaged(which: int) -> Callable[..., float | None]:
    def score(actual: Sequence[Any], predicted: Sequence[Any], *, average: str, positive: str) -> float | None:
        y, p = [label(v) for v in actual], [label(v) for v in predicted]
        if not y:
            return None
        classes = sorted(set(y) | set(p))
        average = average or ("binary" if len(classes) <= 2 and positive in classes else "weighted")
        if average == "binary":
            return _of_class(y, p, positive)[which]
        if average == "micro":
            return accuracy(y, p)
        rows = [_of_class(y, p, one) for one in classes]
        weights = [row[3] for row in rows] if average == "weighted" else [1] * len(rows)
        return sum(row[which] * w for row, w in zip(rows, weights, strict=True)) / max(sum(weights), 1)

    return score


def roc_auc(actual: Sequence[Any], scores: Any, *, positive: str) -> float | None:
    """The share of pairs of a positive and a negative that the scores put in order."""
    truth = np.array([label(v) == positive for v in actual])
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def r2(actual: Any, predicted: Any) -> float | None:
    if len(actual) < 2:
        return None
    total = float(((actual - actual.mean()) ** 2).sum())
    left = float(((actual - predicted) ** 2).sum())
    return 1 - left / total if total else (1.0 if left == 0 else 0.0)


def explained_variance(actual: Any, predicted: Any) -> float | None:
    if len(actual) < 2:
        return None
    total = float(np.var(actual))
    left = float(np.var(actual - predicted))
    return 1 - left / total if total else (1.0 if left == 0 else 0.0)


def mean_absolute_error(actual: Any, predicted: Any) -> float | None:
    return float(np.abs(actual - predicted).mean()) if len(actual) else None


def mean_squared_error(actual: Any, predicted: Any) -> float | None:
    return float(((actual - predicted) ** 2).mean()) if len(actual) else None


def confusion(actual: Sequence[Any], predicted: Sequence[Any]) -> pa.Table:
    """A row for each actual class, a column `predicted(<class>)` for each predicted one."""
    pairs = Counter((label(a), label(p)) for a, p in zip(actual, predicted, strict=True))
    classes = sorted({c for pair in pairs for c in pair})
    columns: dict[str, Any] = {"actual": pa.array(classes, pa.string())}
    for one in classes:
        columns[f"predicted({one})"] = pa.array([pairs[(row, one)] for row in classes], pa.int64())
    return pa.table(columns)


METHODS: dict[str, Callable[..., float | None]] = {
    "accuracy_score": accuracy,
    "precision_score": _averaged(0),
    "recall_score": _averaged(1),
    "f1_score": _averaged(2),
    "roc_auc_score": roc_auc,
    "r2_score": r2,
    "explained_variance_score": explained_variance,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
}
CLASSES = {"accuracy_score", "precision_score", "recall_score", "f1_score"}
NUMBERS = {"r2_score", "explained_variance_score", "mean_absolute_error", "mean_squared_error"}
