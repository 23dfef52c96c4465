"""The search page by clicks and typing."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd
import pytest
from conftest import ENDLESS, Controller, controllers
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser]
ROWS = 100_000
NUMBERS = f"| makeresults count={ROWS} | streamstats count as n"
MANY = f'{NUMBERS} | eval square=n*n, word="w".tostring(n%97) | table n square word'
UC1 = (
    'index=botsv3 sourcetype="stream:tcp" | bin _time span=1h | stats count as numFlows dc(dest_ip) as uniqueDstIp '
    "by src_ip | sort -numFlows"
)
# What payloads would have made; the editor has a picture of its own.
MADE = "img:not(.cm-widgetBuffer), iframe, object, embed, svg[onload], svg animate"
FLOWS = pd.DataFrame(
    {
        "_time": [1_700_000_000 + 60 * i for i in range(600)],
        "src_ip": [f"10.0.0.{i % 4}" for i in range(600)],
        "dest_ip": [f"192.0.2.{i % 50}" for i in range(600)],
        "bytes_in": [i % 100 for i in range(600)],
    }
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        controller = make()
        body = FLOWS.to_csv(index=False).encode()
        path = "/api/indexes/botsv3/ingest?file_name=flows.csv&sourcetype=stream:tcp"
        assert controller("POST", path, data=body).json()["rows"] == len(FLOWS)
        yield controller


def opened(visit: Any, lab: Controller, path: str = "/search", **more: Any) -> Page:
    page: Page = visit(lab, path, **more)
    expect(page.locator("[data-ready]")).to_be_visible()
    return page


def type_search(page: Page, text: str) -> None:
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def run(page: Page, text: str) -> None:
    type_search(page, text)
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-state=done]")).to_be_visible(timeout=60_000)


def complete(page: Page) -> None:
    """A click before its scripts are there would do nothing."""
    page.wait_for_load_state("load")


def cells(page: Page, row: int) -> list[str]:
    found = page.locator(".tabulator-row").nth(row).locator(".tabulator-cell").all_inner_texts()
    return [text.replace("\u202f", "") for text in found]


def test_statistics_of_flows_with_a_chart(lab: Controller, visit: Any) -> None:
    """UC1's search, its table checked against pandas, its chart drawn and switched; Back and reload show the same."""
    page = opened(visit, lab)
    run(page, UC1)
    wanted = FLOWS.groupby("src_ip")["dest_ip"].agg(["size", "nunique"])
    expect(page.locator(".tabulator-row")).to_have_count(len(wanted))
    for at in range(len(wanted)):
        source, flows, targets = cells(page, at)
        assert (int(flows), int(targets)) == tuple(wanted.loc[source])
    expect(page.get_by_role("tab", name="Statistics")).to_be_visible()
    page.get_by_role("tab", name="Chart").click()
    expect(page.locator("[data-chart] canvas")).to_be_visible()
    assert page.locator("[data-chart-type]").input_value() == "bar"
    page.locator("[data-chart-type]").select_option("pie")
    expect(page.locator("[data-chart] canvas")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Specification").click()
    spec = json.loads(download.value.path().read_text())
    assert {v["src_ip"]: v["numFlows"] for v in spec["data"]["values"]} == wanted["size"].to_dict()
    first = page.url
    run(page, "index=botsv3 | head 7")
    expect(page.get_by_role("tab", name="Events")).to_be_visible()
    page.go_back()
    expect(page.locator(".cm-content")).to_contain_text("numFlows")
    assert page.url == first
    page.reload()
    expect(page.locator("[data-summary]")).to_contain_text("4 rows")
    page.get_by_role("button", name="Recent results").click()
    expect(page.locator("[data-jobs] li").first).to_contain_text("head 7")


def test_a_result_that_cannot_be_asked_for_now_is_not_searched_for_again(lab: Controller, visit: Any) -> None:
    """As when a page is left while it asks, or the controller restarts; what is gone or never was is searched for."""
    visit.expects("Failed to load resource", "404")
    page = opened(visit, lab)
    run(page, "index=botsv3 | head 3")
    with_job, jobs = page.url, len(lab("GET", "/api/searches").json())
    job = with_job.partition("job=")[2]
    page.route(f"**/api/searches/{job}", lambda route: route.abort())
    page.reload()
    expect(page.locator("[data-error]")).to_contain_text("The controller does not answer.")
    assert page.url == with_job
    assert len(lab("GET", "/api/searches").json()) == jobs
    page.goto(with_job.replace(job, "never-was"))
    expect(page.locator("[data-summary]")).to_contain_text("3 rows")
    assert len(lab("GET", "/api/searches").json()) == jobs + 1


def test_a_hundred_thousand_rows_are_few_in_the_page_and_sorted_by_the_engine(lab: Controller, visit: Any) -> None:
    page = opened(visit, lab)
    run(page, MANY)
    expect(page.locator("[data-matching]")).to_contain_text("100\u202f000")
    rows = page.locator(".tabulator-row")
    assert cells(page, 0) == ["1", "1", "w1"]
    holder = page.locator(".tabulator-tableholder")
    most = 0
    for part in (0.1, 0.33, 0.5, 0.77, 1):
        holder.evaluate("(e, part) => { e.scrollTop = (e.scrollHeight - e.clientHeight) * part }", part)
        expect(page.locator(".tabulator-cell.pending")).to_have_count(0)
        most = max(most, rows.count())
    assert 0 < most <= 60
    expect(rows.last.locator(".tabulator-cell").first).to_have_text("100\u202f000")
    page.locator(".sorter[data-field=square]").click()
    expect(page.locator(".sorter[data-order=down]")).to_be_visible()
    assert cells(page, 0) == [str(ROWS), str(ROWS**2), f"w{ROWS % 97}"]
    page.locator(".sorter[data-field=square]").click()
    expect(page.locator(".sorter[data-order=up]")).to_be_visible()
    assert cells(page, 0)[0] == "1"
    bar = page.locator("[data-filter-form]")
    bar.get_by_label("Field").select_option("word")
    bar.get_by_label("Operator").select_option("=")
    bar.get_by_label("Value").fill("w5")
    bar.get_by_role("button", name="Filter").click()
    wanted = sum(1 for n in range(1, ROWS + 1) if n % 97 == 5)
    expect(page.locator("[data-matching]")).to_contain_text(f"{wanted:,} rows of".replace(",", "\u202f"))
    assert cells(page, 0) == ["5", "25", "w5"]


def test_an_error_is_underlined_where_it_is_and_mended_by_a_click(lab: Controller, visit: Any) -> None:
    visit.expects(r"422")
    page = opened(visit, lab)
    type_search(page, "index=botsv3 | stast count by src_ip")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".search-error")).to_contain_text("stast")
    expect(page.locator(".search-error")).to_contain_text("Did you mean 'stats'?")
    expect(page.locator(".cm-lintRange-error")).to_have_text("stast")
    page.get_by_role("button", name="Use stats").click()
    expect(page.locator("[data-summary]")).to_contain_text("4 rows")
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)


def test_completion_history_and_the_field_sidebar(lab: Controller, visit: Any) -> None:
    page = opened(visit, lab)
    editor = page.locator(".cm-content")
    editor.click()
    page.keyboard.type("index=bot")
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("botsv3")
    page.wait_for_timeout(100)  # CodeMirror takes no completion within 75 ms of showing it
    page.keyboard.press("Enter")
    page.keyboard.type(" | timec")
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("timechart")
    page.keyboard.press("Escape")
    run(page, "index=botsv3")
    side = page.get_by_role("complementary", name="Fields")
    side.locator("summary", has_text="src_ip").click()
    top = side.locator(".value", has_text="10.0.0.1")
    expect(top).to_contain_text("150")
    top.click()
    expect(editor).to_have_text('index=botsv3 src_ip="10.0.0.1"')
    expect(page.locator("[data-summary]")).to_contain_text("150 rows")
    page.locator(".tabulator-row").first.click()
    expect(page.get_by_role("dialog", name="The row")).to_contain_text("192.0.2.")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("[data-state=done]")).to_be_visible()
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(editor).to_have_text("index=botsv3")
    page.get_by_role("button", name="History").click()
    page.get_by_label("Find a search").fill("src_ip=")
    expect(page.locator("[data-past] li")).to_have_count(1)


def test_a_running_search_survives_leaving_and_is_cancelled(lab: Controller, visit: Any) -> None:
    page = opened(visit, lab)
    type_search(page, ENDLESS)
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-running]")).to_be_visible()
    expect(page).to_have_url(re.compile("job="))
    page.get_by_role("link", name="Data").click()
    expect(page.get_by_role("heading", name="Data")).to_be_visible()
    page.go_back()
    expect(page.locator("[data-running]")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("[data-state=ended]")).to_be_visible()
    expect(page.locator("[data-summary]")).to_contain_text("Cancelled")


def test_a_link_alone_runs_nothing_that_changes_something(lab: Controller, visit: Any) -> None:
    page = opened(visit, lab, "/search?q=%7C%20makeresults%20%7C%20outputlookup%20planted.csv")
    expect(page.locator(".search-error")).to_contain_text("the link alone does not run it")
    assert lab("GET", "/api/lookups/planted.csv").status_code == 404


def test_a_search_becomes_an_alert_that_fires_and_is_followed(lab: Controller, visit: Any) -> None:
    page = opened(visit, lab)
    run(page, "index=botsv3 | stats count by src_ip | sort -count | head 2")
    expect(page.locator(".tabulator-row").first).to_be_visible()
    page.locator("summary", has_text="Save as").click()
    page.get_by_role("button", name="Alert", exact=True).click()
    dialog = page.get_by_role("dialog", name="Save as an alert")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("busy")
    dialog.get_by_label("Runs").fill("1d")
    dialog.get_by_label("Risk object field").fill("src_ip")
    dialog.get_by_role("button", name="Save the alert").click()
    page.get_by_role("link", name="Look at it").click()
    expect(page.get_by_role("heading", name="busy")).to_be_visible()
    complete(page)
    expect(page.locator("#history")).to_contain_text("not run yet")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#history .chip")).to_have_text("fired")
    expect(page.locator("#history")).to_contain_text("2 events in notable")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("spinbutton", name="Rows").fill("5")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#definition")).to_contain_text("more than 5 rows")
    complete(page)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#definition .chip")).to_have_text("paused")
    page.goto(f"{lab.url}/alerts/notables")
    expect(page.locator("tbody").first).to_contain_text("10.0.0.")
    assert page.locator("tbody").first.locator("tr").count() == 2
    page.goto(f"{lab.url}/alerts")
    expect(page.locator("#alerts")).to_contain_text("paused")


def test_a_result_becomes_a_lookup_and_a_file(lab: Controller, visit: Any) -> None:
    page = opened(visit, lab)
    run(page, "index=botsv3 | stats count by src_ip")
    expect(page.locator(".tabulator-row").first).to_be_visible()
    page.locator("summary", has_text="Save as").click()
    page.get_by_role("button", name="Lookup", exact=True).click()
    dialog = page.get_by_role("dialog", name="Save as a lookup")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("sources.csv")
    dialog.get_by_role("button", name="Save the lookup").click()
    page.get_by_role("link", name="Look at it").click()
    expect(page.locator(".preview tbody tr")).to_have_count(4)
    page.get_by_role("link", name="Search it").click()
    expect(page.locator("[data-summary]")).to_contain_text("4 rows")
    expect(page.locator(".tabulator-row").first).to_be_visible()
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV, exact").click()
    assert len(pd.read_csv(io.BytesIO(download.value.path().read_bytes()))) == 4


def test_rows_are_sent_to_an_environment_in_two_clicks(lab: Controller, visit: Any) -> None:
    lab.start("desk", runtime="local", mode="prod", wait=120)
    page = opened(visit, lab)
    run(page, "index=botsv3 | stats count by src_ip")
    page.get_by_role("button", name="Send to an environment").click()
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(page.locator("[data-toasts]")).to_contain_text("4 rows sent", timeout=60_000)
    [staged] = list(lab.home.glob("environments/*/notebooks/data/search_results.csv"))
    assert sorted(pd.read_csv(staged)["src_ip"]) == sorted(FLOWS["src_ip"].unique())


def test_texts_that_look_like_markup_stay_texts(lab: Controller, visit: Any, xss: list[str]) -> None:
    """Payloads as fields' names and values, in rows, sidebar, row window, chart, filters, history and preview."""
    names = [text.replace("\x00", "")[:60] for text in xss]
    frame = pd.DataFrame([{f"{i} {name}": value for i, name in enumerate(names)} for value in xss])
    text = frame.map(lambda v: v.replace("\x00", "")).to_csv(index=False)
    assert lab("POST", "/api/lookups?name=hostile.csv", data=text.encode()).status_code == 201
    page = opened(visit, lab)
    run(page, "| inputlookup hostile.csv")
    expect(page.locator(".tabulator-row").first).to_be_visible()
    expect(page.locator(".fields-list li")).to_have_count(len(names))
    for at in (0, 1, 7, 30):
        page.locator(".field-entry summary").nth(at).click()
        expect(page.locator(".field-entry").nth(at).locator(".top li").first).to_be_visible()
    page.locator(".tabulator-row").nth(2).click()
    expect(page.get_by_role("dialog", name="The row")).to_contain_text("onerror")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Chart").click()
    expect(page.locator("[data-chart] canvas")).to_be_visible()
    box = page.locator("[data-chart] canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.goto(f"{lab.url}/data/lookups/hostile.csv")
    expect(page.locator(".preview tbody tr")).to_have_count(len(xss))
    for text in xss[:12]:
        body = {"search": f"index=botsv3 {json.dumps(text)}"}
        lab("POST", "/api/search/history", body)
    page = opened(visit, lab)
    page.get_by_role("button", name="History").click()
    expect(page.locator("[data-past]")).to_contain_text("onerror")
    assert page.locator(MADE).count() == 0
    events_that_look_like_markup(page, lab, [value.replace("\x00", "") for value in xss])
    names_that_look_like_markup(page, lab, visit, xss)


def events_that_look_like_markup(page: Page, lab: Controller, texts: list[str]) -> None:
    """The payloads as values and sourcetypes of an index, and as its fields' names: its page, the list, its events."""
    frame = pd.DataFrame({"_time": range(1_700_000_000, 1_700_000_000 + len(texts)), "kind": texts})
    frame = frame.assign(**{f"{i} {text[:60]}": text for i, text in enumerate(texts)})
    for at in range(0, len(texts), 6):  # a sourcetype and a source for each six events
        query = urlencode({"file_name": f"{at}.csv", "sourcetype": texts[at], "source": texts[at]})
        part = frame[at : at + 6].to_csv(index=False).encode()
        assert lab("POST", f"/api/indexes/hostile/ingest?{query}", data=part).json()["rows"] == len(frame[at : at + 6])
    page.goto(f"{lab.url}/data/indexes/hostile")
    expect(page.locator("#field-list")).to_contain_text("onerror")
    expect(page.locator("[data-sample]")).to_contain_text("onerror")
    assert page.locator(MADE).count() == 0
    page.goto(f"{lab.url}/data")
    expect(page.locator("#indexes")).to_contain_text("hostile")
    assert page.locator(MADE).count() == 0
    page.goto(f"{lab.url}/search?q=index%3Dhostile")
    expect(page.locator(".tabulator-row").first).to_be_visible()
    page.locator(".tabulator-row").first.click()
    expect(page.get_by_role("dialog", name="The row")).to_contain_text("hit()")
    assert page.locator(MADE).count() == 0


def names_that_look_like_markup(page: Page, lab: Controller, visit: Any, xss: list[str]) -> None:
    """No lookup and no index is called so: the API refuses each, and the page shows the refusal as text."""
    known = [[each["name"] for each in lab("GET", f"/api/{kind}").json()] for kind in ("lookups", "indexes")]
    for text in xss:
        lookup = lab("POST", f"/api/lookups?{urlencode({'name': text})}", data=b"a\n1\n")
        index = lab("POST", f"/api/indexes/{quote(text, safe='')}/ingest?file_name=a.csv", data=b"_time,a\n1,1\n")
        assert lookup.status_code == 422, text
        assert 400 <= index.status_code < 500, text  # a slash is a place where there is nothing
        for path in ("/data/lookups/", "/data/indexes/"):
            shown = lab("GET", f"{path}{quote(text, safe='')}", headers={"Accept": "text/html"})
            assert shown.status_code in (404, 422), text
            assert text not in shown.text or not re.search("[<>\"']", text), f"{path}: {text}"
    assert known == [[each["name"] for each in lab("GET", f"/api/{kind}").json()] for kind in ("lookups", "indexes")]
    visit.expects("status of 422")
    page.goto(f"{lab.url}/data")
    complete(page)
    for text in (xss[2], xss[6]):
        page.get_by_role("button", name="Add a lookup").first.click()
        dialog = page.get_by_role("dialog", name="Add a lookup")
        dialog.locator("input[type=file]").set_input_files(
            {"name": f"{text}.csv", "mimeType": "text/csv", "buffer": b"a\n1\n"}
        )
        expect(dialog.locator("[data-files]")).to_contain_text("onerror")
        dialog.get_by_role("textbox", name="Name").fill(text)
        dialog.get_by_role("button", name="Add the lookup").click()
        expect(dialog.locator("[data-problem]")).to_contain_text("is not a name for a lookup")
        assert page.locator(MADE).count() == 0
        page.keyboard.press("Escape")
