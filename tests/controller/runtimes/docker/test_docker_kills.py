"""`kill -9` of the controller, the container and the engine while a fit runs: its result is fetched, or the error says
what died, and nothing is left over. On a private engine, since the machine's is everybody's."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import nbformat
import pandas as pd
import pytest
from docker_labs import labs
from private_daemon import Daemon
from tests.waiting import wait_for

import labdock
from labdock.errors import LabdockError
from labdock_controller.runtimes.docker import profile
from labdock_controller.runtimes.docker.folders import controller_id

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a private dockerd"),
]
SIZE_MB = 3000
FRAME = pd.DataFrame({"x": [1.0, 2.0]})
# A fit that runs for a while and counts how often it did.
CODE = """
import pathlib, time
import pandas as pd


def init(df, param):
    return {}


def fit(model, df, param):
    with open("data/fits.txt", "a") as file:
        file.write("fit\\n")
    pathlib.Path("data/began").touch()
    while not pathlib.Path("data/go").exists():
        time.sleep(0.05)
    return {}


def apply(model, df, param):
    return pd.DataFrame({"y": df["x"] * 2})
"""


@pytest.fixture(scope="module")
def daemon(image: str) -> Iterator[Daemon]:
    made = Daemon(SIZE_MB)
    try:
        made.start()
        made.load(f"labdock/{image}:latest")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def make(daemon: Daemon, some_controllers: Callable[[], Any]) -> Iterator[Callable[..., Any]]:
    with labs(some_controllers, daemon.address) as made:
        yield made


class Fit:
    """One fit in a thread, as a user's program waits for it."""

    def __init__(self, lab: labdock.Lab, notebooks: Path) -> None:
        self.files = notebooks / "data"
        for name in ("began", "go", "fits.txt"):
            (self.files / name).unlink(missing_ok=True)
        self.result: Any = None
        self.error: LabdockError | None = None
        environment = lab.environments.get("e")
        self._thread = threading.Thread(target=self._run, args=(environment,))
        self._thread.start()
        wait_for((self.files / "began").exists)

    def _run(self, environment: labdock.Environment) -> None:
        try:
            self.result = environment.fit(FRAME, algo="slow", into="m", progress=False).predictions
        except LabdockError as error:
            self.error = error

    def end(self, seconds: float = 60) -> "Fit":
        (self.files / "go").touch()
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return self

    @property
    def runs(self) -> int:
        return len((self.files / "fits.txt").read_text().split())


class Place:
    """A controller with one environment `e` on the private engine."""

    def __init__(self, daemon: Daemon, make: Callable[..., Any]) -> None:
        self.daemon, self.make = daemon, make
        self.controller = make()
        self.lab = labdock.connect(self.controller.url, self.controller.token)
        self.record = self.lab.environments.start("e", image="minimal-cpu", mode="prod", progress=False).record
        self.notebooks = daemon.data / "volumes" / profile.volume_name(self.record["id"]) / "_data"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        cell = nbformat.v4.new_code_cell(CODE, metadata={"name": "mltkc_code"})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), self.notebooks / "slow.ipynb")

    def status(self) -> str:
        return str(self.lab.environments.get("e").status)

    def client(self) -> Any:
        """docker-py on the private engine."""
        return contextlib.closing(docker.DockerClient(base_url=self.daemon.address))


@pytest.fixture(scope="module")
def place(daemon: Daemon, make: Callable[..., Any]) -> Iterator[Place]:
    made = Place(daemon, make)
    yield made
    made.lab.close()
    made.controller.end()


def test_the_controller_is_killed(place: Place) -> None:
    port = place.controller.url.rsplit(":", 1)[1]
    fit = Fit(place.lab, place.notebooks)
    place.controller.kill()
    place.controller = place.make(place.controller, port=port)
    assert place.status() == "running"  # known from the first answer on
    assert fit.end().error is None
    assert fit.result["y"].tolist() == [2.0, 4.0]
    assert fit.runs == 1


def test_the_container_is_killed(place: Place) -> None:
    fit = Fit(place.lab, place.notebooks)
    with place.client() as client:
        client.containers.get(profile.container_name(place.record["id"])).kill("SIGKILL")
    assert fit.end().error is not None
    assert "it was killed (SIGKILL)" in str(fit.error)
    assert fit.runs == 1
    wait_for(lambda: place.status() == "running")  # back by itself
    again = Fit(place.lab, place.notebooks).end()
    assert (again.error, again.runs) == (None, 1)


def test_the_engine_is_killed(place: Place) -> None:
    fit = Fit(place.lab, place.notebooks)
    place.daemon.kill()
    # Reads are still served, and say it.
    wait_for(lambda: "unreachable" in place.lab.environments.get("e").record["cause"])
    place.daemon.start()  # without live-restore the returning engine ends what lived on
    assert fit.end().error is not None
    assert "a restart of the engine" in str(fit.error) or "with the engine" in str(fit.error)
    wait_for(lambda: place.status() == "running")
    again = Fit(place.lab, place.notebooks).end()
    assert (again.error, again.runs) == (None, 1)


def test_nothing_is_left_over(place: Place) -> None:
    place.lab.environments.get("e").delete(files=True)
    mine = {"label": f"{profile.CONTROLLER}={controller_id(place.controller.home)}"}
    with place.client() as client:
        left = [*client.containers.list(all=True, filters=mine), *client.networks.list(filters=mine)]
        assert left + client.volumes.list(filters=mine) == []
    assert [path.name for path in place.controller.run.iterdir() if path.name == place.record["id"]] == []
