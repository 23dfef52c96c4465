"""Jobs: keys, events, cancellation, clients that vanish, an API that is killed."""

import json
import mmap
import os
import socket
import threading
import time

import numpy as np
import pyarrow as pa
import pytest
from tests.container_api.steps import STEPS, fit, runs, status, table
from tests.waiting import wait_for

from labdock_container.workers.steps import Steps

ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def shared(start_api):
    return start_api()


@pytest.fixture
def jobs(shared):
    """The file's API as each test wants it: the module as written above, no runs, no models."""
    shared.module("steps", STEPS)
    for path in (*shared.folder.glob("*gate*"), shared.notebooks / "runs"):
        path.unlink(missing_ok=True)
    for manifest in shared.request("GET", "/v1/models").json:
        shared.request("DELETE", f"/v1/models/{manifest['model']}")
    return shared


def events(api, job, last=None):
    headers = {"Last-Event-ID": str(last)} if last is not None else {}
    text = api.request("GET", f"/v1/jobs/{job}/events", headers=headers).body.decode()
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_the_same_key_gives_the_same_answer_and_runs_once(jobs):
    first = fit(jobs, key="key-1")
    again = fit(jobs, key="key-1")
    assert first.status == again.status == 200
    assert first.body == again.body
    assert first.headers["labdock-job"] == again.headers["labdock-job"] == "key-1"
    assert runs(jobs) == 1
    assert jobs.request("GET", "/v1/jobs/key-1/result").body == first.body


def test_the_same_key_waits_while_the_job_runs(jobs):
    gate = jobs.folder / "gate"
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(fit(jobs, key="same", gate=str(gate)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: runs(jobs) == 1)
    assert jobs.request("GET", "/v1/jobs/same/result?wait=0").json["code"] == "conflict"
    gate.touch()
    for thread in threads:
        thread.join()
    assert {a.body for a in answers} == {answers[0].body}
    assert answers[0].status == 200
    assert runs(jobs) == 1


def test_a_key_of_another_request_is_a_conflict(jobs):
    fit(jobs, key="used")
    for other in (
        fit(jobs, table(4), key="used"),
        fit(jobs, key="used", model="other"),
        fit(jobs, key="used", p="1"),
        fit(jobs, key="used", headers={"Accept": "text/csv"}),
        jobs.frame("apply", table(), {"Idempotency-Key": "used"}, algo="steps", model="m"),
    ):
        assert (other.status, other.json["code"]) == (409, "conflict")
    large = np.zeros(2_000_000)
    fit(jobs, pa.table({"x": large}), key="large")
    large[:] = 1
    assert fit(jobs, pa.table({"x": large}), key="large").status == 409
    assert runs(jobs) == 2


def test_a_failure_is_kept_too(jobs):
    jobs.module("steps", STEPS.replace('print("line two")', "1 / 0"))
    first = fit(jobs, key="fails")
    assert first.json["code"] == "module-error"
    assert fit(jobs, key="fails").body == first.body
    assert runs(jobs) == 1
    listed = jobs.request("GET", "/v1/jobs/fails").json
    assert (listed["status"], listed["error"]["code"]) == ("failed", "module-error")


def test_an_apply_may_have_a_key(jobs):
    fit(jobs)
    first = jobs.frame("apply", table(), {"Idempotency-Key": "applied"}, model="m")
    fit(jobs, table(9))
    again = jobs.frame("apply", table(), {"Idempotency-Key": "applied"}, model="m")
    assert again.body == first.body
    assert first.table["rows"].to_pylist() == [3, 3, 3]


def test_asynchronous_fit_and_its_record(jobs):
    gate = jobs.folder / "gate"
    reply = fit(jobs, headers={"Prefer": "respond-async"}, gate=str(gate))
    assert reply.status == 202
    job = reply.json["id"]
    assert reply.headers["labdock-job"] == job
    assert reply.headers["location"] == f"/v1/jobs/{job}"
    wait_for(lambda: status(jobs, job) == "running")
    gate.touch()
    result = jobs.request("GET", f"/v1/jobs/{job}/result")
    assert result.table["rows"].to_pylist() == [3, 3, 3]
    record = jobs.request("GET", f"/v1/jobs/{job}").json
    assert {k: record[k] for k in ("id", "kind", "status", "module", "model", "rows", "version", "info", "error")} == {
        "id": job,
        "kind": "fit",
        "status": "done",
        "module": "steps",
        "model": "m",
        "rows": 3,
        "version": 1,
        "info": {"rows": 3},
        "error": None,
    }
    assert record["duration"] > 0
    assert abs(record["started"] - time.time()) < 60
    assert job in [j["id"] for j in jobs.request("GET", "/v1/jobs").json]


def follow(api, job, until, gate):
    """All that a follower reads who opens the gate once `until` has come."""
    connection = api.connection()
    connection.request("GET", f"/v1/jobs/{job}/events", headers={"Authorization": f"Bearer {api.token}"})
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    live = b""
    while until not in live:
        line = response.readline()
        assert line, live
        live += line
    gate.touch()
    live += response.read()
    connection.close()
    return live


def test_events_come_while_it_runs_and_can_be_resumed(jobs):
    gate = jobs.folder / "gate"
    job = fit(jobs, headers={"Prefer": "respond-async"}, gate=str(gate)).json["id"]
    live = follow(jobs, job, b"line one", gate)
    seen = events(jobs, job)
    assert [data.get("step") for _, _, data in seen][:6] == [None, "read", "module", "init", "fit", None]
    steps = [data["step"] for _, name, data in seen if name == "progress"]
    assert steps == ["read", "module", "init", "fit", "save", "apply"]
    assert "".join(data["text"] for _, name, data in seen if name == "log") == "line one\nline two\n"
    assert [data["status"] for _, name, data in seen if name == "status"] == ["running", "done"]
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    assert live.decode().count("\nevent: ") == len(seen)
    assert events(jobs, job, last=seen[3][0]) == seen[4:]


def test_steps_come_while_nothing_is_printed(jobs):
    fit(jobs)
    gate = jobs.folder / "silent-gate"
    fields = {"Prefer": "respond-async", "Idempotency-Key": "silent"}
    job = jobs.frame("apply", table(), fields, model="m", params={"apply_gate": str(gate)}).json["id"]
    follow(jobs, job, b'{"step": "apply"}', gate)
    assert [data["step"] for _, name, data in events(jobs, job) if name == "progress"] == ["read", "module", "apply"]


def test_steps_are_read_from_whatever_user_code_leaves_in_their_memory():
    file = os.memfd_create("steps")
    ours, theirs, raw = Steps(os.dup(file)), Steps(os.dup(file)), mmap.mmap(file, 1024)
    theirs.add("one")
    assert (ours.take(), ours.take()) == (["one"], [])
    theirs.add("two" * 100)
    theirs.add("three" * 300)  # finds no room
    assert ours.take() == [("two" * 100)[:100]]
    for left in (b"\xff" * 1024, b"\n" * 1024, b"\0" * 1024, b"half", b"\0\nbehind\n"):
        ours.clear()
        raw[: len(left)] = left
        assert all(len(step) <= 100 for step in ours.take())
        assert ours.take() == []
    ours.clear()
    theirs.begin()
    theirs.add("again")
    assert ours.take() == ["again"]


def test_cancellation_ends_the_module_and_frees_the_worker(jobs):
    fits = [fit(jobs, headers={"Prefer": "respond-async"}, gate="/never").json["id"] for _ in range(3)]
    wait_for(lambda: runs(jobs) == 2)
    assert sorted(status(jobs, job) for job in fits) == ["queued", "running", "running"]
    for job in fits:
        assert jobs.request("DELETE", f"/v1/jobs/{job}").json["status"] == "cancelled"
    assert jobs.request("GET", f"/v1/jobs/{fits[0]}/result").json["code"] == "conflict"
    assert fit(jobs).status == 200
    assert jobs.request("DELETE", f"/v1/jobs/{fits[0]}").json["status"] == "cancelled"
    assert jobs.request("GET", "/v1/models/m").json["versions"][0]["version"] == 1


def send_and_leave(api, action, options, key=None):
    """Send a whole request and close the connection before the answer."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table())
    body = sink.getvalue().to_pybytes()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(api.socket))
    keyed = f"Idempotency-Key: {key}\r\n" if key else ""
    sock.sendall(
        f"POST /v1/{action} HTTP/1.1\r\nHost: x\r\nLabdock-Options: {json.dumps(options)}\r\nContent-Type: {ARROW}\r\n"
        f"Authorization: Bearer {api.token}\r\n{keyed}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return sock


def test_a_fit_whose_client_vanished_ends_and_can_be_fetched(jobs):
    gate = jobs.folder / "gate"
    options = {"algo": "steps", "model": "left", "params": {"gate": str(gate)}}
    sock = send_and_leave(jobs, "fit", options, "left-alone")
    wait_for(lambda: runs(jobs) == 1)
    sock.close()
    gate.touch()
    assert jobs.request("GET", "/v1/jobs/left-alone/result").table["rows"].to_pylist() == [3, 3, 3]
    assert jobs.request("GET", "/v1/models/left").json["versions"][0]["rows"] == 3


def test_an_apply_whose_client_vanished_is_ended(jobs):
    fit(jobs)
    gate = jobs.folder / "apply-gate"
    begun = jobs.folder / "apply-gate.begun"
    sock = send_and_leave(jobs, "apply", {"model": "m", "params": {"apply_gate": str(gate)}})
    wait_for(begun.exists)
    sock.close()
    wait_for(lambda: [j for j in jobs.request("GET", "/v1/jobs").json if j["status"] == "cancelled"])
    assert jobs.frame("apply", table(), model="m").status == 200


def test_old_results_are_forgotten(jobs):
    for i in range(55):
        assert fit(jobs, table(1), key=f"many-{i}").status == 200
    kept = [j["id"] for j in jobs.request("GET", "/v1/jobs").json if j["kind"] == "fit"]
    assert "many-54" in kept
    assert "many-0" not in kept
    assert len(kept) <= 51
    wait_for(lambda: len(list((jobs.run / "jobs").glob("*.result"))) <= 51)


def test_output_is_followed_in_workers_that_printed_before(jobs):
    """More than a pipe holds, again and again: a worker whose output nobody reads any more would hang."""
    jobs.module(
        "chatty",
        """
        def init(df, param): return 0
        def fit(model, df, param):
            for _ in range(30): print("x" * 100_000)
        def apply(model, df, param):
            print("applied")
            return df
        """,
    )
    limits = {"max_fit_time": 30}
    for _ in range(20):
        assert jobs.frame("fit", table(), algo="chatty", model="chatty", limits=limits).status == 200
        assert jobs.frame("apply", table(), model="chatty").info["output"] == "applied\n"
