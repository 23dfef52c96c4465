"""A runtime of a controller of its own on the real engine; whatever its test started is gone afterwards."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker_labs import labs, remove_all

from labdock_controller.runtimes.base import EnvironmentSpec, Limits
from labdock_controller.runtimes.docker import DockerRuntime
from labdock_controller.settings import Settings

REPOSITORY = Path(__file__).parents[4]
IMAGE = "minimal-cpu"
TOKEN = "canary-5d0b6a0f6c2b4e0d9a7f3e1c"


@pytest.fixture(scope="session")
def image() -> str:
    """The name of a built image with the code of this checkout; building is cached by content."""
    subprocess.run(["bash", REPOSITORY / "images/build.sh", IMAGE], check=True, capture_output=True, timeout=900)
    return IMAGE


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """docker-py on this machine's engine, beside the runtime."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def lab(some_controllers: Callable[[], Any], image: str) -> Iterator[Any]:
    """One whole controller on this machine's engine for a file's tests."""
    with labs(some_controllers, "unix:///var/run/docker.sock") as make:
        yield make()


@pytest.fixture
def places() -> Iterator[Callable[[], Settings]]:
    """Makes settings with a home and a short run folder of their own."""
    made: list[Path] = []

    def make() -> Settings:
        home = Path(tempfile.mkdtemp(prefix="labdock-home-", dir="/tmp"))
        run = Path(tempfile.mkdtemp(prefix="labdock-run-", dir="/dev/shm"))
        made.extend((home, run))
        return Settings(home=home, run=run)

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture
def runtimes(places: Callable[[], Settings], engine: Any, image: str) -> Iterator[Callable[[], DockerRuntime]]:
    """Makes runtimes; afterwards no container, volume or network of theirs is left."""
    made: list[DockerRuntime] = []

    def make(settings: Settings | None = None) -> DockerRuntime:
        runtime = DockerRuntime(settings or places())
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        remove_all(engine, runtime.controller)
        runtime.close()


@pytest.fixture
def runtime(runtimes: Callable[[], DockerRuntime]) -> DockerRuntime:
    return runtimes()


@pytest.fixture
def spec(runtime: DockerRuntime) -> Callable[..., EnvironmentSpec]:
    """Makes specs for `runtime`, each with an id of its own."""
    number = iter(range(1, 1000))

    def make(mode: str = "dev", limits: Limits | None = None, **changes: Any) -> EnvironmentSpec:
        identity = changes.pop("id", None) or f"{int(runtime.controller, 16) % 16**9:09x}{next(number):03x}"
        home = runtime._home
        values: dict[str, Any] = {
            "id": identity,
            "name": "__dev__",
            "owner": "alice",
            "mode": mode,
            "image": IMAGE,
            "notebooks": home / "environments" / identity / "notebooks",
            "logs": home / "environments" / identity / "logs",
            "run": runtime._run / identity,
            "token": TOKEN,
            "base_url": "/environments/__dev__/jupyter/",
            "limits": limits or Limits(cpus=1, memory_mb=1024),
        }
        made = EnvironmentSpec(**{**values, **changes})
        made.logs.parent.mkdir(parents=True, exist_ok=True)
        return made

    return make
