"""Whole controllers on the real engine, through their API: random lives with kills, many starts at once, upgrades; and
a pass over what is as it should be asks the engine for nothing but a look.

The environments are small (one Python program of the standard library), so that many lives fit into a test; what the
real image does is in the other files. `LABDOCK_LAUNCHER_LIVES`, `_STEPS` and `_ROUNDS` set the scale.
"""

import io
import os
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from docker_labs import labs
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import integers
from relay import Relay
from tests.waiting import wait_for

from labdock_controller.runtimes.docker import profile
from labdock_controller.runtimes.docker.folders import controller_id

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]
PROGRAM = Path(__file__).parents[2] / "quick_environment.py"
REFERENCE = "labdock/test-quick:latest"
LIVES = int(os.environ.get("LABDOCK_LAUNCHER_LIVES", "2"))
STEPS = int(os.environ.get("LABDOCK_LAUNCHER_STEPS", "8"))
ROUNDS = int(os.environ.get("LABDOCK_LAUNCHER_ROUNDS", "2"))
KILLS = 3  # of the controller in one life
NAMES = ("a", "b", "c")
LOOKS = (b"GET ", b"HEAD ")
DEEDS = (b"POST ", b"PUT ", b"DELETE ")


class RecordingRelay(Relay):
    """Remembers the first line of everything that its clients say to the engine."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        super().__init__()

    def _record(self, source: Any, target: Any) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if data.startswith(LOOKS + DEEDS):
                    self.said.append(data.split(b"\r\n", 1)[0])
                target.sendall(data)
            target.shutdown(1)

    def _run(self, target: Any, *arguments: Any) -> None:
        if target == self._copy and arguments[0].family is socket.AF_INET:  # from a client
            target = self._record
        super()._run(target, *arguments)


def build(engine: Any, version: str) -> str:
    """The small image, as `version`; gives its id."""
    made = engine.containers.create("labdock/base:latest", ["python3", "-S", "/quick_environment.py"])
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(PROGRAM, "quick_environment.py")
    made.put_archive("/", archive.getvalue())
    places = ["LABDOCK_RUN_FOLDER=/run/labdock", "LABDOCK_NOTEBOOKS=/notebooks", f"VERSION={version}"]
    image = made.commit("labdock/test-quick", "latest", conf={"Env": [*made.attrs["Config"]["Env"], *places],
                        "Cmd": ["python3", "-S", "/quick_environment.py"], "Entrypoint": None})  # fmt: skip
    made.remove()
    return str(image.id)


@pytest.fixture(scope="module")
def quick_image(image: str) -> Iterator[str]:
    client = docker.from_env()
    built = [build(client, "1")]
    yield built[0]
    for found in client.images.list("labdock/test-quick"):
        client.images.remove(found.id, force=True)
    client.close()


@pytest.fixture(scope="module")
def relay() -> Iterator[RecordingRelay]:
    made = RecordingRelay()
    yield made
    made.cut()


@pytest.fixture(scope="module")
def make(quick_image: str, relay: RecordingRelay, some_controllers: Callable[[], Any]) -> Iterator[Callable[..., Any]]:
    with labs(some_controllers, relay.address) as start:

        def made(home_of: Any = None, **more: Any) -> Any:
            found = start(home_of, docker_sockets="yes", reconcile_interval=0.3, environments_per_user=0, **more)
            folder = found.home / "images" / "quick"
            folder.mkdir(parents=True, exist_ok=True)
            limits = "[limits]\ncpus = 0.2\nmemory_mb = 64\npids = 64\n"
            (folder / "image.toml").write_text(f'reference = "{REFERENCE}"\n{limits}')
            return found

        yield made


class World:
    """A controller, and the engine as somebody else sees it."""

    def __init__(self, make: Callable[..., Any], relay: RecordingRelay) -> None:
        self.make, self.relay = make, relay
        self.controller = make()
        self.engine = docker.from_env()
        self.mine = {"label": f"{profile.CONTROLLER}={controller_id(self.controller.home)}"}

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return self.controller("POST", f"/api/environments{path}", body, params=query)

    def start(self, name: str, wait: float = 0, mode: str = "prod") -> int:
        status: int = self.post("", {"name": name, "image": "quick", "mode": mode}, wait=wait).status_code
        return status

    def statuses(self) -> dict[str, str]:
        return {one["name"]: one["status"] for one in self.controller("GET", "/api/environments").json()}

    def containers(self) -> list[Any]:
        found: list[Any] = self.engine.api.containers(all=True, filters=self.mine)
        return found

    def left(self) -> dict[str, list[Any]]:
        """What there is of this controller anywhere."""
        ids = [path.name for path in self.controller.run.iterdir() if profile.is_id(path.name)]
        return {
            "containers": self.containers(),
            "networks": self.engine.networks.list(filters=self.mine),
            "volumes": self.engine.volumes.list(filters=self.mine),
            "run folders": ids,
        }

    def killed_and_back(self) -> float:
        """`kill -9` and the next controller; gives the seconds until it was ready."""
        port = self.controller.url.rsplit(":", 1)[1]
        self.controller.kill()
        began = time.monotonic()
        self.controller = self.make(self.controller, port=port)
        return time.monotonic() - began

    def close(self) -> None:
        for name in self.statuses():
            self.controller("DELETE", f"/api/environments/{name}", params={"files": True, "wait": 60})
        try:
            assert eventually(self.left, lambda left: not any(left.values())) is not None
        finally:
            self.controller.end()
            self.engine.close()


def eventually(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60) -> Any:
    """What `look` gives once it is good."""
    return wait_for(lambda: [seen] if good(seen := look()) else None, seconds, lambda: str(look()))[0]


class Lives(RuleBasedStateMachine):
    """Three environments under orders and accidents, against a model of what should be."""

    make: Callable[..., Any]
    relay: RecordingRelay
    ready: list[float]

    @initialize()
    def begin(self) -> None:
        self.world = World(type(self).make, type(self).relay)
        self.model: dict[str, str] = {}
        self.kills = 0

    @rule(number=integers(0, 2))
    def start(self, number: int) -> None:
        name = NAMES[number]
        status = self.world.start(name)
        if self.model.get(name) == "running":
            assert status == 409
            return
        # One that still stops is refused; asked again when it has, it starts.
        eventually(lambda: status if status == 201 else self.world.start(name), lambda s: s == 201)
        self.model[name] = "running"

    @rule(number=integers(0, 2))
    def stop(self, number: int) -> None:
        if NAMES[number] in self.model:
            assert self.world.post(f"/{NAMES[number]}/stop").status_code == 200
            self.model[NAMES[number]] = "stopped"

    @rule(number=integers(0, 2))
    def restart(self, number: int) -> None:
        if NAMES[number] in self.model:
            assert self.world.post(f"/{NAMES[number]}/restart").status_code == 200
            self.model[NAMES[number]] = "running"

    @rule(number=integers(0, 2))
    def remove(self, number: int) -> None:
        if self.model.pop(NAMES[number], None):
            path = f"/api/environments/{NAMES[number]}"
            assert self.world.controller("DELETE", path, params={"files": True, "wait": 60}).status_code == 204

    @rule(number=integers(0, 2))
    def somebody_removes_a_container(self, number: int) -> None:
        """Gone without a trace: it is made again."""
        for container in self.world.containers():
            if container["Labels"][profile.NAME] == NAMES[number]:
                with suppress(docker.errors.APIError):
                    self.world.engine.api.remove_container(container["Id"], force=True)

    @precondition(lambda self: self.kills < KILLS)  # each costs a start of Python; lives shall have other events, too
    @rule()
    def the_controller_is_killed(self) -> None:
        self.kills += 1
        type(self).ready.append(self.world.killed_and_back())
        assert set(self.world.statuses()) == set(self.model)  # known from the first answer on

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        running = sorted((name, "running") for name, status in self.model.items() if status == "running")
        # Together: what somebody removed a moment ago runs by its record until the next pass.
        eventually(self.state, lambda state: state == (self.model, running))
        nothing_but_looks(self.world)
        self.world.close()

    def state(self) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """What the controller says, and the containers that there are."""
        containers = self.world.containers()
        return self.world.statuses(), sorted((one["Labels"][profile.NAME], one["State"]) for one in containers)


def nothing_but_looks(world: World) -> None:
    """Three further passes ask the engine for lists and descriptions only."""
    begin = len(world.relay.said)
    lists = b"/containers/json"
    said = eventually(lambda: world.relay.said[begin:], lambda said: sum(lists in one for one in said) >= 3)
    assert [one for one in said if one.startswith(DEEDS)] == []


def test_random_lives(make: Callable[..., Any], relay: RecordingRelay) -> None:
    Lives.make, Lives.relay, Lives.ready = staticmethod(make), relay, []
    began = time.monotonic()
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=LIVES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )  # fmt: skip
    took = time.monotonic() - began
    print(f"{LIVES} lives of {STEPS} steps in {took:.0f} s; controllers ready after a kill: {sorted(Lives.ready)}")


@pytest.fixture
def world(make: Callable[..., Any], relay: RecordingRelay) -> Iterator[World]:
    made = World(make, relay)
    yield made
    made.close()


def test_twenty_starts_at_once_finish_and_leave_nothing(world: World) -> None:
    """Again and again: descriptors, threads and everything on the engine are as before."""
    names = [f"e{number}" for number in range(20)]
    counts: list[int] = []

    def held() -> int:
        return len(world.controller.open_files())

    with ThreadPoolExecutor(20) as pool:
        for _ in range(ROUNDS):
            assert list(pool.map(lambda name: world.start(name, mode="dev"), names)) == [201] * 20
            eventually(world.statuses, lambda seen: seen == dict.fromkeys(names, "running"), 180)
            assert len(world.containers()) == 20
            nothing_but_looks(world)
            gone = pool.map(
                lambda name: (
                    world.controller(
                        "DELETE", f"/api/environments/{name}", params={"files": True, "wait": 120}
                    ).status_code
                ),
                names,
            )
            assert list(gone) == [204] * 20
            eventually(world.left, lambda left: not any(left.values()))
            counts.append(eventually(held, lambda n: not counts or n <= counts[0] + 4, 30))
    print(f"{20 * ROUNDS} starts; descriptors after each round: {counts}")


def test_everything_is_known_after_a_kill(world: World) -> None:
    for name in NAMES:
        assert world.start(name, wait=60) == 201
    before = {one["Id"] for one in world.containers()}
    seconds = world.killed_and_back()
    assert world.statuses() == dict.fromkeys(NAMES, "running")
    assert seconds < 20  # the bar is 3 s on a quiet machine; here others work beside it
    nothing_but_looks(world)
    assert {one["Id"] for one in world.containers()} == before  # adopted, not made anew
    print(f"ready {seconds:.1f} s after kill -9")


def test_an_upgrade_restarts_what_is_outdated_and_keeps_files(world: World) -> None:
    assert world.start("old", wait=60) == 201
    assert world.controller("GET", "/api/outdated").json() == []
    (before,) = world.containers()
    world.engine.api.exec_start(
        world.engine.api.exec_create(before["Id"], ["sh", "-c", "echo mine > /notebooks/mine.txt"])["Id"]
    )
    newer = build(world.engine, "2")
    assert world.start("new", wait=60) == 201
    assert world.controller("GET", "/api/outdated").json() == ["old"]
    assert world.post("/old/restart", wait=60).json()["status"] == "running"
    assert world.controller("GET", "/api/outdated").json() == []
    after = next(one for one in world.containers() if one["Labels"][profile.NAME] == "old")
    assert (after["ImageID"], after["Id"] != before["Id"]) == (newer, True)
    read = world.engine.api.exec_create(after["Id"], ["cat", "/notebooks/mine.txt"])
    assert world.engine.api.exec_start(read["Id"]) == b"mine\n"
