"""Exports read back by others (Python's csv and json, pandas, pyarrow) hold the same values."""

import csv
import io
import json
import math
import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labdock.errors import InvalidOptions
from labdock_search.data.export import FORMATS, export

TABLE = pa.table(
    {
        "id": pa.array([1, None, 2**63 - 1]),
        "code": ["007", "", None],
        "text": ['a "quoted", one', "two\nlines", "=1+1"],
        "value": pa.array([0.1, None, float("nan")]),
        "ok": pa.array([True, None, False]),
        "tags": pa.array([["a", "b"], None, []]),
    }
)


def written(format_: str, table: pa.Table = TABLE) -> bytes:
    return b"".join(export(table.to_batches(), table.schema, format_))


def test_csv_is_exact() -> None:
    rows = list(csv.reader(io.StringIO(written("csv").decode(), newline="")))
    assert rows == [
        ["id", "code", "text", "value", "ok", "tags"],
        ["1", "007", 'a "quoted", one', "0.1", "true", "a\nb"],
        ["", "", "two\nlines", "", "", ""],
        [str(2**63 - 1), "", "=1+1", "nan", "false", ""],
    ]


def test_csv_tells_empty_text_from_null() -> None:
    second, third = written("csv", TABLE.select(["code", "id"])).splitlines()[2:4]
    assert (second, third) == (b'"",', b"," + str(2**63 - 1).encode())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_spreadsheet_runs_no_formula(start: str) -> None:
    table = pa.table({f"{start}name": [f"{start}cmd|' /C calc'!A0", "plain", None, "-5"], "number": [-1, 2, None, 3]})
    rows = list(csv.reader(io.StringIO(written("spreadsheet", table).decode(), newline="")))
    assert [r[0] for r in rows] == [f"'{start}name", f"'{start}cmd|' /C calc'!A0", "plain", "", "'-5"]
    assert [r[1] for r in rows] == ["number", "-1", "2", "", "3"], "numbers stay numbers"
    exact = list(csv.reader(io.StringIO(written("csv", table).decode(), newline="")))
    assert exact[1][0] == f"{start}cmd|' /C calc'!A0"


def test_multivalues_are_made_safe_too() -> None:
    table = pa.table({"m": pa.array([["=x", "y"]])})
    assert b"'=x" in written("spreadsheet", table)


def test_json_lines() -> None:
    lines = [json.loads(line) for line in written("json").splitlines()]
    assert lines == [
        {"id": 1, "code": "007", "text": 'a "quoted", one', "value": 0.1, "ok": True, "tags": ["a", "b"]},
        {"id": None, "code": "", "text": "two\nlines", "value": None, "ok": None, "tags": None},
        {"id": 2**63 - 1, "code": None, "text": "=1+1", "value": "NaN", "ok": False, "tags": []},
    ]


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_typed_formats_keep_everything(format_: str) -> None:
    stream = io.BytesIO(written(format_))
    back = pq.read_table(stream) if format_ == "parquet" else pa.ipc.open_stream(stream).read_all()
    assert back.schema.names == TABLE.schema.names
    assert back.drop_columns("value").equals(TABLE.drop_columns("value"))
    assert math.isnan(back["value"][2].as_py())


@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_no_rows_are_a_valid_file(format_: str) -> None:
    content = b"".join(export([], TABLE.schema, format_))
    if format_ == "parquet":
        assert pq.read_table(io.BytesIO(content)).num_rows == 0
    elif format_ == "arrow":
        assert pa.ipc.open_stream(content).read_all().num_rows == 0
    else:
        assert content.count(b"\n") == (0 if format_ == "json" else 1)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidOptions, match="xlsx"):
        export([], TABLE.schema, "xlsx")


@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_memory_is_that_of_a_batch(format_: str) -> None:
    batch = pa.record_batch({"a": list(range(10_000)), "b": ["x" * 50] * 10_000})
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    peak = 0
    size = 0
    for chunk in export((batch for _ in range(60)), batch.schema, format_):
        size += len(chunk)
        peak = max(peak, pa.total_allocated_bytes() - before)
    _, python_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 0
    assert peak + python_peak < 30 * batch.nbytes, f"{peak:,} and {python_peak:,} for {batch.nbytes:,} a batch"


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
            st.none() | _TEXT,
            st.none() | st.booleans(),
        ),
        min_size=1,
    )
)
def test_csv_and_json_round_trip(rows: list[tuple]) -> None:
    columns = list(zip(*rows, strict=True))
    types = [pa.int64(), pa.float64(), pa.string(), pa.bool_()]
    table = pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=list("ifsb"))
    back = list(csv.reader(io.StringIO(written("csv", table).decode(), newline="")))[1:]
    for row, cells in zip(rows, back, strict=True):
        assert cells[0] == ("" if row[0] is None else str(row[0]))
        assert cells[1] == "" if row[1] is None else same(float(cells[1]), row[1])
        assert cells[2] == (row[2] or "")
        assert cells[3] == ("" if row[3] is None else str(row[3]).lower())
    for row, line in zip(rows, written("json", table).split(b"\n"), strict=False):
        found = json.loads(line)
        assert (found["i"], found["s"], found["b"]) == (row[0], row[2], row[3])
        assert found["f"] is None if row[1] is None else same(float(found["f"]), row[1])


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def test_pandas_reads_the_csv() -> None:
    frame = pd.read_csv(
        io.BytesIO(written("csv")), dtype={"code": str, "id": "Int64"}, keep_default_na=False, na_values={"id": [""]}
    )
    assert frame["code"].tolist()[:1] == ["007"]
    assert frame["id"].tolist()[2] == 2**63 - 1
