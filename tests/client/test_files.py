"""Files are read with the types they prove, written whole, and refused by name."""

import gzip
import io
import json
import os
import stat
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labdock import files
from labdock.errors import InvalidFrame, NotFound, StorageError

TABLE = pa.table(
    {
        "n": pa.array([1, None, 2**53 + 1], pa.int64()),
        "x": pa.array([0.5, float("inf"), None]),
        "s": pa.array(['a "b", c', "two\nlines", None]),
        "b": pa.array([True, None, False]),
    }
)


@pytest.mark.parametrize("name", ["t.parquet", "t.pq", "t.arrow", "t.feather", "t.csv", "t.tsv", "T.CSV"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    files.write_table(TABLE, tmp_path / name)
    assert files.read_table(tmp_path / name).equals(TABLE)


def test_json_lines_are_read_back_but_for_infinity(tmp_path: Path) -> None:
    files.write_table(TABLE, tmp_path / "t.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert lines[0] == {"n": 1, "x": 0.5, "s": 'a "b", c', "b": True}
    assert lines[1]["x"] is None  # JSON has no infinity
    assert files.read_table(tmp_path / "t.jsonl").column("n").to_pylist() == [1, None, 2**53 + 1]


def test_a_stream_of_arrow_is_read_as_well(tmp_path: Path) -> None:
    with pa.OSFile(str(tmp_path / "t.arrows"), "wb") as file, pa.ipc.new_stream(file, TABLE.schema) as writer:
        writer.write_table(TABLE)
    assert files.read_table(tmp_path / "t.arrows").equals(TABLE)


def test_a_json_array_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"a": 1}, {"a": 2}]')
    assert files.read_table(tmp_path / "t.json").to_pydict() == {"a": [1, 2]}


def test_numbers_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("code,price,id\n0042,0.5,7\n1,-0.25,0\n")
    table = files.read_table(tmp_path / "t.csv")
    assert table.column("code").to_pylist() == ["0042", "1"]
    assert table.column("price").to_pylist() == [0.5, -0.25]
    assert table.column("id").to_pylist() == [7, 0]


def test_an_empty_cell_is_null_and_a_quoted_one_is_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n,1\n"",2\nNA,3\n')
    assert files.read_table(tmp_path / "t.csv").column("a").to_pylist() == [None, "", "NA"]


def test_types_are_told_from_the_whole_file(tmp_path: Path) -> None:
    rows = 900_000  # more than the reader's first block, which alone would prove an integer
    (tmp_path / "t.csv").write_text("a,b\n" + "1,\n" * rows + "x,2\n")
    table = files.read_table(tmp_path / "t.csv")
    assert table.schema.types == [pa.string(), pa.int64()]
    assert table.num_rows == rows + 1
    assert table.column("a").to_pylist()[-2:] == ["1", "x"]


def test_compressed_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    assert files.read_table(tmp_path / "t.csv.gz").to_pydict() == {"a": [1]}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12), min_size=1, max_size=8)
)
def test_any_text_survives_csv(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    files.write_table(pa.table({"s": ["not a number", *values]}), path)
    assert files.read_table(path).column("s").to_pylist() == ["not a number", *values]


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv", "jsonl"])
def test_standard_input_tells_its_format_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    table = pa.table({"a": [1, 2], "s": ["x", "y"]})
    files.write_table(table, tmp_path / f"t.{kind}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / f"t.{kind}").read_bytes())))
    assert files.read_table("-").equals(table)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("a\n1\n")
    with pytest.raises(NotFound) as caught:
        files.read_table(tmp_path / "event.csv")
    assert "events.csv" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.xyz", b"", "does not say what it holds"),
        ("t", b"", "does not say what it holds"),
        ("t.parquet", b"a,b\n1,2\n", "is no parquet file"),
        ("t.arrow", b"a,b\n1,2\n", "is no arrow file"),
        ("t.csv", b"", "is no csv file"),
        ("t.csv", b"a,b\n1\n", "is no csv file"),
        ("t.jsonl", b"nonsense", "is no jsonl file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidFrame, match=says) as caught:
        files.read_table(tmp_path / name)
    assert caught.value.remedy


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")
    nested = pa.table({"a": [[1, 2]]})
    with pytest.raises(InvalidFrame, match=r"t\.csv"):
        files.write_table(nested, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_rights_of_the_mask_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    mask = os.umask(0o027)
    try:
        files.write_table(TABLE, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        files.write_table(TABLE, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_a_folder_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        files.write_table(TABLE, tmp_path / "nowhere" / "t.csv")
    assert caught.value.remedy


def test_categories_are_written_as_their_values(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(pd.DataFrame({"c": pd.Categorical(["a", "b", "a"])}), preserve_index=False)
    files.write_table(table, tmp_path / "t.csv")
    assert files.read_table(tmp_path / "t.csv").column("c").to_pylist() == ["a", "b", "a"]
    files.write_table(table, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").column("c").to_pylist() == ["a", "b", "a"]
