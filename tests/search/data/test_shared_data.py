"""All real data that the project may read: ingested, and equal to what pandas and pyarrow read."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import IngestOptions, ingest
from labdock_search.protocols import Caller

pytestmark = pytest.mark.data
SHARED = Path(__file__).parents[4] / "shared" / "data"
PARQUET = sorted(p.name for p in SHARED.glob("*.parquet"))
CSV = sorted(str(p.relative_to(SHARED)) for p in [*SHARED.glob("*.csv"), *SHARED.glob("samples/*.csv")])
ANN = Caller("ann")


def stored(indexes: Indexes, index: str) -> pa.Table:
    paths = [f.path for f in indexes.open(index, ANN).files]
    with duckdb.connect() as connection:
        return connection.sql("select * from read_parquet(?, union_by_name=true)", params=[paths]).to_arrow_table()


def keyed(table: pa.Table, names: list[str]) -> pd.DataFrame:
    frame = table.select(names).to_pandas()
    return frame.sort_values(names, na_position="first", kind="stable").reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARQUET)
def test_parquet(indexes: Indexes, name: str) -> None:
    original = pq.read_table(SHARED / name)
    (report,) = ingest(indexes, [SHARED / name], "main", IngestOptions(sourcetype="st", source="given")).files
    assert (report.rows, report.bad, report.error) == (original.num_rows, 0, "")
    found = stored(indexes, "main")
    assert found.num_rows == original.num_rows
    if "source" in original.column_names:
        original = original.rename_columns(["extracted_source" if n == "source" else n for n in original.column_names])
    for column in original.column_names:
        before, after = original.column(column), found.column(column)
        assert before.null_count == after.null_count, column
        if pa.types.is_boolean(before.type):
            original = original.set_column(original.column_names.index(column), column, before.cast("string"))
            before = original.column(column)
        if pa.types.is_integer(before.type):
            assert pc.sum(before).as_py() == pc.sum(after).as_py(), column
        elif pa.types.is_floating(before.type):
            assert np.array_equal(np.sort(before.to_numpy()), np.sort(after.to_numpy()), equal_nan=True), column
        else:
            counts = [
                sorted(map(tuple, (v.values() for v in c.value_counts().to_pylist())), key=str) for c in (before, after)
            ]
            assert counts[0] == counts[1], column
    names = [n for n in original.column_names if not pa.types.is_list(original.column(n).type)][:8]
    pd.testing.assert_frame_equal(keyed(original, names), keyed(found, names), check_dtype=False)


@pytest.mark.parametrize("name", CSV)
def test_csv(indexes: Indexes, name: str) -> None:
    frame = pd.read_csv(SHARED / name)
    (report,) = ingest(indexes, [SHARED / name], "main").files
    assert (report.rows, report.bad, report.error) == (len(frame), 0, "")
    found = stored(indexes, "main").to_pandas()
    for column in frame.columns:
        if pd.api.types.is_bool_dtype(frame[column]):  # True and False stay the text that they are
            assert sorted(frame[column].map(str)) == sorted(found[column]), column
        elif pd.api.types.is_numeric_dtype(frame[column]):
            before = np.sort(frame[column].to_numpy(float))
            assert np.array_equal(before, np.sort(found[column].to_numpy(float)), equal_nan=True), column
        else:
            assert sorted(frame[column].dropna()) == sorted(found[column].dropna()), column


def test_sourcetypes_prune_each_other(indexes: Indexes) -> None:
    flows = IngestOptions(sourcetype="stream:tcp", source="flows")
    windows = IngestOptions(sourcetype="WinEventLog:Security", source="WinEventLog:Security")
    ingest(indexes, [SHARED / "netflow_iot23.parquet"], "botsv3", flows)
    ingest(indexes, [SHARED / "windows_security_events.parquet"], "botsv3", windows)
    files = indexes.open("botsv3", ANN).files
    assert {next(iter(f.values["sourcetype"])) for f in files} == {"stream:tcp", "WinEventLog:Security"}
    assert indexes.statistics("botsv3").sourcetypes == {"WinEventLog:Security": 79_644, "stream:tcp": 22_335}
    spans = [(f.earliest, f.latest) for f in files if "stream:tcp" in f.values["sourcetype"]]
    assert len(spans) >= 1
