"""A controller killed at any word to the engine, and random lives: never two, never lost, nothing left."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import integers
from relay import Relay

from labdock_controller.runtimes.base import EnvironmentSpec, Limits, State
from labdock_controller.runtimes.docker import DockerRuntime, profile
from labdock_controller.settings import Settings

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
LIMITS = Limits(cpus=0.2, memory_mb=256)

CHILD = """
import sys
from pathlib import Path
from labdock_controller.runtimes.base import EnvironmentSpec, Limits
from labdock_controller.runtimes.docker import DockerRuntime
from labdock_controller.settings import Settings
home, run, identity, mode, action = sys.argv[1:]
runtime = DockerRuntime(Settings(home=Path(home), run=Path(run)))
spec = EnvironmentSpec(id=identity, name="e", owner="me", mode=mode, image="minimal-cpu", notebooks=Path(home) / "n",
                       logs=Path(home) / "l", run=Path(run) / identity, token="t", base_url="/",
                       limits=Limits(cpus=0.2, memory_mb=256))
print("ready", flush=True)
sys.stdin.readline()
runtime.start(spec) if action == "start" else runtime.stop(identity, 0)
"""


class KillingRelay(Relay):
    """Kills its client at the n-th piece of what it says to the engine: before passing it on, or just after."""

    victim: subprocess.Popen[str] | None = None
    at, after, said = 0, False, 0

    def _copy_from_client(self, source: Any, target: Any) -> None:
        try:
            while data := source.recv(65_536):
                self.said += 1
                if self.victim and self.said == self.at:
                    if self.after:
                        target.sendall(data)
                    self.victim.kill()
                    return
                target.sendall(data)
        except OSError:
            return

    def _run(self, target: Any, *arguments: Any) -> None:
        if target == self._copy and arguments[0].family is socket.AF_INET:  # from the client, not from the engine
            target = self._copy_from_client
        super()._run(target, *arguments)


@pytest.fixture
def relay() -> Iterator[KillingRelay]:
    made = KillingRelay()
    yield made
    made.cut()


def act(relay: KillingRelay, runtime: DockerRuntime, spec: EnvironmentSpec, action: str, at: int, after: bool) -> int:
    """One action in a process that is killed at piece `at`; gives how many pieces it said."""
    environment = {**os.environ, "LABDOCK_DOCKER_HOST": relay.address, "LABDOCK_DOCKER_SOCKETS": "yes"}
    arguments = [str(runtime._home), str(runtime._run), spec.id, spec.mode, action]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        relay.victim, relay.said, relay.at, relay.after = child, 0, at, after
        _, errors = child.communicate("go\n", timeout=60)
        relay.victim = None
    assert child.returncode in {0, -signal.SIGKILL}, errors
    return relay.said if child.returncode == 0 else at


def converge(runtime: DockerRuntime, wanted: EnvironmentSpec, point: object) -> None:
    """What the launcher of the next controller does, pass by pass: within ten seconds one environment runs.

    The engine still carries out what the killed one asked for, a stop included; hence a pass may be undone once.
    """
    deadline, steady = time.monotonic() + 10, 0
    while steady < 5:
        assert time.monotonic() < deadline, (point, runtime.observe())
        runtime.start(wanted)
        seen = [(one.id, one.state) for one in runtime.observe()]
        assert len(seen) <= 1, point
        steady = steady + 1 if seen == [(wanted.id, State.RUNNING)] else 0
        time.sleep(0.1)


@pytest.mark.parametrize("mode", ["prod", "dev"])
def test_killed_at_any_word(
    relay: KillingRelay, runtime: DockerRuntime, spec: Callable[..., EnvironmentSpec], engine: Any, mode: str
) -> None:
    wanted = spec(mode, LIMITS)
    mine = {"label": f"{profile.CONTROLLER}={runtime.controller}"}
    starts = act(relay, runtime, wanted, "start", 0, after=False)
    stops = act(relay, runtime, wanted, "stop", 0, after=False)
    assert starts >= 4
    assert stops >= 3
    points = [("start", at, after) for at in range(1, starts + 1) for after in (False, True)]
    points += [("stop", at, after) for at in range(1, stops + 1) for after in (False, True)]
    every = random.Random(mode).sample(points, min(len(points), int(os.environ.get("LABDOCK_CRASH_POINTS", "16"))))
    for action, at, after in every:
        if action == "stop":
            runtime.start(wanted)
        act(relay, runtime, wanted, action, at, after)
        assert len(engine.containers.list(all=True, filters=mine, ignore_removed=True)) <= 1, (action, at, after)
        converge(runtime, wanted, (action, at, after))
        assert (wanted.run / "token").read_text() in {"t", wanted.token}
        runtime.stop(wanted.id, 0)
        assert engine.containers.list(all=True, filters=mine, ignore_removed=True) == [], (action, at, after)
        assert engine.networks.list(filters=mine) == [], (action, at, after)
        assert not wanted.run.exists()


class LateRelay(Relay):
    """Lets `undo` happen just before the engine hears the first word with `word` in it: what a killed controller
    asked for, carried out late."""

    word, undo, heard = b"", staticmethod(lambda: None), 0

    def _copy_from_client(self, source: Any, target: Any) -> None:
        while data := source.recv(65_536):
            if self.word in data.split(b"\r\n", 1)[0]:
                self.heard += 1
                if self.heard == 1:
                    self.undo()
            target.sendall(data)

    def _run(self, target: Any, *arguments: Any) -> None:
        if target == self._copy and arguments[0].family is socket.AF_INET:
            target = self._copy_from_client
        super()._run(target, *arguments)


@pytest.mark.parametrize("what", ["network", "container"])
def test_what_is_removed_late_is_made_again(
    runtime: DockerRuntime,
    spec: Callable[..., EnvironmentSpec],
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    mine = {"label": f"{profile.CONTROLLER}={runtime.controller}"}

    def undo() -> None:
        if what == "network":
            (network,) = engine.networks.list(filters=mine)
            network.remove()
        else:
            (container,) = engine.containers.list(all=True, filters=mine)
            container.remove(force=True)

    relay = LateRelay()
    relay.word, relay.undo = b"/start", undo  # type: ignore[assignment]
    monkeypatch.setenv("LABDOCK_DOCKER_HOST", relay.address)
    monkeypatch.setenv("LABDOCK_DOCKER_SOCKETS", "yes")
    disturbed = DockerRuntime(Settings(home=runtime._home, run=runtime._run))
    try:
        disturbed.start(spec("dev", LIMITS))
        assert relay.heard == 2
        assert [one.state for one in runtime.observe()] == [State.RUNNING]
    finally:
        disturbed.close()
        relay.cut()


class Lives(RuleBasedStateMachine):
    """Four environments under random orders and accidents, against a model of what should be."""

    make: Callable[[], tuple[DockerRuntime, Callable[..., EnvironmentSpec], Any]]

    @initialize()
    def begin(self) -> None:
        self.runtime, make_spec, self.engine = type(self).make()
        self.specs = [make_spec("prod" if number % 2 else "dev", LIMITS) for number in range(4)]
        self.model: dict[str, State] = {}

    @rule(number=integers(0, 3))
    def start(self, number: int) -> None:
        self.runtime.start(self.specs[number])
        self.model[self.specs[number].id] = State.RUNNING

    @rule(number=integers(0, 3))
    def stop(self, number: int) -> None:
        self.runtime.stop(self.specs[number].id, 0)
        self.model.pop(self.specs[number].id, None)
        assert not self.specs[number].run.exists()

    @rule(number=integers(0, 3))
    def accident(self, number: int) -> None:
        spec = self.specs[number]
        if self.model.get(spec.id) is State.RUNNING:
            self.engine.containers.get(profile.container_name(spec.id)).kill("SIGKILL")
            self.model[spec.id] = State.EXITED

    @rule()
    def another_controller_process(self) -> None:
        self.runtime.close()
        self.runtime = DockerRuntime(Settings(home=self.runtime._home, run=self.runtime._run))

    @invariant()
    def what_is_seen_is_what_should_be(self) -> None:
        if not hasattr(self, "model"):
            return
        deadline = time.monotonic() + 10
        while (seen := {one.id: one.state for one in self.runtime.observe()}) != self.model:
            assert time.monotonic() < deadline, (seen, self.model)
            time.sleep(0.05)
        assert self.runtime.observe() == self.runtime.observe()

    def teardown(self) -> None:
        if hasattr(self, "model"):
            for spec in self.specs:
                self.runtime.stop(spec.id, 0)
                self.runtime.remove_files(spec)
            assert self.runtime.observe() == []
            mine = {"label": f"{profile.CONTROLLER}={self.runtime.controller}"}
            assert self.engine.containers.list(all=True, filters=mine, ignore_removed=True) == []
            assert self.engine.networks.list(filters=mine) == []
            assert self.engine.volumes.list(filters=mine) == []
            self.runtime.close()


def test_random_lives(runtime: DockerRuntime, spec: Callable[..., EnvironmentSpec], engine: Any) -> None:
    settings_of_runtime = Settings(home=runtime._home, run=runtime._run)
    Lives.make = staticmethod(lambda: (DockerRuntime(settings_of_runtime), spec, engine))
    examples = int(os.environ.get("LABDOCK_LIVES", "6"))
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )  # fmt: skip
