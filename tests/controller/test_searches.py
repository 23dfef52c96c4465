"""Search jobs, data and ONNX models of a real controller; values are checked against pandas and numpy."""

import io
import signal
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ENDLESS, Controller, Make, controllers
from tests.waiting import wait_for

from labdock.errors import InvalidName
from labdock_controller.onnx_models import model_name

_spec = spec_from_file_location("onnx_files", Path(__file__).with_name("onnx_files.py"))
assert _spec is not None
assert _spec.loader is not None
onnx_files = module_from_spec(_spec)
_spec.loader.exec_module(onnx_files)

# Minutes of work, nothing of it in memory.

FLOWS = pd.DataFrame(
    {
        "_time": np.arange(5000) * 7.0 + 1_600_000_000,
        "src_ip": [f"10.0.0.{i % 13}" for i in range(5000)],
        "bytes_in": (np.arange(5000) * 7919) % 10_007,
    }
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A controller with an index of flows and a lookup."""
    with controllers() as make:
        controller = make()
        ingest(controller, FLOWS, "flows")
        body = b"a,b,c\n1,2,x\n3,4,y\n5,,z\n"
        answer = controller("POST", "/api/lookups?name=points.csv", data=body)
        assert answer.status_code == 201, answer.text
        yield controller


def ingest(controller: Controller, frame: pd.DataFrame, index: str) -> None:
    file = io.BytesIO()
    frame.to_csv(file, index=False)
    path = f"/api/indexes/{index}/ingest?file_name=flows.csv&sourcetype=stream:tcp"
    answer = controller("POST", path, data=file.getvalue())
    assert answer.json()["rows"] == len(frame), answer.text


def search(controller: Controller, text: str, **options: Any) -> dict[str, Any]:
    answer = controller("POST", "/api/searches?wait=60", {"search": text, **options})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def rows(controller: Controller, text: str, **options: Any) -> pd.DataFrame:
    job = search(controller, text, **options)
    assert job["status"] == "done", job["error"]
    answer = controller("GET", f"/api/searches/{job['id']}/results")
    with pa.ipc.open_stream(answer.content) as reader:
        return reader.read_pandas()


def test_a_search_gives_what_pandas_gives(lab: Controller) -> None:
    found = rows(lab, "index=flows | stats count sum(bytes_in) as total by src_ip")
    wanted = FLOWS.groupby("src_ip")["bytes_in"].agg(["size", "sum"]).sort_index()
    assert found["src_ip"].tolist() == sorted(wanted.index)
    assert found.set_index("src_ip")["count"].to_dict() == wanted["size"].to_dict()
    assert found.set_index("src_ip")["total"].to_dict() == wanted["sum"].to_dict()


def test_a_time_range_bounds_the_search(lab: Controller) -> None:
    found = rows(lab, "index=flows | stats count", earliest="1600000700", latest="1600001400")
    inside = FLOWS["_time"].between(1_600_000_700, 1_600_001_400, inclusive="left")
    assert found["count"].tolist() == [int(inside.sum())]


@pytest.mark.parametrize("text", ["index=flows | statz count", "index=flows | stats count by", "index=nothing", ""])
def test_what_cannot_run_is_refused_at_once(lab: Controller, text: str) -> None:
    answer = lab("POST", "/api/searches", {"search": text})
    assert answer.status_code in (404, 422), answer.text
    problem = answer.json()
    assert problem["detail"]
    assert problem["code"] in ("search-error", "not-found")


EXTREMES = [
    "NaN",
    "inf",
    "1e308",
    "-99999999999",
    "-99999999999y",
    "999999999999999",
    "10000-01-01",
    "-3000y",
    "x" * 9000,
]


@pytest.mark.parametrize(
    "wrong", [*({s: t} for t in EXTREMES for s in ("earliest", "latest")), {"timezone": "posixrules"}]
)
def test_a_time_that_is_none_is_a_clear_refusal(lab: Controller, wrong: dict[str, str]) -> None:
    """On every route that takes a range; nothing of it reaches the log."""
    for path in ("/api/searches?wait=30", "/api/searches/explain"):
        for text in ("| makeresults", "index=flows | timechart span=1d count"):
            answer = lab("POST", path, {"search": text, **wrong})
            assert answer.status_code == 422, answer.text
            assert answer.json()["code"] == "search-error"
            assert answer.json()["remedy"]
    saved = lab("PUT", "/api/saved-searches/wrong-times", {"search": "index=flows", "schedule": "1h", **wrong})
    assert saved.status_code == 422, saved.text
    assert "Traceback" not in lab.text()


def test_the_largest_range_is_searched(lab: Controller) -> None:
    whole = {"earliest": "0001-01-02", "latest": "9999-12-30", "timezone": "Pacific/Apia"}
    job = lab("POST", "/api/searches?wait=60", {"search": "index=flows | timechart span=1mon count", **whole}).json()
    assert job["status"] == "done", job
    for part in ("timeline", "summary", "chart", "page?sort=-_time"):
        answer = lab("GET", f"/api/searches/{job['id']}/{part}")
        assert answer.status_code in (200, 404), answer.text
    assert "Traceback" not in lab.text()


def test_an_error_while_running_ends_the_job_and_is_answered(lab: Controller) -> None:
    job = search(lab, "index=flows | fit MLTKContainer algo=nothing src_ip into m")
    assert job["status"] == "failed"
    assert lab("GET", f"/api/searches/{job['id']}/results").json()["code"] == job["error"]["code"]


def test_pages_are_sorted_and_filtered_over_the_whole_result(lab: Controller) -> None:
    job = search(lab, "index=flows | table src_ip bytes_in")
    path = f"/api/searches/{job['id']}/page"
    query = {"offset": 10, "count": 20, "sort": "-bytes_in", "filter": ["bytes_in < 9000", "src_ip contains .1"]}
    page = lab("GET", path, params=query).json()
    matching = FLOWS[(FLOWS["bytes_in"] < 9000) & FLOWS["src_ip"].str.contains(".1", regex=False)]
    wanted = matching.sort_values("bytes_in", ascending=False)["bytes_in"].iloc[10:30]
    assert page["matching"] == len(matching)
    assert page["total"] == len(FLOWS)
    assert [row["bytes_in"] for row in page["rows"]] == wanted.tolist()


@pytest.mark.parametrize("query", [{"sort": "nothing"}, {"filter": "bytes_in"}, {"filter": "bytes_in > x"}])
def test_a_page_of_nonsense_is_refused(lab: Controller, query: dict[str, str]) -> None:
    job = search(lab, "index=flows | table src_ip bytes_in | head 3")
    answer = lab("GET", f"/api/searches/{job['id']}/page", params=query)
    assert answer.status_code in (404, 422)


def test_exports_hold_the_same_rows(lab: Controller) -> None:
    job = search(lab, "index=flows | sort 0 _time | table src_ip bytes_in")
    path = f"/api/searches/{job['id']}/results"
    wanted = FLOWS[["src_ip", "bytes_in"]]
    csv = pd.read_csv(io.BytesIO(lab("GET", f"{path}?format=csv").content))
    lines = pd.read_json(io.BytesIO(lab("GET", f"{path}?format=json").content), lines=True)
    parquet = pq.read_table(io.BytesIO(lab("GET", f"{path}?format=parquet").content)).to_pandas()
    for found in (csv, lines, parquet):
        assert found["src_ip"].tolist() == wanted["src_ip"].tolist()
        assert found["bytes_in"].tolist() == wanted["bytes_in"].tolist()
    assert lab("GET", f"{path}?format=xls").status_code == 422


def test_a_search_can_be_cancelled(lab: Controller) -> None:
    started = lab("POST", "/api/searches", {"search": ENDLESS}).json()
    cancelled = lab("POST", f"/api/searches/{started['id']}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert lab("DELETE", f"/api/searches/{started['id']}").status_code == 204
    assert lab("GET", f"/api/searches/{started['id']}").status_code == 404


def test_a_time_limit_ends_a_search(lab: Controller) -> None:
    job = search(lab, ENDLESS, max_seconds=0.3)
    assert job["status"] == "failed"
    assert job["error"]["code"] == "limit-exceeded"


def test_events_tell_of_a_job_until_it_ends(lab: Controller) -> None:
    job = search(lab, "index=flows | stats count")
    answer = lab("GET", f"/api/searches/{job['id']}/events")
    assert '"status": "done"' in answer.text


def test_explain_and_completion_run_nothing(lab: Controller) -> None:
    plan = lab("POST", "/api/searches/explain", {"search": "index=flows | stats count by src_ip"}).json()
    assert "GROUP BY" in plan["text"]
    assert str(lab.home) not in plan["text"]
    found = lab("POST", "/api/searches/complete", {"search": "index=flows | sta", "position": 17}).json()
    assert "stats" in [each["text"] for each in found]


def test_searches_and_private_lookups_are_ones_own(lab: Controller) -> None:
    other = lab.user("other", "user")
    job = search(lab, "index=flows | stats count")
    assert lab("GET", f"/api/searches/{job['id']}", headers=other).status_code == 404
    assert lab("GET", "/api/searches", headers=other).json() == []
    refused = lab("POST", "/api/searches", {"search": "| inputlookup points.csv"}, headers=other)
    assert refused.status_code == 404
    assert lab("PUT", "/api/lookups/points.csv/sharing", {"sharing": "app"}).status_code == 200
    found = lab("POST", "/api/searches?wait=30", {"search": "| inputlookup points.csv"}, headers=other).json()
    assert found["rows"] == 3
    assert lab("DELETE", "/api/lookups/points.csv", headers=other).status_code == 403
    assert lab("POST", "/api/lookups?name=mine.csv", data=b"a\n1\n", headers=other).status_code == 403
    assert lab("POST", "/api/indexes/flows/ingest?file_name=a.csv", data=b"a\n1\n", headers=other).status_code == 403


@pytest.mark.parametrize("name", ["../evil.csv", "a/b.csv", "..", "a\\b.csv"])
def test_file_names_never_become_paths(lab: Controller, name: str) -> None:
    answer = lab("POST", "/api/indexes/evil/ingest", data=b"a\n1\n", params={"file_name": name})
    assert answer.status_code == 422
    assert not list(lab.home.rglob("evil*"))


def test_an_onnx_model_predicts_in_searches(lab: Controller, tmp_path: Path) -> None:
    file = onnx_files.linear([2.0, -1.0], tmp_path / "m.onnx").read_bytes()
    form = {"name": "my line.onnx", "features": "a,b", "target": "y"}
    made = lab("POST", "/api/models/onnx", data=file, params=form)
    assert made.status_code == 201, made.text
    assert made.json()["name"] == "my_line"
    assert len(made.json()["notices"]) == 3
    found = rows(lab, "| inputlookup points.csv | apply onnx:my_line | table a predicted(y)")
    assert found["predicted(y)"].tolist()[:2] == [0.0, 2.0]
    assert pd.isna(found["predicted(y)"][2])  # b is null there
    # not shared yet
    unshared = search(lab, "| inputlookup points.csv | apply app:onnx:my_line")
    assert unshared["error"]["code"] == "not-found"
    assert lab("PUT", "/api/models/my_line/sharing", {"sharing": "app"}).status_code == 200
    assert search(lab, "| inputlookup points.csv | apply app:onnx:my_line")["status"] == "done"
    # a second version with a threshold, and back
    lab("POST", "/api/models/onnx", data=file, params={**form, "threshold": 1.0})
    labels = rows(lab, "| inputlookup points.csv | apply onnx:my_line | table predicted(y)")
    assert labels["predicted(y)"].tolist()[:2] == [0, 1]
    assert lab("PUT", "/api/models/my_line/version", {"version": 1}).json()["current_version"] == 1
    assert rows(lab, "| inputlookup points.csv | apply onnx:my_line")["predicted(y)"].tolist()[:2] == [0.0, 2.0]
    assert lab("PUT", "/api/models/my_line/version", {"version": 7}).status_code == 404
    assert lab("GET", "/api/models/my_line/file").content == file


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"name": "m", "features": "a,b,c", "target": "y"}, "model-refused"),
        ({"name": "m", "features": "a,a", "target": "y"}, "invalid-options"),
        ({"name": "1m", "features": "a,b", "target": "y"}, "invalid-name"),
        ({"name": "m", "target": "y"}, "invalid-options"),
        ({"name": "m", "features": "a,b", "target": " "}, "invalid-options"),
        ({"name": "m", "features": "a,b", "target": "y", "sharing": "all"}, "invalid-options"),
    ],
)
def test_a_wrong_upload_is_named(lab: Controller, tmp_path: Path, form: dict[str, str], code: str) -> None:
    file = onnx_files.linear([2.0, -1.0], tmp_path / "m.onnx").read_bytes()
    answer = lab("POST", "/api/models/onnx", data=file, params=form)
    assert answer.json()["code"] == code, answer.text


def test_uploads_need_both_capabilities(lab: Controller, tmp_path: Path) -> None:
    file = onnx_files.linear([1.0], tmp_path / "m.onnx").read_bytes()
    form = {"name": "mine", "features": "a", "target": "y"}
    for number, roles in enumerate((["user"], ["power"], ["admin"])):
        headers = lab.user(f"uploader{number}", *roles)
        assert lab("POST", "/api/models/onnx", data=file, params=form, headers=headers).status_code == 403
    allowed = lab.user("uploader", "mltk_model_admin")
    assert lab("POST", "/api/models/onnx", data=file, params=form, headers=allowed).status_code == 201
    # another user's private model does not exist for others
    reader = lab.user("reader", "user")
    body = {"search": "| makeresults | eval a=1 | apply onnx:mine"}
    seen = lab("POST", "/api/searches?wait=30", body, headers=allowed).json()
    assert seen["status"] == "done", seen
    unseen = lab("POST", "/api/searches?wait=30", body, headers=reader).json()
    assert unseen["error"]["code"] == "not-found", unseen


def test_results_survive_the_controller(make_controller: Make) -> None:
    first = make_controller()
    ingest(first, FLOWS, "flows")
    done = search(first, "index=flows | stats count")
    running = first("POST", "/api/searches", {"search": ENDLESS}).json()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    second = make_controller(home_of=first)
    assert second("GET", f"/api/searches/{done['id']}/page").json()["rows"] == [{"count": 5000}]
    failed = second("GET", f"/api/searches/{running['id']}").json()
    assert failed["status"] == "failed"
    assert "restarted" in failed["error"]["detail"]


def test_an_ended_controller_leaves_no_search_running(make_controller: Make) -> None:
    controller = make_controller()
    controller("POST", "/api/searches", {"search": ENDLESS})
    began = time.monotonic()
    assert controller.end() == 0
    assert time.monotonic() - began < 15
    wait_for(lambda: not controller.processes(), what="the end of all processes")


@pytest.mark.parametrize("name", ["9x", "a-b", "", "é", "a" * 65, "a/b"])
def test_names_that_searches_cannot_write_are_refused(name: str) -> None:
    with pytest.raises(InvalidName) as refused:
        model_name(name)
    assert refused.value.remedy.startswith("Use 1 to 64 of the characters")
    assert refused.value.details["name"] == name


def test_a_files_name_becomes_a_models() -> None:
    name, notices = model_name("nn botnet.onnx")
    assert name == "nn_botnet"
    assert len(notices) == 3
    assert model_name("nn_botnet") == ("nn_botnet", [])
