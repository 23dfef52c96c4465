"""Indexes: what is committed is there whole, in any process, and damage is named."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.search.data.conftest import events, rows_of

from labdock.errors import InvalidName, InvalidOptions, NotFound
from labdock_search.data import fields
from labdock_search.data.compaction import tidy
from labdock_search.data.indexes import Indexes
from labdock_search.data.manifest import NAME
from labdock_search.data.scan import COLUMN
from labdock_search.data.writer import DAY, MIN_ROWS
from labdock_search.protocols import Caller


def put(indexes: Indexes, table: pa.Table, index: str = "main") -> None:
    with indexes.writer(index) as writer:
        writer.add(table)
        writer.commit()


def test_events_come_back_with_their_fields_and_metadata(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(3, user=["a", None, "c"]))
    assert rows_of(indexes, "main", 'n, "user", index, source, sourcetype, host') == [
        {"n": i, "user": u, "index": "main", "source": "test", "sourcetype": "test", "host": "here"}
        for i, u in enumerate(["a", None, "c"])
    ]
    assert indexes.open("main", caller).schema.names[:5] == ["_time", "index", "source", "sourcetype", "host"]


def test_nothing_is_visible_before_the_commit_and_nothing_remains_without_one(indexes: Indexes, caller: Caller) -> None:
    with indexes.writer("main") as writer:
        writer.add(events(10))
        assert indexes.open("main", caller).files == []
    assert indexes.open("main", caller).files == []
    assert not list((indexes.folder / "main").rglob("*.parquet"))


def test_files_tell_their_time_span_and_values(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(10, sourcetype=["a"] * 5 + ["b"] * 5))
    first, second = sorted(indexes.open("main", caller).files, key=lambda f: f.earliest or 0)
    assert (first.earliest, first.latest, first.rows) == (1_600_000_000.0, 1_600_000_004.0, 5)
    assert first.values["sourcetype"] == {"a"}
    assert second.values == {"sourcetype": frozenset({"b"}), "source": frozenset({"test"}), "host": frozenset({"here"})}


def test_a_field_with_many_values_is_not_listed(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(100, host=[f"h{i}" for i in range(100)]))
    (file,) = indexes.open("main", caller).files
    assert "host" not in file.values


def test_days_with_many_events_have_files_of_their_own_and_rows_are_sorted(indexes: Indexes, caller: Caller) -> None:
    table = events(4 * MIN_ROWS, start=0, step=DAY / MIN_ROWS)
    put(indexes, table.take(pa.array(reversed(range(table.num_rows)))))
    files = sorted(indexes.open("main", caller).files, key=lambda f: f.earliest or 0)
    assert [(int(f.earliest // DAY), int(f.latest // DAY), f.rows) for f in files] == [
        (d, d, MIN_ROWS) for d in range(4)
    ]
    for file in files:
        times = pq.read_table(file.path).column("_time").to_pylist()
        assert times == sorted(times)


def test_sparse_events_of_many_days_share_a_file(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(365, step=DAY))
    assert len(indexes.open("main", caller).files) == 1


def test_a_full_buffer_is_written_before_the_commit_and_still_invisible(indexes: Indexes, caller: Caller) -> None:
    from labdock_search.data.writer import IndexWriter

    with IndexWriter(indexes.create("main"), buffer_bytes=50_000) as writer:
        for start in range(20):
            writer.add(events(1_000, start=start * 1_000.0))
        assert len(list((indexes.folder / "main" / ".new").rglob("*.parquet"))) > 1
        assert indexes.open("main", caller).files == []
        writer.commit()
    assert len(rows_of(indexes, "main")) == 20_000


@pytest.mark.parametrize(
    ("first", "second", "type_", "expected"),
    [
        ([1], ["x"], pa.string(), ["1", "x"]),
        ([1], [1.5], pa.float64(), [1.0, 1.5]),
        (["true"], [2], pa.string(), ["true", "2"]),
        ([["a", "b"]], ["x"], pa.list_(pa.string()), [["a", "b"], ["x"]]),
    ],
)
def test_a_field_of_two_types_is_searchable_as_what_the_schema_says(
    indexes: Indexes, caller: Caller, first: list, second: list, type_: pa.DataType, expected: list
) -> None:
    put(indexes, events(1, start=1, f=pa.array(first)))
    put(indexes, events(1, start=2, f=pa.array(second)))
    assert indexes.open("main", caller).schema.field("f").type == type_
    assert [r["f"] for r in rows_of(indexes, "main")] == expected


def test_lists_where_the_index_has_scalars_get_braces(indexes: Indexes) -> None:
    put(indexes, events(1, start=1, f=["x"]))
    put(indexes, events(1, start=2, f=pa.array([["a", "b"]])))
    assert [(r["f"], r["f{}"]) for r in rows_of(indexes, "main", 'f, "f{}", _time')] == [
        ("x", None),
        (None, ["a", "b"]),
    ]


def test_names_that_differ_in_case_are_two_fields(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(1, start=1, User=["A"], user=["a"]))
    put(indexes, events(1, start=2, user=["b"]))
    schema = indexes.open("main", caller).schema
    column = {n: ((schema.field(n).metadata or {}).get(COLUMN) or n.encode()).decode() for n in ("User", "user")}
    assert column["User"].casefold() != column["user"].casefold()
    found = rows_of(indexes, "main", f'"{column["User"]}" as big, "{column["user"]}" as small, _time')
    assert [(r["big"], r["small"]) for r in found] == [("A", "a"), (None, "b")]


def test_two_writers_at_once_agree_on_columns(indexes: Indexes, caller: Caller) -> None:
    with indexes.writer("main") as one, indexes.writer("main") as two:
        one.add(events(1, start=1, User=["A"], f=pa.array([["x"]])))
        two.add(events(1, start=2, user=["b"], f=["y"]))
        one._flush("test")
        two._flush("test")  # both files are written before either knows of the other
        one.commit()
        two.commit()
    schema = indexes.open("main", caller).schema
    small = schema.field("user").metadata[COLUMN].decode()
    found = rows_of(indexes, "main", f'"User", "{small}" as small, f, _time')
    assert [(r["User"], r["small"], r["f"]) for r in found] == [("A", None, ["x"]), (None, "b", ["y"])]


def test_a_damaged_file_is_named_and_the_rest_served(indexes: Indexes, caller: Caller) -> None:
    for i in range(3):
        put(indexes, events(5, start=i * 100.0))
    bad = sorted((indexes.folder / "main").glob("*.parquet"))[1]
    bad.write_bytes(b"PAR1 no PAR1")
    data = indexes.open("main", caller)
    assert len(data.problems) == 1
    assert bad.name in data.problems[0]
    assert "5 events" in data.problems[0]
    assert str(indexes.folder) not in data.problems[0]
    assert len(rows_of(indexes, "main")) == 10


def test_a_file_of_the_right_size_with_a_broken_footer_is_named(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(5))
    (bad,) = (indexes.folder / "main").glob("*.parquet")
    bad.write_bytes(b"\0" * bad.stat().st_size)
    data = indexes.open("main", caller)
    assert (data.files, len(data.problems)) == ([], 1)


def test_damage_inside_a_file_is_found_by_verify(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(5_000, start=0.0, text=[f"value {i * 7919 % 5000}" for i in range(5_000)]))
    put(indexes, events(5, start=100_000.0))
    bad = max((indexes.folder / "main").glob("*.parquet"), key=lambda p: p.stat().st_size)
    content = bytearray(bad.read_bytes())
    content[len(content) // 3] ^= 0xFF
    bad.write_bytes(content)
    assert indexes.open("main", caller).problems == []
    assert indexes.verify("main", caller) == [bad.name]
    data = indexes.open("main", caller)
    assert bad.name in data.problems[0]
    assert [f.rows for f in data.files] == [5]


def test_a_missing_file_is_named(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(5))
    next((indexes.folder / "main").glob("*.parquet")).unlink()
    assert "missing" in indexes.open("main", caller).problems[0]


def test_a_torn_last_line_counts_for_nothing_and_is_cut_off(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(5))
    manifest = indexes.folder / "main" / NAME
    whole = manifest.read_bytes()
    put(indexes, events(7))
    line = manifest.read_bytes()[len(whole) :]
    for cut in (0, 1, 8, len(line) // 2, len(line) - 1):
        manifest.write_bytes(whole + line[:cut])
        fresh = Indexes(indexes.folder.parent)
        assert sum(f.rows for f in fresh.open("main", caller).files) == 5
        put(fresh, events(2))
        assert sum(f.rows for f in Indexes(indexes.folder.parent).open("main", caller).files) == 7


def test_a_damaged_line_in_the_middle_is_reported(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(5))
    put(indexes, events(7))
    manifest = indexes.folder / "main" / NAME
    lines = manifest.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"rows":5', b'"rows":6')
    manifest.write_bytes(b"".join(lines))
    data = Indexes(indexes.folder.parent).open("main", caller)
    assert "line 2" in data.problems[0]
    assert sum(f.rows for f in data.files) == 7


def test_readers_follow_other_processes(home: Path, indexes: Indexes, caller: Caller) -> None:
    other = Indexes(home)
    put(indexes, events(1))
    assert len(other.open("main", caller).files) == 1
    put(indexes, events(1))
    assert len(other.open("main", caller).files) == 2
    assert other.open("main", caller) is other.open("main", caller), "an unchanged index is not made again"


_WRITE_MANY = """
import sys, pathlib, pyarrow as pa
from labdock_search.data.indexes import Indexes
number, indexes = int(sys.argv[2]), Indexes(pathlib.Path(sys.argv[1]))
for i in range(10):
    text = pa.array(["x"] * 10)
    table = pa.table({"_time": [number * 1000.0 + i * 10 + j for j in range(10)], "source": text, "sourcetype": text,
                      "host": text})
    with indexes.writer("main") as writer:
        writer.add(table)
        writer.commit()
"""


@pytest.mark.slow
def test_processes_write_one_index_at_once(home: Path, indexes: Indexes) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", _WRITE_MANY, str(home), str(n)]) for n in range(4)]
    assert [p.wait(120) for p in processes] == [0] * 4
    times = [r["_time"] for r in rows_of(indexes, "main", "_time")]
    assert times == [n * 1_000.0 + i for n in range(4) for i in range(100)]


def test_compaction_keeps_every_event_and_the_old_files_for_a_while(indexes: Indexes, caller: Caller) -> None:
    for i in range(20):
        put(indexes, events(10, start=i * 10.0, text=[f"t{i}"] * 10))
    before = rows_of(indexes, "main")
    held = indexes.open("main", caller)
    assert indexes.maintain()["compacted"] == 20
    assert len(indexes.open("main", caller).files) == 1
    assert rows_of(indexes, "main") == before
    assert all(Path(f.path).exists() for f in held.files), "a search that began before still reads them"
    indexes.maintain(grace=0)
    assert not any(Path(f.path).exists() for f in held.files)
    assert rows_of(indexes, "main") == before


def test_compaction_never_changes_a_type(indexes: Indexes, caller: Caller) -> None:
    for i in range(16):
        put(indexes, events(1, start=float(i), f=["x"] if i % 8 == 7 else [i]))
    before = rows_of(indexes, "main")
    indexes.maintain()
    assert rows_of(indexes, "main") == before
    assert {str(pq.read_schema(f.path).field("f").type) for f in indexes.open("main", caller).files} == {
        "int64",
        "string",
    }


def test_compaction_leaves_a_damaged_file_alone(indexes: Indexes, caller: Caller) -> None:
    for i in range(12):
        put(indexes, events(1, start=float(i)))
    bad = sorted((indexes.folder / "main").glob("*.parquet"))[3]
    bad.write_bytes(b"x" * bad.stat().st_size)
    assert indexes.maintain()["compacted"] == 11
    assert bad.name in indexes.open("main", caller).problems[0]
    assert bad.exists()
    assert len(rows_of(indexes, "main")) == 11


def test_retention_removes_old_events_only(indexes: Indexes, caller: Caller) -> None:
    now = time.time()
    put(indexes, events(5, start=now - 40 * DAY))
    put(indexes, events(7, start=now - 5 * DAY))
    indexes.configure("main", retention_days=30)
    assert indexes.statistics("main").retention_days == 30
    assert indexes.maintain(grace=0)["expired"] == 1
    assert len(rows_of(indexes, "main")) == 7
    assert len(list((indexes.folder / "main").glob("*.parquet"))) == 1
    with pytest.raises(InvalidOptions):
        indexes.configure("main", retention_days=0)


def test_statistics_come_from_the_manifest(indexes: Indexes) -> None:
    put(indexes, events(10, sourcetype=["a"] * 3 + ["b"] * 7))
    for file in (indexes.folder / "main").glob("*.parquet"):
        file.unlink()  # nothing of it is opened
    found = indexes.statistics("main")
    assert (found.rows, found.files, found.sourcetypes) == (10, 2, {"a": 3, "b": 7})
    assert (found.earliest, found.latest) == (1_600_000_000.0, 1_600_000_009.0)


def test_deleting_an_index_removes_everything_and_the_name_is_free_again(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(3))
    indexes.delete("main")
    assert list(indexes.folder.iterdir()) == []
    with pytest.raises(NotFound):
        indexes.open("main", caller)
    put(indexes, events(2))
    assert len(rows_of(indexes, "main")) == 2


def test_names_are_checked_and_the_nearest_is_offered(indexes: Indexes, caller: Caller) -> None:
    put(indexes, events(1), "botsv3")
    with pytest.raises(NotFound, match="botsv3"):
        indexes.open("botsv4", caller)
    for name in ("../x", "a/b", ".hidden", "", "a" * 65, "a b"):
        with pytest.raises(InvalidName):
            indexes.writer(name)
    assert indexes.all_names() == ["botsv3"]


def test_an_index_that_may_not_be_read_does_not_exist(home: Path, indexes: Indexes) -> None:
    for name in ("open", "secret", "_internal"):
        put(indexes, events(1), name)
    guarded = Indexes(home, lambda caller, index, _: index != "secret" or caller.user == "admin")
    assert guarded.names(Caller("ann")) == ["_internal", "open"]
    assert guarded.default_names(Caller("admin")) == ["open", "secret"]
    with pytest.raises(NotFound) as caught:
        guarded.open("secret", Caller("ann"))
    with pytest.raises(NotFound) as missing:
        guarded.open("nothing", Caller("ann"))
    assert str(caught.value).replace("secret", "") == str(missing.value).replace("nothing", "")


def test_the_manifest_is_rewritten_when_it_has_grown(indexes: Indexes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labdock_search.data.manifest._COMPACT_LINES", 20)
    for i in range(9):
        put(indexes, events(1, start=float(i)))
    for _ in range(3):
        indexes.maintain(grace=0)
        for i in range(8):
            put(indexes, events(1, start=100.0 + i))
    manifest = indexes.folder / "main" / NAME
    assert len(manifest.read_bytes().splitlines()) < 30
    fresh = Indexes(indexes.folder.parent)
    assert len(rows_of(fresh, "main")) == 33


_VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=3),
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_merging_tables_never_fails_and_keeps_nulls(columns: list[list[object]]) -> None:
    from labdock_search.data.readers.json import column_of

    tables = []
    for values in columns:
        column = column_of(values)
        if column is not None:
            tables.append(pa.table({"f": column}))
    if not tables:
        return
    merged = fields.merge(tables)
    merged.validate(full=True)
    expected_nulls = sum(t.column("f").null_count for t in tables)
    assert merged.column("f").null_count == expected_nulls
    assert merged.num_rows == sum(t.num_rows for t in tables)


def test_a_writer_that_begins_is_no_leftover_of_a_dead_one(indexes: Indexes) -> None:
    """Maintenance ran between the making of a writer's folder and its lock: the folder was gone, the write failed."""
    manifest = indexes.create("main")
    done = threading.Event()

    def maintain() -> None:
        while not done.is_set():
            tidy(manifest, grace=0)

    sweeper = threading.Thread(target=maintain)
    sweeper.start()
    try:
        for n in range(100):
            with indexes.writer("main") as writer:
                writer.add(events(1))
                writer.commit()
            assert sum(file.rows for file in manifest.read().files.values()) == n + 1
    finally:
        done.set()
        sweeper.join()
