"""Starting an environment: its turn, its object, and the wait until it answers."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from labdock.errors import LabdockError, StartTimeout
from labdock_controller import probe
from labdock_controller.environments import Environment, Environments, base_url
from labdock_controller.reconcile import Status, Wanted
from labdock_controller.runtimes.base import EnvironmentSpec, Observed, Runtime, State
from labdock_controller.settings import Settings
from labdock_controller.timeline import Timelines

log = structlog.get_logger("labdock.launcher")
PROBE_EVERY = 0.05
LOOK_EVERY = 0.5
PROGRESS_EVERY = 0.5
LOG_LINES = 40


def log_lines(runtime: Runtime, identifier: str, count: int = LOG_LINES) -> str:
    """The last lines of an environment's log; empty where the runtime cannot say."""
    try:
        return runtime.logs(identifier, count)
    except LabdockError:
        return ""


def problem_of(runtime: Runtime) -> LabdockError | None:
    """What keeps a runtime from starting environments now."""
    try:
        runtime.check()
    except LabdockError as error:
        return error
    return None


class Starting:
    """A few environments start at a time; the others wait for their turn, and no time of theirs runs meanwhile."""

    def __init__(self, settings: Settings, environments: Environments, closing: threading.Event) -> None:
        self._timeout = settings.start_timeout
        self._environments = environments
        self._closing = closing
        self.timelines = Timelines()
        self._turns = threading.Semaphore(settings.parallel_starts or max(2, os.cpu_count() or 2))

    @contextmanager
    def turn(self, record: Environment) -> Iterator[bool]:
        """Wait for a turn; False if the environment is wanted differently by then, or the controller closes."""
        self.timelines.begin(record.id)
        self._environments.tell(record, "phase", {"phases": self.timelines.of(record.id)})
        while not self._turns.acquire(timeout=0.2):
            if self._closing.is_set() or not self._still(record):
                yield False
                return
        try:
            yield self._still(record)
        finally:
            self._turns.release()

    def start(self, record: Environment, runtime: Runtime, spec: EnvironmentSpec) -> bool:
        """Make the object and wait until it is ready. Gives whether to look on at once."""
        began = time.monotonic()
        last = [0.0]

        def progress(step: dict[str, Any]) -> None:
            if step.get("phase") == "pulling":
                self._reach(record, "pulling")
            self.timelines.layer(record.id, step)
            if time.monotonic() - last[0] >= PROGRESS_EVERY or step.get("phase") == "ready":
                last[0] = time.monotonic()
                told = {"progress": step, "layers": self.timelines.layers(record.id)}
                self._environments.tell(record, "progress", told)

        try:
            runtime.prepare(record.image, progress)
            self._reach(record, "creating")
            runtime.start(spec)
        except LabdockError as error:
            self._fail(record, error, runtime)
            return True
        return self.wait_ready(record, runtime, spec.token, began)

    def wait_ready(self, record: Environment, runtime: Runtime, token: str, began: float | None = None) -> bool:
        """Wait until it answers and say so; ends early when it dies or is wanted differently."""
        began = time.monotonic() if began is None else began
        looked = time.monotonic()
        self._reach(record, "starting")
        missing, seen = "it was not asked yet", None
        while not self._closing.is_set() and self._still(record):
            missing = probe.ready(runtime.endpoint(record.id, token), base_url(record.name))
            if not missing:
                self.timelines.reach(record.id, "ready")  # before its event
                changes = {"status": Status.RUNNING, "cause": "", "remedy": "", "log": "", "ever_ready": True}
                self._environments.note(record.id, record.wanted, started=time.time(), **changes)
                log.info("ready", environment=record.id, name=record.name, seconds=time.monotonic() - began)
                return True
            if time.monotonic() - looked >= LOOK_EVERY:
                looked = time.monotonic()
                seen = next((one for one in runtime.observe() if one.id == record.id), None)
                if seen is None or seen.state is State.EXITED:
                    return True
            if time.monotonic() - began > self._timeout:
                self._fail(record, self._timed_out(record, missing, seen), runtime)
                return True
            self._closing.wait(PROBE_EVERY)
        return not self._closing.is_set()

    def _timed_out(self, record: Environment, missing: str, seen: Observed | None) -> StartTimeout:
        known = f" ({seen.cause})" if seen and seen.cause else ""  # what the runtime knows while it still runs
        return StartTimeout(
            f"The environment {record.name} was not ready within {self._timeout:g} s: {missing}{known}.",
            remedy=(seen and seen.remedy) or "See the log; raise LABDOCK_START_TIMEOUT where the machine is slow.",
            environment=record.name,
        )

    def _fail(self, record: Environment, error: LabdockError, runtime: Runtime) -> None:
        log.warning("start failed", environment=record.id, name=record.name, reason=error.message)
        changes = {"status": Status.FAILED, "cause": error.message, "remedy": error.remedy}
        tail = str(error.details.get("log") or "") or log_lines(runtime, record.id)
        self._environments.note(record.id, record.wanted, log=tail, **changes)

    def _reach(self, record: Environment, phase: str) -> None:
        if self.timelines.reach(record.id, phase):
            self._environments.tell(record, "phase", {"phases": self.timelines.of(record.id)})

    def _still(self, record: Environment) -> bool:
        now = self._environments.by_id(record.id)
        return now is not None and _intent(now.wanted) == _intent(record.wanted)


def _intent(wanted: Wanted) -> tuple[Any, ...]:
    return (wanted.desired, wanted.generation)
