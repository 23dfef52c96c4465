"""The HTTP Event Collector's protocol: what Splunk's shippers send is taken, and the answers are Splunk's."""

import base64
import gzip
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.search.data.conftest import rows_of

from labdock_search.data.collector import Collector
from labdock_search.data.hec import EventCollector, Sender
from labdock_search.data.hec_answers import Refused, answer
from labdock_search.data.hec_events import Defaults, envelopes, parse_events, parse_raw
from labdock_search.data.indexes import Indexes

MOMENT = 1_600_000_000.0
DEFAULTS = Defaults("main", "src", "st", "host", MOMENT)
KNOWN = {"main", "botsv3"}


def parse(body: "bytes | str", defaults: Defaults = DEFAULTS) -> list[tuple[str, dict[str, Any]]]:
    return parse_events(body.encode() if isinstance(body, str) else body, defaults, KNOWN.__contains__)


def refused(body: "bytes | str") -> dict[str, Any]:
    with pytest.raises(Refused) as caught:
        parse(body)
    assert caught.value.answer.status == 400
    return caught.value.answer.content


@pytest.mark.parametrize("between", ["", "\n", "\r\n\r\n", "  \t"])
def test_batches_of_objects(between: str) -> None:
    body = between.join(['{"event":"one"}', '{"event":"two"}', '{"event":{"n":3}}']) + between
    assert [e["_raw"] for _, e in parse(body)] == ["one", "two", '{"n":3}']


def test_an_array_is_a_batch() -> None:
    assert [e["_raw"] for _, e in parse('[{"event":"one"},{"event":"two"}]')] == ["one", "two"]


def test_metadata_comes_from_the_envelope_else_from_the_request() -> None:
    (index, event), (other, plain) = parse(
        '{"event":"x","time":1600000001.25,"host":"h","source":"s","sourcetype":"t","index":"botsv3"}{"event":"y"}'
    )
    assert (index, event) == (
        "botsv3",
        {"_raw": "x", "_time": 1_600_000_001.25, "host": "h", "source": "s", "sourcetype": "t"},
    )
    assert (other, plain) == (
        "main",
        {"_raw": "y", "_time": MOMENT, "host": "host", "source": "src", "sourcetype": "st"},
    )


@pytest.mark.parametrize(
    ("time", "expected"),
    [("1600000001", MOMENT + 1), ('"1600000001.500"', MOMENT + 1.5), ("1600000001500", MOMENT + 1.5), ("null", MOMENT)],
)
def test_times(time: str, expected: float) -> None:
    assert parse(f'{{"event":"x","time":{time}}}')[0][1]["_time"] == expected


def test_fields_are_flat_and_events_are_flattened() -> None:
    ((_, event),) = parse('{"event":{"a":{"b":1},"l":["x",2],"ok":true},"fields":{"env":"prod","n":5,"m":["p","q"]}}')
    assert {k: event[k] for k in ("a.b", "l{}", "ok", "env", "n", "m")} == {
        "a.b": 1, "l{}": ["x", "2"], "ok": True, "env": "prod", "n": 5, "m": ["p", "q"],
    }  # fmt: skip


def test_a_metric_has_fields_alone() -> None:
    ((_, event),) = parse('{"time":1600000000,"event":"metric","fields":{"metric_name:cpu":0.5}}')
    assert event["metric_name:cpu"] == 0.5
    assert parse('{"fields":{"a":1}}')[0][1]["a"] == 1


def test_text_events_show_their_fields() -> None:
    ((_, event),) = parse(json.dumps({"event": 'user=bob msg="say \\"hi\\"" url=/a?b=1 took=5ms _time=1'}))
    assert (event["user"], event["msg"], event["took"]) == ("bob", 'say "hi"', "5ms")
    assert event["_time"] == MOMENT
    ((_, event),) = parse(json.dumps({"event": '{"level":"info","n":1}'}))
    assert (event["level"], event["n"]) == ("info", 1)


def test_numbers_and_booleans_are_events() -> None:
    assert [e["_raw"] for _, e in parse('{"event":0}{"event":false}{"event":[1,2]}')] == ["0", "false", "[1, 2]"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", (5, None)),
        ("  \n ", (5, None)),
        ("[]", (5, None)),
        ("oops", (6, 0)),
        ('{"event":"a"} {"event":', (6, 1)),
        ('{"event":"a"}{"event":"b"}nonsense', (6, 2)),
        ('"text"', (6, 0)),
        ("[1]", (6, 0)),
        ('{"event":"a","index":"nope"}', (7, 1)),
        ('{"event":"a"}{"event":"b","index":"nope"}', (7, 2)),
        ('{"evnt":"a"}', (12, 0)),
        ('{"event":"a"}{"time":1}', (12, 1)),
        ('{"event":""}', (13, 0)),
        ('{"event":"a"}{"event":null}', (13, 1)),
        ('{"event":{}}', (13, 0)),
        ('{"event":"a","fields":"b"}', (15, 0)),
        ('{"event":"a","fields":{"b":{"c":1}}}', (15, 0)),
        ('{"event":"a","fields":{"b":[["c"]]}}', (15, 0)),
        ('{"event":"a","time":"soon"}', (15, 0)),
        ('{"event":"a","time":true}', (15, 0)),
        ('{"event":""}{oops', (13, 0)),
        (b"\xff\xfe\x00binary", (6, 0)),
        ("[" * 100_000, (6, 0)),
    ],
)
def test_what_is_wrong_gets_splunks_code_and_position(body: "bytes | str", expected: tuple[int, int | None]) -> None:
    content = refused(body)
    assert (content["code"], content.get("invalid-event-number")) == expected


def test_texts_and_statuses_are_splunks() -> None:
    found = {code: (answer(code).status, answer(code).content["text"]) for code in range(17)}
    assert found == {
        0: (200, "Success"), 1: (403, "Token disabled"), 2: (401, "Token is required"),
        3: (401, "Invalid authorization"),
        4: (403, "Invalid token"), 5: (400, "No data"), 6: (400, "Invalid data format"), 7: (400, "Incorrect index"),
        8: (500, "Internal server error"), 9: (503, "Server is busy"), 10: (400, "Data channel is missing"),
        11: (400, "Invalid data channel"), 12: (400, "Event field is required"),
        13: (400, "Event field cannot be blank"), 14: (400, "ACK is disabled"),
        15: (400, "Error in handling indexed fields"), 16: (400, "Query string authorization is not enabled"),
    }  # fmt: skip
    assert answer(0).body == b'{"text":"Success","code":0}'
    assert answer(6, position=1).body == b'{"text":"Invalid data format","code":6,"invalid-event-number":1}'


def test_raw_lines() -> None:
    body = (
        b'2020-09-13T12:26:45Z one\r\n\r\n  at line 2\n\tat line 3\nuser=bob two\n{"a": {"b": 1}, "time": 1600000009}'
    )
    found = parse_raw(body, DEFAULTS, KNOWN.__contains__)
    assert [(e["_raw"], e["_time"]) for _, e in found] == [
        ("2020-09-13T12:26:45Z one\n  at line 2\n\tat line 3", MOMENT + 5),
        ("user=bob two", MOMENT),
        ('{"a": {"b": 1}, "time": 1600000009}', MOMENT + 9),
    ]
    assert (found[1][1]["user"], found[2][1]["a.b"]) == ("bob", 1)
    with pytest.raises(Refused):
        parse_raw(b" \n\n", DEFAULTS, KNOWN.__contains__)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer(body: bytes) -> None:
    for parser in (parse_events, parse_raw):
        answered = 200
        try:
            for _, event in parser(body, DEFAULTS, KNOWN.__contains__):
                assert math.isfinite(event["_time"])
        except Refused as error:
            answered = error.answer.status
        assert answered in (200, 400)


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False)), min_size=1))
def test_envelopes_are_what_json_says(objects: list[dict]) -> None:
    body = "".join(json.dumps(o) for o in objects).encode()
    assert list(envelopes(body)) == [json.loads(json.dumps(o)) for o in objects] or "\\ud" in body.decode()


@pytest.fixture
def collector(indexes: Indexes) -> Iterator[Collector]:
    indexes.create("botsv3")
    made = Collector(indexes, interval=0.05)
    yield made
    made.close()


@pytest.fixture
def hec(collector: Collector) -> EventCollector:
    plain = Sender("shipper", KNOWN.__contains__, acknowledge=False)
    acknowledging = Sender("careful", KNOWN.__contains__, acknowledge=True)
    either = Sender("either", KNOWN.__contains__)
    tokens = {"good": plain, "ack": acknowledging, "off": "disabled", "either": either}
    return EventCollector(collector, tokens.get, max_body=100_000)  # type: ignore[arg-type]


def send(
    hec: EventCollector,
    body: bytes,
    kind: str = "event",
    token: str = "good",
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> dict[str, Any]:
    all_headers = {"authorization": f"Splunk {token}", **(headers or {})}
    sender = hec.sender(all_headers, query or {})
    found = hec.receive(kind, sender, all_headers, query or {}, body, "10.1.1.1").result(10)  # type: ignore[arg-type]
    return found.content


@pytest.mark.parametrize(
    ("header", "query", "code"),
    [
        (None, {}, 2),
        (None, {"token": "good"}, 16),
        ("Splunk", {}, 3),
        ("good", {}, 3),
        ("Digest good", {}, 3),
        ("Basic !!!", {}, 3),
        ("Splunk wrong", {}, 4),
        ("Splunk off", {}, 1),
    ],
)
def test_wrong_tokens(hec: EventCollector, header: str | None, query: dict[str, str], code: int) -> None:
    with pytest.raises(Refused) as caught:
        hec.sender({"authorization": header} if header else {}, query)
    assert caught.value.answer.content["code"] == code


@pytest.mark.parametrize(
    "header", ["Splunk good", "splunk  good", "Bearer good", "Basic " + base64.b64encode(b"x:good").decode()]
)
def test_right_tokens(hec: EventCollector, header: str) -> None:
    assert hec.sender({"authorization": header}, {}).name == "shipper"


def test_gzip_and_its_faults(hec: EventCollector) -> None:
    body = b'{"event":"a"}' * 10
    zipped = {"content-encoding": "gzip"}
    assert send(hec, gzip.compress(body), headers=zipped) == {"text": "Success", "code": 0}
    assert send(hec, gzip.compress(body[:26]) + gzip.compress(body[26:]), headers=zipped)["code"] == 0
    assert send(hec, gzip.compress(body)[:-9], headers=zipped)["code"] == 6
    assert send(hec, body, headers=zipped)["code"] == 6
    assert send(hec, body, headers={"content-encoding": "br"})["code"] == 6
    assert send(hec, gzip.compress(b"0" * 10_000_000), headers=zipped)["code"] == 27, "a bomb is not unpacked"
    assert send(hec, b" " * 100_001)["code"] == 27


def test_acknowledgements(hec: EventCollector) -> None:
    channel = {"x-splunk-request-channel": "FE0ECFAD-13D5-401B-847D-77833BD77131"}
    assert send(hec, b'{"event":"a"}', token="ack")["code"] == 10
    assert send(hec, b'{"event":"a"}', token="ack", headers={"x-splunk-request-channel": "a b"})["code"] == 11
    assert [send(hec, b'{"event":"a"}', token="ack", headers=channel)["ackId"] for _ in range(3)] == [0, 1, 2]
    other = {"x-splunk-request-channel": "22222222-13D5-401B-847D-77833BD77131"}
    assert send(hec, b'{"event":"a"}', "raw", "ack", query={"channel": other["x-splunk-request-channel"]})["ackId"] == 0
    careful = hec.sender({"authorization": "Splunk ack"}, {})
    ask = json.dumps({"acks": [0, 2, 9]}).encode()
    assert hec.acknowledged(careful, channel, {}, ask).content == {"acks": {"0": True, "2": True, "9": False}}
    assert hec.acknowledged(careful, channel, {}, ask).content == {"acks": {"0": False, "2": False, "9": False}}
    assert hec.acknowledged(careful, {}, {}, ask).content["code"] == 10
    assert hec.acknowledged(careful, channel, {}, b'{"acks":["a"]}').content["code"] == 6
    assert "ackId" not in send(hec, b'{"event":"a"}', token="either")
    assert send(hec, b'{"event":"a"}', token="either", headers=channel)["ackId"] == 0
    plain = hec.sender({"authorization": "Splunk good"}, {})
    assert hec.acknowledged(plain, channel, {}, ask).content["code"] == 14


# What real shippers send, from their sources: (kind, query, headers, body, expected rows).
SHIPPERS: dict[str, tuple[str, dict[str, str], bytes, list[dict[str, Any]]]] = {
    "Splunk's documentation, batch": (
        "event",
        {},
        b'{"event": "Pony 1 has left the barn", "sourcetype": "ponies", "time": 1426279439}'
        b'{"event": "Pony 2 has left the barn"}{"event": {"message": "nested", "severity": "INFO"}}',
        [
            {"_raw": "Pony 1 has left the barn", "sourcetype": "ponies", "_time": 1_426_279_439.0, "severity": None},
            {"_raw": "Pony 2 has left the barn", "sourcetype": "httpevent", "severity": None},
            {"_raw": '{"message":"nested","severity":"INFO"}', "sourcetype": "httpevent", "severity": "INFO"},
        ],
    ),
    "splunk-library-javalogging": (
        "event",
        {},
        json.dumps(
            {
                "time": "1600000000.123", "host": "app1", "source": "src", "sourcetype": "log4j", "index": "botsv3",
                "event": {"severity": "ERROR", "message": "boom", "logger": "a.B", "thread": "main"},
            }
        ).encode(),
        [{"_time": 1_600_000_000.123, "host": "app1", "severity": "ERROR", "logger": "a.B", "index": "botsv3"}],
    ),
    "fluent-bit": (
        "event",
        {},
        b'{"time":1600000000.500000,"host":"node","event":{"log":"GET /","kubernetes":{"pod_name":"web-1"}}}'
        b'{"time":1600000001.000000,"host":"node","event":{"log":"GET /a","kubernetes":{"pod_name":"web-2"}}}',
        [{"kubernetes.pod_name": "web-1", "log": "GET /"}, {"kubernetes.pod_name": "web-2", "log": "GET /a"}],
    ),
    "Vector": (
        "event",
        {},
        b'{"event":{"message":"hi"},"fields":{"env":"prod"},"time":1600000000.0,"host":"v","sourcetype":"vector"}\n'
        b'{"event":"plain text","fields":{},"time":1600000001.0,"host":"v","sourcetype":"vector"}\n',
        [{"message": "hi", "env": "prod"}, {"message": None, "env": None}],
    ),
    "Docker's splunk log driver": (
        "event",
        {},
        b'{"event":{"line":"started","source":"stdout","tag":"0123456789ab"},"time":"1600000000.000001","host":"docker1"}'
        b'{"event":{"line":{"a":"json"},"source":"stderr","tag":"0123456789ab"},"time":"1600000001","host":"docker1"}',
        [{"line": "started", "extracted_source": "stdout"}, {"line.a": "json", "extracted_source": "stderr"}],
    ),
    "OpenTelemetry's exporter": (
        "event",
        {},
        b'{"time":1600000000.1,"host":"unknown","source":"otel","sourcetype":"otel","index":"main","event":"body",'
        b'"fields":{"otel.log.severity.text":"WARN","otel.log.severity.number":13,"trace_id":"abc"}}\n',
        [{"otel.log.severity.number": 13, "trace_id": "abc"}],
    ),
    "curl to raw": (
        "raw",
        {"sourcetype": "access_combined", "host": "web1", "index": "botsv3"},
        b'1.2.3.4 - - [13/Sep/2020:12:26:40 +0000] "GET / HTTP/1.1" 200 5\n'
        b'5.6.7.8 - - [13/Sep/2020:12:26:41 +0000] "x"\n',
        [{"_time": MOMENT, "host": "web1", "sourcetype": "access_combined"}, {"_time": MOMENT + 1}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("shipper", SHIPPERS)
def test_real_shippers(hec: EventCollector, collector: Collector, indexes: Indexes, shipper: str, zipped: bool) -> None:
    kind, query, body, expected = SHIPPERS[shipper]
    headers = {"content-encoding": "gzip"} if zipped else {}
    assert send(hec, gzip.compress(body) if zipped else body, kind, headers=headers, query=query)["code"] == 0
    collector.flush()
    index = expected[0].get("index") or query.get("index") or "main"
    found = sorted(rows_of(indexes, index), key=lambda r: (r["_time"], r["_raw"]))
    assert len(found) == len(expected)
    for row, want in zip(
        found, sorted(expected, key=lambda r: (r.get("_time", math.inf), r.get("_raw", ""))), strict=True
    ):
        assert {k: row.get(k) for k in want} == want
        assert row["source"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.integers() | st.booleans(), min_size=1))
def test_any_event_is_stored_as_it_was(
    hec: EventCollector, collector: Collector, indexes: Indexes, event: dict
) -> None:
    assert send(hec, json.dumps({"event": event}).encode())["code"] == 0
    collector.flush()
    (newest,) = rows_of(indexes, "main", "_raw, _time", "_time desc limit 1")[:1]
    assert newest["_raw"]
