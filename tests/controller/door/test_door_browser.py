"""A real browser in a real JupyterLab through the door: open, run a cell, see its output, edit, save."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect
from tests.jupyterlab_page import run_cell
from tests.waiting import wait_for

BASE = "/environments/__dev__/jupyter/"
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def page(door: Any, chromium: Any) -> Iterator[Page]:
    context = chromium.new_context()
    address = f"http://127.0.0.1:{door.served.port}"
    context.add_cookies([{"name": "labdock_session", "value": "alice-token", "url": address, "httpOnly": True}])
    it = context.new_page()
    it.set_default_timeout(40_000)
    yield it
    context.close()


def notebook(lab: Any, name: str, source: str) -> Path:
    path: Path = lab.notebooks / name
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def sources(path: Path) -> list[str]:
    """The cells of a notebook; none in the moment in which JupyterLab writes it."""
    text = path.read_text()
    return [cell["source"] for cell in nbformat.reads(text, 4)["cells"]] if text else []


def test_a_notebook_runs_and_is_saved(door: Any, lab: Any, page: Page) -> None:
    path = notebook(lab, "through_the_door.ipynb", "print(6 * 7, 'from the kernel')")
    failures: list[str] = []
    tokens: list[str] = []
    page.on("response", lambda r: failures.append(f"{r.status} {r.url}") if r.status in {401, 403, 502} else None)
    page.on("request", lambda r: tokens.append(r.url) if "authorization" in r.headers or "token=" in r.url else None)
    page.goto(f"http://127.0.0.1:{door.served.port}{BASE}lab/tree/{path.name}?reset")
    cell = page.locator(".jp-CodeCell").first
    run_cell(page, cell)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("42 from the kernel", timeout=60_000)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nedited = 'through the door'")
    page.keyboard.press("Control+s")
    wait_for(lambda: "edited = 'through the door'" in "".join(sources(path)))
    assert "42 from the kernel" in path.read_text()
    assert failures == []
    assert tokens == []


def test_the_browser_survives_a_restart_of_jupyterlab(door: Any, lab: Any, page: Page) -> None:
    path = notebook(lab, "restart.ipynb", "print('again', 40 + 2)")
    address = f"http://127.0.0.1:{door.served.port}{BASE}lab/tree/{path.name}?reset"
    lab.kill()
    try:
        page.goto(address)
        expect(page.locator("body")).to_contain_text("does not answer")
    finally:
        lab.start()
    # The page looks again by itself.
    cell = page.locator(".jp-CodeCell").first
    run_cell(page, cell)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("again 42", timeout=60_000)
