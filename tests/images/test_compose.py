"""compose/compose.yaml: valid, and it does what it says: a controller beside the engine, an environment from it."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = REPOSITORY / "compose/compose.yaml"
PROJECT = "labdock-test-compose"
pytestmark = [pytest.mark.docker, pytest.mark.slow]


def compose_command() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    if plugin:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if "docker" in os.environ.get("LABDOCK_REQUIRE", ""):
        pytest.fail("neither `docker compose` nor docker-compose is here: bash tools/docker.sh installs it")
    pytest.skip("neither `docker compose` nor docker-compose is here")


class Project:
    def __init__(self) -> None:
        self.run = Path(f"/dev/shm/labdock-test-{os.getpid()}")
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        self.environment = {**os.environ, "LABDOCK_RUN": str(self.run), "LABDOCK_PORT": str(self.port)}
        self.base = [*compose_command(), "-p", PROJECT, "-f", str(COMPOSE_FILE)]

    def __call__(self, *arguments: str, timeout: float = 120) -> str:
        done = subprocess.run(
            [*self.base, *arguments], env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def labdock(self, *arguments: str) -> Any:
        return json.loads(self("exec", "-T", "controller", "labdock", *arguments, "--json"))


@pytest.fixture
def project() -> Iterator[Project]:
    made = Project()
    yield made
    subprocess.run([*made.base, "down", "-v"], env=made.environment, capture_output=True, timeout=120, check=True)
    shutil.rmtree(made.run, ignore_errors=True)


def test_the_file_is_valid(project: Project) -> None:
    assert project("config", "-q") == ""
    text = project("config")
    assert f"{project.run}:{project.run}" in text or f"target: {project.run}" in text
    assert "127.0.0.1" in text
    assert "0.0.0.0" not in text


def test_the_controller_runs_beside_the_engine(project: Project) -> None:
    subprocess.run(
        ["bash", REPOSITORY / "images/build.sh", "controller", "minimal-cpu"],
        check=True, capture_output=True, timeout=1200,
    )  # fmt: skip
    project("up", "-d")
    engine = docker.from_env()
    try:
        (controller,) = engine.containers.list(
            filters={"label": f"com.docker.compose.project={PROJECT}"}, ignore_removed=True
        )
        deadline = time.monotonic() + 60
        while controller.attrs["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline, controller.logs().decode()
            time.sleep(0.5)
            controller.reload()
        link = project.labdock("up")["link"]
        assert link.startswith(f"http://127.0.0.1:{project.port}/sign-in?ticket=")
        assert project.labdock("start", "compose_test", "--image", "minimal-cpu")["status"] == "running"
        assert any(module["name"] == "barebone_template" for module in project.labdock("modules"))
        (environment,) = engine.containers.list(filters={"label": "dev.labdock.name=compose_test"}, ignore_removed=True)
        assert environment.attrs["HostConfig"]["ReadonlyRootfs"]
        reach = "import socket; socket.create_connection((%r, %d), timeout=2)"
        (network,) = controller.attrs["NetworkSettings"]["Networks"].values()
        for target in ((network["IPAddress"], project.port), (network["Gateway"], project.port)):
            assert environment.exec_run(["python3", "-c", reach % target]).exit_code != 0
        project("exec", "-T", "controller", "labdock", "rm", "compose_test", "--json")
        assert (
            engine.containers.list(all=True, filters={"label": "dev.labdock.name=compose_test"}, ignore_removed=True)
            == []
        )
        engine.volumes.get(f"labdock-{environment.labels['dev.labdock.environment']}").remove()
    finally:
        engine.close()
