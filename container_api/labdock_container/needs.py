"""A module's `needs`: which columns it wants and of what type, checked before any training."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from labdock.errors import InvalidFrame
from labdock.names import nearest


def check_needs(needs: Mapping[str, Any], schema: pa.Schema, module: str) -> None:
    """Raise `InvalidFrame` that lists every column of `needs` that is missing or of another type."""
    problems, columns = [], []
    for column, wanted in needs.items():
        if column not in schema.names:
            near = nearest(str(column), schema.names)
            problems.append(f"{column!r} is missing" + (f" (did you mean {near!r}?)" if near else ""))
            columns.append(str(column))
        elif not _fits(schema.field(column).type, str(wanted)):
            problems.append(f"{column!r} is {kind_of(schema.field(column).type)}, not {wanted}")
            columns.append(str(column))
    if problems:
        listed = "; ".join(problems[:20])
        raise InvalidFrame(
            f"The frame does not fit module {module!r}: {listed}.",
            remedy="Send these columns with these types, or change `needs` in the notebook.",
            module=module,
            columns=columns,
            needs={str(k): str(v) for k, v in needs.items()},
        )


def kind_of(kind: pa.DataType) -> str:
    """A column's type in the words of `needs`."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_temporal(kind):
        return "time"
    return "any" if pa.types.is_null(kind) else str(kind)


def _fits(kind: pa.DataType, wanted: str) -> bool:
    have = kind_of(kind)
    if have == "any" or wanted not in ("number", "text", "time", "boolean"):
        return True
    # Searches carry time as epoch seconds, and CSV carries it as text.
    return have == wanted or (wanted == "time" and have in ("number", "text"))
