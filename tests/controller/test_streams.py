"""Server-sent events: nothing is missed, nothing comes twice, nobody sees what is not theirs, and streams end."""

import json
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
import requests


class Stream:
    """One open stream of events."""

    def __init__(self, controller: Any, path: str, token: str | None = None, after: int | None = None) -> None:
        headers = {"Authorization": f"Bearer {token or controller.token}"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        self.answer = requests.get(f"{controller.url}{path}", headers=headers, stream=True, timeout=40)
        assert self.answer.status_code == 200, self.answer.text
        assert self.answer.headers["Content-Type"].startswith("text/event-stream")
        self.lines = self.answer.iter_lines(chunk_size=1, decode_unicode=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()

    def events(self) -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for line in self.lines:
            name, _, value = line.partition(": ")
            if line == "" and "data" in event:
                yield event
            if line == "":
                event = {}
            elif line.startswith(":"):
                event["comment"] = line
            else:
                event[name] = json.loads(value) if name == "data" else value

    def until(self, status: str) -> list[dict[str, Any]]:
        seen = []
        for event in self.events():
            seen.append(event)
            if event["data"].get("status") == status:
                return seen
        raise AssertionError(f"the stream ended before {status}: {seen}")


def test_a_reconnecting_listener_misses_nothing_and_sees_nothing_twice(controller: Any) -> None:
    with Stream(controller, "/api/events") as live:
        next(iter(live.lines))
        controller.start("e")
        first = live.until("running")
    seen = [int(event["id"]) for event in first]
    controller("POST", "/api/environments/e/stop?wait=60")
    controller("DELETE", "/api/environments/e")
    with Stream(controller, "/api/events", after=seen[-1]) as again:
        rest = []
        for event in again.events():
            rest.append(event)
            if event["event"] == "removed":
                break
    with Stream(controller, "/api/events", after=0) as all_:
        everything = []
        for event in all_.events():
            everything.append(event)
            if event["event"] == "removed":
                break
    ids = [int(event["id"]) for event in everything]
    assert ids == sorted(set(ids))
    assert [*first, *rest] == everything
    assert {e["event"] for e in everything} == {"environment", "phase", "removed"}
    assert [e["data"]["status"] for e in everything if e["event"] != "phase"] == [
        "starting",
        "running",
        "stopping",
        "stopped",
        "stopping",
        "stopped",
    ]
    assert all(event["data"]["name"] == "e" and "token" not in event["data"] for event in everything)


def test_events_come_at_once_and_to_every_listener(controller: Any) -> None:
    streams = [Stream(controller, "/api/events") for _ in range(20)]
    for stream in streams:
        next(iter(stream.lines))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda s=s: found.append(s.until("starting")[0]["data"]["name"])) for s in streams
    ]
    for thread in threads:
        thread.start()
    controller.start("e", wait=0)
    for thread in threads:
        thread.join(20)
    assert found == ["e"] * 20
    for stream in streams:
        stream.answer.close()


def test_only_what_one_may_see(controller: Any) -> None:
    controller("POST", "/api/users", {"name": "bob", "roles": ["user"]})
    link = controller("POST", "/api/users/bob/tickets").json()["url"]
    with requests.Session() as browser:
        browser.get(link, allow_redirects=False, timeout=30)
        headers = {"Origin": controller.url}
        token = browser.post(f"{controller.url}/api/tokens", json={"name": "t"}, headers=headers, timeout=30).json()[
            "token"
        ]
    controller.start("secret")
    controller("DELETE", "/api/environments/secret?files=true")
    body = {"name": "his", "runtime": "quick"}
    controller("POST", "/api/environments?wait=60", body, headers={"Authorization": f"Bearer {token}"})
    with Stream(controller, "/api/events", token, after=0) as his:
        assert {e["data"]["name"] for e in his.until("running")} == {"his"}
    with Stream(controller, "/api/events", after=0) as administrator:
        names = set()
        for event in administrator.events():
            names.add(event["data"]["name"])
            if names == {"secret", "his"}:
                break


def test_a_wrong_number_is_refused(controller: Any) -> None:
    for number in ("x", "-1", "1e3", "9" * 30, "٣"):
        headers = {"Last-Event-ID": number.encode()}
        assert controller("GET", "/api/events", headers=headers).status_code == 422, number


def test_following_a_log_shows_new_lines_and_the_end(controller: Any) -> None:
    made = controller.start("e")
    log = controller.home / "environments" / made["id"] / "logs" / "api.log"
    with Stream(controller, "/api/environments/e/logs?follow=true&tail=10") as stream:
        events = stream.events()
        lines = []
        for event in events:
            lines.append(event["data"])
            if event["data"].endswith("listening"):
                break
        assert lines[0].endswith("one line of log")
        with log.open("a") as file:
            file.write('a line with "quotes" and é\n')
        new = next(event["data"] for event in events if event["data"].startswith("api | "))
        assert new == 'api | a line with "quotes" and é'
        controller("POST", "/api/environments/e/stop?wait=60")
        assert [e.get("event") for e in events][-1] == "end"


@pytest.mark.slow
def test_a_quiet_stream_has_a_heartbeat(controller: Any) -> None:
    with Stream(controller, "/api/events") as stream:
        lines = [line for line in (next(iter(stream.lines)) for _ in range(3)) if line]
    assert lines == [": connected", ": still here"]
