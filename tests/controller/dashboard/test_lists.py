"""Lists in pages: each entry once and in order, narrowed by words, and the menus of their rows."""

import itertools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from conftest import Controller, controllers, written
from playwright.sync_api import expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from labdock_controller.reconcile import Desired, Status
from labdock_controller.store.tables import AlertRunRow, EnvironmentRow, SavedSearchRow, UserRow

pytestmark = pytest.mark.slow
NAMES = [f"e{n:02}" for n in range(45)]
ALERTS = ("a-busy", "a-quiet", "a-never")
# Not in the order in which they started: the newest run is neither the first row nor the last one.
RUNS = [(name, 1_700_000_000.0 + 60 * (n * 17 % 45), n) for name in ALERTS[:2] for n in range(45)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        yield make(home_of=written(make(), write))


def write(session: Session) -> None:
    ids = (f"{n:012x}" for n in itertools.count(10**9))
    owner = session.scalars(select(UserRow.id)).first()
    common = {"owner_id": owner, "app": "search", "sharing": "user", "created": 0.0}
    for name in reversed(NAMES):
        made = {"runtime": "quick", "image": "", "limits": {}, "desired": Desired.STOPPED, "status": Status.STOPPED}
        session.add(EnvironmentRow(id=next(ids), name=name, mode="prod" if name == "e31" else "dev", **made, **common))
    saved = {name: next(ids) for name in ALERTS}
    for name in ALERTS:
        definition = {"search": "| makeresults", "schedule": "1d"}
        session.add(
            SavedSearchRow(id=saved[name], name=name, definition=definition, enabled=False, throttled={}, **common)
        )
    session.flush()
    for name, started, rows in RUNS:
        run = {"duration": 0.1, "status": "quiet", "job": "", "error": None, "actions": []}
        session.add(AlertRunRow(id=next(ids), saved_id=saved[name], started=started, rows=rows, **run))


def walked(lab: Controller, path: str, pattern: str) -> list[str]:
    """What the pattern finds on the list's pages, by their links to the next one."""
    found: list[str] = []
    while path:
        answer = lab("GET", path, headers={"Accept": "text/html"})
        assert answer.status_code == 200
        found += re.findall(pattern, answer.text)
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        path = following[1].replace("&amp;", "&") if following else ""
    return found


def test_every_environment_is_on_one_page(lab: Controller) -> None:
    names = r'<tr [^>]*data-environment="([^"]+)"'
    assert walked(lab, "/environments", names) == NAMES
    assert walked(lab, "/environments?contains=e2", names) == [name for name in NAMES if name.startswith("e2")]
    assert walked(lab, "/environments?contains=PROD+quick", names) == ["e31"]
    for nothing in ("/environments?contains=nowhere", "/environments?page=9"):
        answer = lab("GET", nothing, headers={"Accept": "text/html"})
        assert "No environment matches" in answer.text
        assert "45 environments" in answer.text
    assert lab("GET", "/environments?page=0", headers={"Accept": "text/html"}).status_code == 422


def test_an_alert_shows_its_history_in_pages_and_the_list_its_newest_run(lab: Controller) -> None:
    in_order = [rows for _, _, rows in sorted((r for r in RUNS if r[0] == "a-busy"), key=lambda r: -r[1])]
    shown = walked(lab, "/alerts/a-busy", r'data-label="Rows">(\d+)<')
    assert [int(rows) for rows in shown] == in_order
    beyond = lab("GET", "/alerts/a-busy?page=9", headers={"Accept": "text/html"}).text
    assert 'href="/alerts/a-busy">Newest runs' in beyond
    listed = lab("GET", "/alerts", headers={"Accept": "text/html"}).text
    rows = re.findall(r'class="title" href="/alerts/([^"]+)".*?data-label="Rows">([^<]+)<', listed, re.DOTALL)
    assert dict(rows) == {"a-busy": str(in_order[0]), "a-quiet": str(in_order[0]), "a-never": "–"}


@pytest.mark.browser
def test_a_list_is_narrowed_while_one_types_and_its_rows_have_menus(lab: Controller, visit: Any) -> None:
    page = visit(lab, "/environments")
    rows = page.locator("tr[data-environment]")
    expect(rows).to_have_count(20)
    with page.expect_navigation():  # its scripts are there afterwards
        page.get_by_role("link", name="Next").click()
    expect(rows.first).to_have_attribute("data-environment", "e20")
    page.keyboard.press("/")
    page.keyboard.type("e4")
    expect(rows).to_have_count(5)
    expect(page).to_have_url(f"{lab.url}/environments?contains=e4")
    page.reload()
    expect(rows).to_have_count(5)
    expect(page.get_by_role("searchbox")).to_have_value("e4")
    page.get_by_label("More for e41").click()
    menu = page.locator("details[open] .list")
    expect(menu.locator("a, button")).to_have_text(["Details and log", "Delete…"])
    menu.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete environment")
    dialog.get_by_label(re.compile("to confirm")).fill("e41")
    dialog.get_by_role("button", name="Delete").click()
    expect(rows).to_have_count(4)
    page.get_by_label("More for e42").click()
    page.locator("details[open]").get_by_role("link", name="Details and log").click()
    page.wait_for_url("**/environments/e42")


@pytest.mark.browser
def test_what_a_row_is_called_stays_text_in_its_menu(lab: Controller, visit: Any, xss: list[str]) -> None:
    """A search's text goes into the address of its row's menu; it ends up in the editor, and nowhere else."""
    text = f'| makeresults | eval a={xss[2]!r}, b="{{path}} {{query}}"'
    alert = {"search": text, "schedule": "1d"}
    assert lab("PUT", f"/api/saved-searches/{quote('a-menu')}", alert).status_code == 200
    page = visit(lab, "/alerts")
    page.get_by_label("More about a-menu").click()
    page.locator("details[open]").get_by_role("link", name="Search").click()
    expect(page.locator(".cm-content")).to_have_text(text)
    assert page.locator("main img:not(.cm-widgetBuffer)").count() == 0
