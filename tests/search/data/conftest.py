"""An empty home, its indexes and lookups, and ways to read them that do not use the code under test."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labdock_search.data.indexes import Indexes
from labdock_search.data.lookups import Lookups
from labdock_search.protocols import Caller

ANN = Caller("ann")


@pytest.fixture
def caller() -> Caller:
    return ANN


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def indexes(home: Path) -> Indexes:
    return Indexes(home)


@pytest.fixture
def lookups(home: Path) -> Lookups:
    return Lookups(home)


def rows_of(indexes: Indexes, index: str, columns: str = "*", order: str = "_time") -> list[dict[str, Any]]:
    """What DuckDB reads of an index, as the engine does: the files that `open` names, united by name."""
    paths = [f.path for f in indexes.open(index, ANN).files]
    if not paths:
        return []
    with duckdb.connect() as connection:
        found = connection.execute(
            f"select {columns} from read_parquet(?, union_by_name=true) order by {order}", [paths]
        )
        names = [d[0] for d in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def events(rows: int, start: float = 1_600_000_000.0, step: float = 1.0, **fields: Any) -> pa.Table:
    """`rows` events in steps of time, with metadata and the given columns."""
    columns: dict[str, Any] = {
        "_time": pa.array([start + i * step for i in range(rows)], pa.float64()),
        "source": ["test"] * rows,
        "sourcetype": ["test"] * rows,
        "host": ["here"] * rows,
        "n": pa.array(range(rows), pa.int64()),
    }
    columns.update(fields)
    return pa.table(columns)


def all_parquet(folder: Path) -> int:
    """Rows of every Parquet file in a folder, whatever a manifest says."""
    return sum(pq.read_metadata(p).num_rows for p in folder.glob("*.parquet"))
