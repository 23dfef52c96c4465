"""An API that is stopped or killed: nothing runs on, nothing is half there, nothing runs twice."""

import json
import socket
import time

import numpy as np
import psutil
import pyarrow as pa
import pytest
from tests.container_api.steps import STEPS, fit, runs, status, table
from tests.waiting import wait_for

from labdock.errors import NotFound
from labdock_container.models import ModelStore

ARROW = "application/vnd.apache.arrow.stream"


pytestmark = pytest.mark.slow


@pytest.fixture
def jobs(start_api):
    return start_api(prepare=lambda api: api.module("steps", STEPS))


def alive(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_kill_9_of_the_api_in_the_middle_of_a_fit(jobs):
    done = fit(jobs, key="done-before", model="old")
    fit(jobs, headers={"Prefer": "respond-async", "Idempotency-Key": "cut"}, gate="/never", model="old")
    wait_for(lambda: runs(jobs) == 2)
    below = jobs.processes()
    assert len(below) == 4
    jobs.kill()
    wait_for(lambda: not alive(below), 10)
    jobs.start()
    record = jobs.request("GET", "/v1/jobs/cut").json
    assert record["status"] == "failed"
    assert record["error"]["code"] == "module-crashed"
    assert "restarted" in record["error"]["detail"]
    assert jobs.request("GET", "/v1/jobs/cut/result").json["code"] == "module-crashed"
    assert fit(jobs, key="cut", gate="/never", model="old").json["code"] == "module-crashed"
    assert fit(jobs, key="done-before", model="old").body == done.body, "a kept result survives"
    assert runs(jobs) == 2, "nothing ran twice"
    assert [m["version"] for m in jobs.request("GET", "/v1/models/old").json["versions"]] == [1]
    assert jobs.frame("apply", table(1), model="old").table["rows"].to_pylist() == [3]


@pytest.mark.timeout(400)
def test_kill_9_at_any_moment_leaves_the_old_model_or_the_new_one(jobs):
    """Kills spread over a fit's whole life; after each the newest model is whole and applies."""
    fit(jobs, table(1), model="kept")
    fitted = 1
    for attempt in range(8):
        rows = attempt + 2
        sock = send_and_leave_rows(jobs, rows)
        time.sleep(0.004 * attempt)  # the moment of the kill is what varies; no outcome depends on it
        jobs.kill()
        sock.close()
        jobs.start()
        newest = jobs.request("GET", "/v1/models/kept").json["versions"][0]
        assert newest["rows"] in (fitted, rows)
        fitted = newest["rows"]
        assert jobs.frame("apply", table(1), model="kept").table["rows"].to_pylist() == [fitted]
        left = [p.name for p in (jobs.notebooks / "models" / "kept").iterdir() if p.name.startswith(".")]
        assert left == []


def test_a_version_that_was_never_the_newest_is_none(tmp_path):
    """What a kill between the two renames of a new version leaves."""
    store = ModelStore(tmp_path)

    def write(rows):
        pending = store.begin("m")
        pending.write({"rows": rows})
        return pending

    assert write(1).commit()["version"] == 1
    write(2).folder.rename(tmp_path / "m" / "2")
    assert [v["rows"] for v in store.versions("m")] == [store.newest("m")["rows"]] == [1]
    with pytest.raises(NotFound):
        store.version("m", 2)
    assert write(3).commit()["version"] == 2
    assert [v["rows"] for v in store.versions("m")] == [3, 1]
    assert store.newest("m")["rows"] == 3


def send_and_leave_rows(api, rows):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table(rows).schema) as writer:
        writer.write_table(table(rows))
    body = sink.getvalue().to_pybytes()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(api.socket))
    options = json.dumps({"algo": "steps", "model": "kept"})
    sock.sendall(
        f"POST /v1/fit HTTP/1.1\r\nHost: x\r\nLabdock-Options: {options}\r\nContent-Type: {ARROW}\r\n"
        f"Authorization: Bearer {api.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return sock


def test_sigterm_ends_everything_in_order(jobs):
    fit(jobs, headers={"Prefer": "respond-async", "Idempotency-Key": "stopped"}, gate="/never")
    wait_for(lambda: runs(jobs) == 1)
    below = jobs.processes()
    begun = time.monotonic()
    assert jobs.stop() == 0
    assert time.monotonic() - begun < 10
    wait_for(lambda: not alive(below), 5)
    assert not jobs.socket.exists()
    jobs.start()
    assert status(jobs, "stopped") == "cancelled"


def test_a_socket_that_a_killed_api_left_is_replaced(jobs):
    jobs.kill()
    assert jobs.socket.exists()
    jobs.start()
    assert fit(jobs).status == 200


def test_the_environment_does_not_start_without_a_token(start_api):
    api = start_api(wait=False, prepare=lambda api: (api.run / "token").unlink())
    assert api.process.wait(30) == 2
    assert "token" in api.log.read_text()
    assert not api.socket.exists()


def test_what_a_killed_stage_left_is_removed_and_nothing_else(jobs):
    """A kill in the middle of a stage: the staged files are the old ones or the new ones, never a part."""
    rows = pa.table({"x": np.arange(200_000.0), "s": [f"text {i}" for i in range(200_000)]})
    assert jobs.frame("stage", table(), model="m").status == 200
    data = jobs.notebooks / "data"
    (data / ".mine.csv").write_text("kept")
    reply = jobs.frame("stage", rows, {"Prefer": "respond-async"}, model="m")
    assert reply.status == 202
    wait_for(
        lambda: [p for p in data.iterdir() if p.name.startswith(".m.csv.")] or status(jobs, reply.json["id"]) == "done"
    )
    jobs.kill()
    jobs.start()
    wait_for(lambda: sorted(p.name for p in data.iterdir()) == [".mine.csv", "m.arrow", "m.csv", "m.json"])
    lines = (data / "m.csv").read_bytes().count(b"\n")
    assert lines in (4, 200_001)
