"""Tables go out and come back value for value, for every kind of caller."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labdock import frames
from labdock.errors import InvalidFrame
from labdock.fingerprint import fingerprint
from labdock.transport import decode, encode

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["", "007", "null", "NaN", 'a "quoted" cell', "two\nlines\r\n", ",;\t|", "=1+1", "\x00", "\U0001f600", "é"]
)
NAMES = TEXT.filter(lambda name: name.strip() and "\x00" not in name)
FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
INTS = st.integers(-(2**63), 2**63 - 1)
NAIVE = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001 - naive is what is tested
NANOSECONDS = st.integers(-(2**62), 2**62)


def or_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


# What a pandas column may be: values, and how it is made of them.
KINDS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "float64": (FLOATS, lambda v: pd.Series(v, dtype="float64")),
    "float32": (st.floats(width=32), lambda v: pd.Series(v, dtype="float32")),
    "int64": (INTS, lambda v: pd.Series(v, dtype="int64")),
    "uint8": (st.integers(0, 255), lambda v: pd.Series(v, dtype="uint8")),
    "Int64": (or_none(INTS), lambda v: pd.Series(v, dtype="Int64")),
    "bool": (st.booleans(), lambda v: pd.Series(v, dtype="bool")),
    "boolean": (or_none(st.booleans()), lambda v: pd.Series(v, dtype="boolean")),
    "Float64": (or_none(FLOATS.filter(lambda f: not math.isnan(f))), lambda v: pd.Series(v, dtype="Float64")),
    "str": (or_none(TEXT), lambda v: pd.Series(v, dtype="str")),
    "object": (or_none(TEXT), lambda v: pd.Series(v, dtype="object")),
    "category": (or_none(TEXT), lambda v: pd.Series(v, dtype="object").astype("category")),
    "ns": (
        or_none(NANOSECONDS),
        lambda v: pd.Series([pd.NaT if x is None else pd.Timestamp(x) for x in v], dtype="datetime64[ns]"),
    ),
    "us": (or_none(NAIVE), lambda v: pd.Series(v, dtype="datetime64[us]")),
    "zone": (
        or_none(NAIVE),
        lambda v: pd.Series(v, dtype="datetime64[us]").dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
    ),
    "timedelta": (
        or_none(st.integers(-(2**60), 2**60)),
        lambda v: pd.Series([pd.NaT if x is None else pd.Timedelta(x) for x in v], dtype="timedelta64[ns]"),
    ),
    "date": (or_none(st.dates()), lambda v: pd.Series(v, dtype="object")),
    "decimal": (or_none(st.decimals(-1000, 1000, places=2)), lambda v: pd.Series(v, dtype="object")),
    "bytes": (or_none(st.binary(max_size=6)), lambda v: pd.Series(v, dtype="object")),
}


@st.composite
def pandas_frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 6))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5))
    names = draw(st.lists(NAMES, min_size=len(kinds), max_size=len(kinds), unique=True))
    columns = {}
    for name, kind in zip(names, kinds, strict=True):
        values, make = KINDS[kind]
        columns[name] = make(draw(st.lists(values, min_size=rows, max_size=rows)))
    index = draw(st.sampled_from(["range", "text", "times", "multi"]))
    frame = pd.DataFrame(columns)
    if index == "text":
        frame.index = pd.Index([f"row {i % 2}" for i in range(rows)], name="who")
    elif index == "times":
        frame.index = pd.date_range("2026-01-01", periods=rows, freq="h", tz="UTC")
    elif index == "multi":
        frame.index = pd.MultiIndex.from_tuples([(i // 2, i % 2) for i in range(rows)], names=["a", "b"])
    return frame


def cell(value: Any) -> Any:
    """A value as something that compares by what it is: no NaN equals nothing, no 1 equals True."""
    if value is None or value is pd.NA or value is pd.NaT:
        return "missing"
    if isinstance(value, (float, np.floating)):
        return ("float", "nan") if math.isnan(value) else ("float", float(value), math.copysign(1, value))
    if isinstance(value, (bool, np.bool_)):
        return ("bool", bool(value))
    if isinstance(value, (int, np.integer)):
        return ("int", int(value))
    if isinstance(value, pd.Timestamp):
        return ("time", value.value if value.unit == "ns" else value.as_unit("ns").value, str(value.tz))
    return (type(value).__name__, value)


def cells(column: "pd.Series[Any]") -> list[Any]:
    # In a text, date or category column pandas writes a missing value as NaN; only a float column has a NaN of its own.
    own_nan = column.dtype.kind == "f" if isinstance(column.dtype, np.dtype) else False
    found = [cell(v) for v in column]
    return found if own_nan else ["missing" if c == ("float", "nan") else c for c in found]


def through_the_wire(table: pa.Table, compression: str | None = None) -> pa.Table:
    """In memory of its own that can be written to, as a client receives an answer."""
    content = b"".join(bytes(piece) for piece in encode(table, compression))
    memory = pa.allocate_buffer(len(content))
    memoryview(memory).cast("B")[:] = content
    return decode(memory)[0]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pandas_frames(), st.sampled_from([None, "lz4", "zstd"]))
def test_pandas_frames_come_back_value_for_value_with_their_index(frame: pd.DataFrame, compression: str | None) -> None:
    before = frame.copy(deep=True)
    table, restore = frames.to_table(frame)
    answer = restore(through_the_wire(table, compression))
    assert list(answer.columns) == list(frame.columns)
    for name in frame.columns:
        expected, found = cells(frame[name]), cells(answer[name])
        if frame[name].dtype == pd.Float64Dtype():  # comes back as numpy floats, where NaN means missing
            found = ["missing" if c == ("float", "nan") else c for c in found]
        assert found == expected
    pd.testing.assert_index_equal(answer.index, frame.index)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "kind", ["float64", "float32", "int64", "uint8", "bool", "str", "ns", "us", "zone", "timedelta"]
)
def test_the_types_of_plain_columns_come_back(kind: str) -> None:
    examples = {"zone": pd.Timestamp(2026, 1, 1), "us": pd.Timestamp(2026, 1, 1), "str": "x"}
    frame = pd.DataFrame({"c": KINDS[kind][1]([examples.get(kind, 1)] * 3)})
    table, restore = frames.to_table(frame)
    assert restore(through_the_wire(table))["c"].dtype == frame["c"].dtype


def test_an_answer_is_the_callers_to_change() -> None:
    frame = pd.DataFrame({"x": [0.5, 1.5], "n": [1, 2], "few": np.array([3, 4], "uint8"), "who": ["a", "b"]})
    table, restore = frames.to_table(frame)
    received = through_the_wire(table)
    answer = restore(received)
    for name, value in {"x": 9.5, "n": 2**60, "few": 255, "who": "c"}.items():
        answer.loc[0, name] = value
    answer["x"] += 1
    assert answer.to_dict("list") == {"x": [10.5, 2.5], "n": [2**60, 2], "few": [255, 4], "who": ["c", "b"]}
    assert frame["x"].tolist() == [0.5, 1.5]
    # What was received is the answer: no second copy of its numbers was made.
    assert received.column("n").to_pylist()[0] == 2**60


def test_memory_that_is_not_the_callers_is_copied() -> None:
    table, restore = frames.to_table(pd.DataFrame({"x": [0.5, 1.5]}))
    read_only = decode(pa.py_buffer(b"".join(bytes(piece) for piece in encode(table))))[0]
    answer = restore(read_only)
    answer.loc[0, "x"] = 9.5
    assert answer["x"].tolist() == [9.5, 1.5]
    assert read_only.column("x").to_pylist() == [0.5, 1.5]


@settings(max_examples=100, deadline=None)
@given(st.lists(or_none(FLOATS), min_size=1, max_size=6))
def test_null_and_nan_of_a_float_stay_apart(values: list[float | None]) -> None:
    table = pa.table({"x": pa.array(values, pa.float64(), from_pandas=False)})
    back = frames.from_pandas(frames.to_pandas(table), like=frames.mark_nulls(table.schema, table))
    assert [cell(v) for v in back.column("x").to_pylist()] == [cell(v) for v in values]


def test_integers_beyond_two_to_the_53_survive_nulls() -> None:
    table = pa.table({"id": pa.array([2**53 + 1, None, -(2**63)], pa.int64())})
    frame = frames.to_pandas(table)
    assert frame["id"].tolist() == [2**53 + 1, pd.NA, -(2**63)]
    assert frames.from_pandas(frame).column("id").to_pylist() == [2**53 + 1, None, -(2**63)]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, st.lists(or_none(FLOATS), min_size=3, max_size=3), min_size=1, max_size=4))
def test_polars_frames_come_back_as_polars(columns: dict[str, list[float | None]]) -> None:
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64))
    table, restore = frames.to_table(frame)
    answer = restore(through_the_wire(table))
    assert isinstance(answer, pl.DataFrame)
    assert answer.equals(frame, null_equal=True)


def test_polars_types_come_back() -> None:
    frame = pl.DataFrame(
        {
            "when": pl.Series([pd.Timestamp(2026, 1, 1).to_pydatetime(), None]).dt.replace_time_zone("UTC"),
            "who": pl.Series(["a", None], dtype=pl.Categorical),
            "many": pl.Series([[1, 2], []]),
            "id": pl.Series([2**63, None], dtype=pl.UInt64),
        }
    )
    table, restore = frames.to_table(frame)
    answer = restore(through_the_wire(table))
    assert answer.equals(frame, null_equal=True)
    assert answer.schema == frame.schema


def test_arrow_comes_back_as_arrow_with_its_types() -> None:
    table = pa.table(
        {
            "t": pa.array([1, None], pa.timestamp("ns", "America/Lima")),
            "d": pa.array(["x", None]).dictionary_encode(),
            "l": pa.array([[1], None], pa.large_list(pa.int8())),
            "s": pa.array([{"a": 1}, None]),
            "m": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
        }
    )
    for given_as in (table, table.to_batches()[0], pa.RecordBatchReader.from_batches(table.schema, table.to_batches())):
        sent, restore = frames.to_table(given_as)
        answer = restore(through_the_wire(sent))
        assert answer.schema == table.schema
        assert answer.equals(table)


def test_anything_with_the_arrow_interface_is_taken() -> None:
    class Odd:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.table({"a": [1, 2]}).__arrow_c_stream__(requested_schema)

    table, restore = frames.to_table(Odd())
    assert restore(through_the_wire(table)).to_pydict() == {"a": [1, 2]}


def test_dicts_lists_of_dicts_and_series_are_tables() -> None:
    assert frames.to_table({"a": [1, 2]})[0].to_pydict() == {"a": [1, 2]}
    assert frames.to_table([{"a": 1}, {"a": 2}])[0].to_pydict() == {"a": [1, 2]}
    assert frames.to_table(pd.Series([1.5], name="x"))[0].to_pydict() == {"x": [1.5]}
    assert frames.to_table(pd.Series([1.5]))[0].column_names == ["value"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(pd.arrays.SparseArray([0, 0, 1.5])), [0, 0, 1.5]),
        (pd.Series([2**64 - 1, 1], dtype=object), [2**64 - 1, 1]),
        (pd.Series(pd.period_range("2026", periods=2, freq="M")), list(pd.period_range("2026", periods=2, freq="M"))),
        (pd.Series([{"a": 1}, None]), [{"a": 1}, None]),
        (pd.Series([dt.time(1, 2)]), [dt.time(1, 2)]),
        (pd.Series(pd.Categorical(["lo", "hi"], ["lo", "hi"], ordered=True)), ["lo", "hi"]),
    ],
)
def test_rarer_columns_come_back_too(column: "pd.Series[Any]", expected: list[Any]) -> None:
    table, restore = frames.to_table(pd.DataFrame({"c": column}))
    assert restore(through_the_wire(table))["c"].tolist() == expected


def test_numpy_floats_are_not_copied() -> None:
    values = np.arange(1000.0)
    table, _ = frames.to_table(pd.DataFrame({"x": values}, copy=False))
    assert table.column("x").chunk(0).buffers()[1].address == values.ctypes.data


def test_an_answer_of_another_length_gets_a_plain_index() -> None:
    _, restore = frames.to_table(pd.DataFrame({"a": [1, 2]}, index=["x", "y"]))
    assert list(restore(pa.table({"b": [1]})).index) == [0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names: 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", " "]), "Column 2 has an empty name"),
        (pd.DataFrame([[1, 2]]), "Column names must be text"),
        (pd.DataFrame({"a": [1, "x", {}]}), "Column 'a' mixes types"),
        (pd.DataFrame({"a": [2**70]}, dtype=object), "Column 'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), "Duplicate column names"),
        (pd.DataFrame({"a": [1 + 2j]}), "Column 'a' holds values that no table column can hold: complex"),
        (pl.DataFrame({"a\x00b": [1]}), "holds a NUL"),
        (pd.DataFrame({"a\x00b": [1]}), "holds a NUL"),
        (pl.LazyFrame({"a": [1]}), "polars LazyFrame"),
        (42, "A int is not a table"),
        ([1, 2], "A list is not a table"),
        (pd.DataFrame({"a": ["\ud800"]}, dtype=object), "Column 'a'"),
    ],
)
def test_what_is_no_table_is_refused_by_name(data: Any, says: str) -> None:
    with pytest.raises(InvalidFrame) as caught:
        frames.to_table(data)
    assert says in caught.value.message
    assert caught.value.remedy


def test_columns_are_selected_in_order_and_missing_ones_named() -> None:
    for data in (pd.DataFrame({"a": [1], "b": [2]}), pa.table({"a": [1], "b": [2]})):
        assert frames.to_table(data, ["b", "a"])[0].column_names == ["b", "a"]
        with pytest.raises(InvalidFrame, match="no column 'c'"):
            frames.to_table(data, ["c"])


def test_an_empty_frame_keeps_its_columns() -> None:
    frame = pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype="str")})
    table, restore = frames.to_table(frame)
    answer = restore(through_the_wire(table))
    pd.testing.assert_frame_equal(answer, frame)


def test_the_same_table_has_the_same_hash_however_it_is_cut() -> None:
    whole = pa.table({"a": np.arange(200_000.0), "b": [f"x{i % 7}" if i % 5 else None for i in range(200_000)]})
    cut = pa.concat_tables([whole.slice(0, 13), whole.slice(13, 150_001), whole.slice(150_014)])
    again = pa.table({"a": np.arange(200_000.0), "b": whole["b"].to_pylist()}).replace_schema_metadata({"x": "y"})
    assert fingerprint(cut) == fingerprint(again) == fingerprint(whole)
    other = whole.set_column(0, "a", pa.array(np.arange(200_000.0) + np.eye(1, 200_000, 77_777)[0]))
    assert len({fingerprint(t) for t in (whole, other, whole.rename_columns(["a", "c"]), whole.slice(1))}) == 4
