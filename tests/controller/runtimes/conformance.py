"""What every runtime must do: subclass `Conformance`, give the fixtures, and all of it is checked.

    class TestMine(Conformance):
        @pytest.fixture
        def make_runtime(self): …     # () -> Runtime: each call another object of the same controller
        @pytest.fixture
        def make_spec(self): …        # (**changes) -> EnvironmentSpec with an id of its own; removed afterwards
        @pytest.fixture
        def foreign_runtime(self): …  # a Runtime of another controller on the same machine
        def crash(self, runtime, spec): …   # end the environment's processes from outside, as an accident would

`ready_within` is how long an environment may take. Nothing here knows how a runtime works inside.
"""

import secrets
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tests.waiting import wait_for

from labdock.errors import NotFound, TransportError
from labdock_controller import probe
from labdock_controller.runtimes.base import EnvironmentSpec, Observed, Runtime, State

UNKNOWN = "0123456789ab"


def seen(runtime: Runtime, spec: EnvironmentSpec) -> Observed | None:
    return next((one for one in runtime.observe() if one.id == spec.id), None)


def state(runtime: Runtime, spec: EnvironmentSpec) -> State | None:
    found = seen(runtime, spec)
    return found.state if found else None


class Conformance:
    ready_within = 60.0

    def crash(self, runtime: Runtime, spec: EnvironmentSpec) -> None:
        raise NotImplementedError

    def start(self, runtime: Runtime, spec: EnvironmentSpec) -> None:
        """Start it and wait until it answers."""
        runtime.prepare(spec.image, lambda step: None)
        runtime.start(spec)
        self.ready(runtime, spec)

    def ready(self, runtime: Runtime, spec: EnvironmentSpec) -> None:
        endpoint = runtime.endpoint(spec.id, spec.token)
        missing = ["?"]

        def answers() -> bool:
            missing[0] = probe.ready(endpoint, spec.base_url)
            return not missing[0]

        try:
            wait_for(answers, self.ready_within, "readiness")
        except pytest.fail.Exception:
            pytest.fail(f"{missing[0]}; seen {seen(runtime, spec)}; log:\n{runtime.logs(spec.id)}")

    def test_check_says_that_environments_can_be_started(self, make_runtime: Any) -> None:
        make_runtime().check()

    def test_a_life(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        assert seen(runtime, spec) is None
        before = time.time()
        self.start(runtime, spec)
        found = seen(runtime, spec)
        assert found is not None
        assert found.state is State.RUNNING
        assert found.started is not None
        assert before - 5 <= found.started <= time.time() + 5
        usage = runtime.usage(spec.id)
        assert usage is not None
        assert usage.memory_bytes > 1_000_000
        assert usage.cpu_seconds > 0
        endpoint = runtime.endpoint(spec.id, spec.token)
        runtime.stop(spec.id)
        assert seen(runtime, spec) is None
        assert runtime.usage(spec.id) is None
        with pytest.raises(TransportError):
            probe.get(endpoint.api, "/health")
        with pytest.raises(NotFound):
            runtime.endpoint(spec.id, spec.token)

    def test_the_token_of_the_spec_opens_it_and_no_other_does(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        endpoint = runtime.endpoint(spec.id, spec.token)
        assert endpoint.token == spec.token
        assert probe.get(endpoint.api, "/v1/models", spec.token)[0] == 200
        assert probe.get(endpoint.api, "/v1/models", "wrong")[0] == 401
        assert probe.get(endpoint.api, "/v1/models")[0] == 401

    def test_unknown_ids_are_no_error_where_nothing_is_asked_of_them(self, make_runtime: Any) -> None:
        runtime = make_runtime()
        runtime.stop(UNKNOWN)
        assert runtime.logs(UNKNOWN) == ""
        assert runtime.usage(UNKNOWN) is None
        assert list(runtime.follow(UNKNOWN)) == []
        with pytest.raises(NotFound):
            runtime.endpoint(UNKNOWN, "token")

    def test_starting_what_runs_changes_nothing(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        first = seen(runtime, spec)
        runtime.start(spec)
        make_runtime().start(spec)
        assert seen(runtime, spec) == first
        assert len([one for one in runtime.observe() if one.id == spec.id]) == 1

    def test_ten_starts_at_once_are_one(self, make_runtime: Any, make_spec: Any) -> None:
        spec = make_spec()
        runtimes = [make_runtime() for _ in range(10)]
        failures: list[BaseException] = []

        def start(runtime: Runtime) -> None:
            try:
                runtime.start(spec)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        threads = [threading.Thread(target=start, args=(runtime,)) for runtime in runtimes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        self.ready(runtimes[0], spec)
        assert len([one for one in runtimes[0].observe() if one.id == spec.id]) == 1
        runtimes[0].stop(spec.id)
        assert seen(runtimes[1], spec) is None

    def test_an_accident_is_seen_with_its_log_and_the_next_start_replaces_it(
        self, make_runtime: Any, make_spec: Any
    ) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        self.crash(runtime, spec)
        wait_for(lambda: state(runtime, spec) is State.EXITED, what="EXITED")
        found = seen(runtime, spec)
        assert found is not None
        assert found.cause
        assert runtime.logs(spec.id, 50)
        self.start(runtime, spec)
        assert state(runtime, spec) is State.RUNNING

    def test_what_exited_can_be_stopped(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        self.crash(runtime, spec)
        wait_for(lambda: state(runtime, spec) is State.EXITED, what="EXITED")
        runtime.stop(spec.id)
        assert seen(runtime, spec) is None

    def test_a_restarted_controller_adopts(self, make_runtime: Any, make_spec: Any) -> None:
        first, spec = make_runtime(), make_spec()
        self.start(first, spec)
        first.close()
        second = make_runtime()
        assert state(second, spec) is State.RUNNING
        assert probe.get(second.endpoint(spec.id, spec.token).api, "/health")[0] == 200
        second.stop(spec.id)
        assert seen(second, spec) is None

    def test_another_controller_neither_sees_nor_ends_it(
        self, make_runtime: Any, make_spec: Any, foreign_runtime: Runtime
    ) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        assert seen(foreign_runtime, spec) is None
        foreign_runtime.stop(spec.id)
        assert state(runtime, spec) is State.RUNNING
        assert probe.get(runtime.endpoint(spec.id, spec.token).api, "/health")[0] == 200

    def test_stop_right_after_start_leaves_nothing(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        runtime.prepare(spec.image, lambda step: None)
        runtime.start(spec)
        runtime.stop(spec.id, grace=1.0)
        assert seen(runtime, spec) is None
        runtime.stop(spec.id)

    def test_stopping_twice_at_once_is_stopping(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        failures: list[BaseException] = []

        def stop() -> None:
            try:
                make_runtime().stop(spec.id)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        threads = [threading.Thread(target=stop) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert seen(runtime, spec) is None

    def test_the_tail_of_the_log_is_as_long_as_asked(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        assert wait_for(lambda: runtime.logs(spec.id, 1), what="a log line").count("\n") <= 1
        assert runtime.logs(spec.id, 0) == ""

    def test_following_ends_with_the_environment(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(make_runtime().follow(spec.id)), daemon=True)
        reader.start()
        runtime.stop(spec.id)
        reader.join(20)
        assert not reader.is_alive()
        assert all(isinstance(line, str) for line in lines)

    def test_following_can_be_given_up(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        follower: Any = runtime.follow(spec.id)
        with suppress(StopIteration):
            ended = threading.Event()

            def read() -> None:
                with suppress(ValueError, OSError):
                    for _ in follower:
                        pass
                ended.set()

            threading.Thread(target=read, daemon=True).start()
            with suppress(ValueError):
                follower.close()
            if not ended.wait(10):  # a generator ends at the latest with the environment
                runtime.stop(spec.id)
                assert ended.wait(20)

    def test_notebooks_outlive_stops_and_go_when_asked(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        self.write_notebook(runtime, spec, "kept.txt", "kept")
        runtime.stop(spec.id)
        self.start(runtime, spec)
        assert self.read_notebook(runtime, spec, "kept.txt") == "kept"
        runtime.stop(spec.id)
        runtime.remove_files(spec)
        runtime.remove_files(spec)
        self.start(runtime, spec)
        assert self.read_notebook(runtime, spec, "kept.txt") is None

    def test_a_new_start_has_a_new_token(self, make_runtime: Any, make_spec: Any) -> None:
        runtime, spec = make_runtime(), make_spec()
        self.start(runtime, spec)
        runtime.stop(spec.id)
        renewed = replace(spec, token=secrets.token_urlsafe(32))
        self.start(runtime, renewed)
        endpoint = runtime.endpoint(spec.id, renewed.token)
        assert probe.get(endpoint.api, "/v1/models", renewed.token)[0] == 200
        assert probe.get(endpoint.api, "/v1/models", spec.token)[0] == 401

    def write_notebook(self, runtime: Runtime, spec: EnvironmentSpec, name: str, text: str) -> None:
        """Put a file among the environment's notebooks."""
        spec.notebooks.mkdir(parents=True, exist_ok=True)
        (spec.notebooks / name).write_text(text)

    def read_notebook(self, runtime: Runtime, spec: EnvironmentSpec, name: str) -> str | None:
        path = spec.notebooks / name
        return path.read_text() if path.exists() else None
