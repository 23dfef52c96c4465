"""What a hand does in JupyterLab, opened from the dashboard's Environments page."""

import contextlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as TookTooLong
from tests.e2e.clicks import Lab, go, shown_at_last
from tests.jupyterlab_page import wait_for_kernel

STARTED = """([cell, code]) => !cell.isConnected || !cell.classList.contains('jp-mod-active')
    && (!code || cell.querySelector('.jp-InputPrompt').textContent.trim() !== '[ ]:')"""


def jupyter(lab: Lab, page: Page) -> Page:
    """JupyterLab of `__dev__`, from the Environments page."""
    go(page, "Environments")
    with lab.context.expect_page() as coming:
        page.locator("tr", has_text="__dev__").get_by_role("link", name=re.compile("JupyterLab")).first.click()
    other = coming.value
    for _ in range(4):
        shown_at_last(other, other.locator(".jp-DirListing-content"))
        with contextlib.suppress(AssertionError):
            expect(other.locator(".jp-Dialog")).to_have_count(0)  # that it lost its server
            break
        other.reload()
    top_folder(other)
    return other


def top_folder(page: Page) -> None:
    page.locator(".jp-BreadCrumbs-home").click()
    expect(item(page, "data")).to_be_visible()


def item(page: Page, name: str) -> Locator:
    """An entry of the listing."""
    text = page.locator(".jp-DirListing-itemText", has_text=re.compile(f"^{re.escape(name)}$"))
    return page.locator(".jp-DirListing-item", has=text)


def download(lab: Lab, page: Page, name: str) -> Path:
    """A file of the listing by its context menu."""
    item(page, name).click(button="right")
    with page.expect_download() as coming:
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Download$")).click()
    target = lab.downloads / name
    coming.value.save_as(target)
    return target


def open_notebook(page: Page, name: str) -> None:
    """Its kernel is ready and its first cell active afterwards."""
    item(page, f"{name}.ipynb").dblclick()
    cell = page.locator(".jp-Notebook:visible .jp-Cell").first
    expect(cell).to_be_visible(timeout=60_000)
    wait_for_kernel(page)
    cell.locator(".jp-MarkdownOutput").click(position={"x": 5, "y": 5})  # each begins with a text
    page.keyboard.press("Escape")


def run_through(page: Page, source: str, said: str = "", seconds: float = 300) -> None:
    """Press Shift+Enter, cell by cell, up to the code cell that holds `source`; wait for what it puts out.

    `said` is part of the text that it prints; without one it draws a picture.
    """
    active = page.locator(".jp-Notebook:visible .jp-Cell.jp-mod-active")
    for _ in range(80):
        expect(active).to_have_count(1)
        here = active.element_handle()
        is_code = "jp-CodeCell" in (active.get_attribute("class") or "")
        reached = is_code and source in (active.text_content() or "")
        page.keyboard.press("Shift+Enter")
        # Only then the next one: what is pressed too early runs a cell twice and leaves one out.
        try:
            page.wait_for_function(STARTED, arg=[here, is_code], timeout=15_000)
        except TookTooLong:  # as a person would: look, and press again
            prompt = here.query_selector(".jp-InputPrompt")
            assert prompt, "no cell to press again in"
            prompt.click()
            page.keyboard.press("Shift+Enter")
            page.wait_for_function(STARTED, arg=[here, is_code])
        if reached:
            break
    else:
        pytest.fail(f"no cell holds {source!r}")
    output = page.locator(".jp-Notebook:visible .jp-CodeCell", has_text=source).locator(".jp-OutputArea-output")
    if said:
        expect(output.filter(has_text=said).first).to_be_visible(timeout=seconds * 1000)
    else:
        expect(output.locator("img").first).to_be_visible(timeout=seconds * 1000)


def save(page: Page, name: str) -> None:
    """Ctrl+S, and JupyterLab has it on disk."""
    with page.expect_response(lambda r: r.request.method == "PUT" and f"api/contents/{name}.ipynb" in r.url) as saved:
        page.keyboard.press("Control+s")
    assert saved.value.ok
