"""Lookups: checked when added, resolved by owner and app, replaced while they are read."""

import gzip
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labdock.errors import Conflict, Forbidden, InvalidFrame, InvalidName, LimitExceeded, NotFound, StorageError
from labdock_search.data.lookup_files import check_lookup_name
from labdock_search.data.lookups import Lookups
from labdock_search.data.scan import COLUMN
from labdock_search.protocols import Caller

ANN, BOB = Caller("ann"), Caller("bob")
ELSEWHERE = Caller("ann", "other")


def add(lookups: Lookups, folder: Path, name: str, content: "str | bytes", caller: Caller = ANN, **options):  # type: ignore[no-untyped-def]
    path = folder / "upload" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return lookups.add(path, caller, **options)


def read(lookups: Lookups, name: str, caller: Caller = ANN) -> dict[str, list]:
    table = lookups.open(name, caller)
    assert table.path is not None
    found = pq.read_table(table.path).rename_columns(table.schema.names)
    assert found.num_rows == table.rows
    return found.to_pydict()


@pytest.mark.parametrize("name", ["a", "credit_card_test.csv", "x.csv.gz", "A-1_b", "_x.csv"])
def test_names_may_end_in_csv(name: str) -> None:
    assert check_lookup_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".csv", "a.txt", "a/b.csv", "../a.csv", "a b.csv", "a.csv.csv", "x" * 65 + ".csv"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_lookup_name(name)


def test_added_and_read_exactly(lookups: Lookups, tmp_path: Path) -> None:
    content = 'id,code,note,value\r\n1,007,"a ""q"", b",0.5\r\n2,,"",\r\n'
    lookup = add(lookups, tmp_path, "t.csv", content)
    assert (lookup.name, lookup.owner, lookup.sharing, lookup.rows) == ("t.csv", "ann", "user", 2)
    assert lookups.csv("t.csv", ANN).read_bytes() == content.encode(), "the user's file, byte for byte"
    assert read(lookups, "t") == {"id": [1, 2], "code": ["007", None], "note": ['a "q", b', ""], "value": [0.5, None]}


def test_gzip(lookups: Lookups, tmp_path: Path) -> None:
    content = gzip.compress(b"a\n1\n")
    add(lookups, tmp_path, "t.csv.gz", content)
    assert read(lookups, "t") == {"a": [1]}
    assert lookups.csv("t.csv.gz", ANN).read_bytes() == content


@pytest.mark.parametrize(
    ("encoding", "noticed"), [("utf-8", 0), ("utf-8-sig", 0), ("utf-16", 0), ("latin-1", 1), ("utf-16-be", 0)]
)
def test_encodings(lookups: Lookups, tmp_path: Path, encoding: str, noticed: int) -> None:
    lookup = add(lookups, tmp_path, "t.csv", "näme,b\né,1\n".encode(encoding))
    assert read(lookups, "t") == {"näme": ["é"], "b": [1]}
    assert len(lookup.notices) == noticed
    if noticed:
        assert "Latin-1" in lookup.notices[0]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "empty"),
        ("a,a\n1,2\n", "'a'"),
        ("a,,c\n1,2,3\n", "Column 2"),
        ("a,b\n1,2\n3\n", "Line 3"),
        ('a,b\n1,"x\ny"\n2,3\n4,5,6\n', "Line 5"),
        ('a,b\n1,2\n3,"open\n4,5\n', "Line 3"),
        ('{"a": 1}', "not CSV"),
        (b"\0\1\2\3", "neither text"),
        (b"PAR1xxxx", "not CSV"),
    ],
)
def test_what_is_no_table_is_refused(lookups: Lookups, tmp_path: Path, content: "str | bytes", word: str) -> None:
    with pytest.raises(InvalidFrame, match=word):
        add(lookups, tmp_path, "t.csv", content)
    assert lookups.names(ANN) == []
    assert not list(lookups.folder.glob("lookup-*")), "nothing of it remains"


def test_a_header_alone_is_an_empty_table(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "a,b\n")
    assert read(lookups, "t") == {"a": [], "b": []}


def test_another_delimiter_is_told(lookups: Lookups, tmp_path: Path) -> None:
    assert "';'" in add(lookups, tmp_path, "t.csv", "a;b\n1;2\n").notices[0]
    assert read(lookups, "t") == {"a": [1], "b": [2]}


def test_names_that_differ_in_case_are_two_fields(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "User,user\n1,2\n")
    schema = lookups.open("t", ANN).schema
    assert schema.names == ["User", "user"]
    assert schema.field("user").metadata[COLUMN] == b"user~2"
    assert read(lookups, "t") == {"User": [1], "user": [2]}


def test_a_second_one_needs_replace_and_keeps_its_sharing(lookups: Lookups, tmp_path: Path) -> None:
    first = add(lookups, tmp_path, "t.csv", "a\n1\n", sharing="app")
    with pytest.raises(Conflict, match="--replace"):
        add(lookups, tmp_path, "t.csv", "a\n2\n")
    second = add(lookups, tmp_path, "t.csv", "a\n2\n", replace=True)
    assert (second.id, second.sharing, second.created) == (first.id, "app", first.created)
    assert read(lookups, "t") == {"a": [2]}


def test_the_size_is_limited(home: Path, tmp_path: Path) -> None:
    small = Lookups(home, max_bytes=10)
    with pytest.raises(LimitExceeded) as caught:
        add(small, tmp_path, "t.csv", "a\n" + "1\n" * 10)
    assert caught.value.details["limit"] == "max_lookup_size_mb"


def test_own_before_app_before_global(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "a\n1\n", Caller("carl", "third"), sharing="global")
    assert read(lookups, "t", BOB) == {"a": [1]}
    add(lookups, tmp_path, "t.csv", "a\n2\n", ANN, sharing="app")
    assert read(lookups, "t", BOB) == {"a": [2]}
    assert read(lookups, "t", Caller("bob", "other")) == {"a": [1]}, "shared with its own app only"
    add(lookups, tmp_path, "t.csv", "a\n3\n", BOB)
    assert read(lookups, "t", BOB) == {"a": [3]}
    assert read(lookups, "t", ANN) == {"a": [2]}
    assert read(lookups, "t", ELSEWHERE) == {"a": [2]}, "one's own is seen from any app"
    assert [each.owner for each in lookups.visible(BOB)] == ["bob"]


def test_a_private_lookup_does_not_exist_for_others(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "secret.csv", "a\n1\n")
    for action in (
        lambda: lookups.open("secret.csv", BOB),
        lambda: lookups.csv("secret", BOB),
        lambda: lookups.remove("secret.csv", BOB),
        lambda: lookups.share("secret.csv", "app", BOB),
    ):
        with pytest.raises(NotFound) as caught:
            action()
        assert caught.value.details["nearest"] is None


def test_the_nearest_name_is_offered(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "credit_card_test.csv", "a\n1\n")
    with pytest.raises(NotFound, match="credit_card_test"):
        lookups.open("creditcard_test.csv", ANN)


def test_only_the_owner_or_a_manager_changes_it(home: Path, lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "a\n1\n", sharing="app")
    with pytest.raises(Forbidden, match="ann"):
        lookups.remove("t.csv", BOB)
    with pytest.raises(Forbidden):
        lookups.write("t.csv", reader(a=[2]), BOB, append=True)
    managing = Lookups(home, manages=lambda caller: caller.user == "bob")
    assert managing.write("t.csv", reader(a=[2]), BOB, append=True) == 1
    assert read(lookups, "t") == {"a": [1, 2]}
    managing.remove("t.csv", BOB)
    assert lookups.names(ANN) == []


def test_sharing_needs_its_capability(home: Path, tmp_path: Path) -> None:
    limited = Lookups(home, may=lambda caller, capability: capability == "share_app")
    add(limited, tmp_path, "t.csv", "a\n1\n", sharing="app")
    with pytest.raises(Forbidden, match="share_global"):
        limited.share("t.csv", "global", ANN)
    with pytest.raises(Forbidden):
        add(limited, tmp_path, "u.csv", "a\n1\n", sharing="global")
    assert limited.share("t.csv", "user", ANN).sharing == "user"
    assert limited.names(BOB) == []


def reader(**columns: object) -> pa.RecordBatchReader:
    return pa.table(columns).to_reader()


def test_a_search_writes_and_extends_a_lookup(lookups: Lookups) -> None:
    table = pa.table({"x": pa.array([1, None]), "m": [["a", "b"], None], "s": ["007", ""]})
    assert lookups.write("out.csv", table.to_reader(), ANN, append=False) == 2
    assert lookups.csv("out.csv", ANN).read_text() == '"x","m","s"\n1,"a\nb","007"\n,,""\n'
    assert lookups.write("out.csv", reader(y=["new"], x=["text"]), ANN, append=True) == 1
    assert read(lookups, "out") == {
        "x": ["1", None, "text"], "m": ["a\nb", None, None], "s": ["007", "", None], "y": [None, None, "new"],
    }  # fmt: skip
    assert lookups.write("out.csv", reader(z=[1.5]), ANN, append=False) == 1
    assert read(lookups, "out") == {"z": [1.5]}


def test_appending_to_nothing_makes_it_and_no_rows_make_an_empty_one(lookups: Lookups) -> None:
    assert lookups.write("a.csv", reader(x=[1]), ANN, append=True) == 1
    empty = pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), iter([]))
    assert lookups.write("b.csv", empty, ANN, append=False) == 0
    assert read(lookups, "b") == {"x": []}


def test_a_failing_search_leaves_the_old_lookup(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "a\n1\n")
    files = set(lookups.folder.iterdir())

    def broken():  # type: ignore[no-untyped-def]
        yield pa.record_batch({"a": [2]})
        raise ValueError("the search failed")

    source = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), broken())
    with pytest.raises(ValueError, match="the search failed"):
        lookups.write("t.csv", source, ANN, append=False)
    assert read(lookups, "t") == {"a": [1]}
    assert {f for f in lookups.folder.iterdir() if f.name.startswith("lookup-")} <= files


def test_readers_see_the_old_table_or_the_new_one(home: Path, lookups: Lookups, tmp_path: Path) -> None:
    def content(generation: int) -> str:
        return "generation,row\n" + "".join(f"{generation},{i}\n" for i in range(2_000))

    add(lookups, tmp_path, "t.csv", content(0))
    stop = threading.Event()
    seen: list[int] = []
    wrong: list[object] = []

    def watch() -> None:
        mine = Lookups(home)
        while not stop.is_set():
            try:
                found = read(mine, "t.csv")
                generations = set(found["generation"])
                if len(generations) != 1 or found["row"] != list(range(2_000)):
                    wrong.append(generations)
                seen.append(found["generation"][0])
            except Exception as error:  # noqa: BLE001 - told below
                wrong.append(error)

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for generation in range(1, 30):
        add(lookups, tmp_path, "t.csv", content(generation), replace=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(set(seen)) > 1
    assert read(lookups, "t")["generation"][0] == 29


def test_appends_at_once_lose_nothing(home: Path) -> None:
    def append(n: int) -> None:
        for i in range(5):
            Lookups(home).write("t.csv", reader(who=[n], i=[i]), ANN, append=True)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(Lookups(home), "t")
    assert sorted(zip(found["who"], found["i"], strict=True)) == [(n, i) for n in range(4) for i in range(5)]


def test_replaced_files_go_after_a_while(lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "a\n1\n")
    held = lookups.open("t", ANN).path
    add(lookups, tmp_path, "t.csv", "a\n2\n", replace=True)
    assert lookups.maintain() == 0
    assert Path(str(held)).exists()
    assert lookups.maintain(grace=0) == 2
    assert not Path(str(held)).exists()
    lookups.remove("t", ANN)
    assert lookups.maintain(grace=-1) == 2
    assert not list(lookups.folder.glob("lookup-*"))


def test_a_damaged_registry_is_told_and_not_overwritten(home: Path, lookups: Lookups, tmp_path: Path) -> None:
    add(lookups, tmp_path, "t.csv", "a\n1\n")
    registry = home / "lookups" / "registry.json"
    registry.write_text("{oops")
    with pytest.raises(StorageError, match="damaged"):
        Lookups(home).names(ANN)
    with pytest.raises(StorageError):
        add(Lookups(home), tmp_path, "u.csv", "a\n1\n")
    assert registry.read_text() == "{oops"


@pytest.mark.data
def test_the_credit_card_sample(lookups: Lookups, shared_data: Path) -> None:
    sample = shared_data / "samples" / "creditcard_sample.csv"
    lookup = lookups.add(sample, ANN, name="credit_card_test.csv")
    expected = pq.read_table(shared_data / "creditcard.parquet").schema.names
    assert [name for name, _ in lookup.columns] == expected
    types = dict(lookup.columns)
    assert {types[n] for n in expected if n[0] == "V"} == {"float"}
    assert (types["Class"], types["Time"], lookup.rows) == ("int", "int", 2_500)
