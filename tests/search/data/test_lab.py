"""The lab's data: what the guide's searches expect, the same on every installation."""

import math
from pathlib import Path

import pandas as pd
import pytest
from tests.search.data.conftest import rows_of
from tests.search.lab_guide import UC1, per_minute

from labdock.errors import NotFound
from labdock.samples import network_flows
from labdock.samples.windows_events import generate, hourly
from labdock_search import Engine
from labdock_search.data.indexes import Indexes
from labdock_search.data.lab import INDEX, SEED, digest, prepare
from labdock_search.data.lookups import Lookups
from labdock_search.protocols import Caller

DATA = Path(__file__).parents[3] / "notebooks" / "data"
ADMIN = Caller("admin")
pytestmark = pytest.mark.slow


@pytest.fixture
def lab(indexes: Indexes, lookups: Lookups) -> Engine:
    prepare(indexes, lookups, ADMIN, DATA)
    return Engine(indexes, lookups, None, None)  # type: ignore[arg-type]


def found(engine: Engine, search: str, user: str = "somebody") -> pd.DataFrame:
    return engine.search(search, user=user).table().to_pandas()


def test_both_lookups_are_there_for_everybody(lab: Engine) -> None:
    expected = pd.read_csv(DATA / "credit_card_fraud.csv")
    for name in ("credit_card_test.csv", "credit_card_fraud.csv"):
        pd.testing.assert_frame_equal(found(lab, f"| inputlookup {name}"), expected, check_dtype=False)


def test_the_flows_per_minute(lab: Engine) -> None:
    flows = pd.read_csv(DATA / "zeek_conn_sample.csv")
    flows = flows[flows["transport"] == "tcp"]
    expected = per_minute(flows)
    result = found(lab, UC1)
    zeek = result[result["_time"] < 1_400_000_000].reset_index(drop=True)
    pd.testing.assert_frame_equal(zeek, expected, check_dtype=False)
    made = network_flows.generate(SEED)
    assert result["numFlows"].sum() == (made["transport"] == "tcp").sum() + len(flows)
    camera = result[result["src_ip"] == made.attrs["infection"]["device"]]
    assert camera["numFlows"].max() > 60, "the infected camera's minutes are there"


def test_the_windows_events_per_hour(lab: Engine) -> None:
    search = (
        'index=botsv3 source="*WinEventLog:Security" | bin _time span=1h | fillnull value=unknown Account_Name '
        "| stats count by _time ComputerName Account_Name EventCode"
    )
    pd.testing.assert_frame_equal(found(lab, search), hourly(generate(SEED)), check_dtype=False)


def test_a_second_time_adds_nothing(indexes: Indexes, lookups: Lookups) -> None:
    first = prepare(indexes, lookups, ADMIN, DATA)
    before = digest(indexes, ADMIN)
    second = prepare(indexes, lookups, ADMIN, DATA)
    assert (first.added, second.added, second.events) == (first.events, 0, first.events)
    assert digest(indexes, ADMIN) == before


def test_every_installation_has_the_same_events(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        indexes = Indexes(tmp_path / name)
        prepare(indexes, Lookups(tmp_path / name), Caller(name), DATA)
        digests.add(digest(indexes, Caller(name)))
    assert len(digests) == 1


def test_what_is_true_of_an_event_is_not_told(lab: Engine, indexes: Indexes) -> None:
    assert "origin" not in indexes.fields(INDEX)
    assert "botnet" not in indexes.fields(INDEX)
    assert "label" not in indexes.fields(INDEX)


def test_missing_files_are_named(indexes: Indexes, lookups: Lookups, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="credit_card_fraud"):
        prepare(indexes, lookups, ADMIN, tmp_path)


@pytest.mark.data
def test_richer_flows_are_added_where_they_are(indexes: Indexes, lookups: Lookups, shared_data: Path) -> None:
    plain = prepare(indexes, lookups, ADMIN, DATA)
    richer = prepare(indexes, lookups, ADMIN, DATA, [shared_data / "netflow_iot23.parquet"])
    assert richer.added == 22_335
    assert richer.events == plain.events + 22_335
    tcp = [r for r in rows_of(indexes, INDEX, "sourcetype, transport, _time") if r["sourcetype"] == "stream:tcp"]
    assert {r["transport"] for r in tcp} == {"tcp"}
    assert all(math.isfinite(r["_time"]) for r in tcp)
