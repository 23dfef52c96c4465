"""The real environment behind the door, asked with the real client library."""

import contextlib
import http.client
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.waiting import wait_for

from labdock.connection import Connection
from labdock.errors import ModuleError, NotFound
from labdock.transport import Frames
from labdock.wire import FrameOptions
from labdock_controller.door import Destination

PATH = "/api/environments/__dev__/"
pytestmark = pytest.mark.slow


@pytest.fixture(params=["shared", "unshared"])
def real(request: Any, door: Any, served_environment: Path) -> Any:
    """`__dev__` is the real environment, with its run folder shared or not."""
    run = served_environment if request.param == "shared" else None
    address = f"unix:{served_environment / 'api.sock'}"
    door.host.environments["__dev__"] = ("alice", Destination("0123456789ab", "__dev__", address, None, "inner", run))
    return door


@pytest.fixture(params=["unix", "unix, not spooled", "tcp"])
def frames(request: Any, real: Any) -> Any:
    tcp = request.param == "tcp"
    url = f"http://127.0.0.1:{real.served.port}" if tcp else f"unix:{real.served.path}"
    connection = Connection(url, "alice-token")
    with contextlib.closing(connection):
        yield Frames(connection, spool=request.param == "unix")


def values(body: bytes) -> list[float]:
    """The column `y` of a CSV answer."""
    found: list[float] = pd.read_csv(io.BytesIO(body))["y"].tolist()
    return found


def table(rows: int = 200_000) -> pa.Table:
    return pa.table({"x": np.arange(rows, dtype="float64"), "name": [f"row {i}" for i in range(rows)]})


def test_fit_apply_and_the_record(real: Any, frames: Any) -> None:
    sent = table()
    options = FrameOptions(algo="scale", model="doubled", features=["x"], params={"scale": 2})
    answer, info = frames.post(f"{PATH}fit", sent, options)
    assert answer["y"].to_pylist() == [2.0 * i for i in range(sent.num_rows)]
    environment, job, told, user = real.host.records[-1]
    assert (environment, user, told["model"]) == ("0123456789ab", "alice", "doubled")
    assert (job["model"], job["module"], job["rows"], job["status"]) == ("doubled", "scale", sent.num_rows, "done")
    assert job["version"] == info["version"]
    assert len(job["module_sha256"]) == 64
    assert (job["features"], job["params"]) == (["x"], {"scale": 2})
    answer, info = frames.post(f"{PATH}apply", sent.slice(5, 7), FrameOptions(model="doubled"))
    assert answer["y"].to_pylist() == [10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0]
    assert info["version"] == job["version"]


def test_five_thousand_features_travel_in_the_schema(real: Any, frames: Any) -> None:
    names = ["x"] + [f"a rather long feature name {i}" for i in range(5000)]
    wide = pa.table(dict.fromkeys(names, pa.array([1.0, 2.0])))
    answer, _ = frames.post(f"{PATH}fit", wide, FrameOptions(algo="scale", model="wide", features=names))
    assert answer["y"].to_pylist() == [1.0, 2.0]
    assert real.host.records[-1][1]["model"] == "wide"
    assert real.host.records[-1][1]["features"] == names


def test_errors_keep_their_class(frames: Any) -> None:
    with pytest.raises(ModuleError) as failed:
        frames.post(f"{PATH}fit", pa.table({"z": [1]}), FrameOptions(algo="scale", model="bad"))
    assert failed.value.details["function"] == "apply"
    with pytest.raises(NotFound) as missing:
        frames.post(f"{PATH}fit", table(3), FrameOptions(algo="scael", model="bad"))
    assert "scale" in missing.value.remedy


def test_csv_in_and_out(real: Any) -> None:
    options = json.dumps({"algo": "scale", "model": "text", "params": {"scale": 3}})
    headers = {"Content-Type": "text/csv", "Accept": "text/csv", "Labdock-Options": options}
    status, answered, body = real.ask("POST", f"{PATH}fit", b"x\n1\n2\n", headers)
    assert (status, values(body)) == (200, [3.0, 6.0])
    assert json.loads(answered["Labdock-Info"])["model"] == "text"


def test_modules_jobs_summary_and_stage(real: Any) -> None:
    status, _, body = real.ask("GET", f"{PATH}modules")
    assert (status, [m["name"] for m in json.loads(body)]) == (200, ["scale"])
    headers = {"Content-Type": "text/csv", "Labdock-Options": '{"model": "staged"}'}
    status, _, body = real.ask("POST", f"{PATH}stage", b"x\n1\n2\n", headers)
    assert (status, json.loads(body)["rows"]) == (200, 2)
    assert {Path(f).suffix for f in json.loads(body)["files"]} == {".csv", ".json", ".arrow"}
    status, _, body = real.ask("GET", f"{PATH}jobs")
    assert json.loads(body)[0]["kind"] in {"stage", "fit", "apply"}
    assert real.ask("GET", f"{PATH}jobs/nothing")[0] == 404


def test_a_fit_whose_client_left_is_recorded_and_fetched(real: Any) -> None:
    options = '{"algo": "scale", "model": "left", "params": {"steps": 10}}'
    key = f"left-{time.monotonic_ns()}"
    headers = {"Content-Type": "text/csv", "Labdock-Options": options, "Idempotency-Key": key, "Accept": "text/csv"}
    short = http.client.HTTPConnection("127.0.0.1", real.served.port)
    short.request("POST", f"{PATH}fit", b"x\n1\n", {"Authorization": "Bearer alice-token", **headers})
    wait_for(lambda: real.ask("GET", f"{PATH}jobs/{key}")[0] == 200)
    short.close()
    wait_for(lambda: any(job["model"] == "left" for _, job, _, _ in real.host.records))
    status, _, body = real.ask("POST", f"{PATH}fit", b"x\n1\n", headers)
    assert (status, values(body)) == (200, [1.0])
    status, _, body = real.ask("GET", f"{PATH}jobs/{key}/result")
    assert (status, values(body)) == (200, [1.0])


def test_events_of_a_fit_arrive_while_it_runs(real: Any) -> None:
    """A line that the module prints is read through the door within a second."""
    key = f"steps-{time.monotonic_ns()}"
    options = '{"algo": "scale", "model": "steps", "params": {"steps": 30}}'
    headers = {
        "Content-Type": "text/csv",
        "Labdock-Options": options,
        "Idempotency-Key": key,
        "Prefer": "respond-async",
    }
    assert real.ask("POST", f"{PATH}fit", b"x\n1\n", headers)[0] == 202
    connection = Connection(f"unix:{real.served.path}", "alice-token")
    running: list[bool] = []
    with contextlib.closing(connection):
        for line in connection.request("GET", f"{PATH}jobs/{key}/events", (), {}).lines():
            if "a step" in line and not running:
                status = json.loads(real.ask("GET", f"{PATH}jobs/{key}")[2])["status"]
                running.append(status == "running")
    assert running == [True]
    wait_for(lambda: any(job["model"] == "steps" for _, job, _, _ in real.host.records))


def test_many_at_once_get_their_own_answers(real: Any) -> None:
    headers = {"Content-Type": "text/csv", "Accept": "text/csv", "Labdock-Options": '{"algo":"scale","model":"many"}'}
    assert real.ask("POST", f"{PATH}fit", b"x\n1\n", headers)[0] == 200
    wrong: list[bytes] = []

    def client(number: int) -> None:
        for step in range(5):
            value = number * 1000 + step
            _, _, body = real.ask("POST", f"{PATH}apply", f"x\n{value}\n".encode(), headers)
            if values(body) != [value]:
                wrong.append(body)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_is_left_in_the_spools(real: Any, served_environment: Path) -> None:
    frame = pd.DataFrame({"x": [1.0] * 300_000})
    connection = Connection(f"unix:{real.served.path}", "alice-token")
    with contextlib.closing(connection):
        Frames(connection).post(f"{PATH}fit", pa.table(frame), FrameOptions(algo="scale", model="left_over"))
    wait_for(lambda: not list((served_environment / "spool").iterdir()))
    assert list(real.host.spool_folder().iterdir()) == []
