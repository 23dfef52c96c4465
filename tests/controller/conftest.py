"""Controllers as real processes, each with a home of its own; nothing of them is left after the test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from tests.waiting import wait_for

QUICK = Path(__file__).with_name("quick_controller.py")
# A minute and more of computing: still there when a page has been left and opened again on a busy machine.
ENDLESS = "| makeresults count=1000000 | eval a=tostring(random()) " + 60 * "| eval a=sha512(a) " + "| sort 0 a"
TWO_EVENTS = b"_time,user,n\n1600000000,eve,1\n1600000060,eve,2\n"


@dataclass
class Controller:
    """One process and how to talk to it."""

    process: "subprocess.Popen[bytes]"
    home: Path
    run: Path
    output: Path
    url: str = ""
    token: str = ""
    http: requests.Session = field(default_factory=requests.Session)

    def address(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.home / "controller.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if found["pid"] == self.process.pid else None

    def ready(self, seconds: float = 150.0) -> "Controller":
        def there() -> Any:
            assert self.process.poll() is None, f"the controller ended:\n{self.text()}"
            return self.address()

        found = wait_for(there, seconds, "the controller")
        self.url, self.token = found["url"], found["token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        return self

    def __call__(self, method: str, path: str, json: Any = None, **named: Any) -> requests.Response:
        return self.http.request(method, f"{self.url}{path}", json=json, timeout=120, **named)

    def token_of(self, name: str, *roles: str, **more: Any) -> str:
        """A token of a new user, made as people do: link, session, token. `more` is asked of the token."""
        assert self("POST", "/api/users", {"name": name, "roles": roles}).status_code == 201
        link = self("POST", f"/api/users/{name}/tickets").json()["url"]
        with requests.Session() as browser:
            browser.get(link, allow_redirects=False, timeout=30)
            asked, headers = {"name": "t", **more}, {"Origin": self.url}
            made = browser.post(f"{self.url}/api/tokens", json=asked, headers=headers, timeout=30)
        assert made.status_code == 201, made.text
        return str(made.json()["token"])

    def user(self, name: str, *roles: str) -> dict[str, str]:
        """The headers of a new user's requests."""
        return {"Authorization": f"Bearer {self.token_of(name, *roles)}"}

    def ingest(self, index: str) -> None:
        """Two events into an index."""
        query, data = {"file_name": f"{index}.csv", "sourcetype": "audit"}, TWO_EVENTS
        answer = self("POST", f"/api/indexes/{index}/ingest", data=data, params=query)
        assert answer.json()["rows"] == 2, answer.text

    def environment(self, name: str) -> dict[str, Any]:
        answer = self("GET", f"/api/environments/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def status(self, name: str) -> str | None:
        answer = self("GET", f"/api/environments/{name}")
        return answer.json()["status"] if answer.status_code == 200 else None

    def start(self, name: str, runtime: str = "quick", wait: float = 60, **more: Any) -> dict[str, Any]:
        body = {"name": name, "runtime": runtime, **more}
        answer = self("POST", f"/api/environments?wait={wait}", body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def processes(self) -> list[psutil.Process]:
        """Processes of its environments, found without its help."""
        return [p for p in psutil.process_iter() if carries(p, self.run)]

    def supervisors(self, identifier: str) -> list[psutil.Process]:
        mine = [p for p in self.processes() if p.environ().get("LABDOCK_ENVIRONMENT_ID") == identifier]
        return [p for p in mine if p.ppid() not in {q.pid for q in mine}]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 60.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def text(self) -> str:
        return self.output.read_text()

    def open_files(self) -> list[str]:
        """What its process holds, without the store's files: its pool opens connections as they are needed."""
        found = []
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(str(each.readlink()))
        return sorted(name for name in found if "labdock.sqlite3" not in name)

    def warm(self) -> None:
        """Wait until it has loaded what it starts without: it grows by that."""
        wait_for(lambda: '"event": "warm"' in self.text(), what="the end of the warm-up")


def carries(process: psutil.Process, run: Path) -> bool:
    try:
        folder = process.environ().get("LABDOCK_RUN_FOLDER", "")
        return folder.startswith(f"{run}/") and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


Make = Callable[..., Controller]


@pytest.fixture
def make_controller() -> Iterator[Make]:
    """Starts controllers: `make(home_of=other, settings…)`; each ends with the test, and so do its environments."""
    with controllers() as make:
        yield make


@contextmanager
def controllers() -> Iterator[Make]:
    made: list[Controller] = []
    folders: list[Path] = []

    def make(
        home_of: Controller | None = None, *, ready: bool = True, env: Any = None, command: Any = QUICK, **settings: Any
    ) -> Controller:
        if home_of is None:
            home, run = (Path(tempfile.mkdtemp(prefix=f"labdock-{part}-", dir="/tmp")) for part in ("home", "run"))
            folders.extend((home, run))
        else:
            home, run = home_of.home, home_of.run
        output = home / f"output-{len(made)}.txt"
        variables = {k: v for k, v in os.environ.items() if not k.startswith("LABDOCK_")}
        variables |= {"LABDOCK_HOME": str(home), "LABDOCK_RUN": str(run), "LABDOCK_PORT": "0"}
        variables |= {"LABDOCK_RUNTIME": "quick", "LABDOCK_RECONCILE_INTERVAL": "0.3", "LABDOCK_LOG_LEVEL": "info"}
        variables |= {f"LABDOCK_{k.upper()}": str(v) for k, v in settings.items()} | (env or {})
        with output.open("wb") as file:
            arguments = [command] if command is QUICK else command
            process = subprocess.Popen([sys.executable, *arguments], env=variables, stdout=file, stderr=file)
        controller = Controller(process, home, run, output)
        made.append(controller)
        return controller.ready() if ready else controller

    try:
        yield make
    finally:
        for controller in made:
            controller.http.close()
            if controller.process.poll() is None:
                controller.process.send_signal(signal.SIGCONT)
                controller.kill()
        for controller in made:
            for process in controller.processes():
                with suppress(psutil.NoSuchProcess):  # it was ending already
                    process.kill()
        for folder in folders:
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def some_controllers() -> Callable[[], AbstractContextManager[Make]]:
    """`make_controller` for fixtures that live longer than a test."""
    return controllers


@pytest.fixture
def controller(make_controller: Make) -> Controller:
    return make_controller()


@pytest.fixture(scope="module")
def shared_controller(request: pytest.FixtureRequest) -> Iterator[Controller]:
    """One for a file's tests that leave it as they found it."""
    with controllers() as make:
        yield make()


def written(controller: Controller, write: Callable[[Session], None]) -> Controller:
    """End the controller and put records straight into its store, past all that checks what is written."""
    controller.end()
    engine = create_engine(f"sqlite:///{controller.home / 'labdock.sqlite3'}")
    with Session(engine) as session:
        write(session)
        session.commit()
    engine.dispose()
    return controller
