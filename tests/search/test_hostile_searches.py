"""Whatever the text of a search: bounded time, an error of ours with a place, nothing of the machine in it."""

import random
import re
import time

import pytest

from labdock.errors import LabdockError, LimitExceeded, NotFound, SearchError
from labdock_search import Limits

MADE = '| makeresults | eval a=1, s="x" '

REFUSED = {
    "parentheses": MADE + "| where " + "(" * 5000 + "a=1" + ")" * 5000,
    "not": MADE + "| where " + "NOT " * 5000 + "a=1",
    "minus": MADE + "| eval x=" + "-" * 5000 + "1",
    "search not": "index=net " + "NOT " * 5000 + "a",
    "operators": MADE + "| eval x=" + "+".join(["a"] * 10_000),
    "commands": MADE + "| eval a=a+1 " * 300,
    "words to look for": "index=net " + " ".join(f"x{i}" for i in range(10_000)),
    "a megabyte of words": "a " * 500_000,
    "more than a megabyte": "x" * 1_100_000,
    "pipes": "|" * 1_000_000,
    "quotes": '"' * 1_000_001,
    "brackets": "[" * 1_000_000,
    "nested subsearches": MADE + "| append [| makeresults " * 9 + "]" * 9,
    "unclosed bracket": "index=net [ search x",
    "unopened bracket": "index=net ] x",
    "unclosed quote": 'index=net "abc',
    "unopened parenthesis": "index=net ) x",
    "nul": "index=net \x00",
    "control": "index=net \x1b[2J",
    "surrogate": "index=net \ud800",
    "empty": "   ",
    "only a pipe": "|",
    "empty command": "index=net | | head",
    "look-ahead": MADE + '| where match(s, "(?=a)b")',
    "large expression": MADE + '| where match(s, "((a{100}){100}){100}")',
    "broken expression": MADE + '| rex field=s "(?<x>["',
    "macro": "index=net `foo`",
    "comment": "index=net ```foo",
}


@pytest.mark.parametrize("search", REFUSED.values(), ids=REFUSED)
def test_refused_in_bounded_time_with_a_place(lab, flows, search):
    lab.indexes.add("net", flows)
    begin = time.process_time()
    with pytest.raises(SearchError) as caught:
        lab.rows(search)
    assert time.process_time() - begin < 5
    assert caught.value.remedy
    assert 0 <= caught.value.details["position"] <= len(search)
    assert len(str(caught.value)) < 1_000


ACCEPTED = {
    "ten thousand equal terms": MADE + "| where " + " OR ".join(f"a={i}" for i in range(10_000)) + " | table a",
    "ten thousand values": "index=net dest_port IN ("
    + ",".join(str(i) for i in range(10_000))
    + ") | head 1 | table x",
    "ten thousand concatenations": MADE + "| eval x=" + ".".join(["a"] * 10_000) + " | table a",
    "nine hundred sums": MADE + "| eval x=" + "+".join(["a"] * 900) + " | table a",
    "two hundred commands": MADE + "| eval a=a+1 " * 200 + "| table a",
    "nested conditions": MADE + "| eval x=" + 'if(s="1",' * 20 + "s" + ",s)" * 20 + " | table a",
    "nested conversions": MADE + "| eval x=" + "tostring(tonumber(" * 20 + "s" + "))" * 20 + " | table a",
    "nested nulls": MADE + "| eval x=" + "nullif(" * 25 + "s" + ",s)" * 25 + " | table a",
    "a long value": MADE + '| search s!="' + "x" * 900_000 + '" | table a',
    "a backtracking expression": f'| makeresults | eval s="{"a" * 20_000}b" | where match(s, "^(a+)+$") | table s',
}


@pytest.mark.slow
@pytest.mark.parametrize("search", ACCEPTED.values(), ids=ACCEPTED)
def test_large_searches_run(lab, flows, search):
    lab.indexes.add("net", flows)
    begin = time.process_time()
    assert lab.table(search).num_rows <= 1
    assert time.process_time() - begin < 20


def test_the_time_limit_holds(lab):
    search = (
        "| makeresults count=100000 | eval k=1 | join max=0 k [| makeresults count=100000 | eval k=1] | stats count"
    )
    begin = time.monotonic()
    with pytest.raises(LimitExceeded, match=r"longer than 0\.3 s"):
        lab.rows(search, limits=Limits(seconds=0.3))
    assert time.monotonic() - begin < 20


TOKENS = [
    "index=net",
    "|",
    "|",
    "stats",
    "count",
    "by",
    "a",
    "(",
    ")",
    '"x"',
    "eval",
    "=",
    "x",
    "where",
    "[",
    "]",
    "search",
    "NOT",
    "AND",
    "OR",
    ",",
    "'f'",
    "*",
    "1",
    "-",
    "+",
    "sort",
    "head",
    "rex",
    "timechart",
    "span=1m",
    "as",
    "append",
    "join",
    "in",
    "IN",
    "like(",
    "`",
    "%",
    "!=",
    "<",
    ">",
    "table",
    "fields",
    "bin",
    "_time",
    "top",
    "lookup",
    "fillnull",
    "dedup",
    "makeresults",
    "eventstats",
    "streamstats",
    "avg(x)",
    "mvexpand",
    "fit",
    "apply",
    "MLTKContainer",
    "algo=m",
    "into",
]


@pytest.mark.parametrize("seed", range(20))
def test_random_searches_end_in_rows_or_an_error_of_ours(lab, flows, seed):
    lab.indexes.add("net", flows.slice(0, 50))
    chance = random.Random(seed)
    for round_ in range(40):
        words = [chance.choice(TOKENS) for _ in range(chance.randrange(1, 14))]
        search = ("| makeresults | eval a=1, x=2 | " if round_ % 2 else "") + " ".join(words)
        try:
            lab.rows(search)
        except LabdockError as error:
            assert "failed while it ran" not in error.message, search
            assert error.details.get("kind") or 0 <= error.details["position"] <= len(search), search


@pytest.mark.parametrize("seed", range(5))
def test_binary_garbage(lab, seed):
    chance = random.Random(seed)
    for _ in range(100):
        search = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 300))).decode("latin-1")
        try:
            assert lab.rows(search) == []
        except LabdockError as error:
            assert error.details.get("kind") or 0 <= error.details["position"] <= len(search), search


# -- what a search can reach


def test_names_are_no_paths(lab, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for search in (
        f"| inputlookup {secret}",
        "| inputlookup ../secret.csv",
        f'index="{tmp_path}/*"',
        f'index="{secret}"',
        f"| makeresults | lookup {secret} a",
    ):
        try:
            assert lab.rows(search) == []
        except NotFound as error:
            assert "secret.csv" not in error.message.replace(str(secret), "").replace("../secret.csv", "")


def test_text_never_becomes_sql(lab):
    nasty = "x' OR 1=1; ATTACH '/tmp/x' --"
    made = f'| makeresults | eval "{nasty}"="{nasty}", b="q"'
    assert lab.rows(f'{made} | search b="{nasty}" | stats count') == [{"count": 0}]
    assert lab.rows(f'{made} | table "{nasty}"') == [{nasty: nasty}]
    assert lab.rows(f'{made} | stats count by "{nasty}"') == [{nasty: nasty, "count": 1}]
    assert lab.rows(f"{made} | rename b as 'c\"d' | table 'c\"d'") == [{'c"d': "q"}]


@pytest.mark.parametrize("function", ["read_csv", "read_text", "getenv", "load_extension", "query", "glob", "pragma"])
def test_duckdbs_functions_are_not_ours(lab, function):
    with pytest.raises(SearchError, match="Unknown function"):
        lab.rows(f'| makeresults | eval x={function}("/etc/passwd")')


def test_the_database_is_locked_to_the_files_of_the_search(lab, flows, tmp_path):
    import duckdb

    from labdock_search.database import locked

    lab.indexes.add("net", flows)
    allowed = lab.indexes.data["net"].files[0].path
    other = tmp_path / "other.parquet"
    other.write_bytes((tmp_path / "net-0.parquet").read_bytes())
    connection = locked(lab.engine.host.settings, [allowed], "UTC", set())
    try:
        assert connection.sql(f"SELECT count(*) FROM read_parquet('{allowed}')").fetchall() == [(flows.num_rows,)]
        for forbidden in (
            f"SELECT * FROM read_parquet('{other}')",
            f"SELECT * FROM '{other}'",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM glob('/etc/*')",
            f"SELECT * FROM read_parquet('{tmp_path}/*.parquet')",
            "SELECT * FROM read_csv('https://example.com/x.csv')",
            f"ATTACH '{tmp_path}/x.db'",
            f"COPY (SELECT 1) TO '{tmp_path}/x.csv'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access=true",
            f"SET allowed_paths=['{other}']",
            "SET memory_limit='100GB'",
            "SELECT * FROM flows",
        ):
            with pytest.raises(duckdb.Error):
                connection.sql(forbidden).fetchall()
    finally:
        connection.close()


def test_a_search_reads_only_what_its_user_may_read(lab, flows):
    lab.indexes.add("net", flows)
    lab.indexes.add("secret", flows.slice(0, 10))
    lab.lookups.tables["wages.csv"] = flows.slice(0, 3)
    lab.indexes.readers["secret"] = lab.lookups.readers["wages.csv"] = {"anna"}
    assert lab.rows("index=* | stats count by index", user="bert") == [{"index": "net", "count": flows.num_rows}]
    assert lab.rows("NOT index=net | stats count", user="bert") == [{"count": 0}]
    assert lab.rows("index=secret | stats count", user="anna") == [{"count": 10}]
    for search in ("index=secret", "index=SECRET", "| inputlookup wages.csv", "| tstats count where index=secret"):
        with pytest.raises(NotFound) as caught:
            lab.rows(search, user="bert")
        assert "wages" not in caught.value.remedy


def test_errors_show_no_paths_and_no_internal_names(lab, flows, tmp_path):
    lab.indexes.add("net", flows)
    (tmp_path / "net-0.parquet").write_bytes(b"PAR1 no parquet at all PAR1")
    shown = lab.messages("index=net | eval x=bytes_in+1 | stats sum(x) by src_ip")
    assert shown
    with pytest.raises(LabdockError) as caught:
        lab.rows("| makeresults | eval x=9223372036854775807 | append [| makeresults | eval x=5] | stats sum(x)")
    for text in (*shown, str(caught.value), str(caught.value.details)):
        assert str(tmp_path) not in text
        assert not re.search(r"\b[cs]\d+\b", text)
