"""The HTTP Event Collector of a real controller: Splunk's answers, tokens by role, durable through a kill."""

import gzip
import json
import threading
from typing import Any

import duckdb
import pytest
import requests
from tests.waiting import seconds_until, wait_for

from labdock_controller.access.rights import ROLES
from labdock_search.data.collector import recover
from labdock_search.data.indexes import Indexes
from labdock_search.protocols import Caller

pytestmark = pytest.mark.slow
EVENT = "/services/collector/event"


def send(
    controller: Any, body: bytes, token: str | None = None, path: str = EVENT, **headers: str
) -> requests.Response:
    sent = {
        "Authorization": f"Splunk {token or controller.token}",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return requests.post(f"{controller.url}{path}", data=body, headers=sent, timeout=60)


def numbers(controller: Any, index: str = "main") -> list[int]:
    indexes = Indexes(controller.home)
    paths = [f.path for f in indexes.open(index, Caller("test")).files] if indexes.exists(index) else []
    if not paths:
        return []
    with duckdb.connect() as connection:
        query = "select cast(n as bigint) as n from read_parquet(?, union_by_name=true) order by n"
        found = connection.sql(query, params=[paths])
        return [n for (n,) in found.fetchall()]


def test_batches_gzip_raw_and_acknowledgements(controller: Any) -> None:
    answer = send(controller, b'{"event":{"n":1}}{"event":{"n":2}}')
    assert (answer.status_code, answer.content) == (200, b'{"text":"Success","code":0}')
    assert send(controller, gzip.compress(b'{"event":{"n":3}}'), Content_Encoding="gzip").json()["code"] == 0
    raw = send(controller, b"2020-09-13T12:26:40Z n=4\n", path="/services/collector/raw?sourcetype=log")
    assert raw.json() == {"text": "Success", "code": 0}
    assert seconds_until(lambda: len(numbers(controller)) == 4, 10) < 2, "searchable within two seconds"

    channel = "11111111-2222-3333-4444-555555555555"
    assert send(controller, b'{"event":{"n":5}}', X_Splunk_Request_Channel=channel).json()["ackId"] == 0
    asked = send(controller, b'{"acks":[0,1]}', path=f"/services/collector/ack?channel={channel}")
    assert asked.json() == {"acks": {"0": True, "1": False}}
    health = requests.get(f"{controller.url}/services/collector/health", timeout=10)
    assert (health.status_code, health.json()) == (200, {"text": "HEC is healthy", "code": 17})


@pytest.mark.parametrize(
    "path", ["/services/collector", "/services/collector/event/1.0", "/services/collector/raw/1.0"]
)
def test_every_address(controller: Any, path: str) -> None:
    assert send(controller, b'{"event":"a"}', path=path).json()["code"] == 0


def test_refusals_are_splunks(controller: Any) -> None:
    bare = requests.post(f"{controller.url}{EVENT}", data=b'{"event":"a"}', timeout=30)
    assert (bare.status_code, bare.json()) == (401, {"text": "Token is required", "code": 2})
    wrong = send(controller, b'{"event":"a"}', "ldk_" + "x" * 43)
    assert (wrong.status_code, wrong.json()) == (403, {"text": "Invalid token", "code": 4})
    odd = requests.post(f"{controller.url}{EVENT}", headers={"Authorization": controller.token}, timeout=30)
    assert odd.json()["code"] == 3
    assert send(controller, b"").json() == {"text": "No data", "code": 5}
    assert send(controller, b'{"event":"a"}x').json()["invalid-event-number"] == 1
    assert send(controller, b'{"event":"a","index":"absent"}').json()["code"] == 7
    large = send(controller, b" " * (65 << 20))
    assert (large.status_code, large.json()["code"]) == (413, 27)


def test_tokens_by_role(controller: Any) -> None:
    found = {
        role: send(controller, b'{"event":"a"}', controller.token_of(f"u-{role}", role)).json()["code"]
        for role in ROLES
    }
    assert found == {"viewer": 1, "user": 1, "power": 0, "mltk_model_admin": 1, "admin": 0}
    only = controller.token_of("shipper", "power", capabilities=["send_events"])
    assert send(controller, b'{"event":"a"}', only).json()["code"] == 0
    listed = requests.get(f"{controller.url}/api/environments", headers={"Authorization": f"Bearer {only}"}, timeout=30)
    assert listed.status_code == 403, "a shipper's token does nothing else"
    assert controller("PATCH", "/api/users/shipper", {"active": False}).status_code == 200
    assert send(controller, b'{"event":"a"}', only).json()["code"] == 4


def test_what_was_acknowledged_survives_kills(controller: Any, make_controller: Any) -> None:
    acknowledged: list[int] = []
    current = controller
    for round_ in range(4):
        stop = threading.Event()

        def ship(first: int, stop: threading.Event = stop, to: Any = current) -> None:
            n = first
            while not stop.is_set():
                try:
                    if send(to, json.dumps({"event": {"n": n}}).encode()).json()["code"] == 0:
                        acknowledged.append(n)
                except (requests.RequestException, ValueError):
                    return
                n += 1

        threads = [threading.Thread(target=ship, args=(round_ * 1_000_000 + i * 100_000,)) for i in range(4)]
        for thread in threads:
            thread.start()
        wanted = len(acknowledged) + 30 * (round_ + 1)
        wait_for(lambda wanted=wanted: len(acknowledged) >= wanted, 60)
        current.kill()
        stop.set()
        for thread in threads:
            thread.join()
        if round_ < 3:
            current = make_controller(home_of=current)
    recover(Indexes(controller.home))
    found = numbers(controller)
    assert len(found) == len(set(found)), "no event twice"
    assert set(acknowledged) <= set(found), "no acknowledged event lost"
    assert len(found) - len(acknowledged) <= 16, "at most what was under way when it was killed"
