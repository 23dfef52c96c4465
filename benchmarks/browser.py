"""What a browser sees of each page of the dashboard: transfer, requests, first content, delay of an interaction.

A controller with 200 environments, 500 models and 10,000 runs of alerts over loopback, headless chromium, medians of
rounds. Each page twice: as the first one of a new browser (nothing cached, a renderer that has just started), and as
the next one of a browser that has seen the dashboard. Beside them a bare page of this controller (`/health`, one line
of text): what the browser itself takes on this machine. Chromium is spoken to by its own protocol: Playwright puts
scripts of its own into every page, 20 to 40 ms of each.
"""

import itertools
import json
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.dashboard import BOUND, PAGES, TRANSFER, filled

BARE = "/health"
READING = 0.5  # seconds that a page is looked at; the last one's own work is not counted to the next one
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--window-size=1440,900"]
FIRST_CONTENT = """new Promise((resolve) => {
  const seen = performance.getEntriesByName("first-contentful-paint")[0];
  if (seen) resolve(seen.startTime);
  else new PerformanceObserver((list, observer) => {
    const found = list.getEntriesByName("first-contentful-paint")[0];
    if (found) { observer.disconnect(); resolve(found.startTime); }
  }).observe({ type: "paint", buffered: true });
})"""
TRANSFERRED = """(() => {
  const all = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
  return [all.reduce((sum, each) => sum + each.encodedBodySize, 0), all.length];
})()"""
# From a click on a button to the next frame that is on the screen.
INTERACTION = """new Promise((resolve) => {
  const began = performance.now();
  document.querySelector("[data-opens=keys]").click();
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
})"""


def run(*, small: bool = False) -> int:
    """Print the figures; 1 where a page transfers too much, or where a next page is slower than its bound (not with
    `small`)."""
    missed = []
    with filled(small=small) as (url, token, _), chromium() as browser:
        rounds = 1 if small else 9
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
    for each in missed:
        print(f"MISSED: {each}")
    return 1 if missed else 0


class Browser:
    """Chromium's protocol on one connection; a `session` is a tab of a context of its own."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def __call__(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        sent = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._connection.send(json.dumps(sent))
        while (answer := json.loads(self._connection.recv(60))).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    @contextmanager
    def tab(self) -> Iterator[str]:
        context = self("Target.createBrowserContext")["browserContextId"]
        target = self("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session: str = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self("Page.enable", session)
        yield session
        self("Target.disposeBrowserContext", browserContextId=context)

    def open(self, session: str, url: str) -> None:
        """Go there; returns when the page and all that it needs is loaded."""
        self("Page.navigate", session, url=url)
        while True:
            event = json.loads(self._connection.recv(60))
            if event.get("sessionId") == session and event.get("method") == "Page.loadEventFired":
                return

    def evaluate(self, session: str, expression: str) -> Any:
        answer = self("Runtime.evaluate", session, expression=expression, awaitPromise=True, returnByValue=True)
        return answer["result"]["value"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless chromium that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="labdock-chromium-", ignore_cleanup_errors=True) as profile:
        command = ["/usr/bin/chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                lines = iter(process.stderr or ())
                address = next(line.split()[-1] for line in lines if "DevTools listening on" in line)
                with connect(address, max_size=None) as connection:
                    yield Browser(connection)
            finally:
                process.kill()


def look(browser: Browser, url: str, token: str, path: str) -> tuple[float, float, float, float, float]:
    """One visit with an empty cache, signed in beforehand, and one after it and another page.

    Gives bytes, requests, milliseconds to the first content of either, milliseconds of an interaction.
    """
    with browser.tab() as tab:
        browser.open(tab, call(url, token, "/api/tickets", {"next": BARE})["url"])
        time.sleep(READING)
        browser.open(tab, url + path)
        first = float(browser.evaluate(tab, FIRST_CONTENT))
        size, requests = browser.evaluate(tab, TRANSFERRED)
        browser.open(tab, url + (PAGES[0] if path != PAGES[0] else PAGES[1]))
        time.sleep(READING)
        browser.open(tab, url + path)
        following = float(browser.evaluate(tab, FIRST_CONTENT))
        delay = float(browser.evaluate(tab, INTERACTION)) if path != BARE else 0.0
    return float(size), float(requests), first, following, delay


def call(url: str, token: str, path: str, body: Any = None) -> Any:
    data = json.dumps(body or {}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=300) as answer:
        return json.load(answer)
