"""What is made of results and shown of data: checked against pandas on the same rows."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from conftest import Controller, controllers
from test_searches import ingest, search

RNG = np.random.default_rng(7)
ROWS = 20_000
FRAME = pd.DataFrame(
    {
        "_time": 1_600_000_000.0 + np.sort(RNG.integers(0, 90_000, ROWS)).astype(float),
        "host": RNG.choice(["web", "db", "mail", "proxy"], ROWS, p=[0.5, 0.3, 0.15, 0.05]),
        "bytes": RNG.integers(0, 5_000, ROWS),
        "note": [None if i % 7 else f"n{i % 3}" for i in range(ROWS)],
    }
)
EVERYTHING = "index=facts | table _time host bytes note"


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        controller = make()
        ingest(controller, FRAME, "facts")
        yield controller


@pytest.fixture(scope="module")
def job(lab: Controller) -> dict[str, Any]:
    found = search(lab, EVERYTHING)
    assert found["rows"] == ROWS
    return found


def get(lab: Controller, path: str, **query: Any) -> Any:
    answer = lab("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_facts_of_fields_are_those_of_the_whole_result(lab: Controller, job: dict[str, Any]) -> None:
    found = {f["name"]: f for f in get(lab, f"/api/searches/{job['id']}/summary")["fields"]}
    assert list(found) == list(FRAME.columns)
    for name in FRAME.columns:
        column = FRAME[name].dropna()
        assert found[name]["count"] == len(column)
        assert found[name]["nulls"] == ROWS - len(column)
        assert found[name]["distinct"] == column.nunique()
        assert (found[name]["min"], found[name]["max"]) == (column.min(), column.max())
    assert found["bytes"]["mean"] == pytest.approx(FRAME["bytes"].mean())
    [host] = get(lab, f"/api/searches/{job['id']}/summary", field="host", top=3)["fields"]
    wanted = FRAME["host"].value_counts().head(3)
    assert [(t["value"], t["count"]) for t in host["top"]] == list(wanted.items())


def test_facts_of_an_unknown_field_name_the_nearest(lab: Controller, job: dict[str, Any]) -> None:
    answer = lab("GET", f"/api/searches/{job['id']}/summary?field=hots")
    assert answer.status_code == 404
    assert "host" in answer.json()["remedy"]


def test_pages_are_pandas_sorted_and_filtered(lab: Controller, job: dict[str, Any]) -> None:
    path = f"/api/searches/{job['id']}/page"
    wanted = FRAME.sort_values(["bytes", "host"], ascending=[False, True], kind="stable")
    wanted = wanted[wanted["host"].str.contains("b")].reset_index(drop=True)
    for offset in (0, 5_000, len(wanted) - 10):
        got = get(lab, path, offset=offset, count=50, sort=["-bytes", "host"], filter="host contains B")
        assert got["matching"] == len(wanted)
        part = wanted.iloc[offset : offset + 50]
        assert [(r["bytes"], r["host"]) for r in got["rows"]] == list(zip(part["bytes"], part["host"], strict=True))


def test_the_next_page_of_an_order_costs_its_rows_only(tmp_path: Any) -> None:
    import pyarrow as pa

    from labdock_controller.searches import pages

    table = pa.table({"x": RNG.normal(size=1_000_000)})
    path = tmp_path / "result.arrow"
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=65_536)
    kept = pages.Pages()

    def cost(offset: int) -> float:
        began = time.process_time()
        shown = kept.page(path, offset, 100, ["-x"], [])
        assert shown.matching == table.num_rows
        return time.process_time() - began

    first = cost(0)
    assert min(cost(offset) for offset in (100, 400_000, 999_900)) < first / 10


def test_whole_numbers_that_browsers_round_are_texts(lab: Controller) -> None:
    found = search(lab, f"| makeresults | eval big={2**60 + 1}, small={2**53} | table big small")
    path = f"/api/searches/{found['id']}/page"
    assert get(lab, path)["rows"] == [{"big": 2**60 + 1, "small": 2**53}]
    assert get(lab, path, exact=True)["rows"] == [{"big": str(2**60 + 1), "small": 2**53}]


@pytest.mark.parametrize("buckets", [10, 100])
def test_the_timeline_counts_every_row(lab: Controller, job: dict[str, Any], buckets: int) -> None:
    found = get(lab, f"/api/searches/{job['id']}/timeline", buckets=buckets)
    span = found["span"]
    wanted = (FRAME["_time"] // span * span).value_counts().to_dict()
    assert {start: count for start, count in found["buckets"] if count} == wanted
    starts = [start for start, _ in found["buckets"]]
    assert starts == list(range(starts[0], starts[-1] + 1, span))
    assert len(starts) <= buckets + 1


def test_an_index_over_time_counts_every_event(lab: Controller) -> None:
    found = get(lab, "/api/indexes/facts/counts", buckets=48)
    wanted = (FRAME["_time"] // found["span"] * found["span"]).value_counts().to_dict()
    assert {start: count for start, count in found["buckets"] if count} == wanted
    assert lab("GET", "/api/indexes/nothing/counts").status_code == 404


def test_the_sample_is_the_newest_events(lab: Controller) -> None:
    rows = get(lab, "/api/indexes/facts/sample", count=5)["rows"]
    assert [row["_time"] for row in rows] == sorted(FRAME["_time"], reverse=True)[:5]


def test_a_chart_holds_the_results_rows(lab: Controller) -> None:
    found = search(lab, "index=facts | stats sum(bytes) as sum by host")
    chart = get(lab, f"/api/searches/{found['id']}/chart")
    assert chart["type"] == "bar"
    wanted = FRAME.groupby("host")["bytes"].sum().to_dict()
    assert {v["host"]: v["sum"] for v in chart["spec"]["data"]["values"]} == wanted
    assert get(lab, f"/api/searches/{found['id']}/chart", type="pie")["type"] == "pie"


def test_a_chart_of_events_counts_all_of_them(lab: Controller) -> None:
    found = search(lab, "index=facts")
    chart = get(lab, f"/api/searches/{found['id']}/chart")
    assert chart["type"] == "column"
    assert sum(v["events"] for v in chart["spec"]["data"]["values"]) == ROWS


def test_what_cannot_be_drawn_is_said(lab: Controller) -> None:
    found = search(lab, "index=facts | stats values(host) as hosts")
    answer = lab("GET", f"/api/searches/{found['id']}/chart")
    assert answer.status_code == 404
    assert "stats count" in answer.json()["remedy"]


def test_a_result_becomes_a_lookup_that_searches_read(lab: Controller) -> None:
    found = search(lab, "index=facts | stats count by host")
    path = f"/api/searches/{found['id']}/lookup"
    made = lab("POST", path, {"name": "hosts.csv"})
    assert made.status_code == 201, made.text
    assert made.json()["rows"] == 4
    again = search(lab, "| inputlookup hosts.csv")
    rows = get(lab, f"/api/searches/{again['id']}/page")["rows"]
    assert {r["host"]: r["count"] for r in rows} == FRAME["host"].value_counts().to_dict()
    assert lab("POST", path, {"name": "hosts.csv"}).status_code == 409
    assert lab("POST", path, {"name": "hosts.csv", "replace": True}).status_code == 201
    preview = get(lab, "/api/lookups/hosts.csv/preview", count=2)
    assert (preview["total"], len(preview["rows"])) == (4, 2)
    assert [f["name"] for f in preview["fields"]] == ["host", "count"]


def test_the_catalogue_names_what_its_user_sees(lab: Controller) -> None:
    assert lab("POST", "/api/lookups?name=mine.csv", data=b"secret_column\n1\n").status_code == 201
    found = get(lab, "/api/search/completion")
    names = {c["name"]: c for c in found["commands"]}
    assert names["stats"]["aggregates"]
    assert names["timechart"]["usage"].startswith("timechart")
    assert {"avg", "dc", "count"} <= {a["name"] for a in found["aggregates"]}
    assert any(f["name"] == "substr" and f["signature"].startswith("substr(") for f in found["functions"])
    [facts] = [i for i in found["indexes"] if i["name"] == "facts"]
    assert {"host", "bytes", "note"} <= set(facts["fields"])
    assert facts["sourcetypes"] == ["stream:tcp"]
    other = requests.get(f"{lab.url}/api/search/completion", headers=lab.user("bob", "user"), timeout=30)
    assert "secret_column" in json.dumps(found)
    assert "secret_column" not in other.text


def test_the_catalogue_is_sent_compressed_to_who_takes_that(lab: Controller) -> None:
    plain, small = (
        lab("GET", "/api/search/completion", headers={"Accept-Encoding": accepted}) for accepted in ("identity", "gzip")
    )
    assert small.json() == plain.json()
    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert int(small.headers["Content-Length"]) * 3 < int(plain.headers["Content-Length"])


def test_the_history_is_each_users_own_and_holds_each_search_once(lab: Controller) -> None:
    carol = lab.user("carol", "user")
    for text in ("index=facts", "index=facts | head 1", "index=facts"):
        body = {"search": text, "earliest": "-1d"}
        assert lab("POST", "/api/search/history", body, headers=carol).status_code == 204
    listed = lab("GET", "/api/search/history", headers=carol).json()
    assert [h["search"] for h in listed] == ["index=facts", "index=facts | head 1"]
    assert listed[0]["earliest"] == "-1d"
    found = lab("GET", "/api/search/history?containing=HEAD", headers=carol).json()
    assert [h["search"] for h in found] == ["index=facts | head 1"]
    assert lab("GET", "/api/search/history").json() == []
    assert lab("DELETE", "/api/search/history", headers=carol).status_code == 204
    assert lab("GET", "/api/search/history", headers=carol).json() == []


def test_notables_and_the_risk_of_their_objects(lab: Controller) -> None:
    assert get(lab, "/api/notables") == {"events": [], "risk": []}
    for name, score, rows in (("loud", 20, 3), ("louder", 50, 1)):
        action = {"type": "index", "risk_object": "host", "risk_score": score, "title": name.title()}
        body = {"search": f"index=facts | stats count by host | sort -count | head {rows}", "actions": [action]}
        assert lab("PUT", f"/api/saved-searches/{name}", {**body, "schedule": "1d"}).status_code == 200
        assert lab("POST", f"/api/saved-searches/{name}/run", {}).json()["status"] == "fired"
    found = get(lab, "/api/notables")
    assert len(found["events"]) == 4
    risk = {r["risk_object"]: (r["risk"], r["events"], r["alerts"]) for r in found["risk"]}
    assert risk == {"web": (70.0, 2, 2), "db": (20.0, 1, 1), "mail": (20.0, 1, 1)}
    assert found["risk"][0]["risk_object"] == "web"


def test_lines_that_were_left_out_can_be_fetched(lab: Controller) -> None:
    body = io.BytesIO(b'{"_time": 1600000000, "a": 1}\nnot json at all\n{"_time": 1600000001, "a": 2}\n')
    report = lab("POST", "/api/indexes/broken/ingest?file_name=lines.jsonl", data=body.getvalue()).json()
    assert (report["rows"], report["bad"]) == (2, 1)
    answer = lab("GET", f"/api/ingest-errors/{report['error_report']}")
    [left] = [json.loads(line) for line in answer.text.splitlines()]
    assert left["line"] == 2
    assert left["reason"]
    assert "not json" in left["text"]
    for wrong in ("..%2Fcontroller.json", "nothing.jsonl", "x"):
        assert lab("GET", f"/api/ingest-errors/{wrong}").status_code == 404


def test_results_of_others_are_not_there(lab: Controller, job: dict[str, Any]) -> None:
    dave = lab.user("dave", "user")
    for part in ("summary", "timeline", "chart", "page"):
        assert lab("GET", f"/api/searches/{job['id']}/{part}", headers=dave).status_code == 404
    for part in ("stage", "lookup"):
        assert lab("POST", f"/api/searches/{job['id']}/{part}", {"name": "x"}, headers=dave).status_code in (404, 422)
