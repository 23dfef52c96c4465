"""The dashboard full of things: 200 environments, 500 models, 10,000 runs of alerts; each page beside its bound.

A real controller process over loopback; the figure is the median time to the whole answer, its size as transferred
(gzip), and the requests and bytes of a first visit without the editor's and the charts' parts.
"""

import re
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests

from benchmarks.report import Statistic
from labdock import controller
from labdock_controller.access.tokens import Tokens
from labdock_controller.access.users import Users
from labdock_controller.alerts.definition import Definition
from labdock_controller.reconcile import Desired, Status
from labdock_controller.store import Store
from labdock_controller.store.tables import (
    AlertRunRow,
    EnvironmentRow,
    ModelRow,
    ModelVersionRow,
    SavedSearchRow,
)

BOUND = 0.100
TRANSFER = 250_000
PAGES = ("/lab", "/environments", "/environments/e007", "/search", "/data", "/alerts", "/alerts/a00", "/models")
PAGES += ("/models/m007", "/modules", "/administration")


def run(*, small: bool = False) -> int:
    """Gives the exit code: 1 where a page is slower or larger than its bound (sizes only with `small`)."""
    with filled(small=small) as (url, token, server):
        return measure(url, token, server, rounds=5 if small else 15, enforce=not small)


@contextmanager
def filled(*, small: bool) -> Iterator[tuple[str, str, psutil.Process]]:
    """A controller with all of that (a tenth where `small`): its address, its owner's token, its process."""
    with tempfile.TemporaryDirectory(prefix="labdock-bench-") as name:
        home = Path(name)
        seed(home, *(20, 50, 1_000) if small else (200, 500, 10_000))
        process = controller.launch(home, {"LABDOCK_HOME": name, "LABDOCK_PORT": "0"}, home / "log.txt")
        try:
            address = controller.wait_ready(process, home, home / "log.txt")
            yield address.url, address.token, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def measure(url: str, token: str, server: psutil.Process, *, rounds: int, enforce: bool) -> int:
    failed = False
    with requests.Session() as http:
        http.headers.update({"Authorization": f"Bearer {token}", "Accept": "text/html", "Accept-Encoding": "gzip"})
        print(f"{'page':<22} {'median':>9} {'slowest':>9} {'bound':>7} {'CPU':>9} {'sent':>9}")
        for page in PAGES:
            times, size = [], 0
            spent = 0.0  # the server's, which other load does not change
            for number in range(rounds + 1):
                if number == 1:
                    spent = cpu(server)
                began = time.perf_counter()
                answer = http.get(url + page, timeout=30)
                times.append(time.perf_counter() - began) if number else None  # the first one compiles its template
                size = int(answer.headers.get("Content-Length", len(answer.content)))
                if answer.status_code != 200:
                    print(f"{page}: {answer.status_code} {re.findall('message.>(.*?)<', answer.text)}")
                    failed = True
                    break
            spent = (cpu(server) - spent) / max(len(times), 1)
            median = Statistic.of(times or [float("inf")])
            missed = median > BOUND
            failed |= missed
            mark = "  MISSED" if missed else ""
            slowest = max(times, default=0.0)
            figures = (
                f"{median * 1000:>6.1f} ms {slowest * 1000:>6.1f} ms {BOUND * 1000:>4.0f} ms {spent * 1000:>6.1f} ms"
            )
            print(f"{page:<22} {figures} {size / 1000:>6.1f} kB{mark}")
        total, count = first_visit(http, url)
    print(f"first visit: {total / 1000:.0f} kB in {count} requests (bound {TRANSFER / 1000:.0f} kB)")
    return 1 if total > TRANSFER or (failed and enforce) else 0


def cpu(server: psutil.Process) -> float:
    """Seconds that the controller has computed, in all its threads."""
    times = server.cpu_times()
    return float(times.user + times.system)


def first_visit(http: requests.Session, url: str) -> tuple[int, int]:
    """Bytes and requests of `/environments` with an empty cache, modules that import modules included."""
    answer = http.get(f"{url}/environments", timeout=30)
    total, count = int(answer.headers["Content-Length"]), 1
    todo = re.findall(r'(?:href|src)="(/static/[^"]+)"', answer.text)
    seen: set[str] = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        file = http.get(url + path, timeout=30)
        total, count = total + int(file.headers["Content-Length"]), count + 1
        if path.endswith(".js") and "/vendor/" not in path:
            base = path.rpartition("/")[0]
            for found in re.findall(r'(?:from|import) "(\.{1,2}/[^"]+)"', file.text):
                folder = base if found.startswith("./") else base.rpartition("/")[0]
                todo.append(f"{folder}/{found.lstrip('./')}")
    return total, count


def seed(home: Path, environments: int, models: int, runs: int) -> None:
    """Write the records as the controller would have."""
    store = Store(f"sqlite:///{home / 'labdock.sqlite3'}")
    store.migrate()
    store.claim(0, {})
    owner = Users(store, Tokens(store)).ensure_owner().id
    now = time.time()
    definition = Definition(search="| makeresults", schedule="1d").to_dict()
    with store.write() as session:
        for n in range(environments):
            session.add(
                EnvironmentRow(
                    id=f"{n:012x}", name=f"e{n:03}", owner_id=owner, app="search", sharing="user", runtime="local",
                    image="", mode="dev", limits={}, desired=Desired.STOPPED, status=Status.STOPPED, created=now - n,
                )
            )  # fmt: skip
        for n in range(models):
            identifier = f"{n + 1_000_000:012x}"
            session.add(
                ModelRow(id=identifier, name=f"m{n:03}", kind="onnx", owner_id=owner, app="search", sharing="app",
                         environment_id=None, created=now - n)
            )  # fmt: skip
            session.flush()
            session.add(
                ModelVersionRow(id=secrets.token_hex(6), model_id=identifier, version=1, created=now - n,
                                features=[f"f{i}" for i in range(20)], target=["y"], params={"bytes": 1000},
                                metrics={"auc": 0.9})
            )  # fmt: skip
        for n in range(20):
            session.add(
                SavedSearchRow(id=f"{n + 2_000_000:012x}", name=f"a{n:02}", owner_id=owner, app="search",
                               sharing="app", enabled=False, created=now, definition=definition, throttled={})
            )  # fmt: skip
        session.flush()
        for n in range(runs):
            session.add(
                AlertRunRow(id=secrets.token_hex(6), saved_id=f"{n % 20 + 2_000_000:012x}", started=now - n * 60,
                            duration=0.1, status="quiet", rows=n % 7, job="", error=None, actions=[])
            )  # fmt: skip
    store.release()
    store.close()
