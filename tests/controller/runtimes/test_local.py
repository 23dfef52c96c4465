"""The runtime `local`: the conformance suite with small processes and the real environment; and its own traits."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conformance import Conformance, seen, state
from quick import DyingRuntime, QuickRuntime, SlowRuntime, StubbornRuntime
from tests.waiting import wait_for

from labdock.errors import RuntimeUnavailable
from labdock_controller import probe
from labdock_controller.environments import base_url
from labdock_controller.runtimes import local
from labdock_controller.runtimes.base import EnvironmentSpec, Limits, State
from labdock_controller.runtimes.follow import last_lines, tail_of
from labdock_controller.runtimes.local import LocalRuntime
from labdock_controller.runtimes.variables import variables_of
from labdock_controller.settings import Settings


@pytest.fixture
def settings() -> Iterator[Settings]:
    home, run = (Path(tempfile.mkdtemp(prefix=f"labdock-{part}-", dir="/tmp")) for part in ("home", "run"))
    yield Settings(home=home, run=run)
    left = [p for p in psutil.process_iter() if carries(p, run)]
    for process in left:
        process.kill()
    for folder in (home, run):
        shutil.rmtree(folder)
    assert not left, "the test left processes"


def carries(process: psutil.Process, run: Path) -> bool:
    try:
        return str(run) in process.environ().get("LABDOCK_RUN_FOLDER", "")
    except psutil.Error:
        return False


def running(run: Path) -> list[psutil.Process]:
    """Independent of the runtime's own look at /proc."""
    return [p for p in psutil.process_iter() if carries(p, run) and p.status() != psutil.STATUS_ZOMBIE]


def spec_for(settings: Settings, **changes: Any) -> EnvironmentSpec:
    identifier = secrets.token_hex(6)
    folder = settings.home / "environments" / identifier
    given = {
        "id": identifier,
        "name": "e1",
        "owner": "ada",
        "mode": "prod",
        "image": "golden-cpu",
        "notebooks": folder / "notebooks",
        "logs": folder / "logs",
        "run": settings.run_folder / identifier,
        "token": secrets.token_urlsafe(32),
        "base_url": base_url("e1"),
    }
    return EnvironmentSpec(**{**given, **changes})


class LocalConformance(Conformance):
    runtime_class: type[LocalRuntime]

    @pytest.fixture
    def make_runtime(self, settings: Settings) -> Callable[[], LocalRuntime]:
        return lambda: self.runtime_class(settings)

    @pytest.fixture
    def make_spec(self, settings: Settings) -> Iterator[Callable[..., EnvironmentSpec]]:
        made: list[EnvironmentSpec] = []

        def make(**changes: Any) -> EnvironmentSpec:
            made.append(spec_for(settings, **changes))
            return made[-1]

        yield make
        for spec in made:
            self.runtime_class(settings).stop(spec.id)
        assert not running(settings.run_folder)
        assert not list(settings.run_folder.iterdir())

    @pytest.fixture
    def foreign_runtime(self) -> Iterator[LocalRuntime]:
        home, run = (Path(tempfile.mkdtemp(dir="/tmp")) for _ in range(2))
        yield self.runtime_class(Settings(home=home, run=run))
        shutil.rmtree(home)
        shutil.rmtree(run)

    def crash(self, runtime: Any, spec: EnvironmentSpec) -> None:
        for process in running(spec.run):
            process.kill()


class TestQuick(LocalConformance):
    runtime_class = QuickRuntime


class TestSlow(LocalConformance):
    runtime_class = SlowRuntime
    pytestmark = pytest.mark.slow


@pytest.mark.slow
class TestReal(LocalConformance):
    """The real environment: supervisord, the API and its workers."""

    runtime_class = LocalRuntime
    ready_within = 120.0

    def test_jupyterlab_runs_beside_the_api_and_nothing_is_left_of_either(
        self, make_runtime: Any, make_spec: Any, settings: Settings
    ) -> None:
        runtime, spec = make_runtime(), make_spec(mode="dev")
        self.start(runtime, spec)
        endpoint = runtime.endpoint(spec.id, spec.token)
        assert endpoint.jupyter is not None
        status, body = probe.get(endpoint.jupyter, f"{spec.base_url}api/kernels", spec.token, scheme="token")
        assert (status, body) == (200, b"[]")
        assert probe.get(endpoint.jupyter, f"{spec.base_url}api/kernels")[0] == 403
        runtime.stop(spec.id)
        assert not running(settings.run_folder)
        assert not spec.run.exists()

    def test_a_dead_api_comes_back_inside(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        before = seen(runtime, spec)
        api = next(p for p in running(spec.run) if "serve" in p.cmdline())
        api.kill()
        wait_for(lambda: not api.is_running() or api.status() == psutil.STATUS_ZOMBIE, what="the end of the API")
        self.ready(runtime, spec)
        assert seen(runtime, spec) == before


@pytest.fixture
def quick(settings: Settings) -> QuickRuntime:
    return QuickRuntime(settings)


def test_stop_ends_what_ignores_sigterm_and_children_that_cleaned_their_environment(settings: Settings) -> None:
    runtime, spec = StubbornRuntime(settings), spec_for(settings)
    runtime.start(spec)
    wait_for(lambda: not probe.ready(runtime.endpoint(spec.id, spec.token), spec.base_url), what="readiness")
    family = psutil.Process(running(settings.run_folder)[0].pid)
    while family.parent() in running(settings.run_folder):
        family = family.parent()
    children = family.children(recursive=True)
    assert len(children) == 3
    assert sum(carries(child, settings.run_folder) for child in children) == 2
    runtime.stop(spec.id, grace=0.3)
    gone, alive = psutil.wait_procs([family, *children], timeout=5)
    assert not alive
    assert len(gone) == 4


def test_the_exit_code_is_the_cause(settings: Settings) -> None:
    runtime, spec = DyingRuntime(settings), spec_for(settings)
    runtime.start(spec)
    wait_for(lambda: state(runtime, spec) is State.EXITED, what="EXITED")
    found = seen(runtime, spec)
    assert found is not None
    assert found.exit_code == 7
    assert "exit code 7" in found.cause
    assert found.remedy
    assert "about to die" in runtime.logs(spec.id)
    runtime.stop(spec.id)


def test_the_signal_is_the_cause(settings: Settings, quick: QuickRuntime) -> None:
    spec = spec_for(settings)
    quick.start(spec)
    running(spec.run)[0].kill()
    wait_for(lambda: state(quick, spec) is State.EXITED, what="EXITED")
    found = seen(quick, spec)
    assert found is not None
    assert "SIGKILL" in found.cause
    quick.stop(spec.id)


def test_a_record_of_an_earlier_boot_or_a_reused_pid_is_nobody(settings: Settings, quick: QuickRuntime) -> None:
    spec = spec_for(settings)
    (spec.run).mkdir(parents=True)
    stranger = os.getpid()
    started = local.processes.look_up(stranger)
    assert started is not None
    record = f'{{"pid": {stranger}, "started": {started.started}, "boot": "another", "mode": "prod", "time": 1}}'
    (spec.run / local.RECORD).write_text(record)
    assert state(quick, spec) is State.EXITED
    (spec.run / local.RECORD).write_text(record.replace("another", local.processes.boot_id()))
    assert state(quick, spec) is State.EXITED  # the pid is in use, but by a process without the mark
    quick.stop(spec.id)
    assert local.processes.look_up(stranger) is not None


def test_a_process_is_not_signalled_after_its_pid_was_reused() -> None:
    me = local.processes.look_up(os.getpid())
    assert me is not None
    earlier = local.processes.Process(me.pid, me.parent, me.session, me.started - 1, 0.0, 0)
    local.processes.send(earlier, signal.SIGKILL)  # would end this test


def test_secrets_of_the_controller_do_not_reach_environments(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, quick: QuickRuntime
) -> None:
    monkeypatch.setenv("LABDOCK_DATABASE_URL", "postgresql://canary-7c1")
    monkeypatch.setenv("JUPYTER_TOKEN", "canary-7c1")
    spec = spec_for(settings)
    assert not [v for v in variables_of(spec).values() if "canary-7c1" in v]
    quick.start(spec)
    for process in running(spec.run):
        assert spec.token not in " ".join(process.cmdline())
        assert spec.token not in " ".join(process.environ().values())
        assert "canary-7c1" not in " ".join(process.environ().values())
    assert (spec.run / "token").stat().st_mode & 0o777 == 0o600
    assert spec.run.stat().st_mode & 0o777 == 0o700
    quick.stop(spec.id)


def test_limits_reach_the_environment(settings: Settings) -> None:
    variables = variables_of(spec_for(settings, limits=Limits(cpus=2.5, memory_mb=512)))
    assert variables["LABDOCK_WORKERS"] == "2"
    assert variables["LABDOCK_WORKER_MEMORY_MB"] == "512"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, quick: QuickRuntime) -> None:
    monkeypatch.setitem(local.NEEDED, "container", ("labdock_container", "no_such_library"))
    with pytest.raises(RuntimeUnavailable, match="no_such_library") as raised:
        quick.check()
    assert "pip install" in raised.value.remedy


def test_tail(tmp_path: Path) -> None:
    lines = [f"line {i} é" for i in range(20_000)]
    (tmp_path / "api.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "jupyter.log").write_text("one\ntwo\n")
    assert last_lines(tmp_path / "api.log", 3) == lines[-3:]
    assert last_lines(tmp_path / "api.log", 30_000) == lines
    assert last_lines(tmp_path / "none.log", 3) == []
    both = [tmp_path / "api.log", tmp_path / "jupyter.log"]
    assert tail_of(both, 10).splitlines() == [*(f"api | {x}" for x in lines[-8:]), "jupyter | one", "jupyter | two"]
    assert tail_of(both, 2).splitlines() == [f"api | {lines[-1]}", "jupyter | two"]
    assert tail_of(both, 0) == ""
