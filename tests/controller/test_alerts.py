"""Alerts of a real controller: on a schedule, with a real HTTP receiver, a real mail server and real scripts."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller as MailServer
from conftest import Controller, Make, controllers
from onnx_files import linear
from tests.waiting import wait_for

from labdock.errors import InvalidOptions
from labdock_controller.alerts.actions import resolve
from labdock_controller.alerts.schedule import next_time

ROWS = '| makeresults count=3 format=csv data="host,n\na,1\nb,2\nb,3"'


class Receiver:
    """An HTTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(302 if self.path == "/moved" else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Mailbox:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.messages.append(envelope)
        return "250 OK"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.socket() as probe:  # aiosmtpd cannot pick a port itself
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = MailServer(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box, port
    server.stop()


@pytest.fixture(scope="module")
def lab(mailbox: tuple[Mailbox, int]) -> Iterator[Controller]:
    with controllers() as make:
        yield make(smtp_host="127.0.0.1", smtp_port=mailbox[1], webhook_hosts='["127.0.0.1"]')


def save(lab: Controller, name: str, **definition: Any) -> dict[str, Any]:
    body = {"search": ROWS, **definition}
    answer = lab("PUT", f"/api/saved-searches/{name}?replace=true", body)
    assert answer.status_code == 200, answer.text
    saved: dict[str, Any] = answer.json()
    return saved


def run(lab: Controller, name: str) -> dict[str, Any]:
    answer = lab("POST", f"/api/saved-searches/{name}/run")
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


@pytest.mark.slow
def test_an_alert_fires_on_its_schedule_and_keeps_its_results(lab: Controller, receiver: Receiver) -> None:
    save(lab, "beat", schedule="10s", actions=[{"type": "webhook", "url": receiver.url}])
    wait_for(lambda: receiver.bodies, 25, "the webhook's call")
    assert lab("POST", "/api/saved-searches/beat/pause").json()["next_run"] is None
    first = receiver.bodies[0]
    assert (first["alert"], first["rows"]) == ("beat", 3)
    assert [(row["host"], row["n"]) for row in first["results"]] == [("a", 1), ("b", 2), ("b", 3)]
    history = lab("GET", "/api/saved-searches/beat/runs").json()
    fired = [r for r in history if r["status"] == "fired"]
    assert len(fired) == len(receiver.bodies)  # once each time, never twice
    page = lab("GET", f"/api/searches/{fired[-1]['job']}/page").json()
    assert page["total"] == 3


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"rows": ">", "value": 2}, "fired"),
        ({"rows": ">", "value": 3}, "quiet"),
        ({"rows": "=", "value": 0}, "quiet"),
        ({"search": "stats sum(n) as total | where total > 5"}, "fired"),
        ({"search": "stats sum(n) as total | where total > 6"}, "quiet"),
    ],
)
def test_conditions(lab: Controller, condition: dict[str, Any], status: str) -> None:
    save(lab, "condition", condition=condition)
    assert run(lab, "condition")["status"] == status


def test_throttling_by_field_is_silent_for_known_values(lab: Controller, receiver: Receiver) -> None:
    throttle = {"seconds": 3600, "fields": ["host"]}
    save(lab, "quiet", throttle=throttle, actions=[{"type": "webhook", "url": receiver.url}])
    assert run(lab, "quiet")["status"] == "fired"
    assert run(lab, "quiet")["status"] == "throttled"
    assert len(receiver.bodies) == 1


def test_mail_arrives(lab: Controller, mailbox: tuple[Mailbox, int]) -> None:
    save(lab, "mail", actions=[{"type": "email", "to": "soc@example.org", "subject": "Look"}])
    assert run(lab, "mail")["actions"] == [{"type": "email", "done": True, "message": "sent to soc@example.org"}]
    envelope = mailbox[0].messages[-1]
    assert envelope.rcpt_tos == ["soc@example.org"]
    assert b"Subject: Look" in envelope.content
    assert b"host=a" in envelope.content


def test_notable_events_are_searchable_with_their_risk(lab: Controller) -> None:
    action = {"type": "index", "risk_object": "host", "risk_score": 20}
    save(lab, "notable", actions=[action])
    assert run(lab, "notable")["actions"][0]["done"]
    search = "index=notable search_name=notable | stats sum(risk_score) as risk by risk_object"
    job = lab("POST", "/api/searches?wait=30", {"search": search}).json()
    rows = lab("GET", f"/api/searches/{job['id']}/page").json()["rows"]
    assert {row["risk_object"]: row["risk"] for row in rows} == {"a": 20.0, "b": 40.0}


def test_scripts_are_those_of_the_administrator(lab: Controller) -> None:
    folder = lab.home / "scripts"
    folder.mkdir()
    script = folder / "note.sh"
    script.write_text('#!/bin/sh\ncat > "$(dirname "$0")/got.json"\n')
    script.chmod(0o755)
    save(lab, "script", actions=[{"type": "script", "name": "note.sh"}])
    assert run(lab, "script")["actions"][0]["done"]
    assert json.loads((folder / "got.json").read_text())["rows"] == 3
    for name in ("../note.sh", "/bin/sh", "missing.sh"):
        save(lab, "script", actions=[{"type": "script", "name": name}])
        assert not run(lab, "script")["actions"][0]["done"]


def test_a_webhook_follows_no_redirect_and_a_failed_action_stops_no_other(lab: Controller, receiver: Receiver) -> None:
    moved = {"type": "webhook", "url": f"{receiver.url}/moved"}
    save(lab, "moved", actions=[moved, {"type": "webhook", "url": receiver.url}])
    first, second = run(lab, "moved")["actions"]
    assert not first["done"]
    assert "302" in first["message"]
    assert second["done"]
    assert len(receiver.bodies) == 2


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://10.0.0.1/", "http://[::1]/", "file:///etc/passwd"])
def test_webhooks_reach_no_inner_address(url: str) -> None:
    with pytest.raises(Exception, match=r"inner address|no address"):
        resolve(url, [])


def test_the_owners_current_rights_decide(lab: Controller) -> None:
    owner = lab.user("analyst", "user")
    body = {"search": ROWS, "schedule": "1h"}
    assert lab("PUT", "/api/saved-searches/theirs", body, headers=owner).status_code == 200
    assert lab("POST", "/api/saved-searches/theirs/run", headers=owner).json()["status"] == "fired"
    assert lab("PATCH", "/api/users/analyst", {"roles": ["viewer"]}).status_code == 200
    ran = lab("POST", "/api/saved-searches/theirs/run").json() if lab("GET", "/api/saved-searches/theirs").ok else None
    assert ran is not None
    assert ran["status"] == "failed"
    assert ran["error"]["code"] == "forbidden"


@pytest.mark.slow
def test_the_scheduler_applies_no_model_that_its_owner_lost(
    lab: Controller, receiver: Receiver, tmp_path: Path
) -> None:
    """Three alerts on a schedule with a shared model; then it is taken back, an owner is degraded, nothing happens."""
    file = linear([2.0], tmp_path / "m.onnx").read_bytes()
    form = {"name": "shared_score", "features": "n", "target": "score", "sharing": "app"}
    for name in ("shared_score", "kept_score"):
        assert lab("POST", "/api/models/onnx", data=file, params={**form, "name": name}).status_code == 201
    alerts = {"unshared": "shared_score", "degraded": "kept_score", "able": "kept_score"}
    for owner, model in alerts.items():
        body = {
            "search": f"{ROWS} | apply onnx:{model} | where 'predicted(score)' > 5",
            "schedule": "10s",
            "actions": [{"type": "webhook", "url": receiver.url}],
        }
        headers = lab.user(owner, "user")
        assert lab("PUT", f"/api/saved-searches/by_{owner}", body, headers=headers).status_code == 200

    def newest(owner: str, after: float = 0.0) -> Any:
        history = lab("GET", f"/api/saved-searches/by_{owner}/runs").json()
        return history[0] if history and history[0]["started"] > after else None

    fired = {owner: wait_for(lambda owner=owner: newest(owner), 30, "the first runs") for owner in alerts}
    assert {run["status"] for run in fired.values()} == {"fired"}, fired
    assert [row["predicted(score)"] for row in receiver.bodies[0]["results"]] == [6.0]
    taken = {"sharing": "user", "app": "search"}
    assert lab("PUT", "/api/models/shared_score/sharing", taken).status_code == 200
    assert lab("PATCH", "/api/users/degraded", {"roles": ["viewer"]}).status_code == 200
    changed = time.time()
    later = {owner: wait_for(lambda owner=owner: newest(owner, changed), 30, "the next runs") for owner in alerts}
    for owner in alerts:
        lab("DELETE", f"/api/saved-searches/by_{owner}")
    assert {owner: run["status"] for owner, run in later.items()} == {
        "unshared": "failed",
        "degraded": "failed",
        "able": "fired",
    }
    assert (later["unshared"]["error"]["code"], later["degraded"]["error"]["code"]) == ("not-found", "forbidden")
    assert "shared_score" in later["unshared"]["error"]["detail"]
    assert {body["owner"] for body in receiver.bodies if body["time"] > changed} == {"able"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"search": " "},
        {"schedule": "5 minutes"},
        {"schedule": "1s"},
        {"schedule": "* * * *"},
        {"condition": {"rows": "~", "value": 1}},
        {"throttle": {"fields": ["a"]}},
        {"actions": [{"type": "pager"}]},
        {"actions": [{"type": "webhook"}]},
        {"actions": [{"type": "email", "to": "x", "cc": "y"}]},
        {"search": "| statz"},
    ],
)
def test_a_wrong_definition_is_refused_with_a_remedy(lab: Controller, wrong: dict[str, Any]) -> None:
    answer = lab("PUT", "/api/saved-searches/wrong", {"search": ROWS, **wrong})
    assert answer.status_code == 422, answer.text
    assert answer.json()["remedy"]
    assert lab("GET", "/api/saved-searches/wrong").status_code == 404


@pytest.mark.slow
def test_a_missed_run_runs_once(make_controller: Make) -> None:
    first = make_controller()
    save(first, "missed", schedule="10s")
    first.kill()
    killed = time.time()
    wait_for(lambda: time.time() > killed + 21, 40, "the time of two missed runs")
    second = make_controller(home_of=first)
    history = wait_for(lambda: second("GET", "/api/saved-searches/missed/runs").json(), 15, "the missed run")
    assert len(history) == 1


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "wanted"),
    [
        ("5m", "UTC", 1_000_000_000.0, 1_000_000_200.0),
        ("1d", "UTC", 86_400.0 * 3 + 5, 86_400.0 * 4),
        ("0 6 * * *", "Europe/Zurich", 1_767_225_600.0, 1_767_243_600.0),  # 2026-01-01T00:00Z: 06:00 there is 05:00Z
    ],
)
def test_schedules(schedule: str, zone: str, after: float, wanted: float) -> None:
    assert next_time(schedule, zone, after) == wanted


def test_an_impossible_schedule_is_refused() -> None:
    with pytest.raises(InvalidOptions, match="never comes"):
        next_time("0 0 31 2 *", "UTC", 0)
