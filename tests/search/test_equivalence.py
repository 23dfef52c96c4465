"""Searches against an independent computation with pandas, on small made data that is always there."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.search.lab_guide import HOURLY, UC1, per_minute


def frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(types_mapper=None)


def same(found: pa.Table, wanted: pd.DataFrame) -> None:
    """Equal names, order, rows and values (numbers to 12 digits)."""
    got = found.to_pandas()
    assert list(got.columns) == list(wanted.columns)
    assert len(got) == len(wanted)
    for name in wanted.columns:
        left, right = got[name], wanted[name].reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(right):
            np.testing.assert_allclose(left.astype(float), right.astype(float), rtol=1e-12, equal_nan=True)
        else:
            assert [None if pd.isna(x) else x for x in left] == [None if pd.isna(x) else x for x in right], name


def test_uc1_aggregation(lab, flows):
    lab.indexes.add("botsv3", flows.slice(0, 700), flows.slice(700), facts=("sourcetype",))
    same(lab.table(UC1.replace(" | ", "\n| ")), per_minute(frame(flows)))


def test_uc3_hourly_counts(lab, events):
    lab.indexes.add("botsv3", events)
    df = frame(events)
    df["_time"] = df["_time"] // 3600 * 3600
    df["Account_Name"] = df["Account_Name"].fillna("unknown")
    wanted = df.groupby(["_time", "ComputerName", "Account_Name", "EventCode"]).size().rename("count").reset_index()
    same(lab.table(HOURLY), wanted)


@pytest.fixture
def net(lab, flows):
    lab.indexes.add("net", flows)
    return frame(flows)


def test_where_and_eval(lab, net):
    found = lab.table(
        'index=net | where bytes_in>5000 AND dest_port!=22 | eval kb=bytes_in/1024, big=if(bytes_in>9000, "yes", "no")'
        " | sort 0 _time | table _time src_ip kb big"
    )
    df = net[(net["bytes_in"] > 5000) & (net["dest_port"] != 22)].sort_values("_time")
    wanted = df.assign(kb=df["bytes_in"] / 1024, big=np.where(df["bytes_in"] > 9000, "yes", "no"))
    same(found, wanted[["_time", "src_ip", "kb", "big"]])


def test_statistics_functions(lab, net):
    found = lab.rows(
        "index=net | stats min(bytes_in) max(bytes_in) range(bytes_in) median(bytes_in) p90(bytes_in) stdev(bytes_in) "
        "stdevp(bytes_in) var(bytes_in) varp(bytes_in) sumsq(bytes_in) mode(dest_port) values(protocol_stack) "
        "earliest(src_ip) latest(src_ip) earliest_time(src_ip) latest_time(src_ip)"
    )[0]
    b = net["bytes_in"]
    wanted = {
        "min(bytes_in)": b.min(),
        "max(bytes_in)": b.max(),
        "range(bytes_in)": b.max() - b.min(),
        "median(bytes_in)": b.median(),
        "p90(bytes_in)": b.quantile(0.9),
        "stdev(bytes_in)": b.std(),
        "stdevp(bytes_in)": b.std(ddof=0),
        "var(bytes_in)": b.var(),
        "varp(bytes_in)": b.var(ddof=0),
        "sumsq(bytes_in)": (b**2).sum(),
        "mode(dest_port)": net["dest_port"].mode()[0],
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name
    assert found["values(protocol_stack)"] == sorted(net["protocol_stack"].unique())
    ordered = net.sort_values("_time")
    assert found["earliest(src_ip)"] == ordered["src_ip"].iloc[0]
    assert found["latest(src_ip)"] == ordered["src_ip"].iloc[-1]
    assert found["earliest_time(src_ip)"] == net["_time"].min()
    assert found["latest_time(src_ip)"] == net["_time"].max()


def test_eventstats_and_streamstats(lab, net):
    found = lab.table(
        "index=net | sort 0 _time | eventstats avg(client_rtt) as mean by src_ip "
        "| streamstats count as n sum(client_rtt) as s by src_ip | streamstats window=3 max(client_rtt) as m "
        "| table _time mean n s m"
    )
    df = net.sort_values("_time").reset_index(drop=True)
    by = df.groupby("src_ip")["client_rtt"]
    wanted = pd.DataFrame(
        {
            "_time": df["_time"],
            "mean": by.transform("mean"),
            "n": by.cumcount() + 1,
            "s": by.cumsum(),
            "m": df["client_rtt"].rolling(3, min_periods=1).max(),
        }
    )
    same(found, wanted)


def test_timechart_by(lab, net):
    found = lab.table("index=net | timechart span=10m limit=0 count by protocol_stack")
    buckets = net["_time"] // 600 * 600
    wanted = pd.crosstab(buckets, net["protocol_stack"])
    starts = np.arange(buckets.min(), buckets.max() + 1, 600.0)
    wanted = wanted.reindex(starts, fill_value=0).rename_axis(index="_time", columns=None).reset_index()
    same(found, wanted)


def test_timechart_in_days_of_the_users_zone(lab):
    zone = "Europe/Berlin"
    moments = [dt.datetime(2018, 10, d, h, tzinfo=dt.UTC).timestamp() for d, h in [(27, 1), (27, 23), (29, 12)]]
    lab.indexes.add("days", pa.table({"_time": moments}))
    found = lab.rows("index=days | timechart span=1d count", timezone=zone)
    local = pd.to_datetime([f"2018-10-{d}" for d in (27, 28, 29)]).tz_localize(zone)
    assert [r["_time"] for r in found] == [t.timestamp() for t in local]  # the 28th has 25 hours
    assert [r["count"] for r in found] == [1, 1, 1]


def test_timechart_keeps_the_largest_series(lab, net):
    found = lab.table("index=net | timechart span=1h limit=3 sum(bytes_in) as b by dest_ip")
    sums = net.groupby("dest_ip")["bytes_in"].sum().sort_values(ascending=False)
    assert found.column_names == ["_time", *sorted(sums.index[:3]), "OTHER"]
    assert sum(found.column("OTHER").to_pylist()) == pytest.approx(sums.iloc[3:].sum())


def test_chart_over_by(lab, net):
    found = lab.table("index=net | chart avg(bytes_in) over dest_port by protocol_stack")
    wanted = net.pivot_table(index="dest_port", columns="protocol_stack", values="bytes_in", aggfunc="mean")
    same(found, wanted.rename_axis(columns=None).reset_index())


def test_top_and_rare(lab, net):
    counts = net.groupby("dest_port").size().rename("count").reset_index()
    counts["percent"] = counts["count"] * 100 / len(net)
    order = counts.sort_values(["count", "dest_port"], ascending=[False, True])
    same(lab.table("index=net | top limit=3 dest_port"), order.head(3))
    order = counts.sort_values(["count", "dest_port"])
    same(lab.table("index=net | rare limit=2 dest_port"), order.head(2))


def test_dedup(lab, net):
    found = lab.table("index=net | sort 0 _time | dedup 2 src_ip dest_port | table _time src_ip dest_port")
    wanted = net.sort_values("_time").groupby(["src_ip", "dest_port"]).head(2)[["_time", "src_ip", "dest_port"]]
    same(found, wanted)
    newest = lab.table("index=net | dedup src_ip | table _time src_ip")
    same(newest, net.sort_values("_time", ascending=False).drop_duplicates("src_ip")[["_time", "src_ip"]])


def test_lookup_and_join(lab, net):
    owners = pd.DataFrame({"ip": [f"10.0.0.{i}" for i in range(1, 6)], "owner": list("abcde"), "floor": range(5)})
    lab.lookups.tables["hosts.csv"] = pa.Table.from_pandas(owners)
    merged = net.merge(owners, how="left", left_on="src_ip", right_on="ip").sort_values("_time")
    found = lab.table(
        "index=net | lookup hosts.csv ip as src_ip OUTPUT owner floor as level | sort 0 _time | table _time owner level"
    )
    same(found, merged.rename(columns={"floor": "level"})[["_time", "owner", "level"]])
    inner = net.merge(owners, left_on="src_ip", right_on="ip").groupby("owner").size().rename("count").reset_index()
    same(
        lab.table("index=net | join src_ip [| inputlookup hosts.csv | rename ip as src_ip] | stats count by owner"),
        inner,
    )


def test_lookup_with_several_matches(lab):
    lab.lookups.tables["t.csv"] = pa.table({"k": ["a", "a", "b"], "v": ["1", "2", "3"]})
    made = '| makeresults format=csv data="k,n\na,1\nb,2\nc,3"'
    assert lab.rows(f"{made} | lookup t.csv k | table k v") == [
        {"k": "a", "v": ["1", "2"]},
        {"k": "b", "v": ["3"]},
        {"k": "c", "v": None},
    ]
    assert lab.column('| makeresults | eval k="b", v="old" | lookup t.csv k OUTPUTNEW v | table v', "v") == [["old"]]


def test_append_keeps_both_orders(lab, net):
    found = lab.table(
        "index=net | sort 0 _time | table _time | append [search index=net | sort 0 -_time | table _time]"
    )
    ordered = net["_time"].sort_values()
    same(found, pd.DataFrame({"_time": pd.concat([ordered, ordered[::-1]])}))


def test_subsearch_in_search(lab, net):
    found = lab.rows("index=net [search index=net | top limit=1 src_ip | fields src_ip] | stats count")
    counts = net.groupby("src_ip").size()
    best = counts[counts == counts.max()].sort_index()
    assert found == [{"count": best.iloc[0]}]
    assert lab.rows("index=net [search index=net src_ip=nosuch | fields src_ip] | stats count") == [{"count": 0}]


def test_tstats(lab, net):
    found = lab.table("| tstats count avg(bytes_in) as b where index=net dest_port!=22 by _time span=1h, src_ip")
    df = net[net["dest_port"] != 22]
    df = df.assign(_time=df["_time"] // 3600 * 3600)
    wanted = df.groupby(["_time", "src_ip"]).agg(count=("src_ip", "size"), b=("bytes_in", "mean")).reset_index()
    same(found, wanted)


def test_mvexpand_and_makemv(lab):
    made = '| makeresults format=csv data="k,m\n1,a;b\n2,c\n3,"'
    found = lab.rows(f'{made} | makemv delim=";" m | mvexpand m | table k m')
    assert found == [{"k": 1, "m": "a"}, {"k": 1, "m": "b"}, {"k": 2, "m": "c"}, {"k": 3, "m": None}]


def test_transaction(lab):
    rows = [(0, "x"), (5, "y"), (20, "x"), (100, "x"), (104, "y"), (105, "x")]
    lab.indexes.add("t", pa.table({"_time": [float(t) for t, _ in rows], "u": [u for _, u in rows]}))
    found = lab.rows("index=t | transaction u maxpause=30s | table _time u duration eventcount")
    assert found == [
        {"_time": 104.0, "u": "y", "duration": 0.0, "eventcount": 1},
        {"_time": 100.0, "u": "x", "duration": 5.0, "eventcount": 2},
        {"_time": 5.0, "u": "y", "duration": 0.0, "eventcount": 1},
        {"_time": 0.0, "u": "x", "duration": 20.0, "eventcount": 2},
    ]


def test_transaction_begins_and_ends_where_told(lab):
    made = '| makeresults format=csv data="_time,a\n1,login\n2,read\n3,logout\n4,login\n5,logout"'
    found = lab.rows(
        f'{made} | transaction startswith="a=login" endswith=eval(a="logout") | table _time duration eventcount'
    )
    assert found == [
        {"_time": 4.0, "duration": 1.0, "eventcount": 2},
        {"_time": 1.0, "duration": 2.0, "eventcount": 3},
    ]


def test_sample_is_a_part_of_the_rows_and_repeatable(lab):
    made = "| makeresults count=1000 | streamstats count as n"
    first = lab.column(f"{made} | sample ratio=0.2 seed=3", "n")
    assert (
        first
        == lab.column(f"{made} | sample ratio=0.2 seed=3", "n")
        != lab.column(f"{made} | sample ratio=0.2 seed=4", "n")
    )
    assert 120 < len(first) < 280
    assert first == sorted(set(first))
    assert lab.column(f"{made} | sample partitions=4 | stats count by partition_number", "partition_number") == [
        0,
        1,
        2,
        3,
    ]


def test_scores_equal_scikit_learn(lab):
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(8)
    y, score = random.integers(0, 3, 400), random.random(400)
    p = np.where(random.random(400) < 0.7, y, random.integers(0, 3, 400))
    lab.lookups.tables["s"] = pa.table({"y": y, "p": p, "b": (y > 0).astype(int), "s": score, "x": score * 3 + y})

    def got(command: str) -> float:
        return next(iter(lab.rows(f"| inputlookup s | score {command}")[0].values()))

    assert got("accuracy_score y against p") == pytest.approx(metrics.accuracy_score(y, p))
    for average in ("macro", "micro", "weighted"):
        for name in ("precision_score", "recall_score", "f1_score"):
            wanted = getattr(metrics, name)(y, p, average=average)
            assert got(f"{name} y against p average={average}") == pytest.approx(wanted)
    assert got("roc_auc_score b against s") == pytest.approx(metrics.roc_auc_score(y > 0, score))
    x = score * 3 + y
    for name in ("r2_score", "mean_absolute_error", "mean_squared_error", "explained_variance_score"):
        assert got(f"{name} x against y") == pytest.approx(getattr(metrics, name)(x, y))
    matrix = lab.rows("| inputlookup s | score confusion_matrix y against p")
    assert [[r[f"predicted({c})"] for c in range(3)] for r in matrix] == metrics.confusion_matrix(y, p).tolist()


def test_outputlookup_writes_and_passes_on(lab, net):
    found = lab.rows("index=net | stats count by src_ip | outputlookup per_source.csv | stats count")
    assert found == [{"count": net["src_ip"].nunique()}]
    again = lab.table("| inputlookup per_source.csv")
    same(again, net.groupby("src_ip").size().rename("count").reset_index())
    lab.rows("index=net | stats count by src_ip | outputlookup append=true per_source.csv")
    assert lab.rows("| inputlookup per_source.csv | stats count") == [{"count": 2 * net["src_ip"].nunique()}]


def test_spath_and_rex_on_raw(lab):
    raw = ['{"a": {"b": [1, 2]}, "user": "anna"}', "no json", '{"user": "bert", "n": 5}']
    lab.indexes.add("j", pa.table({"_time": [3.0, 2.0, 1.0], "_raw": raw}))
    assert lab.rows("index=j | spath | table user a.b{} n") == [
        {"user": "anna", "a.b{}": ["1", "2"], "n": None},
        {"user": None, "a.b{}": None, "n": None},
        {"user": "bert", "a.b{}": None, "n": "5"},
    ]
    assert lab.column('index=j | rex "\\"user\\": \\"(?<who>\\w+)\\"" | table who', "who") == ["anna", None, "bert"]
