"""A learner in a real browser: saves a notebook, sees what is wrong with it, gets to the cell, repairs it."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_findings_are_shown_where_the_notebook_is_saved(environment: Any, site: str, page: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))

    cells = [
        ("mltkc_init", "def init(df, param):\n    return {}"),
        (None, "1 + 1"),
        ("mltkc_fit", "def fit(model, df, param):\n    return {"),
        ("mltkc_apply", "def apply(model, df, param):\n    return df"),
    ]
    put = page.request.put(
        f"{site}api/contents/mine.ipynb",
        data=environment.notebook(*cells),
        headers={"Authorization": f"token {environment.token}"},
    )
    assert put.status == 201
    page.goto(f"{site}lab/tree/mine.ipynb?token={environment.token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.keyboard.press("Control+s")

    toast = page.locator(".Toastify__toast", has_text="Cell 3, line 2: Syntax error")
    toast.wait_for()
    page.screenshot(path=tmp_path / "finding.png")

    toast.get_by_role("button", name="Show cell 3").click()
    page.wait_for_selector(".jp-Notebook .jp-Cell:nth-child(3).jp-mod-active")

    # The cursor stands in the broken line: type the missing brace, save, and the toast goes.
    page.keyboard.press("End")
    page.keyboard.type("}")
    page.keyboard.press("Control+s")
    page.locator(".Toastify__toast", has_text="nothing left to correct").wait_for()
    toast.wait_for(state="hidden")
    text = (environment.notebooks / "modules" / "mine.py").read_text()
    assert "return {}\n" in text.split("def fit")[1]
    compile(text, "mine", "exec")

    assert not wrong, wrong
    foreign = [url for url in asked if not url.startswith((site, "data:", "blob:"))]
    assert not foreign, foreign
    assert page.get_by_text("official Jupyter news").count() == 0
