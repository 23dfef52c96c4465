"""Any Arrow column as one of the types that events know (`fields`)."""

import base64
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from labdock_search.data import fields

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def normalize(table: pa.Table) -> pa.Table:
    """`table` with event types only. Structs become dotted fields, lists multivalues, times epoch seconds."""
    names: list[str] = []
    columns: list[pa.ChunkedArray] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        for field, values in _flatten(name, column):
            names.append(field)
            columns.append(values)
    return pa.Table.from_arrays(columns, names=names)


def _flatten(name: str, column: pa.ChunkedArray) -> list[tuple[str, pa.ChunkedArray]]:
    if pt.is_dictionary(column.type):
        return _flatten(name, pc.cast(column, column.type.value_type))
    if pt.is_struct(column.type):
        found: list[tuple[str, pa.ChunkedArray]] = []
        for i, child in enumerate(column.type):
            values = pa.chunked_array([pc.struct_field(c, [i]) for c in column.chunks], type=child.type)
            found += _flatten(f"{name}.{child.name}", values)
        return found
    return [(name, simple(column))]


def simple(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of a type that is neither struct nor dictionary."""
    type_ = column.type
    if type_ in (fields.INT, fields.FLOAT, fields.TEXT, fields.MULTI):
        return column
    if pt.is_integer(type_):
        return _integers(column)
    if pt.is_floating(type_) or pt.is_decimal(type_):
        return pc.cast(column, fields.FLOAT, safe=False)
    if pt.is_boolean(type_) or pt.is_large_string(type_) or pt.is_string_view(type_) or pt.is_null(type_):
        return pc.cast(column, fields.TEXT)
    if pt.is_timestamp(type_) or pt.is_duration(type_):
        return seconds(column, _UNITS[type_.unit])
    if pt.is_date(type_) or pt.is_time(type_):
        return pc.cast(column, fields.TEXT)
    return pa.chunked_array([pa.array([_written(v) for v in column.to_pylist()], _target(type_))])


def seconds(column: pa.ChunkedArray, per_second: int) -> pa.ChunkedArray:
    """Whole units since the epoch as seconds; the quotient is the double nearest to the exact one."""
    units = pc.cast(column, fields.INT)
    whole = pc.divide(units, per_second)
    rest = pc.subtract(units, pc.multiply(whole, per_second))
    if per_second <= 1_000_000:  # below 2**53 until the year 2255: one division of exact numbers
        return pc.divide(pc.cast(units, fields.FLOAT, safe=False), float(per_second))
    return pc.add(pc.cast(whole, fields.FLOAT), pc.divide(pc.cast(rest, fields.FLOAT), float(per_second)))


def _integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return pc.cast(column, fields.INT)
    except pa.ArrowInvalid:  # unsigned beyond 2**63: an identifier rather than a quantity, so kept exactly
        return pc.cast(column, fields.TEXT)


def _target(type_: pa.DataType) -> pa.DataType:
    listed = pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_) or pt.is_list_view(type_)
    return fields.MULTI if listed else fields.TEXT


def _written(value: Any) -> Any:
    if isinstance(value, list):
        return [text(v) for v in value if v is not None]
    return None if value is None else text(value)


def text(value: Any) -> str:
    """A scalar as the text that a search shows."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def clean(value: Any) -> Any:
    """A value from Python's JSON parser without lone surrogates (`"\\ud800"`), which no UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if any("\ud800" <= c <= "\udfff" for c in value) else value
    if isinstance(value, list):
        return [clean(v) for v in value]
    if isinstance(value, dict):
        return {clean(k): clean(v) for k, v in value.items()}
    return value
