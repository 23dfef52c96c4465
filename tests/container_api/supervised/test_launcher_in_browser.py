"""JupyterLab's launcher offers the templates: a click makes a module, in the folder that is open, and opens it."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from labdock.templates import TEMPLATES

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_a_card_of_the_launcher_makes_a_module(environment: Any, site: str, page: Any) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{site}lab?token={environment.token}")
    section = page.locator(".jp-Launcher-section", has=page.get_by_role("heading", name="Labdock"))
    cards = section.locator(".jp-LauncherCard")
    expect(cards).to_have_count(len(TEMPLATES), timeout=60_000)
    assert [text.strip() for text in cards.all_inner_texts()] == [kind.capitalize() for kind in TEMPLATES]
    expect(cards.first.locator("svg")).to_be_visible()

    # The first one goes to the top folder, a second one beside it under another name.
    for name in ("my_classifier", "my_classifier_2"):
        cards.filter(has_text="Classifier").click()
        cell = page.locator(".jp-Notebook:visible .jp-CodeCell", has_text="RandomForestClassifier").first
        expect(cell).to_be_visible(timeout=60_000)
        expect(page.locator(".lm-TabBar-tab.lm-mod-current", has_text=f"{name}.ipynb")).to_be_visible()
        assert (environment.notebooks / f"{name}.ipynb").is_file()
        module = (environment.notebooks / "modules" / f"{name}.py").read_text()
        compile(module, name, "exec")
        assert "def fit(" in module
        page.keyboard.press("Control+Shift+L")
    listed = page.locator(".jp-DirListing-itemText", has_text="my_classifier_2.ipynb")
    expect(listed).to_be_visible(timeout=60_000)

    # In another folder it is made there; the notebook works from its first cell to its own test.
    page.locator(".jp-DirListing-item", has_text="data").first.dblclick()
    expect(page.locator(".jp-BreadCrumbs-item").last).to_have_text("data", timeout=60_000)
    page.keyboard.press("Control+Shift+L")
    cards.filter(has_text="Regressor").last.click()
    expect(page.locator(".lm-TabBar-tab.lm-mod-current", has_text="my_regressor.ipynb")).to_be_visible(timeout=60_000)
    notebook = environment.notebooks / "data" / "my_regressor.ipynb"
    assert json.loads(notebook.read_text())["nbformat"] == 4
    assert not wrong, wrong


def test_what_is_no_kind_or_no_folder_is_refused(environment: Any) -> None:
    environment.start()
    (environment.notebooks / ".hidden").mkdir()
    before = sorted(p.name for p in environment.notebooks.rglob("*.ipynb"))
    for body, status in [
        ({"kind": "clasifier", "folder": ""}, 400),
        ({"kind": 3}, 400),
        (["classifier"], 400),
        ({"kind": "classifier", "folder": "../.."}, 404),
        ({"kind": "classifier", "folder": ".hidden"}, 404),
        ({"kind": "classifier", "folder": "nowhere"}, 404),
    ]:
        found, answer = environment.jupyter("POST", "labdock/notebooks", body)
        assert found == status, answer
    assert sorted(p.name for p in environment.notebooks.rglob("*.ipynb")) == before
    found, answer = environment.jupyter("GET", "labdock/notebooks")
    assert (found, [k["kind"] for k in answer["kinds"]]) == (200, list(TEMPLATES))
