"""What a browser sees of each page of the dashboard: transfer, requests, first content, delay of an interaction.

A controller with 200 environments, 500 models and 10,000 runs of alerts over loopback, headless chromium, medians of
rounds. Each page twice: as the first one of a new browser (nothing cached, a renderer that has just started), and as
the next one of a browser that has seen the dashboard. Beside them a bare page of this controller (`/health`, one line
of text): what the browser itself takes on this machine.
"""

import json
import statistics
import urllib.request
from typing import Any

from benchmarks.dashboard import BOUND, PAGES, TRANSFER, filled

BARE = "/health"
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
    """Print the figures; 1 where a page transfers too much, or where a next page is slower than its bound (not with
    `small`)."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a tool of tests, needed here alone

    missed = []
    with filled(small=small) as (url, token, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        rounds = 1 if small else 7
        print(f"{'':24} {'kB':>5} {'requests':>9} {'first, ms':>10} {'next, ms':>9} {'bound':>6} {'interaction':>12}")
        for path in (BARE, *PAGES):
            seen = [look(browser, url, token, path) for _ in range(rounds)]
            size, requests, first, following, delay = (statistics.median(column) for column in zip(*seen, strict=True))
            print(
                f"{path:24} {size / 1000:5.0f} {requests:9.0f} {first:10.0f} {following:9.0f} {BOUND * 1000:6.0f}"
                f" {delay:12.1f}",
                flush=True,
            )
            if size > TRANSFER:
                missed.append(f"{path} transfers more than {TRANSFER // 1000} kB")
            if following > BOUND * 1000 and not small:
                missed.append(f"{path} shows its first content after {following:.0f} ms")
        browser.close()
    for each in missed:
        print(f"MISSED: {each}")
    return 1 if missed else 0


def look(browser: Any, url: str, token: str, path: str) -> tuple[float, float, float, float, float]:
    """One visit with an empty cache, signed in beforehand, and one after it and another page."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(call(url, token, "/api/tickets", {"next": BARE})["url"])
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(url + path)
    first = float(page.evaluate(FIRST_CONTENT))
    transferred, requests = float(sum(sizes)), float(len(sizes))
    page.goto(url + PAGES[0] if path != PAGES[0] else url + PAGES[1])
    page.goto(url + path)
    following = float(page.evaluate(FIRST_CONTENT))
    delay = float(page.evaluate(INTERACTION)) if path != BARE else 0.0
    context.close()
    return transferred, requests, first, following, delay


def call(url: str, token: str, path: str, body: Any = None) -> Any:
    data = json.dumps(body or {}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=300) as answer:
        return json.load(answer)
