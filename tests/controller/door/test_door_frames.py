"""Frames through the door: what reaches the environment, what comes back, and what is left when somebody goes."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import wait_for

from labdock import spool as spool_module
from labdock_controller.door import DoorLimits
from labdock_controller.door.spool import sweep
from labdock_controller.web.protocol import ControllerProtocol

FIT = "/api/environments/__dev__/fit"
APPLY = "/api/environments/__dev__/apply"
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}
FRAME = b"a frame that is large enough to be spooled " * 2000

# Everything here holds on the controller's own protocol, where frames go from the socket into the file, and on
# uvicorn's, where they pass as ASGI messages.
pytestmark = pytest.mark.parametrize("door", [ControllerProtocol, "httptools"], indirect=True)


def spooled(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "spool").iterdir())


def raw_request(door: Any, text: bytes, *, tcp: bool = False) -> socket.socket:
    """A connection on which `text` was sent."""
    if tcp:
        connection = socket.create_connection(("127.0.0.1", door.served.port))
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(door.served.path))
    connection.settimeout(10)
    connection.sendall(text)
    return connection


def answer_of(connection: socket.socket) -> bytes:
    """One whole answer; closes the connection."""
    with connection, connection.makefile("rb") as file:
        lines = []
        while (line := file.readline()) not in {b"\r\n", b""}:
            lines.append(line)
        length = next((int(x.split(b":")[1]) for x in lines if x.lower().startswith(b"content-length")), 0)
        return b"".join(lines) + file.read(length)


def head(path: str, length: int | str, extra: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice-token\r\n"
        f"Content-Length: {length}\r\n{extra}\r\n"
    ).encode()


# -- what reaches the environment ------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["stage", "fit", "apply"])
def test_a_frame_is_spooled_once_and_named(door: Any, environment: Any, action: str) -> None:
    frame = os.urandom(3_000_001)
    status, _, body = door.ask("POST", f"/api/environments/__dev__/{action}", frame, ARROW)
    assert (status, body) == (200, b"an answer")
    seen = environment.requests[0]
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", f"/v1/{action}", b"")
    assert seen["frame"] == frame
    assert seen["mode"] == 0o600
    wait_for(lambda: spooled(environment.run) == [])


def test_a_small_frame_is_sent_on_as_it_is(door: Any, environment: Any) -> None:
    for action in ("stage", "fit", "apply"):
        assert door.ask("POST", f"/api/environments/__dev__/{action}", b"small", ARROW)[0] == 200
        assert environment.requests[-1]["body"] == b"small"
        assert "labdock-spool" not in environment.requests[-1]["headers"]


def test_without_a_shared_folder_the_frame_is_streamed(door: Any, remote: Any) -> None:
    frame = os.urandom(3_000_001)
    status, _, body = door.ask("POST", APPLY, frame, ARROW)
    assert (status, body) == (200, b"an answer")
    assert remote.requests[0]["body"] == frame
    assert remote.requests[0]["headers"]["content-length"] == str(len(frame))
    assert "labdock-spool" not in remote.requests[0]["headers"]


def test_a_chunked_body_is_taken_both_ways(door: Any, environment: Any, remote: Any) -> None:
    parts = [os.urandom(70_000) for _ in range(20)]
    status, _, _ = door.ask("POST", APPLY, iter(parts), ARROW)
    assert status == 200
    assert remote.requests[0]["body"] == b"".join(parts)


def test_only_the_words_of_the_contract_are_forwarded(door: Any, environment: Any) -> None:
    sent = {
        "Labdock-Options": '{"model": "m"}',
        "Idempotency-Key": "key-1",
        "Prefer": "respond-async",
        "Accept": "text/csv",
        "Content-Type": "text/csv",
        "Cookie": "labdock_session=alice-token",
        "X-Forwarded-For": "10.0.0.1",
        "Proxy-Authorization": "Basic abc",
    }
    door.ask("POST", APPLY, b"a\n1\n", sent)
    got = environment.requests[0]["headers"]
    for name in ("Labdock-Options", "Idempotency-Key", "Prefer", "Accept", "Content-Type"):
        assert got[name.lower()] == sent[name]
    assert got["authorization"] == "Bearer inner"
    assert not {"cookie", "x-forwarded-for", "proxy-authorization"} & set(got)
    assert "alice-token" not in json.dumps(got)


def test_answers_and_errors_come_back_unchanged(door: Any, environment: Any) -> None:
    problem = json.dumps({"type": "urn:labdock:error:module-error", "status": 422, "code": "module-error"}).encode()
    environment.answer = (
        422,
        [(b"content-type", b"application/problem+json"), (b"labdock-job", b"j9"), (b"connection", b"x-private"),
         (b"x-private", b"1"), (b"x-kept", b"2"), (b"retry-after", b"7")],
        [problem],
    )  # fmt: skip
    status, headers, body = door.ask("POST", APPLY, FRAME)
    assert (status, body) == (422, problem)
    assert headers["Content-Type"] == "application/problem+json"
    assert (headers["Labdock-Job"], headers["X-Kept"], headers["Retry-After"]) == ("j9", "2", "7")
    assert headers["X-Private"] is None
    assert len(headers.get_all("Date")) == 1
    assert headers.get_all("Server") is None
    assert door.host.records == []


def test_a_long_answer_comes_back_whole(door: Any, environment: Any) -> None:
    parts = [os.urandom(1_000_000) for _ in range(40)]
    environment.answer = (200, [], parts)
    _, headers, body = door.ask("POST", APPLY, FRAME)
    assert body == b"".join(parts)
    assert headers["Content-Length"] == "40000000"


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "modules", "/v1/modules"),
        ("GET", "jobs", "/v1/jobs"),
        ("DELETE", "jobs/j1", "/v1/jobs/j1"),
        ("GET", "jobs/j1/result?wait=0", "/v1/jobs/j1/result"),
        ("GET", "jobs/j1/events", "/v1/jobs/j1/events"),
        ("POST", "modules/m/export", "/v1/modules/m/export"),
        ("POST", "summary", "/v1/summary"),
    ],
)
def test_the_rest_passes_through(door: Any, environment: Any, method: str, path: str, target: str) -> None:
    body = b'{"model": "m"}' if path == "summary" else None
    status, _, _ = door.ask(method, f"/api/environments/__dev__/{path}", body, {"Last-Event-ID": "7"})
    assert status == 200
    seen = environment.requests[0]
    assert (seen["method"], seen["path"], seen["body"]) == (method, target, body or b"")
    assert seen["query"] == ("wait=0" if "wait" in path else "")
    assert seen["headers"]["last-event-id"] == "7"


@pytest.mark.parametrize("path", ["jobs/..%2f..%2factivity", "jobs/%2e%2e", "modules/..%2fx/export", "jobs/a%00b"])
def test_no_path_reaches_beyond_its_route(door: Any, environment: Any, path: str) -> None:
    method = "POST" if "export" in path else "GET"
    status, _, _ = door.ask(method, f"/api/environments/__dev__/{path}")
    assert status in {400, 404}
    assert environment.requests == []


# -- who may -----------------------------------------------------------------------------------------------------------


def test_rights_are_checked_before_the_body(door: Any, environment: Any) -> None:
    connection = raw_request(door, head(FIT, 10**9).replace(b"alice-token", b"mallory-token"))
    assert answer_of(connection).startswith(b"HTTP/1.1 401")
    connection = raw_request(door, head(FIT, 10**9).replace(b"alice-token", b"viewer-token"))
    assert answer_of(connection).startswith(b"HTTP/1.1 403")
    assert environment.requests == []
    wait_for(lambda: spooled(environment.run) == [])


def test_sharing_needs_its_right_before_the_body(door: Any, environment: Any) -> None:
    options = 'Labdock-Options: {"model": "m", "sharing": "app"}\r\n'
    connection = raw_request(door, head(FIT, 10**9, options).replace(b"alice-token", b"bob-token"))
    assert answer_of(connection).startswith(b"HTTP/1.1 403")


def test_stopped_and_unknown_environments_are_named(door: Any) -> None:
    door.host.environments["gone"] = ("alice", None)
    status, _, body = door.ask("POST", "/api/environments/gone/apply", FRAME)
    assert status == 409
    assert "labdock start gone" in json.loads(body)["remedy"]
    assert door.ask("POST", "/api/environments/other/apply", FRAME)[0] == 404
    assert door.ask("POST", "/api/environments/a%2Fb/apply", FRAME)[0] == 404
    status, _, body = door.ask("POST", "/api/environments/a%20b/apply", FRAME)
    assert (status, json.loads(body)["code"]) == (400, "invalid-name")


def test_an_environment_that_does_not_answer_is_named(door: Any, environment: Any) -> None:
    (environment.run / "api.sock").unlink()
    status, _, body = door.ask("POST", APPLY, FRAME)
    assert (status, json.loads(body)["code"]) == (502, "launch-error")
    assert "labdock logs __dev__" in json.loads(body)["remedy"]
    wait_for(lambda: spooled(environment.run) == [])


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_body_over_the_cap_is_refused_before_it_is_read(door: Any, environment: Any) -> None:
    door.host.limit = DoorLimits(max_body=1_000_000)
    connection = raw_request(door, head(APPLY, 1_000_001))
    answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"LABDOCK_MAX_BODY_MB" in answer
    assert b"connection: close" in answer.lower()
    assert environment.requests == []
    wait_for(lambda: spooled(environment.run) == [])


def test_a_chunked_body_over_the_cap_is_refused_when_it_gets_there(door: Any, environment: Any) -> None:
    door.host.limit = DoorLimits(max_body=1_000_000)
    request = head(APPLY, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    connection = raw_request(door, request + b"100000\r\n" + bytes(0x100000) + b"\r\n")
    assert answer_of(connection).startswith(b"HTTP/1.1 413")
    wait_for(lambda: spooled(environment.run) == [])
    assert environment.requests == []


@pytest.mark.parametrize("shared", [True, False])
def test_a_client_that_trickles_is_a_408(door: Any, environment: Any, shared: bool, request: Any) -> None:
    if not shared:
        request.getfixturevalue("remote")
    door.host.limit = DoorLimits(body_seconds=1.0, body_rate=1000)
    connection = raw_request(door, head(APPLY, 100_000) + b"x")
    connection.settimeout(0.05)
    begun, answer = time.monotonic(), b""
    while not answer and time.monotonic() < begun + 10:
        with contextlib.suppress(TimeoutError):
            answer = connection.recv(65536)
        if not answer:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
    assert answer.startswith(b"HTTP/1.1 408")
    assert 0.9 < time.monotonic() - begun < 4
    connection.close()
    wait_for(lambda: spooled(environment.run) == [])
    if shared:
        assert environment.requests == []


@pytest.mark.slow
def test_two_hundred_that_trickle_stop_nobody(door: Any, environment: Any) -> None:
    """Every one of them is told 408; meanwhile others are answered, and nothing of the 200 is left."""
    door.host.limit = DoorLimits(body_seconds=3.0, body_rate=10**9)
    before = door.descriptors()
    slow = [raw_request(door, head(APPLY, 1_000_000) + b"x") for _ in range(200)]
    served = 0
    until = time.monotonic() + 2
    while time.monotonic() < until:
        status, _, body = door.ask("POST", APPLY, FRAME)
        assert (status, body) == (200, b"an answer")
        served += 1
    assert served > 20
    assert {answer_of(connection).split(b"\r\n")[0] for connection in slow} == {b"HTTP/1.1 408 Request Timeout"}
    wait_for(lambda: spooled(environment.run) == [])
    wait_for(lambda: door.descriptors() <= before + 4)


def test_a_slow_body_that_is_fast_enough_passes(door: Any, environment: Any) -> None:
    door.host.limit = DoorLimits(body_seconds=0.3, body_rate=100_000)
    connection = raw_request(door, head(APPLY, 150_000))
    for _ in range(15):
        connection.sendall(bytes(10_000))
        time.sleep(0.05)  # the client's own pace: 200 kB/s
    assert answer_of(connection).startswith(b"HTTP/1.1 200")


def test_the_time_of_a_slow_environment_is_not_the_clients(door: Any, remote: Any) -> None:
    door.host.limit = DoorLimits(body_seconds=0.3, body_rate=10**9)
    remote.go.clear()
    connection = raw_request(door, head(APPLY, len(FRAME)) + FRAME)
    wait_for(lambda: remote.requests)
    time.sleep(0.6)  # longer than a body may take
    remote.go.set()
    assert answer_of(connection).startswith(b"HTTP/1.1 200")


def test_a_full_disk_is_a_507(door: Any, environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def full(handle: int, data: Any, offset: int) -> int:
        if str(Path(f"/proc/self/fd/{handle}").readlink()).startswith(str(environment.run)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data, offset)

    monkeypatch.setattr(spool_module.os, "pwrite", full)
    status, _, body = door.ask("POST", APPLY, FRAME)
    assert (status, json.loads(body)["code"]) == (507, "disk-full")
    wait_for(lambda: spooled(environment.run) == [])


def test_an_empty_body_is_refused(door: Any, environment: Any) -> None:
    status, _, body = door.ask("POST", APPLY, b"")
    assert (status, json.loads(body)["code"]) == (400, "invalid-frame")


# -- who goes away -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 1, 65_536, 999_999])
@pytest.mark.parametrize("shared", [True, False])
def test_a_disconnect_during_the_upload_leaves_nothing(
    door: Any, environment: Any, sent: int, shared: bool, request: Any
) -> None:
    if not shared:
        request.getfixturevalue("remote")
    before = door.descriptors()
    connection = raw_request(door, head(FIT, 1_000_000) + bytes(sent), tcp=True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # a reset
    wait_for(lambda: not door.served.server.server_state.tasks)
    wait_for(lambda: not door.door.frames._background)
    wait_for(lambda: spooled(environment.run) == [])
    assert door.host.records == []
    assert not [r for r in environment.requests if r["frame"] or r["body"]]
    assert door.ask("POST", APPLY, FRAME)[0] == 200
    wait_for(lambda: door.descriptors() <= before + 4)


@pytest.mark.parametrize("shared", [True, False])
def test_an_apply_whose_client_left_is_given_up(door: Any, environment: Any, shared: bool, request: Any) -> None:
    if not shared:
        request.getfixturevalue("remote")
    environment.go.clear()
    connection = raw_request(door, head(APPLY, len(FRAME)) + FRAME)
    wait_for(lambda: environment.requests)
    connection.close()
    wait_for(environment.left.is_set)
    wait_for(lambda: spooled(environment.run) == [])


@pytest.mark.parametrize("shared", [True, False])
def test_a_fit_whose_client_left_is_recorded(door: Any, environment: Any, shared: bool, request: Any) -> None:
    if not shared:
        request.getfixturevalue("remote")
    environment.go.clear()
    environment.answer = (200, [(b"labdock-job", b"j1")], [bytes(1_000_000)] * 5)
    options = 'Labdock-Options: {"model": "m", "algo": "a"}\r\n'
    connection = raw_request(door, head(FIT, len(FRAME), options) + FRAME)
    wait_for(lambda: environment.requests)
    connection.close()
    wait_for(lambda: not door.served.server.server_state.connections)
    assert not environment.left.is_set()
    environment.go.set()
    wait_for(lambda: door.host.records)
    job = {**environment.job, "metrics": "new", "rows": 7}
    assert door.host.records == [("0123456789ab", job, {"model": "m", "algo": "a"}, "alice")]
    wait_for(lambda: spooled(environment.run) == [])


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_fits_record_begins_before_its_answer_ends(door: Any, environment: Any) -> None:
    environment.answer = (200, [(b"labdock-job", b"j1")], [b"part one", b"part two"])
    ended: list[bool] = []
    connection: list[socket.socket] = []

    def begins() -> None:
        connection[0].settimeout(0.5)
        got = b""
        with contextlib.suppress(TimeoutError):
            while not got.endswith(b"part two"):
                got += connection[0].recv(65536)
        ended.append(got.endswith(b"part two"))

    door.host.record_begins = begins
    connection.append(raw_request(door, head(FIT, len(FRAME))))
    connection[0].sendall(FRAME)
    wait_for(lambda: door.host.records)
    connection[0].settimeout(10)
    assert connection[0].recv(65536).endswith(b"part two")
    connection[0].close()
    assert ended == [False]


def test_a_record_in_the_answer_saves_asking(door: Any, environment: Any) -> None:
    record = json.dumps({"model": "m", "version": 4, "features": ["x"], "metrics": {"auc": 0.9}}).encode()
    environment.answer = (200, [(b"labdock-job", b"j1"), (b"labdock-record", record)], [b"an answer"])
    assert door.ask("POST", FIT, FRAME)[0] == 200
    told = door.host.records[0][1]
    assert told == {"id": "j1", "status": "done", **json.loads(record)}
    assert len(environment.requests) == 1


def test_a_record_that_fails_does_not_fail_the_fit(door: Any, environment: Any) -> None:
    def fails() -> None:
        raise RuntimeError("the store is locked")

    environment.answer = (200, [(b"labdock-job", b"j1")], [b"an answer"])
    door.host.noting = fails
    assert door.ask("POST", FIT, FRAME)[::2] == (200, b"an answer")


def test_a_fits_record_does_not_wait_for_a_client_that_reads_nothing(door: Any, environment: Any) -> None:
    environment.answer = (200, [(b"labdock-job", b"j1")], [bytes(1_000_000)] * 50)
    with contextlib.closing(raw_request(door, head(FIT, len(FRAME)) + FRAME)):
        wait_for(lambda: door.host.records)
        assert door.door.frames._background, "the answer's end has not passed yet"


def test_an_accepted_fit_is_recorded_when_it_is_done(door: Any, environment: Any) -> None:
    environment.answer = (202, [(b"labdock-job", b"j1")], [b"{}"])
    assert door.ask("POST", FIT, FRAME, {"Prefer": "respond-async"})[0] == 202
    wait_for(lambda: door.host.records)
    asked = [r["path"] for r in environment.requests[1:]]
    assert asked[:2] == ["/v1/jobs/j1/events", "/v1/jobs/j1"]
    # The model's name was not in a header: the job tells it.
    assert sorted(asked[2:]) == ["/v1/jobs/j1", "/v1/models/default", "/v1/models/m"]
    assert door.host.records[0][1]["metrics"] == "new"


def test_an_accepted_fit_that_failed_is_not_recorded(door: Any, environment: Any) -> None:
    environment.answer = (202, [(b"labdock-job", b"j1")], [b"{}"])
    environment.job["status"] = "failed"
    assert door.ask("POST", FIT, FRAME, {"Prefer": "respond-async"})[0] == 202
    wait_for(lambda: len(environment.requests) == 3 and not door.door.frames._background)
    assert door.host.records == []


def test_only_fits_are_recorded(door: Any, environment: Any) -> None:
    environment.answer = (200, [(b"labdock-job", b"j1")], [b"an answer"])
    assert door.ask("POST", APPLY, FRAME)[0] == 200
    assert door.ask("POST", "/api/environments/__dev__/stage", FRAME)[0] == 200
    assert len(environment.requests) == 2
    assert door.host.records == []


# -- frames that callers leave -----------------------------------------------------------------------------------------


def leave(door: Any, content: bytes, name: str = "0123456789abcdef") -> Path:
    path: Path = door.host.run / "spool" / name
    path.write_bytes(content)
    path.chmod(0o640)
    return path


def test_a_caller_on_this_machine_leaves_its_frame(door: Any, environment: Any) -> None:
    left = leave(door, b"a frame")
    inode = left.stat().st_ino
    status, _, body = door.ask("POST", APPLY, None, {"Labdock-Spool": left.name, **ARROW})
    assert (status, body) == (200, b"an answer")
    seen = environment.requests[0]
    assert seen["frame"] == b"a frame"
    assert seen["mode"] == 0o600
    assert seen["headers"]["labdock-spool"] != left.name
    assert seen["headers"]["content-type"] == ARROW["Content-Type"]
    assert not left.exists()
    wait_for(lambda: spooled(environment.run) == [])
    assert inode  # moved by rename: no copy was made
    assert door.ask("POST", APPLY, None, {"Labdock-Spool": left.name})[0] == 404


def test_a_left_frame_is_taken_over_the_unix_socket_only(door: Any, environment: Any) -> None:
    left = leave(door, b"a frame")
    status, _, body = door.ask("POST", APPLY, None, {"Labdock-Spool": left.name}, tcp=True)
    assert (status, json.loads(body)["code"]) == (400, "invalid-options")
    assert left.read_bytes() == b"a frame"
    assert environment.requests == []


def test_a_left_frame_is_streamed_where_no_folder_is_shared(door: Any, remote: Any) -> None:
    content = os.urandom(3_000_001)
    left = leave(door, content)
    assert door.ask("POST", APPLY, None, {"Labdock-Spool": left.name})[0] == 200
    assert remote.requests[0]["body"] == content
    assert remote.requests[0]["headers"]["content-length"] == str(len(content))
    assert not left.exists()
    assert door.ask("POST", APPLY, None, {"Labdock-Spool": left.name})[0] == 404


@pytest.mark.parametrize("name", ["../controller.sock", "..", "/etc/passwd", "short", "a" * 65, "0123456789abcde.", ""])
def test_names_that_are_none_are_refused(door: Any, environment: Any, name: str) -> None:
    assert door.ask("POST", APPLY, None, {"Labdock-Spool": name})[0] == 400
    assert environment.requests == []


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "folder", "socket"])
@pytest.mark.parametrize("shared", [True, False])
def test_only_plain_files_are_taken(door: Any, environment: Any, kind: str, shared: bool, request: Any) -> None:
    if not shared:
        request.getfixturevalue("remote")
    secret = door.host.run / "secret"
    secret.write_bytes(b"the controller's own")
    path = door.host.run / "spool" / "0123456789abcdef"
    if kind == "symlink":
        path.symlink_to(secret)
    elif kind == "hardlink":
        os.link(secret, path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    status, _, _ = door.ask("POST", APPLY, None, {"Labdock-Spool": path.name})
    assert status == 400
    assert environment.requests == []
    assert not [n for n in spooled(environment.run) if not (environment.run / "spool" / n).is_dir()]
    assert secret.read_bytes() == b"the controller's own"


def test_a_left_frame_over_the_cap_is_refused_and_gone(door: Any, environment: Any) -> None:
    door.host.limit = DoorLimits(max_body=10)
    left = leave(door, b"eleven byte")
    assert door.ask("POST", APPLY, None, {"Labdock-Spool": left.name})[0] == 413
    assert not left.exists()
    wait_for(lambda: spooled(environment.run) == [])


def test_an_environment_cannot_redirect_the_spool(door: Any, environment: Any) -> None:
    target = door.host.run / "elsewhere"
    target.mkdir()
    (environment.run / "spool").rmdir()
    (environment.run / "spool").symlink_to(target)
    status, _, body = door.ask("POST", APPLY, FRAME)
    assert (status, json.loads(body)["code"]) == (400, "storage-error")
    assert list(target.iterdir()) == []
    assert environment.requests == []


def test_what_was_left_and_forgotten_is_swept(door: Any) -> None:
    assert (door.host.run / "spool").stat().st_mode & 0o777 == 0o700
    old, new = leave(door, b"old", "old-" + "x" * 20), leave(door, b"new", "new-" + "x" * 20)
    os.utime(old, (time.time() - 4000,) * 2)
    assert door.door.sweep() == 1
    assert not old.exists()
    assert new.exists()
    assert sweep(door.host.run / "nowhere", 0) == 0


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_come_as_they_happen(door: Any, environment: Any) -> None:
    """Each of three events is read before the environment sends the next one."""
    steps = [threading.Event() for _ in range(3)]

    async def events(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, step in enumerate(steps):
            data = f"id: {number}\ndata: {time.monotonic()}\n\n".encode()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.to_thread(step.wait, 10)
        await send({"type": "http.response.body", "body": b""})

    environment.behave = events
    connection = raw_request(door, head("/api/environments/__dev__/jobs/j1/events", 0).replace(b"POST", b"GET"))
    got = b""
    for number, step in enumerate(steps):
        while not (f"id: {number}\n".encode() in got and got.endswith(b"\n\n\r\n")):
            got += connection.recv(65536)
        sent = float(got.rpartition(b"data: ")[2].split(b"\n")[0])
        assert time.monotonic() - sent < 1
        step.set()
    connection.close()


def test_a_reader_of_events_that_left_is_noticed(door: Any, environment: Any) -> None:
    left = threading.Event()

    async def events(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    environment.behave = events
    connection = raw_request(door, head("/api/environments/__dev__/jobs/j1/events", 0).replace(b"POST", b"GET"))
    assert connection.recv(65536)
    connection.close()
    assert left.wait(10)
