"""Every error is problem details with a status of its own, the framework's errors included."""

import socket
import time
from typing import Any

import pytest
import requests

from labdock import errors
from labdock.errors import LabdockError, from_problem
from labdock_controller.web.problems import STATUS, status_of


def every_class(cls: type[LabdockError] = LabdockError) -> set[type[LabdockError]]:
    return {cls}.union(*(every_class(sub) for sub in cls.__subclasses__() if sub.__module__ == errors.__name__))


def test_every_code_has_a_status_and_no_status_has_no_code() -> None:
    codes = {cls.code for cls in every_class()}
    assert set(STATUS) == codes
    assert all(400 <= status < 600 for status in STATUS.values())
    for cls in every_class():
        assert status_of(cls("m")) == STATUS[cls.code]


CASES = [
    ("GET", "/nothing", None, 404, "not-found"),
    ("GET", "/api/environments/nothing", None, 404, "not-found"),
    ("DELETE", "/health", None, 405, "bad-request"),
    ("POST", "/api/environments", {"name": "x", "mood": "good"}, 422, "invalid-options"),
    ("POST", "/api/environments", {}, 422, "invalid-options"),
    ("POST", "/api/environments", {"name": "a/b"}, 422, "invalid-name"),
    ("POST", "/api/environments", {"name": "x" * 300}, 422, "invalid-name"),
    ("POST", "/api/environments", {"name": "\u0430dmin"}, 422, "invalid-name"),
    ("POST", "/api/environments", {"name": "a\u0000"}, 422, "invalid-name"),
    ("POST", "/api/environments", {"name": "x", "runtime": "quik"}, 404, "not-found"),
    ("POST", "/api/environments", {"name": "x", "limits": {"cpus": -1}}, 422, "invalid-options"),
    ("POST", "/api/users", {"name": "x", "roles": ["amdin"]}, 422, "invalid-options"),
    ("POST", "/api/users", {"name": "x", "password": "short"}, 422, "invalid-options"),
    ("POST", "/api/users", {"name": "admin"}, 409, "conflict"),
    ("DELETE", "/api/users/admin", None, 409, "conflict"),
    ("GET", "/api/models/nothing", None, 404, "not-found"),
    ("GET", "/sign-in?ticket=ldt_wrong", None, 401, "unauthenticated"),
    ("DELETE", "/api/tokens/nothing", None, 404, "not-found"),
    ("GET", "/api/environments?x=%ff", None, 200, None),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), CASES)
def test_refusals(shared_controller: Any, method: str, path: str, body: Any, status: int, code: str | None) -> None:
    answer = shared_controller(method, path, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Labdock-Request"]
    if code is None:
        return
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["request_id"] == answer.headers["Labdock-Request"]
    assert problem["detail"]
    assert problem["remedy"]
    assert type(from_problem(problem)).code == code


def test_did_you_mean(shared_controller: Any) -> None:
    assert (
        "'quick'" in shared_controller("POST", "/api/environments", {"name": "x", "runtime": "quik"}).json()["remedy"]
    )
    assert "'admin'" in shared_controller("POST", "/api/users", {"name": "x", "roles": ["amdin"]}).json()["remedy"]


def test_bodies_that_are_no_json_or_too_large(shared_controller: Any) -> None:
    url = f"{shared_controller.url}/api/users"
    headers = {"Content-Type": "application/json"}
    for body in (b"{", b"\xff\xfe", b"[]", b"null", b""):
        answer = shared_controller.http.post(url, data=body, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-options"), body
    answer = shared_controller.http.post(url, data=b"x" * 1_100_000, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (413, "limit-exceeded")


def test_values_of_a_refused_body_are_not_repeated(shared_controller: Any) -> None:
    body = {"name": "x", "roles": "user", "password": "canary-8f2a-secret", "more": "canary-8f2a-secret"}
    answer = shared_controller("POST", "/api/users", body)
    assert answer.status_code == 422
    assert "canary-8f2a" not in answer.text
    assert "canary-8f2a" not in shared_controller.text()


def test_an_unauthenticated_answer_says_how(shared_controller: Any) -> None:
    answer = requests.get(f"{shared_controller.url}/api/me", timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.slow
def test_a_trickling_body_is_ended_and_others_are_not_delayed(make_controller: Any) -> None:
    controller = make_controller(body_seconds=1)
    head = (
        f"POST /api/users HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {controller.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    ).encode()
    slow = []
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", int(controller.url.rpartition(":")[2])), 30)
        connection.sendall(head)
        slow.append(connection)
    began = time.monotonic()
    assert controller("GET", "/health").status_code == 200
    assert time.monotonic() - began < 1
    for connection in slow:
        answer = connection.makefile("rb").read(4096)
        assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
        connection.close()
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_a_locked_store_is_503_with_retry_after(controller: Any) -> None:
    import sqlite3

    connection = sqlite3.connect(controller.home / "labdock.sqlite3", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    answer = controller("POST", "/api/users", {"name": "x"})
    assert 4 < time.monotonic() - began < 15
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert controller("GET", "/api/environments").status_code == 200
    connection.execute("ROLLBACK")
    connection.close()
    assert controller("POST", "/api/users", {"name": "x"}).status_code == 201
