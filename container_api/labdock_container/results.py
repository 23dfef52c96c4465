"""What a module returned, as a table and as JSON: the border between user values and the wire."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from labdock import frames
from labdock.errors import InvalidFrame, ModuleError
from labdock_container.user_errors import placeless

_DEPTH = 8
_ITEMS = 1000
_TEXT = 10_000


def result_table(value: Any, module: str, like: pa.Schema | None) -> pa.Table:
    """A module's result as a table. Raises `ModuleError` that says what was returned instead of one."""
    frame = _frame(value)
    if frame is None:
        raise _unusable(module, f"apply returned {_a_kind(value)}.")
    frame.columns = pd.Index([_name(c) for c in frame.columns])
    try:
        frames.check_columns(list(frame.columns))
        table = frames.from_pandas(frame, like)
    except InvalidFrame as error:
        raise _unusable(module, f"apply returned a table that cannot be sent. {error.message}") from None
    if not table.num_columns and len(frame):
        raise _unusable(module, "apply returned a table without columns.")
    return table


def _frame(value: Any) -> pd.DataFrame | None:
    if isinstance(value, pd.DataFrame):
        return value.copy(deep=False)
    if isinstance(value, pd.Series):
        return value.to_frame(value.name if value.name is not None else "result")
    if isinstance(value, pa.Table):
        return frames.to_pandas(value)
    if isinstance(value, Mapping):
        return _from_dict(value)
    if isinstance(value, (pd.Index, pd.api.extensions.ExtensionArray)):
        return pd.DataFrame({"result": value})
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (list, tuple, np.ndarray)):
        return _from_dict({"result": list(value)})
    return _from_array(value)


def _from_array(value: Any) -> pd.DataFrame | None:
    if hasattr(value, "toarray"):  # scipy's sparse matrices
        value = value.toarray()
    if isinstance(value, (list, tuple)) or (hasattr(value, "__array__") and not np.isscalar(value)):
        try:
            value = np.asarray(value)
        except (TypeError, ValueError):
            return None
    if not isinstance(value, np.ndarray) or value.ndim not in (1, 2):
        return None
    if value.ndim == 1:
        return pd.DataFrame({"result": value})
    return pd.DataFrame(value, columns=[f"result_{i}" for i in range(value.shape[1])])


def _from_dict(value: Mapping[Any, Any]) -> pd.DataFrame | None:
    try:
        columns = {k: v if _is_column(v) else np.asarray(v) for k, v in value.items()}
        if columns and all(np.ndim(v) == 0 for v in columns.values()):
            return None  # a dict of figures is no table
        return pd.DataFrame(columns)
    except (TypeError, ValueError):
        return None


def _is_column(value: Any) -> bool:
    return isinstance(value, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray, list))


def _name(column: Any) -> str:
    return column if isinstance(column, str) else str(column)


def _a_kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of {value.ndim} dimensions"
    if isinstance(value, Mapping):
        sizes = {str(k): len(v) if hasattr(v, "__len__") else type(v).__name__ for k, v in list(value.items())[:5]}
        return f"a dict that is no table of equally long columns ({sizes})"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _unusable(module: str, what: str) -> ModuleError:
    remedy = "Return a DataFrame, a Series, an array or a dict of columns, one row for each row of the input."
    return placeless(f"Module {module!r}: {what}", remedy, module, "apply")


def to_json(value: Any, depth: int = 0) -> Any:
    """`value` as JSON, whatever user code put there: numbers of numpy become numbers, unknown things their text."""
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, str) else value[:_TEXT].encode(errors="replace").decode()
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _DEPTH:
        if isinstance(value, Mapping):
            return {_text(k): to_json(v, depth + 1) for k, v in list(value.items())[:_ITEMS]}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [to_json(v, depth + 1) for v in list(value)[:_ITEMS]]
        if isinstance(value, np.ndarray) and value.size <= _ITEMS:
            return to_json(value.tolist(), depth + 1)
        if isinstance(value, (pd.Series, pd.DataFrame)) and value.size <= _ITEMS:
            return to_json(value.to_dict(), depth + 1)
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)[:_TEXT].encode(errors="replace").decode()
    except Exception as error:  # noqa: BLE001 - __str__ is user code
        return f"<{type(value).__name__} whose text failed: {type(error).__name__}>"


def metrics_of(info: Any) -> dict[str, float]:
    """The finite numbers of a fit's info: those under `metrics` if it has that key, else those at its top."""
    if not isinstance(info, Mapping):
        return {}
    nested = info.get("metrics")
    source = nested if isinstance(nested, Mapping) else info
    found = {}
    for key, value in source.items():
        plain = to_json(value)
        if isinstance(plain, (int, float)) and not isinstance(plain, bool):
            found[_text(key)] = float(plain)
    return found
