"""The generator of Windows events: repeatable, in the shape of recorded logs, different from seed to seed."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from labdock.samples.windows_events import MESSAGES, generate, hourly

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "windows_security_events.parquet"


def test_the_same_seed_gives_the_same_events() -> None:
    pd.testing.assert_frame_equal(generate(1, hosts=8, days=2), generate(1, hosts=8, days=2))
    assert not generate(1, hosts=8, days=2).equals(generate(2, hosts=8, days=2))


@pytest.mark.data
@pytest.mark.skipif(not RECORDED.exists(), reason="../shared/data is not here")
def test_columns_and_types_are_those_of_recorded_events() -> None:
    recorded = pd.read_parquet(RECORDED)
    made = generate(1, hosts=8, days=2)
    assert dict(made.dtypes.astype(str)) == dict(recorded.dtypes.astype(str))
    assert list(made.columns) == list(recorded.columns)
    known = recorded.groupby("EventCode")["Message_summary"].first().dropna()
    shared = [code for code in MESSAGES if code in known.index]
    assert len(shared) > 30
    for code in shared:  # the recorded texts are longer at times
        assert MESSAGES[code][:20].lower() == known[code][:20].lower(), code


def test_the_intrusion_is_marked_and_lies_where_it_says() -> None:
    events = generate(4)
    truth = events.attrs["intrusion"]
    planted = events[events["origin"] == "intrusion"]
    assert set(planted["ComputerName"]) == {truth["victim"], truth["foothold"]}
    hours = (planted["_time"] - events["_time"].min() // 86400 * 86400) // 3600
    assert hours.between(truth["start"], truth["start"] + 2).all()
    assert 20 < len(planted) < len(events) / 50


def test_without_attack_the_week_is_the_same_but_for_the_intrusion() -> None:
    with_it, without = generate(4, days=3), generate(4, days=3, attack=False)
    assert without.attrs["intrusion"] is None
    assert set(without["origin"]) == {"baseline"}
    counted = hourly(with_it[with_it["origin"] == "baseline"])
    pd.testing.assert_frame_equal(counted, hourly(without))


def test_hourly_counts_as_the_labs_search_does() -> None:
    events = generate(3, hosts=8, days=1)
    table = hourly(events)
    assert list(table.columns) == ["_time", "ComputerName", "Account_Name", "EventCode", "count"]
    assert table["count"].sum() == len(events)
    assert (table["_time"] % 3600 == 0).all()
    row = table.iloc[len(table) // 2]
    mine = events[
        (events["_time"] >= row["_time"])
        & (events["_time"] < row["_time"] + 3600)
        & (events["ComputerName"] == row["ComputerName"])
        & (events["Account_Name"].fillna("unknown") == row["Account_Name"])
        & (events["EventCode"] == row["EventCode"])
    ]
    assert len(mine) == row["count"]


def test_seeds_differ_in_kind() -> None:
    truths = [generate(seed, hosts=10, days=3).attrs["intrusion"] for seed in range(12)]
    assert len({t["style"] for t in truths}) >= 3
    assert len({t["victim"] for t in truths}) >= 3
    assert len({t["account"] for t in truths}) >= 6


def test_odd_things_happen_without_an_attack() -> None:
    events = generate(6, attack=False)
    accounts = set(events["Account_Name"].dropna())
    assert {"svc_backup", "svc_patch", "svc_scan"} <= accounts
    assert any(a.startswith("adm_") for a in accounts)
    assert any(a.startswith("hd_") for a in accounts)
    nights = events[(events["_time"] // 3600 % 24).isin([0, 1, 2, 3, 4, 5])]
    assert (nights["Account_Name"] == "svc_backup").sum() > 1000


@pytest.mark.parametrize("arguments", [{"hosts": 7}, {"days": 0}])
def test_too_small_a_world_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 8 hosts"):
        generate(1, **arguments)


def test_it_needs_numpy_and_pandas_only() -> None:
    program = (
        "import sys; import labdock.samples.windows_events;"
        "print([m for m in ('sklearn', 'fastapi', 'matplotlib', 'duckdb', 'supervisor') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
