"""Data by clicks: a file that is dropped, lookups, indexes, the event collector; who may not is told why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Controller, controllers
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser]
EVENTS = "".join(f'{{"_time": {1_700_000_000 + i}, "user": "u{i % 5}", "value": {i}}}\n' for i in range(200))
DROP = """([name, text]) => {
  const moved = new DataTransfer();
  moved.items.add(new File([text], name, {type: "application/octet-stream"}));
  for (const kind of ["dragenter", "dragover", "drop"])
    window.dispatchEvent(new DragEvent(kind, {dataTransfer: moved, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        yield make()


def test_a_file_that_is_dropped_is_searchable_and_its_bad_line_is_named(lab: Controller, visit: Any) -> None:
    page: Page = visit(lab, "/data")
    expect(page.get_by_text("No index yet")).to_be_visible()
    page.evaluate(DROP, ["events.jsonl", EVENTS + "this is no event\n"])
    dialog = page.get_by_role("dialog", name="Add events")
    expect(dialog).to_contain_text("events.jsonl")
    dialog.get_by_label("Index").fill("dropped")
    dialog.get_by_role("button", name="Add events").click()
    report = page.get_by_role("dialog", name="What became of the files")
    expect(report).to_contain_text("200 events in dropped, 1 line left out")
    expect(report.locator("tbody tr")).to_have_count(1)
    expect(report.locator("tbody tr")).to_contain_text("201")
    expect(report.locator("tbody tr")).to_contain_text("this is no event")
    with page.expect_download() as download:
        report.get_by_role("link", name="Download all lines").click()
    assert "this is no event" in download.value.path().read_text()
    report.get_by_role("link", name="Search them").click()
    expect(page.locator("[data-summary]")).to_contain_text("200 rows")
    page.goto(f"{lab.url}/data")
    row = page.locator("#indexes tbody tr", has_text="dropped")
    expect(row).to_contain_text("200")
    expect(row.locator(".spark canvas")).to_be_visible()
    row.get_by_role("link", name="dropped").click()
    expect(page.get_by_role("heading", name="dropped")).to_be_visible()
    expect(page.locator(".events li")).to_have_count(20)
    expect(page.locator(".events li").first).to_contain_text("199")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog", name="Delete this index")).to_contain_text("are gone for good.")
    button = page.get_by_role("button", name="Delete the index")
    expect(button).to_be_disabled()
    page.get_by_label("Type dropped to confirm").fill("dropped")
    button.click()
    expect(page).to_have_url(f"{lab.url}/data")
    expect(page.get_by_text("No index yet")).to_be_visible()


def test_a_lookup_is_uploaded_searched_shared_and_deleted(lab: Controller, visit: Any, tmp_path: Path) -> None:
    file = tmp_path / "my assets.csv"
    file.write_text("host,owner\nweb1,ann\ndb1,bob\n", encoding="utf-8")
    page: Page = visit(lab, "/data")
    page.get_by_role("button", name="Add a lookup").first.click()
    dialog = page.get_by_role("dialog", name="Add a lookup")
    dialog.locator("input[type=file]").set_input_files(file)
    name = dialog.get_by_role("textbox", name="Name", exact=True)
    expect(name).to_have_value("my_assets.csv")
    dialog.get_by_role("button", name="Add the lookup").click()
    expect(page.locator("#lookups")).to_contain_text("my_assets.csv")
    page.get_by_role("link", name="my_assets.csv").click()
    expect(page.locator(".preview tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Search it").click()
    expect(page.locator("[data-summary]")).to_contain_text("2 rows")
    expect(page.locator(".tabulator-row").first).to_contain_text("ann")
    page.go_back()
    page.wait_for_load_state("load")
    page.get_by_role("button", name="Edit permissions").click()
    page.get_by_text("All apps", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator(".figures")).to_contain_text("all apps")
    page.wait_for_load_state("load")
    page.get_by_role("button", name="Delete").click()
    page.get_by_label("Type my_assets.csv to confirm").fill("my_assets.csv")
    page.get_by_role("button", name="Delete the lookup").click()
    expect(page.get_by_text("No lookup yet")).to_be_visible()


def test_a_file_that_is_no_table_is_refused_where_it_was_chosen(lab: Controller, visit: Any, tmp_path: Path) -> None:
    visit.expects("422")
    file = tmp_path / "empty.csv"
    file.write_text("", encoding="utf-8")
    page: Page = visit(lab, "/data")
    page.get_by_role("button", name="Add a lookup").first.click()
    dialog = page.get_by_role("dialog", name="Add a lookup")
    dialog.locator("input[type=file]").set_input_files(file)
    dialog.get_by_role("button", name="Add the lookup").click()
    expect(dialog.locator("[data-problem]")).to_contain_text("empty")
    expect(dialog).to_be_visible()


def test_a_collector_token_sends_events_and_nothing_else(lab: Controller, visit: Any) -> None:
    assert lab("POST", "/api/indexes/hec/ingest?file_name=e.jsonl", data=EVENTS.encode()).status_code == 200
    page: Page = visit(lab, "/data")
    page.get_by_role("button", name="Make a token").click()
    page.get_by_role("button", name="Make the token").click()
    command = page.locator("[data-token-command]")
    expect(command).to_contain_text("Authorization: Splunk ")
    text = command.inner_text()
    address, token = text.split()[1], text.split("Splunk ")[1].split('"')[0]
    headers = {"Authorization": f"Splunk {token}"}
    assert '"index": "hec"' in text
    sent = requests.post(address, json={"event": "hello", "index": "hec"}, headers=headers, timeout=30)
    assert sent.json()["text"] == "Success"
    refused = requests.get(f"{lab.url}/api/indexes", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert refused.status_code == 403


def test_who_may_not_add_is_told_what_it_takes(lab: Controller, visit: Any) -> None:
    visit.expects("403")
    reader = lab.token_of("reader", "user")
    page: Page = visit(lab, "/data", token=reader)
    expect(page.locator("#lookups")).to_contain_text("upload_lookup_files")
    expect(page.locator(".collector")).to_contain_text("send_events")
    assert page.get_by_role("button", name="Add events").count() == 0
    viewer = lab.token_of("onlooker", "viewer")
    for path in ("/search", "/data", "/alerts"):
        page = visit(lab, path, token=viewer)
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
        expect(page.locator("main")).to_contain_text("search")
