"""The engine around the language: streaming, cancelling, limits, damaged files, pruning, explain, completion."""

import threading

import pyarrow as pa
import pytest

from labdock.errors import Conflict, LimitExceeded, SearchError
from labdock_search import Engine, Limits
from labdock_search.macros import Macro
from labdock_search.settings import Settings

# Ten billion pairs: long enough to be stopped on any machine.
LONG = "| makeresults count=100000 | eval k=1 | join max=0 k [| makeresults count=100000 | eval k=1] | stats count"


def test_rows_arrive_in_batches(make_lab):
    lab = make_lab(batch_rows=1_000)
    result = lab.engine.search("| makeresults count=10000 | streamstats count as n | table n", user="anna")
    batches = list(result.batches())
    assert len(batches) > 3
    assert sum(b.num_rows for b in batches) == 10_000
    assert result.done
    assert [f.type for f in result.fields] == ["number"]


def test_the_first_batch_comes_before_the_last_row_is_made(lab):
    result = lab.engine.search('| makeresults count=10000000 | eval x=md5("a") | table x', user="anna")
    first = next(result.batches())
    assert first.num_rows < 10_000_000
    result.cancel()
    result.close()


def test_kinds_and_scanned_rows(lab, flows):
    lab.indexes.add("net", flows)
    for search, kind in [
        ("index=net", "events"),
        ("index=net | stats count", "statistics"),
        ("index=net | table src_ip", "statistics"),
        ("index=net | timechart count", "visualization"),
    ]:
        result = lab.engine.search(search, user="anna")
        assert result.kind == kind
        result.table()
        assert result.scanned >= flows.num_rows
        assert result.progress == 1.0


def test_cancel_from_another_thread(lab):
    result = lab.engine.search(LONG, user="anna")
    threading.Timer(0.3, result.cancel).start()
    with pytest.raises(Conflict, match="cancelled"):
        result.table()
    with pytest.raises(Conflict):
        result.table()


def test_row_limit(lab):
    result = lab.engine.search("| makeresults count=5000", user="anna", limits=Limits(rows=10))
    assert result.table().num_rows == 10
    assert [m.level for m in result.messages] == ["warning"]


@pytest.mark.slow
def test_memory_spills_and_ends_with_a_named_limit(make_lab):
    lab = make_lab(memory_mb=120, spill_mb=2_000)
    count = 2_000_000
    search = f"| makeresults count={count} | streamstats count as n | eval k=md5(n) | sort 0 k | table k"
    assert lab.table(search).num_rows == count
    lab = make_lab(memory_mb=50, spill_mb=1)
    with pytest.raises(LimitExceeded) as caught:  # one list of two million texts cannot be spilled
        lab.table(search.replace("| sort 0 k | table k", "| stats values(k) as v | eval n=mvcount(v) | table n"))
    assert caught.value.details["setting"] == "memory_mb"


def test_a_damaged_file_is_named_and_the_rest_is_served(lab, flows, tmp_path):
    lab.indexes.add("net", flows.slice(0, 500), flows.slice(500, 500), flows.slice(1000))
    content = (tmp_path / "net-1.parquet").read_bytes()
    for damage in (b"", content[:200], content[: len(content) // 2], content[:-8] + b"\xff" * 4 + b"PAR1"):
        (tmp_path / "net-1.parquet").write_bytes(damage)
        result = lab.engine.search("index=net | stats count", user="anna")
        assert result.rows() == [{"count": flows.num_rows - 500}]
        assert any("net/1" in m.text for m in result.messages)
        assert str(tmp_path) not in str(result.messages)


def test_an_empty_index(lab):
    lab.indexes.data["empty"] = lab.indexes.add(
        "empty", pa.table({"_time": pa.array([], pa.float64()), "x": pa.array([], pa.string())})
    )
    assert lab.rows("index=empty") == []
    assert lab.rows("index=empty | stats count") == [{"count": 0}]
    assert lab.rows("index=empty | timechart count") == []
    assert lab.rows("index=empty x=1 | sort x | dedup x | top x") == []


def test_files_with_different_fields_and_types(lab):
    lab.indexes.add(
        "mixed",
        pa.table({"_time": [1.0, 2.0], "n": [1, 2], "host": ["a", "b"]}),
        pa.table({"_time": [3.0], "n": ["x"], "other": [True]}),
        pa.table({"_time": [4.0], "n": [2.5]}),
    )
    assert lab.rows("index=mixed | table n host other") == [
        {"n": "2.5", "host": None, "other": None},
        {"n": "x", "host": None, "other": "true"},
        {"n": "2", "host": "b", "other": None},
        {"n": "1", "host": "a", "other": None},
    ]
    assert lab.rows("index=mixed | stats sum(n) as s") == [{"s": 5.5}]
    assert lab.rows("index=mixed other=true | stats count") == [{"count": 1}]


def test_several_indexes_know_their_name(lab, flows):
    lab.indexes.add("one", flows.slice(0, 5), flows.slice(5, 5))
    lab.indexes.add("two", flows.slice(10, 7))
    assert lab.rows("index=* | stats count by index") == [{"index": "one", "count": 10}, {"index": "two", "count": 7}]
    assert lab.rows("index=one OR index=two | stats count") == [{"count": 17}]
    assert lab.rows("index=* index!=one | stats count") == [{"count": 7}]


# -- pruning and explain


def test_time_and_facts_prune_files(lab, flows):
    halves = [flows.slice(0, 1000), flows.slice(1000)]
    other = flows.set_column(1, "sourcetype", pa.array(["dns"] * flows.num_rows))
    lab.indexes.add("net", *halves, other, facts=("sourcetype",))
    middle = halves[1]["_time"][0].as_py()
    found = lab.engine.explain(f'index=net sourcetype="stream:*" earliest={middle} | stats count', user="anna")
    assert (found.read, sorted(found.skipped)) == (["net/1"], ["net/0", "net/2"])
    assert found.rows == 1000
    assert "sourcetype" not in found.statements[0].sql
    assert "_time" not in found.statements[0].sql
    assert "net/1" in str(found)


def test_uc1_is_one_statement_before_apply(lab, flows):
    lab.indexes.add("botsv3", flows, facts=("sourcetype",))
    lab.models.add_sum("nn", ["numFlows"], "botnet")
    found = lab.engine.explain(
        'index=botsv3 sourcetype="stream:tcp" | bin _time span=1m '
        "| stats count as numFlows avg(bytes_in) as b by _time src_ip | apply onnx:nn | where 'predicted(botnet)'>=1",
        user="anna",
    )
    assert [s.before for s in found.statements] == ["apply", ""]
    first = found.statements[0].sql
    assert "CAST" not in first
    assert "dest_ip" not in first
    assert "file_row_number" not in first


def test_explain_runs_nothing(lab, flows):
    lab.indexes.add("net", flows)
    lab.models.add_sum("s", ["bytes_in"], "t")
    lab.engine.explain(
        "index=net | fit MLTKContainer algo=far_from_mean bytes_in into m | where predicted_outlier<0 "
        "| outputlookup x.csv | timechart count by src_ip",
        user="anna",
    )
    lab.engine.explain("| deletemodel onnx:s", user="anna")
    assert not lab.environments.options
    assert not lab.lookups.tables
    assert lab.models.sessions


def test_explain_shows_no_paths(lab, flows, tmp_path):
    lab.indexes.add("net", flows)
    assert str(tmp_path) not in str(lab.engine.explain("index=net | head 1", user="anna"))


# -- errors


@pytest.mark.parametrize(
    ("search", "kind", "nearest", "position"),
    [
        ("index=net | statz count", "command", "stats", 12),
        ("index=net | eval x=lowr(a)", "function", "lower", 19),
        ("index=net | stats avgg(x)", "function", "avg", 18),
        ("index=net | bin _time spam=1m", "option", "span", 22),
        ("index=nett", "index", "net", 0),
        ("| inputlookup host.csv", "lookup", "hosts.csv", 14),
        ("index=net | apply onnx:sumn", "model", "sum", 18),
        ("index=net | append [search index=net | eval x=uper(a)]", "function", "upper", 46),
    ],
)
def test_did_you_mean(lab, flows, search, kind, nearest, position):
    lab.indexes.add("net", flows)
    lab.lookups.tables["hosts.csv"] = flows.slice(0, 1)
    lab.models.add_sum("sum", ["bytes_in"], "t")
    with pytest.raises(Exception, match="mean") as caught:
        lab.rows(search)
    details = caught.value.details
    assert details["kind"].startswith(kind)
    assert (details["nearest"], details["position"]) == (nearest, position)


def test_known_commands_that_are_not_built_say_so(lab, flows):
    lab.indexes.add("net", flows)
    for command in ("geostats count", "xyseries a b c", "predict x", "foreach a [eval b=1]", "iplocation ip"):
        with pytest.raises(SearchError, match="not supported yet"):
            lab.rows(f"index=net | {command}")


@pytest.mark.parametrize(
    "search",
    [
        "inputlookup credit_card_test.csv",
        "inputlookup credit_card_test.csv\napply onnx:credit_card_fraud\ntable V* predicted(Class)",
        "| inputlookup credit_card_test.csv\napply onnx:credit_card_fraud",
        'index=botsv3 source="x"\nbin _time span=1h',
        'index=botsv3 | bin _time span=1h\nstats count by "x"',
    ],
)
def test_a_lost_pipe_is_suggested(lab, search):
    with pytest.raises(SearchError) as caught:
        lab.rows(search)
    assert "Write `| " in caught.value.remedy


def test_a_commands_name_can_be_searched_for_in_quotes(lab, flows):
    lab.indexes.add("net", flows)
    assert lab.rows('"table" | stats count') == [{"count": 0}]
    assert lab.rows("index=net table=5 | stats count") == [{"count": 0}]


def test_macros_and_comments(make_lab, flows):
    macros = {
        "tcp": Macro('sourcetype="stream:tcp"'),
        "top_of(2)": Macro("top limit=$n$ $field$", ("n", "field")),
        "both": Macro("`tcp` bytes_in>5000"),
        "loop": Macro("`loop`"),
    }
    lab = make_lab(macros=macros)
    lab.indexes.add("net", flows)
    assert lab.rows("index=net `tcp` ```all | of it``` | stats count") == [{"count": flows.num_rows}]
    assert len(lab.rows("index=net `both` | `top_of(2, src_ip)`")) == 2
    with pytest.raises(SearchError, match=r"calls itself|call one another"):
        lab.rows("index=net `loop`")
    with pytest.raises(SearchError) as caught:
        lab.rows("index=net `top` | stats count")
    assert caught.value.details["position"] == 10
    with pytest.raises(SearchError) as caught:
        lab.rows("index=net `tcp` | statz count")
    assert caught.value.details["position"] == 18


# -- completion


def completions(lab, text):
    return {c.text: c for c in lab.engine.complete(text, len(text), user="anna")}


def test_completion(lab, flows):
    lab.indexes.add("net", flows)
    lab.lookups.tables["hosts.csv"] = flows.slice(0, 1)
    lab.models.add_sum("sum", ["bytes_in"], "t")
    assert "stats" in completions(lab, "index=net | st")
    assert completions(lab, "index=net | st")["stats"].start == 12
    assert set(completions(lab, "index=n")) == {"net"}
    assert "hosts.csv" in completions(lab, "| inputlookup ho")
    assert "onnx:sum" in completions(lab, "index=net | apply ")
    assert {"avg", "bytes_in"} <= set(completions(lab, "index=net | stats "))
    assert "lower" in completions(lab, "index=net | eval x=lo")
    assert "span=" in completions(lab, "index=net | bin _time sp")
    assert "head" in completions(lab, "index=net | append [| makeresults | he")
    for text in ("", "|", '"', 'index=net | eval x="a|b', "[[[[", "\x00"):
        completions(lab, text)


def test_an_engine_needs_little(tmp_path):
    engine = Engine(None, None, None, None, Settings(spill_folder=tmp_path / "spill"))  # type: ignore[arg-type]
    assert engine.search("| makeresults | eval x=1+1 | table x", user="anna").rows() == [{"x": 2}]
    engine.close()


NO_TIMES = [
    "NaN", "inf", "-inf", "Infinity", "1e308", "-1e308", "-1", "-99999999999", "253402300800", "999999999999999",
    "9" * 400, "-99999999999y", "+99999999999y", "-9999999999d", "-3000y", "-10000y", "+8000y", "-999999999999mon",
    "10000-01-01", "2018-08-20T13:00:00+99:00", "@w9", "-1@d", "now+1", "-1s" * 2000,
    "\u0661\u0662", "\u00b2", "\x00", "x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("written", NO_TIMES, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("side", ["earliest", "latest"])
def test_times_that_are_none_are_refused_whatever_is_searched(lab, side, written):
    for search in ("| makeresults", "index=net"):
        with pytest.raises(SearchError, match="is no time") as caught:
            lab.rows(search, **{side: written})
        assert "epoch seconds" in caught.value.remedy
        assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "name", ["posixrules", "localtime", "right/UTC", "Europe", "", "\x00", "/etc/passwd", "../UTC"]
)
def test_names_that_are_no_zones(lab, name):
    with pytest.raises(SearchError, match="Unknown time zone"):
        lab.rows("| makeresults", timezone=name)


def test_the_whole_calendar_is_a_range(lab, flows):
    """From the first to the last day that can be written, in zones on both edges of the date line."""
    lab.indexes.add("net", flows)
    whole = {"earliest": "0001-01-02", "latest": "9999-12-30T23:59:59"}
    for timezone in ("UTC", "Pacific/Apia", "Etc/GMT+12"):
        for command in ("stats count", "timechart count", "timechart span=1d count", "timechart span=1y count"):
            found = lab.rows(f"index=net | {command} | stats sum(count) as n", timezone=timezone, **whole)
            assert found == [{"n": flows.num_rows}], command
        found = lab.rows(
            "index=net | bin _time | stats count by _time | stats sum(count) as n", timezone=timezone, **whole
        )
        assert found == [{"n": flows.num_rows}]


@pytest.mark.parametrize("moment", ["1e308", "-1e308", "1e18", "1e15", "-62135596801", "253402300800", "-99999999999"])
def test_events_beyond_every_calendar_are_no_error(lab, moment):
    """Such times stay numbers; where a calendar is needed they have no value."""
    for command in (
        "bin _time span=1d", "bin _time span=1mon", "bin _time span=1h", "timechart count", "timechart span=1d count",
        "timechart span=1mon count", 'eval a=strftime(_time, "%Y")', 'eval a=relative_time(_time, "+9999y@y")',
        'eval a=tostring(_time, "duration")', 'eval a=tostring(_time, "hex")', "convert ctime(_time)",
        "append [| makeresults | eval _time=0] | timechart span=1mon count", "transaction maxspan=1h",
    ):  # fmt: skip
        assert lab.rows(f"| makeresults | eval _time={moment} | {command}") is not None


def test_an_offset_beyond_the_calendar_is_no_relative_time(lab):
    for written in ("-99999999999y", "-9999999999d", "-1s" * 2000):
        with pytest.raises(SearchError, match="no relative time"):
            lab.rows(f'| makeresults | eval x=relative_time(now(), "{written}")')


def test_unknown_time_zones_and_times(lab, flows):
    lab.indexes.add("net", flows)
    with pytest.raises(SearchError, match="time zone"):
        lab.rows("index=net", timezone="Mars/Olympus")
    for bad in ("yesterday", "-1x", "2018-13-40", "@@"):
        with pytest.raises(SearchError, match="no time"):
            lab.rows(f"index=net earliest={bad}")
    with pytest.raises(SearchError, match="ends before"):
        lab.rows("index=net earliest=-1h latest=-2h")
