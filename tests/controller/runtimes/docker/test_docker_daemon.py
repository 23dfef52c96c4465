"""An engine that dies, is restarted or has a full disk: a private dockerd with its own data, never the machine's."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from private_daemon import Daemon

from labdock.errors import DiskFull, RuntimeUnavailable
from labdock_controller.runtimes.base import EnvironmentSpec, Limits, State
from labdock_controller.runtimes.docker import DockerRuntime, profile
from labdock_controller.settings import Settings

# docker-py forgets to close a socket that could not be connected; it goes with its object, with a warning.
pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a private dockerd"),
]
IMAGE = "sleeper"
SIZE_MB = 700


@pytest.fixture
def daemon(image: str, engine: Any) -> Iterator[Daemon]:
    made = Daemon(SIZE_MB)
    try:
        made.start()
        made.load("labdock/base:latest")
        yield made
    finally:
        made.close()


@pytest.fixture
def away(daemon: Daemon, places: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRuntime]:
    """A runtime on the private engine whose one image is the base: its program is replaced by one that stays."""
    settings = places()
    folder = settings.home / "images" / IMAGE
    folder.mkdir(parents=True)
    (folder / "image.toml").write_text('reference = "labdock/sleeper:latest"\n')
    client = docker.DockerClient(base_url=daemon.address)
    made = client.containers.create("labdock/base:latest", ["sleep", "100000"])
    made.commit("labdock/sleeper", "latest")
    made.remove()
    client.close()
    monkeypatch.setenv("LABDOCK_DOCKER_HOST", daemon.address)
    runtime = DockerRuntime(settings)
    yield runtime
    runtime.close()


def spec_for(runtime: DockerRuntime, number: int) -> EnvironmentSpec:
    identity = f"da{number:010x}"
    return EnvironmentSpec(
        id=identity, name=f"e{number}", owner="me", mode="prod", image=IMAGE, notebooks=Path("/n"), logs=Path("/l"),
        run=runtime._run / identity, token="t", base_url="/", limits=Limits(cpus=0.5, memory_mb=128),
    )  # fmt: skip


def test_a_killed_engine(daemon: Daemon, away: DockerRuntime) -> None:
    spec = spec_for(away, 1)
    away.start(spec)
    assert [one.state for one in away.observe()] == [State.RUNNING]
    daemon.kill()
    began = time.monotonic()
    for call in (away.check, away.observe, lambda: away.start(spec)):
        with pytest.raises(RuntimeUnavailable):
            call()
    assert time.monotonic() - began < 15
    daemon.start()
    deadline = time.monotonic() + 15
    while True:
        (seen,) = away.observe()  # a full look: known at once, adopted or ended, never lost
        if seen.state is not State.STARTING:
            break
        assert time.monotonic() < deadline
    if seen.state is State.EXITED:  # without live-restore the returning engine ends what lived on (M4)
        assert seen.cause
        away.start(spec)
    assert [one.state for one in away.observe()] == [State.RUNNING]
    away.stop(spec.id, 0)
    assert away.observe() == []


def test_a_full_disk(daemon: Daemon, away: DockerRuntime) -> None:
    running = spec_for(away, 1)
    away.start(running)
    filler = daemon.data / "filler"
    free = shutil.disk_usage(daemon.data).free
    subprocess.run(["fallocate", "-l", str(free - 4096), filler], check=True)
    spec = spec_for(away, 2)
    with pytest.raises(DiskFull) as caught:
        away.start(spec)
    assert "docker system df" in caught.value.remedy
    assert [one.id for one in away.observe()] == [running.id]
    assert [one.state for one in away.observe()] == [State.RUNNING]
    filler.unlink()
    away.start(spec)  # works again as soon as there is room
    assert {one.state for one in away.observe()} == {State.RUNNING}
    assert profile.container_name(spec.id).endswith(spec.id)
    for one in (running, spec):
        away.stop(one.id, 0)
    assert away.observe() == []
