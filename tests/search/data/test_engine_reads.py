"""The engine over real indexes and lookups: what it must see, and go on seeing while files change."""

import os
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.search.data.conftest import events

from labdock.errors import LabdockError
from labdock_search import Engine
from labdock_search.data.indexes import Indexes
from labdock_search.data.lookups import Lookups
from labdock_search.protocols import Caller

ANN = Caller("ann")


@pytest.fixture
def engine(indexes: Indexes, lookups: Lookups) -> Engine:
    return Engine(indexes, lookups, None, None)  # type: ignore[arg-type]


def put(indexes: Indexes, table: pa.Table, index: str = "main") -> None:
    with indexes.writer(index) as writer:
        writer.add(table)
        writer.commit()


def rows(engine: Engine, search: str) -> list[dict]:
    return engine.search(search, user="ann").table().to_pylist()


def test_fields_that_differ_in_case_are_two(engine: Engine, indexes: Indexes) -> None:
    put(indexes, events(1, start=1, User=["A"], user=["a"]))
    put(indexes, events(1, start=2, user=["b"]))
    assert rows(engine, "index=main | sort 0 _time | table User user") == [
        {"User": "A", "user": "a"},
        {"User": None, "user": "b"},
    ]
    assert rows(engine, "index=main user=b | stats count") == [{"count": 1}]


def test_columns_of_a_lookup_that_differ_in_case_are_two(engine: Engine, lookups: Lookups, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("User,user\n1,2\n")
    lookups.add(tmp_path / "t.csv", ANN)
    assert rows(engine, "| inputlookup t.csv") == [{"User": 1, "user": 2}]


def test_numbers_in_one_file_and_text_in_another(engine: Engine, indexes: Indexes) -> None:
    put(indexes, events(1, start=1, code=[404]))
    put(indexes, events(1, start=2, code=["n/a"]))
    assert [r["code"] for r in rows(engine, "index=main | sort 0 _time | table code")] == ["404", "n/a"]
    assert rows(engine, "index=main code=404 | stats count") == [{"count": 1}]


def test_a_damaged_file_among_good_ones_is_named_and_the_rest_served(engine: Engine, indexes: Indexes) -> None:
    for i in range(3):
        put(indexes, events(5, start=i * 100.0))
    bad = sorted((indexes.folder / "main").glob("*.parquet"))[1]
    bad.write_bytes(bad.read_bytes()[:-40])
    result = engine.search("index=main | stats count", user="ann")
    assert result.table().to_pylist() == [{"count": 10}]
    told = [m for m in result.messages if bad.name in str(m)]
    assert told
    assert str(indexes.folder) not in str(told)


def test_damage_inside_a_file_does_not_end_the_search(engine: Engine, indexes: Indexes) -> None:
    put(indexes, events(20_000, start=0.0, text=[f"value {i * 7919 % 20_000} {i}" for i in range(20_000)]))
    put(indexes, events(5, start=100_000.0, text=["good"] * 5))
    bad = max((indexes.folder / "main").glob("*.parquet"), key=lambda p: p.stat().st_size)
    content = bytearray(bad.read_bytes())
    content[2_000 : len(content) - 2_000] = b"\xff" * (len(content) - 4_000)
    bad.write_bytes(content)
    result = engine.search("index=main | stats dc(text) as kinds", user="ann")
    assert result.table().to_pylist() == [{"kinds": 1}]
    assert any("damaged" in str(message) for message in result.messages)


def test_a_search_under_way_survives_compaction_and_deletion_of_a_lookup(
    engine: Engine, indexes: Indexes, lookups: Lookups, tmp_path: Path
) -> None:
    for i in range(12):
        put(indexes, events(2_000, start=i * 10_000.0))
    reading = engine.search("index=main | sort 0 _time | table n", user="ann")
    batches = iter(reading.batches())
    first = next(batches)
    assert indexes.maintain()["compacted"] == 12
    assert first.num_rows + sum(b.num_rows for b in batches) == 24_000

    (tmp_path / "t.csv").write_text("a\n" + "".join(f"{i}\n" for i in range(30_000)))
    lookups.add(tmp_path / "t.csv", ANN)
    planned = engine.search("| inputlookup t.csv", user="ann")
    lookups.remove("t.csv", ANN)
    lookups.maintain()
    assert planned.table().num_rows == 30_000


def test_pruning_opens_only_what_can_match(engine: Engine, indexes: Indexes) -> None:
    put(indexes, events(5, start=1_000.0, sourcetype=["a"] * 5))
    put(indexes, events(5, start=2_000.0, sourcetype=["b"] * 5))
    put(indexes, events(5, start=3_000.0, sourcetype=["a"] * 5))
    for file in indexes.open("main", ANN).files:
        if (file.earliest, file.values["sourcetype"]) != (3_000.0, {"a"}):
            content = bytearray(Path(file.path).read_bytes())
            content[4 : len(content) // 2] = b"\0" * (len(content) // 2 - 4)
            Path(file.path).write_bytes(content)
    result = engine.search("index=main sourcetype=a earliest=2500 | stats count sum(n) as n", user="ann")
    assert result.table().to_pylist() == [{"count": 5, "n": 10}]


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
def test_a_damaged_lookup_is_named_and_the_others_served(
    engine: Engine, lookups: Lookups, tmp_path: Path, damage: str, size: int
) -> None:
    (tmp_path / "t.csv").write_text("key,word\n" + "".join(f"{i},word {i}\n" for i in range(size)))
    for name in ("good.csv", "bad.csv"):
        lookups.add(tmp_path / "t.csv", ANN, name=name)
    stored = max(lookups.folder.glob("lookup-*.parquet"), key=lambda p: p.stat().st_mtime_ns)
    content = stored.read_bytes()
    if damage == "gone":
        stored.unlink()
    else:
        half = len(content) // 2
        stored.write_bytes(content[:half] if damage == "cut" else content[:half] + os.urandom(len(content) - half))
    with pytest.raises(LabdockError, match=r"bad\.csv") as caught:
        engine.search("| inputlookup bad.csv | stats count", user="ann").rows()
    assert caught.value.remedy
    assert str(tmp_path) not in str(caught.value)
    assert engine.search("| inputlookup good.csv | stats count", user="ann").rows() == [{"count": size}]
    joined = "| makeresults | eval key=2 | lookup good.csv key | table word"
    assert engine.search(joined, user="ann").rows() == [{"word": "word 2"}]


def test_a_lookup_that_is_replaced_while_it_is_read_is_the_old_one_or_the_new_one(
    engine: Engine, lookups: Lookups, tmp_path: Path
) -> None:
    """Readers in threads, a writer that replaces it again and again; the reader under way keeps its table."""
    size = 20_000

    def write(version: int) -> None:
        (tmp_path / "t.csv").write_text("key,version\n" + "".join(f"{i},{version}\n" for i in range(size)))
        lookups.add(tmp_path / "t.csv", ANN, replace=True)

    write(0)
    reading = iter(engine.search("| inputlookup t.csv", user="ann").batches())
    first = next(reading)
    seen: list[list[dict[str, Any]]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = "| inputlookup t.csv | stats count dc(version) as versions max(version) as version"
            seen.append(engine.search(found, user="ann").rows())

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for version in range(1, 8):
        write(version)
        lookups.maintain()
    done.set()
    for reader in readers:
        reader.join(60)
    assert {(rows[0]["count"], rows[0]["versions"]) for rows in seen} == {(size, 1)}
    versions = [int(rows[0]["version"]) for rows in seen]
    assert max(versions) > 0
    rest = pa.Table.from_batches([first, *reading])
    assert (rest.num_rows, set(rest.column("version").to_pylist())) == (size, {0})
