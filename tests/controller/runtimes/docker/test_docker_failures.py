"""What goes wrong, with the real engine: each has its name, its cause in words and a remedy, and leaves nothing."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from relay import Relay
from tests.waiting import wait_for

from labdock.errors import ImageMissing, InvalidOptions, LaunchError, RuntimeUnavailable
from labdock_controller import probe
from labdock_controller.runtimes.base import EnvironmentSpec, Limits, Observed, State
from labdock_controller.runtimes.docker import DockerRuntime, profile
from labdock_controller.runtimes.docker.errors import translated
from labdock_controller.settings import Settings

# docker-py forgets to close a socket that could not be connected; it goes with its object, with a warning.
pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
]
Specs = Callable[..., EnvironmentSpec]


def ended(runtime: DockerRuntime, seconds: float = 90) -> Observed:
    return wait_for(
        lambda: next((one for one in runtime.observe() if one.state is State.EXITED), None),
        seconds,
        lambda: f"still {runtime.observe()}",
    )


def containers(engine: Any, runtime: DockerRuntime) -> list[Any]:
    return engine.containers.list(
        all=True, filters={"label": f"{profile.CONTROLLER}={runtime.controller}"}, ignore_removed=True
    )


def answers(runtime: DockerRuntime, spec: EnvironmentSpec) -> bool:
    return not probe.ready(runtime.endpoint(spec.id, spec.token), spec.base_url)


def test_the_memory_limit_is_named(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    wanted = spec("prod", Limits(cpus=1, memory_mb=64))
    runtime.start(wanted)
    # Whether the kernel ends a part of it, again and again, or all of it: the cause is the same.
    (seen,) = wait_for(lambda: [one for one in runtime.observe() if one.cause], 90, lambda: runtime.logs(wanted.id))
    assert (seen.cause, seen.remedy) == ("memory limit 64 MiB reached", "Raise it or send fewer rows.")
    engine.containers.get(profile.container_name(wanted.id)).stop(timeout=1)
    assert ended(runtime).cause == "memory limit 64 MiB reached"


def test_a_child_that_reaches_the_limit_does_not_end_its_neighbours(
    runtime: DockerRuntime, spec: Specs, engine: Any
) -> None:
    small, other = spec("prod", Limits(cpus=1, memory_mb=900)), spec("prod")
    runtime.start(small)
    runtime.start(other)
    wait_for(lambda: answers(runtime, small) and answers(runtime, other), 90, lambda: runtime.logs(small.id))
    container = engine.containers.get(profile.container_name(small.id))
    assert container.exec_run(["python3", "-c", "x = b'x' * (2 << 30)"]).exit_code == 137
    wait_for(lambda: answers(runtime, small), 60, lambda: runtime.logs(small.id))
    assert answers(runtime, other)
    assert {one.state for one in runtime.observe()} == {State.RUNNING}


def test_a_killed_container_says_so_and_not_that_memory_ran_out(
    runtime: DockerRuntime, spec: Specs, engine: Any
) -> None:
    wanted = spec("prod")
    runtime.start(wanted)
    engine.containers.get(profile.container_name(wanted.id)).kill("SIGKILL")
    seen = ended(runtime)
    assert (seen.exit_code, seen.cause.split(",")[0]) == (137, "it was killed (SIGKILL)")


def test_an_image_that_is_not_defined(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    for call in (lambda: runtime.prepare("minimal", print), lambda: runtime.start(spec(image="../../etc"))):
        with pytest.raises(ImageMissing) as caught:
            call()
        assert "golden-cpu, golden-gpu, minimal-cpu" in caught.value.remedy
    with pytest.raises(ImageMissing, match="Did you mean 'minimal-cpu'"):
        runtime.prepare("minimal", print)
    assert containers(engine, runtime) == []


def test_an_image_that_is_nowhere(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    folder = runtime._home / "images" / "absent"
    folder.mkdir(parents=True)
    (folder / "image.toml").write_text('name = "absent"\nreference = "127.0.0.1:1/labdock/absent:1"\n')
    before = time.monotonic()
    with pytest.raises(ImageMissing) as caught:
        runtime.prepare("absent", print)
    assert time.monotonic() - before < 5
    assert "labdock images build absent" in caught.value.remedy
    assert "minimal-cpu" in caught.value.remedy.split("On the engine:")[1]
    wanted = spec(image="absent")
    with pytest.raises(ImageMissing):
        runtime.start(wanted)
    assert containers(engine, runtime) == []
    assert not wanted.run.exists()
    assert [one["present"] for one in runtime.images() if one["name"] in {"absent", "minimal-cpu"}] == [False, True]


def test_a_start_that_fails_leaves_no_container_and_no_network(
    runtime: DockerRuntime, spec: Specs, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABDOCK_DOCKER_OPEN_FILES", "1000000000")  # more than the engine itself may open
    careless = DockerRuntime(Settings(home=runtime._home, run=runtime._run))
    with pytest.raises(LaunchError) as caught:
        careless.start(spec("dev"))
    assert caught.value.details["environment"]
    assert containers(engine, runtime) == []
    assert engine.networks.list(filters={"label": f"{profile.CONTROLLER}={runtime.controller}"}) == []
    careless.close()


def test_a_container_that_was_created_and_never_started_is_replaced(
    runtime: DockerRuntime, spec: Specs, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left when the controller is killed between the engine's two calls."""
    wanted = spec("prod")
    known = runtime._known()
    with runtime._place(wanted) as place:
        digest = engine.images.get(known[wanted.image].reference).id
        config = profile.container_config(wanted, known[wanted.image], digest, place, runtime._settings)
    wanted.run.mkdir(parents=True)
    engine.api.create_container_from_config(config, profile.container_name(wanted.id))
    assert [one.state for one in runtime.observe()] == [State.STARTING]
    later = time.time() + 120
    with monkeypatch.context() as patch:
        patch.setattr("labdock_controller.runtimes.docker.runtime.time.time", lambda: later)
        (seen,) = runtime.observe()
        assert (seen.state, "never started" in seen.cause) == (State.EXITED, True)
    runtime.start(wanted)
    wait_for(lambda: answers(runtime, wanted), 90, lambda: runtime.logs(wanted.id))
    assert len(containers(engine, runtime)) == 1


def test_more_cpus_than_there_are(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    with pytest.raises(InvalidOptions, match="cpus=1000"):
        runtime.start(spec(limits=Limits(cpus=1000)))
    assert containers(engine, runtime) == []


def test_a_taken_port(engine: Any, image: str) -> None:
    """Ports are the engine's choice, so this is the engine's own error, from a container with a fixed one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        container = engine.containers.create(f"labdock/{image}", ports={"80/tcp": ("127.0.0.1", port)})
        try:
            with pytest.raises(LaunchError, match="port is taken"), translated():
                container.start()
            assert container.attrs["State"]["Status"] == "created"  # M6
        finally:
            container.remove(force=True)


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    yield made
    made.cut()


def test_no_engine(places: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch, spec: Specs) -> None:
    monkeypatch.setenv("LABDOCK_DOCKER_HOST", "unix:///tmp/no-such-engine.sock")
    runtime = DockerRuntime(places())  # made without an engine
    for call in (runtime.check, runtime.observe, lambda: runtime.start(spec()), lambda: runtime.stop("0123456789ab")):
        with pytest.raises(RuntimeUnavailable, match="unreachable") as caught:
            call()
        assert "dockerd" in caught.value.remedy or "docker.sh" in caught.value.remedy
    assert {one["present"] for one in runtime.images()} == {None}


def test_an_engine_that_goes_and_comes_back(
    relay: Relay, runtimes: Callable[..., DockerRuntime], spec: Specs, runtime: DockerRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("LABDOCK_DOCKER_HOST", relay.address)
    monkeypatch.setenv("LABDOCK_DOCKER_SOCKETS", "yes")
    away = runtimes(Settings(home=runtime._home, run=runtime._run))
    wanted = spec("prod")
    away.start(wanted)
    relay.cut()
    for _ in range(3):
        with pytest.raises(RuntimeUnavailable):
            away.observe()
    assert away.endpoint(wanted.id, wanted.token).api  # what is known needs no engine
    relay.listen()
    assert [one.id for one in away.observe()] == [wanted.id]
    away.stop(wanted.id, 0)
    assert away.observe() == []


def test_an_engine_that_says_nothing(
    relay: Relay, places: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.silent = True
    monkeypatch.setenv("LABDOCK_DOCKER_HOST", relay.address)
    before = time.monotonic()
    with pytest.raises(RuntimeUnavailable):
        DockerRuntime(places()).check()
    assert time.monotonic() - before < 15


def test_an_engine_on_another_machine(
    relay: Relay, runtimes: Callable[..., DockerRuntime], spec: Specs, runtime: DockerRuntime, engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No folder is shared: the engine publishes ports of its choice, and the token comes in by a command's input."""
    monkeypatch.setenv("DOCKER_HOST", relay.address)
    monkeypatch.setenv("LABDOCK_DOCKER_PUBLISH_ADDRESS", "127.0.0.1")
    remote = runtimes(Settings(home=runtime._home, run=runtime._run))
    wanted = spec("dev")
    remote.start(wanted)
    endpoint = remote.endpoint(wanted.id, wanted.token)
    assert endpoint.api.startswith("http://127.0.0.1:")
    assert endpoint.jupyter
    assert endpoint.jupyter.startswith("http://127.0.0.1:")
    wait_for(lambda: answers(remote, wanted), 90, lambda: remote.logs(wanted.id))
    assert probe.get(endpoint.api, "/v1/models", wanted.token)[0] == 200
    assert probe.get(endpoint.api, "/v1/models", "wrong")[0] == 401
    assert not wanted.run.exists()
    container = engine.containers.get(profile.container_name(wanted.id))
    assert wanted.token not in str(container.attrs)
    assert wanted.token not in remote.logs(wanted.id, 10_000)
    mode = container.exec_run(["stat", "-c", "%a %u %s", "/run/labdock/token"]).output.decode().split()
    assert mode == ["600", "1001", str(len(wanted.token))]

    prod = replace(spec("prod"), name="p")
    remote.start(prod)
    assert remote.endpoint(prod.id, prod.token).jupyter is None
    remote.stop(prod.id, 1)
    remote.stop(wanted.id, 1)
    assert containers(engine, runtime) == []
    assert engine.networks.list(filters={"label": f"{profile.CONTROLLER}={runtime.controller}"}) == []
