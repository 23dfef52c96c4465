"""What a browser sees of each page of the dashboard: transfer, requests, first content, delay of an interaction.

A controller of its own with the lab's data, a chromium with an empty cache for each page, medians of rounds.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGES = (
    "/lab",
    "/environments",
    "/search",
    "/data",
    "/models",
    "/models/nn_botnet",
    "/alerts",
    "/administration/users",
)
TRANSFER = 250_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FIRST_CONTENT = """() => new Promise((resolve) => {
  const seen = performance.getEntriesByName("first-contentful-paint")[0];
  if (seen) resolve(seen.startTime);
  else new PerformanceObserver((list, observer) => {
    const found = list.getEntriesByName("first-contentful-paint")[0];
    if (found) { observer.disconnect(); resolve(found.startTime); }
  }).observe({ type: "paint", buffered: true });
})"""
# From a click on a button to the next frame that is on the screen.
INTERACTION = """() => new Promise((resolve) => {
  const began = performance.now();
  document.querySelector("[data-opens=keys]").click();
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
})"""


def run(*, small: bool = False) -> int:
    """Print the figures; 1 where a page transfers too much."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a tool of tests, needed here alone

    too_large = []
    with controller() as (url, token), sync_playwright() as playwright:
        call(url, token, "/api/lab")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        print(f"{'page':24} {'kB':>6} {'requests':>9} {'byte ms':>14} {'content ms':>17} {'interaction ms':>15}")
        for path in PAGES:
            rounds = [look(browser, url, token, path) for _ in range(1 if small else 5)]
            size, requests, byte, content, delay = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(
                f"{path:24} {size / 1000:6.0f} {requests:9.0f} {byte:14.1f} {content:17.0f} {delay:15.1f}", flush=True
            )
            if size > TRANSFER:
                too_large.append(path)
        browser.close()
    for path in too_large:
        print(f"MISSED: {path} transfers more than {TRANSFER // 1000} kB")
    return 1 if too_large else 0


def look(browser: Any, url: str, token: str, path: str) -> tuple[float, float, float, float, float]:
    """One visit with an empty cache, signed in beforehand."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(call(url, token, "/api/tickets", {"next": "/health"})["url"])
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(url + path)
    content = float(page.evaluate(FIRST_CONTENT))
    byte = float(page.evaluate("() => performance.getEntriesByType('navigation')[0].responseStart"))
    delay = float(page.evaluate(INTERACTION))
    figures = (float(sum(sizes)), float(len(sizes)), byte, content, delay)
    context.close()
    return figures


def call(url: str, token: str, path: str, body: Any = None) -> Any:
    data = json.dumps(body or {}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=300) as answer:
        return json.load(answer)


@contextmanager
def controller() -> Iterator[tuple[str, str]]:
    """A controller with a home of its own: its address and token."""
    folder = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
    variables = {k: v for k, v in os.environ.items() if not re.match("LABDOCK_", k)}
    variables |= {"LABDOCK_HOME": str(folder / "home"), "LABDOCK_RUN": str(folder / "run"), "LABDOCK_PORT": "0"}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "labdock_controller", "serve"]
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    address = folder / "home" / "controller.json"
    try:
        deadline = time.monotonic() + 120
        while not address.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the controller did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.1)
        found = json.loads(address.read_text())
        yield found["url"], found["token"]
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
