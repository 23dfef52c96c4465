"""The lab by clicks: a controller of its own, a browser that reaches nothing else, a hand in the dashboard."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, Route, expect
from tests.waiting import PATIENCE, wait_for

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "lab"
HEAD = """# The lab, step by step

The use cases of the lab guide in Labdock's dashboard, with Golden CPU in Docker. Each picture was made by
`LABDOCK_PICTURES=1 pytest tests/e2e/test_lab_by_clicks.py`, which does the steps in a browser.
"""


@dataclass
class Guide:
    """What was done, printed, and with `pictures` written to `docs/lab/` with a picture of each step."""

    pictures: bool
    lines: list[str] = field(default_factory=list)
    number: int = 0

    def part(self, title: str, text: str) -> None:
        print(f"\n== {title}")
        self.lines += [f"## {title}", "", text, ""]

    def step(self, page: Page, text: str) -> None:
        """A step has been done; the page shows what came of it."""
        self.number += 1
        print(f"{self.number:2}. {re.sub('[`*]', '', text)}", flush=True)
        self.lines += [f"**{self.number}.** {text}", ""]
        if self.pictures:
            self._picture(page, f"{self.number:02}.png", text)
            self._write()

    def _picture(self, page: Page, name: str, text: str) -> None:
        from PIL import Image

        page.wait_for_timeout(700)  # messages and charts have come
        GUIDE.mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture.quantize(96, dither=Image.Dither.NONE).save(GUIDE / name, optimize=True)
        self.lines += [f"![{re.sub('[`*]', '', text)}]({name})", ""]

    def _write(self) -> None:
        (GUIDE / "README.md").write_text("\n".join([HEAD, *self.lines]), encoding="utf-8")


@dataclass
class Lab:
    """`runtime` is where the environment runs: `local` or `docker`, the latter with the image Golden CPU."""

    runtime: str
    url: str
    link: str
    context: BrowserContext
    downloads: Path
    guide: Guide
    outside: list[str] = field(default_factory=list)

    @property
    def golden(self) -> bool:
        """Whether the environment has what the notebooks import: TensorFlow, UMAP."""
        return self.runtime == "docker"

    def only_here(self, route: Route) -> None:
        if route.request.url.startswith((f"{self.url}/", "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()


@contextlib.contextmanager
def opened(chromium: Any, runtime: str) -> Iterator[Lab]:
    """A controller and a browser for the lab; nothing is left of them, nor of the environment `__dev__`."""
    folder = Path(tempfile.mkdtemp(prefix="lc-", dir="/tmp"))
    folder.chmod(0o755)  # a container's user passes through it
    log = folder / "log"
    variables = {k: v for k, v in os.environ.items() if not k.startswith("LABDOCK_")}
    variables |= {"LABDOCK_HOME": str(folder / "home"), "LABDOCK_RUN": str(folder / "run"), "LABDOCK_PORT": "0"}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "labdock_controller", "serve"]
        controller = subprocess.Popen(command, env=variables, stdout=output, stderr=output)

    def link() -> str:
        assert controller.poll() is None, log.read_text()
        found = re.search(r"http://\S+/sign-in\?ticket=\S+", log.read_text())
        return found[0] if found else ""

    try:
        first = wait_for(link)
        url = first.partition("/sign-in")[0]
        size: Any = {"width": 1280, "height": 800}
        context = chromium.new_context(viewport=size, locale="en-GB", color_scheme="light", accept_downloads=True)
        guide = Guide(bool(os.environ.get("LABDOCK_PICTURES")) and runtime == "docker")
        lab = Lab(runtime, url, first, context, folder, guide)
        context.route("**/*", lab.only_here)
        context.set_default_timeout(PATIENCE)
        try:
            yield lab
        finally:
            remove_environment(lab)
            context.close()
    finally:
        controller.terminate()
        controller.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def remove_environment(lab: Lab) -> None:
    """With its files, so that no container or volume stays."""
    place = f"{lab.url}/api/environments/__dev__"
    deleted = lab.context.request.delete(f"{place}?files=true&wait=60", headers={"Origin": lab.url})
    if deleted.ok:
        wait_for(lambda: lab.context.request.get(place).status == 404)


def go(page: Page, name: str) -> None:
    """Another page by the navigation; it is complete with its scripts afterwards."""
    with page.expect_navigation():
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()


def shown_at_last(page: Page, what: Locator, seconds: float = 45, times: int = 4) -> None:
    """Wait for an element, reloading now and then: chromium drops what it loads when the machine's networks change,
    as containers' do, and shows a page of its own."""
    for _ in range(times):
        with contextlib.suppress(AssertionError):
            expect(what).to_be_visible(timeout=seconds * 1000)
            return
        page.reload()
    expect(what).to_be_visible(timeout=seconds * 1000)


def search(page: Page, text: str, seconds: float = 90) -> None:
    """Open Search from the navigation, type and run."""
    go(page, "Search")
    shown_at_last(page, page.locator("[data-ready]"), 15)
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-state=done]")).to_be_visible(timeout=seconds * 1000)
    expect(page.locator(".search-error")).to_be_empty()


def columns(page: Page) -> list[str]:
    """The fields of a result, from left to right."""
    expect(page.locator(".sorter[data-field]").first).to_be_visible()
    return [
        str(name) for name in page.locator(".sorter[data-field]").evaluate_all("all => all.map(e => e.dataset.field)")
    ]


def values(page: Page, column: str) -> list[str]:
    """The values of a column that are in the page, as they are shown."""
    expect(page.locator(f'.sorter[data-field="{column}"]')).to_be_visible()
    at = columns(page).index(column)
    rows = page.locator(".tabulator-row")
    expect(rows.first).to_be_visible()
    expect(page.locator(".tabulator-cell.pending")).to_have_count(0)
    cells = "rows => rows.map(r => [...r.querySelectorAll('.tabulator-cell')].map(c => c.innerText))"
    return [row[at].replace("\u202f", "") for row in rows.evaluate_all(cells)]


def upload(page: Page, guide: Guide, file: Path, name: str, target: str, features: str = "") -> None:
    """Upload an ONNX file on the Models page; a step of the guide is the filled dialog."""
    go(page, "Models")
    page.get_by_role("button", name="Upload ONNX Model").first.click()
    dialog = page.get_by_role("dialog", name="Upload ONNX Model")
    dialog.locator("[data-file]").set_input_files(file)
    expect(dialog).to_contain_text("The file has passed the checks.", timeout=60_000)
    dialog.get_by_label("Model name").fill(name)
    dialog.get_by_label("Target variable").fill(target)
    if features:
        dialog.get_by_label("Feature variables").fill(features)
    guide.step(
        page,
        f"Models, *Upload ONNX Model*: drop `{file.name}`; what it says is filled in. "
        f"Name `{name}`, target `{target}`, Submit.",
    )
    dialog.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("The file has been uploaded successfully.")).to_be_visible(timeout=60_000)


def save_as_alert(page: Page, guide: Guide, name: str, risk_field: str, text: str) -> None:
    """The search that was run becomes an alert that writes notable events, and is run once."""
    page.locator("[data-after] details").first.locator("summary").click()
    page.locator("[data-save=alert]").click()
    dialog = page.get_by_role("dialog", name="Save as an alert")
    dialog.get_by_label("Name", exact=True).fill(name)
    dialog.get_by_label("Risk object field").fill(risk_field)
    guide.step(page, text)
    dialog.get_by_role("button", name="Save the alert").click()
    expect(dialog).to_be_hidden()
    go(page, "Alerts")
    with page.expect_navigation():  # its scripts are there afterwards
        page.get_by_role("link", name=name).first.click()
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#history tbody tr").first).to_contain_text("fired", timeout=120_000)
