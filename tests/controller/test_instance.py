"""One controller for one home: the second exits naming the first; a frozen one is replaced and then gives up."""

import os
import signal
import time
from typing import Any

import pytest
import requests


def ended(controller: Any, seconds: float = 120.0) -> str:
    assert controller.process.wait(seconds) == 1
    return str(controller.text())


def test_the_second_controller_exits_and_names_the_first(make_controller: Any) -> None:
    first = make_controller()
    made = first.start("e")
    second = make_controller(first, ready=False)
    said = ended(second)
    assert f"process {first.process.pid} on " in said
    assert first.url in said
    assert "Traceback" not in said
    assert first.environment("e")["status"] == "running"
    assert len(first.supervisors(made["id"])) == 1
    assert first.address()["url"] == first.url


@pytest.mark.slow
def test_of_five_started_at_once_one_stays(make_controller: Any) -> None:
    first = make_controller(ready=False)
    all_ = [first, *(make_controller(first, ready=False) for _ in range(4))]
    deadline = time.monotonic() + 150
    while sum(c.process.poll() is None for c in all_) > 1:
        assert time.monotonic() < deadline, [c.text() for c in all_]
        time.sleep(0.05)
    (winner,) = [c for c in all_ if c.process.poll() is None]
    winner.ready()
    for loser in all_:
        if loser is not winner:
            assert f"process {winner.process.pid} on " in loser.text(), loser.text()


@pytest.mark.slow
def test_a_frozen_controller_is_replaced_and_gives_up_when_it_wakes(make_controller: Any) -> None:
    first = make_controller()
    made = first.start("e")
    (process,) = first.supervisors(made["id"])
    first.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    second = make_controller(first)
    assert time.monotonic() - began < 120  # 9 s of silence, and what a busy machine takes to start a process
    assert second.environment("e")["status"] == "running"
    assert second.supervisors(made["id"]) == [process]
    first.process.send_signal(signal.SIGCONT)
    said = ended(first)
    assert f"Another controller took over: process {second.process.pid}" in said
    # It removed nothing of its successor's.
    assert second.address() is not None
    assert (second.run / "controller.sock").exists()
    assert second.environment("e")["status"] == "running"
    assert second("POST", "/api/users", {"name": "x"}).status_code == 201
    third = make_controller(first, ready=False)
    assert f"process {second.process.pid} on " in ended(third)


@pytest.mark.slow
def test_a_frozen_controller_does_not_keep_the_port(make_controller: Any) -> None:
    first = make_controller()
    port = first.url.rpartition(":")[2]
    first.process.send_signal(signal.SIGSTOP)
    second = make_controller(first, port=port)
    assert second.url == first.url
    assert first.process.wait(10) == -signal.SIGKILL
    assert second("GET", "/api/me").status_code == 200


def test_after_kill_9_the_next_starts_without_waiting(make_controller: Any) -> None:
    first = make_controller()
    first.kill()
    second = make_controller(first)
    log = second.text()
    assert "took over" not in log
    assert second("GET", "/api/environments").status_code == 200


def test_a_taken_port_is_named(make_controller: Any) -> None:
    first = make_controller()
    port = first.url.rpartition(":")[2]
    second = make_controller(ready=False, port=port)
    said = ended(second)
    assert f"127.0.0.1:{port} cannot be listened on" in said
    assert "--port" in said
    assert "Traceback" not in said


def test_a_wrong_setting_is_named(make_controller: Any, tmp_path: Any) -> None:
    said = ended(make_controller(ready=False, database_url="mysql://x"))
    assert "mysql" in said
    assert "Traceback" not in said


def test_the_first_start_prints_one_link_that_works_once(make_controller: Any) -> None:
    first = make_controller()
    (line,) = [line for line in first.text().splitlines() if line.startswith("Labdock ")]
    assert first.url in line
    link = line.rpartition(" ")[2]
    with requests.Session() as browser:
        answer = browser.get(link, allow_redirects=False, timeout=30)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert browser.get(f"{first.url}/api/me", timeout=30).json()["user"] == "admin"
        assert requests.get(link, allow_redirects=False, timeout=30).status_code == 401
    assert first.end() == 0
    second = make_controller(first)
    (line,) = [line for line in second.text().splitlines() if line.startswith("Labdock ")]
    assert "ticket" not in line


def test_files_are_private(controller: Any) -> None:
    controller.start("e")
    for path in (
        controller.home / "controller.json",
        controller.home / "owner.token",
        controller.home / "labdock.sqlite3",
    ):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (controller.run / "controller.sock").stat().st_mode & 0o077 == 0
    assert controller.run.stat().st_mode & 0o077 == 0


def test_the_unix_socket_answers_like_tcp(controller: Any) -> None:
    from labdock_controller import probe

    address = f"unix:{controller.run / 'controller.sock'}"
    assert probe.get(address, "/api/me", controller.token)[0] == 200
    assert probe.get(address, "/api/me")[0] == 401


def test_secrets_are_in_their_files_and_nowhere_else(make_controller: Any) -> None:
    controller = make_controller(log_level="debug")
    made = controller.start("e")
    secrets = {
        "owner": controller.token,
        "environment": (controller.run / made["id"] / "token").read_text(),
        "password": "canary-password-1c9",
    }
    assert controller("POST", "/api/users", {"name": "x", "password": secrets["password"]}).status_code == 201
    controller("GET", f"/api/me?token={controller.token}")
    controller("GET", f"/sign-in?ticket={controller.token}")
    assert controller.end() == 0
    allowed = {"owner.token", "token"}
    for folder in (controller.home, controller.run):
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in allowed:
                content = path.read_bytes()
                for name, secret in secrets.items():
                    assert secret.encode() not in content, f"{name} secret in {path}"
    for process in controller.processes():
        text = " ".join([*process.cmdline(), *process.environ().values()])
        assert not [name for name, secret in secrets.items() if secret in text]


@pytest.mark.slow
def test_open_streams_do_not_hold_up_the_end(controller: Any) -> None:
    controller.start("e")
    headers = {"Authorization": f"Bearer {controller.token}"}
    streams = [
        requests.get(f"{controller.url}{path}", headers=headers, stream=True, timeout=30)
        for path in ("/api/events", "/api/environments/e/logs?follow=true")
    ]
    lines = [stream.iter_lines() for stream in streams]
    for one in lines:
        assert next(one)
    began = time.monotonic()
    assert controller.end() == 0
    assert time.monotonic() - began < 5
    for one in lines:
        list(one)
    for stream in streams:
        stream.close()
    os.kill(controller.supervisors(controller_id(controller))[0].pid, 0)  # the environment goes on


def controller_id(controller: Any) -> str:
    return next(p.name for p in controller.run.iterdir() if len(p.name) == 12)
