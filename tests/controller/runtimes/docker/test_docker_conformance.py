"""The runtime docker under the suite that every runtime passes."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from conformance import Conformance

from labdock_controller.runtimes.base import EnvironmentSpec, Runtime
from labdock_controller.runtimes.docker import DockerRuntime, profile
from labdock_controller.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.slow]


class TestDocker(Conformance):
    @pytest.fixture
    def make_runtime(
        self, runtimes: Callable[..., DockerRuntime], runtime: DockerRuntime
    ) -> Callable[[], DockerRuntime]:
        settings = Settings(home=runtime._home, run=runtime._run)
        return lambda: runtimes(settings)

    @pytest.fixture
    def make_spec(self, spec: Callable[..., EnvironmentSpec]) -> Callable[..., EnvironmentSpec]:
        return lambda **changes: spec(**{"mode": "prod", **changes})

    @pytest.fixture
    def foreign_runtime(self, runtimes: Callable[[], DockerRuntime]) -> DockerRuntime:
        return runtimes()

    @pytest.fixture(autouse=True)
    def _engine(self, engine: Any) -> None:
        self.engine = engine

    def crash(self, runtime: Runtime, spec: EnvironmentSpec) -> None:
        os.kill(self.container(spec).attrs["State"]["Pid"], 9)

    def container(self, spec: EnvironmentSpec) -> Any:
        return self.engine.containers.get(profile.container_name(spec.id))

    def write_notebook(self, runtime: Runtime, spec: EnvironmentSpec, name: str, text: str) -> None:
        done = self.container(spec).exec_run(["sh", "-c", 'printf %s "$1" >"/notebooks/$2"', "sh", text, name])
        assert done.exit_code == 0, done.output

    def read_notebook(self, runtime: Runtime, spec: EnvironmentSpec, name: str) -> str | None:
        script = 'if [ -e "/notebooks/$1" ]; then cat "/notebooks/$1"; else exit 3; fi'
        code, output = self.container(spec).exec_run(["sh", "-c", script, "sh", name])
        return None if code == 3 else output.decode()
