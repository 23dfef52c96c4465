"""What holds for every page of `PAGES`: accessible in both themes, small, readable at 360 px; and its pictures."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser]
BUDGET = 250_000
REQUESTS = 50  # of which most are modules of a kilobyte
RESULTS = {"search-result", "search-events"}  # these need the editor and the table, or the chart of events


def test_the_page_is_accessible_and_small(
    furnished: Any, visit: Any, dashboard_page: tuple[str, str, str], accessible: Callable[[Page], list[str]]
) -> None:
    name, path, ready = dashboard_page
    page = visit(furnished, "/health", reduced_motion="reduce")  # no colour is caught between two themes
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(furnished.url + path)
    expect(page.locator(ready).first).to_be_visible()
    page.wait_for_function("document.readyState === 'complete'")
    assert page.locator("main h1").count() == 1
    assert page.title().endswith("· Labdock")
    transferred, requests = sum(sizes), len(sizes)
    print(f"{path}: {transferred / 1000:.0f} kB in {requests} requests")
    if name not in RESULTS:
        assert 0 < transferred <= BUDGET
        assert requests <= REQUESTS
    assert accessible(page) == []
    page.evaluate("document.querySelector('[data-theme-to=dark]').click()")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert accessible(page) == []


def test_the_page_is_readable_on_a_narrow_screen(
    furnished: Any, visit: Any, dashboard_page: tuple[str, str, str], accessible: Callable[[Page], list[str]]
) -> None:
    _, path, ready = dashboard_page
    page = visit(furnished, path, width=360, height=740)
    expect(page.locator(ready).first).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"the page is {wide} px wide"
    button = page.get_by_role("button", name="Navigation")
    button.click()
    expect(page.get_by_role("navigation", name="Pages", exact=True)).to_be_visible()
    assert accessible(page) == []


@pytest.mark.skipif(not os.environ.get("LABDOCK_PICTURES"), reason="LABDOCK_PICTURES is not set")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_pictures(
    furnished: Any, visit: Any, dashboard_page: tuple[str, str, str], pictures: Path, theme: str, width: int
) -> None:
    from PIL import Image

    name, path, ready = dashboard_page
    page = visit(furnished, path, theme=theme, width=width, height=900 if width > 500 else 844, reduced_motion="reduce")
    expect(page.locator(ready).first).to_be_visible()
    page.wait_for_timeout(1200)  # charts have drawn what they have
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    target = pictures / f"{name}-{theme}-{width}.png"
    picture.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)
    assert target.stat().st_size < 150_000
