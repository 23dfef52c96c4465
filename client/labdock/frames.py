"""Tables in and out: pandas, polars, Arrow or anything with `__arrow_c_stream__`, without losing a value.

Between rooms a table is always a `pyarrow.Table`. Two rules keep values exact:

- A float's NaN stays NaN and a null stays null. In pandas a numpy float column has NaN only; it is sent as it is
  (no copy). A column that held nulls and no NaN gives nulls back.
- Integers and booleans with nulls become pandas' nullable types, never floats: int64 beyond 2**53 survives.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from labdock.errors import InvalidFrame

Restore = Callable[[pa.Table], Any]
_MOST_SPLIT = 100  # columns that pandas keeps apart; it gets slow with more

_NULLABLE: dict[pa.DataType, Any] = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def check_columns(names: Sequence[Any]) -> None:
    """Refuse duplicate, empty and non-text column names and those with a NUL, all named. Raises `InvalidFrame`."""
    wrong = [n for n in names if not isinstance(n, str)]
    if wrong:
        raise InvalidFrame(
            f"Column names must be text; got {', '.join(map(repr, wrong[:5]))}.",
            remedy="Rename them, for example df.columns = df.columns.map(str).",
            columns=[repr(n) for n in wrong],
        )
    empty = [i for i, n in enumerate(names) if not n.strip()]
    if empty:
        raise InvalidFrame(
            f"Column {empty[0] + 1} has an empty name.", remedy="Give every column a name.", positions=empty
        )
    cut = [n for n in names if "\x00" in n]
    if cut:
        # A name ends there for every library in C; polars' export of such a frame aborts the process.
        raise InvalidFrame(f"Column name {cut[0]!r} holds a NUL.", remedy="Rename the column.", columns=cut)
    twice = [n for n, k in Counter(names).items() if k > 1]
    if twice:
        raise InvalidFrame(
            f"Duplicate column names: {', '.join(map(repr, twice[:10]))}.",
            remedy="Rename or drop all but one of each.",
            columns=twice,
        )


def to_table(data: Any, columns: Sequence[str] | None = None) -> tuple[pa.Table, Restore]:
    """`data` as an Arrow table, and the function that turns an answer into the caller's kind.

    A pandas frame's index is not sent; `restore` puts it back where the answer has as many rows, and takes the answer's
    memory over. `columns` selects (in order). Raises `InvalidFrame` for what is no table, bad column names and columns
    of mixed objects.
    """
    if isinstance(data, pd.DataFrame):
        return _from_pandas(data, columns)
    if isinstance(data, pd.Series):
        return _from_pandas(data.to_frame(data.name if data.name is not None else "value"), columns)
    if isinstance(data, (pa.Table, pa.RecordBatch, pa.RecordBatchReader)):
        table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        table = table.read_all() if isinstance(table, pa.RecordBatchReader) else table
        return _select(table, columns), lambda answer: answer
    kind = type(data).__module__.partition(".")[0]
    if hasattr(data, "__arrow_c_stream__"):
        if kind == "polars" and hasattr(data, "columns"):
            check_columns(data.columns)
        table = _select(pa.table(data), columns)
        return table, _polars if kind == "polars" else lambda answer: answer
    if kind == "polars" and hasattr(data, "collect"):
        raise InvalidFrame("This is a polars LazyFrame.", remedy="Call .collect() first.")
    if isinstance(data, Mapping) or (isinstance(data, list) and all(isinstance(row, Mapping) for row in data)):
        return _from_pandas(pd.DataFrame(data), columns)
    raise InvalidFrame(
        f"A {type(data).__name__} is not a table.",
        remedy="Pass a pandas or polars frame, an Arrow table, a dict of columns or a list of dicts.",
    )


def _polars(answer: pa.Table) -> Any:
    import polars as pl  # noqa: PLC0415 - optional, and here only for callers that already use it

    return pl.from_arrow(answer)


def _select(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    check_columns(table.column_names)
    if columns is None:
        return table
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise InvalidFrame(
            f"The table has no column {', '.join(map(repr, missing[:10]))}.",
            remedy=f"Its columns are: {', '.join(table.column_names[:30])}.",
            columns=missing,
        )
    return table.select(list(columns))


def _from_pandas(df: pd.DataFrame, columns: Sequence[str] | None) -> tuple[pa.Table, Restore]:
    check_columns(list(df.columns))
    if columns is not None:
        missing = [c for c in columns if c not in df.columns]
        if missing:
            raise InvalidFrame(
                f"The frame has no column {', '.join(map(repr, missing[:10]))}.",
                remedy=f"Its columns are: {', '.join(map(str, df.columns[:30]))}.",
                columns=missing,
            )
        df = df[list(columns)]
    index = df.index

    def restore(answer: pa.Table) -> pd.DataFrame:
        result = take_over(answer)
        if len(result) == len(index):
            result.index = index
        return result

    return from_pandas(df), restore


def from_pandas(df: pd.DataFrame, like: pa.Schema | None = None) -> pa.Table:
    """A pandas frame (index dropped) as a table; numpy floats are not copied and their NaN stay NaN.

    `like` names columns of an earlier table: a float column whose field's metadata says `nulls` there gives its
    NaN back as nulls (see `to_pandas`).
    """
    arrays, fields = [], []
    for name in df.columns:
        array = _array(df[name], name, _had_nulls(like, name))
        arrays.append(array)
        fields.append(pa.field(name, array.type))
    if not fields:
        return pa.table({}).slice(0, 0)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _had_nulls(like: pa.Schema | None, name: str) -> bool:
    if like is None or name not in like.names:
        return False
    metadata = like.field(name).metadata
    return bool(metadata and b"labdock.nulls" in metadata)


def _array(column: "pd.Series[Any]", name: str, nulls: bool) -> pa.Array | pa.ChunkedArray:
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.astype(column.dtype.subtype)
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else None
    try:
        if values is not None and values.dtype.kind == "f":
            return pa.array(values, from_pandas=nulls)
        return pa.array(column, from_pandas=True)
    except OverflowError:  # text that is not Unicode is a ValueError
        with contextlib.suppress(pa.ArrowException, OverflowError, TypeError):
            return pa.array(column, pa.uint64(), from_pandas=True)
        raise _unfit(column, name) from None
    except (pa.ArrowException, TypeError, ValueError):
        raise _unfit(column, name) from None


def _unfit(column: "pd.Series[Any]", name: str) -> InvalidFrame:
    found = sorted({type(v).__name__ for v in column.dropna().head(1000)})
    what = "mixes types" if len(found) > 1 else "holds values"
    return InvalidFrame(
        f"Column {name!r} {what} that no table column can hold: {', '.join(found)}.",
        remedy=f"Convert it first, for example df[{name!r}] = df[{name!r}].astype(str).",
        column=name,
    )


def to_pandas(table: pa.Table, *, split: bool = False) -> pd.DataFrame:
    """A table as a pandas frame with a plain index, exact for every value (see the module's text).

    `split` keeps each column apart, unless they are many, so that numbers are not copied; they are read-only until
    pandas copies on write.
    """
    check_columns(table.column_names)
    split = split and table.num_columns <= _MOST_SPLIT
    groups: dict[Any, list[str]] = {}
    for name in table.column_names:
        groups.setdefault(_mapper_for(table.column(name)), []).append(name)
    if len(groups) == 1:
        whole: pd.DataFrame = table.to_pandas(types_mapper=next(iter(groups)), split_blocks=split)
        return whole
    parts = [table.select(names).to_pandas(types_mapper=mapper, split_blocks=split) for mapper, names in groups.items()]
    return pd.concat(parts, axis=1)[table.column_names] if parts else pd.DataFrame(index=range(table.num_rows))


def take_over(table: pa.Table) -> pd.DataFrame:
    """`to_pandas` of a table whose memory nobody else has: numbers stay where they are and can be written to."""
    names = table.column_names
    check_columns(names)
    found = {name: _writable(table.column(name)) for name in names} if len(names) <= _MOST_SPLIT else {}
    numbers = {name: values for name, values in found.items() if values is not None}
    if not numbers:
        return to_pandas(table)
    own = pd.DataFrame(numbers, copy=False)
    rest = [name for name in names if name not in numbers]
    return pd.concat([own, to_pandas(table.select(rest))], axis=1)[names] if rest else own


def _writable(column: pa.ChunkedArray) -> "np.ndarray[Any, Any] | None":
    """A column of numbers where it lies; None where pandas needs a copy: of nulls, pieces and read-only memory."""
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not number or column.null_count or column.num_chunks != 1 or not len(column):
        return None
    chunk = column.chunk(0)
    data = whole = chunk.buffers()[1]
    while whole.parent is not None:  # a slice of a buffer never says that it can be written to
        whole = whole.parent
    if not whole.is_mutable:
        return None
    start = data.address - whole.address + chunk.offset * kind.bit_width // 8
    return np.frombuffer(whole, kind.to_pandas_dtype(), len(chunk), start)


def _mapper_for(column: pa.ChunkedArray) -> Callable[[pa.DataType], Any] | None:
    """What pandas type holds the column exactly: None for pandas' default."""
    if not column.null_count:
        return None
    if column.type in _NULLABLE:
        return _NULLABLE.get
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        return pd.ArrowDtype
    return None


def mark_nulls(schema: pa.Schema, table: pa.Table) -> pa.Schema:
    """`schema` with a note on each float column of `table` that holds nulls, for `from_pandas(like=…)`."""
    return pa.schema(
        f.with_metadata({b"labdock.nulls": b"1"}) if pa.types.is_floating(f.type) and table.column(i).null_count else f
        for i, f in enumerate(schema)
    )
