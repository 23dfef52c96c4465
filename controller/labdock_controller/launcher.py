"""The launcher: makes environments what their records say, whatever happened before.

One thread for each environment that has something to do; `reconcile.next_step` says what. Intents are committed
before a runtime is asked, so a controller that dies at any point finds on its next start what to adopt or remove.
"""

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from labdock.errors import Busy, Conflict, LabdockError, LaunchError, NotFound, RuntimeUnavailable
from labdock.home import make_private, write_atomically
from labdock.names import not_found
from labdock_controller.environments import Environment, Environments, base_url
from labdock_controller.leftovers import remove_leftovers
from labdock_controller.reconcile import Desired, Status, Step, gives_up, next_step, pause_before
from labdock_controller.runtimes.base import Endpoint, EnvironmentSpec, Limits, Observed, Runtime
from labdock_controller.settings import Settings
from labdock_controller.starting import Starting, problem_of
from labdock_controller.starting import log_lines as last_log
from labdock_controller.threads import Threads
from labdock_controller.timeline import Timelines

log = structlog.get_logger("labdock.launcher")
ENDING = 5.0
VANISHING = 0.5


class Launcher:
    """`start` it, `kick` it after each change of a record, `close` it. Environments outlive it."""

    def __init__(self, settings: Settings, environments: Environments, runtimes: dict[str, Runtime]) -> None:
        self._settings = settings
        self._environments = environments
        self.runtimes = runtimes
        self.problems: dict[str, LabdockError] = {}  # runtimes that do not answer now
        self._closing = threading.Event()
        self._starting = Starting(settings, environments, self._closing)
        self._busy: dict[str, bool] = {}  # environments that have a thread; True: look once more before it ends
        self._lock = threading.Lock()
        self._threads = Threads(self._closing)
        self._tokens: dict[str, str] = {}
        self.variables: Callable[[], dict[str, str]] = dict  # further settings of environments that start

    def start(self) -> None:
        """Begin to look at everything, at once and then every few seconds."""
        self._threads.spawn(self._loop, "reconcile")

    def close(self) -> None:
        """Stop looking; returns when no thread acts any more, or after a few seconds."""
        self._closing.set()
        self._threads.join(ENDING)
        for runtime in self.runtimes.values():
            runtime.close()

    @property
    def timelines(self) -> Timelines:
        """How far starts have come."""
        return self._starting.timelines

    def runtime(self, name: str) -> Runtime:
        """Raises `NotFound` that names the runtimes there are."""
        if name not in self.runtimes:
            raise not_found("runtime", name, self.runtimes)
        return self.runtimes[name]

    def check(self) -> dict[str, LabdockError | None]:
        """What keeps each runtime from starting environments now."""
        return {name: problem_of(runtime) for name, runtime in self.runtimes.items()}

    def images(self) -> list[dict[str, Any]]:
        """What environments can be started from, in each runtime that has images."""
        return [{"runtime": name, **image} for name, runtime in self.runtimes.items() for image in runtime.images()]

    def given(self, runtime: str, image: str, limits: Limits) -> Limits:
        """What an environment with these limits would be given."""
        return self.runtimes[runtime].given(image, limits) if runtime in self.runtimes else limits

    def endpoint(self, environment: Environment) -> Endpoint:
        """Where a running environment answers. Raises `Conflict` naming the state of one that does not run."""
        if environment.status is not Status.RUNNING:
            verb = "Start it" if environment.status in (Status.STOPPED, Status.FAILED) else "Wait for it"
            raise Conflict(
                f"The environment {environment.name} is {environment.status}. {environment.cause}".rstrip(),
                remedy=f"{verb}: labdock start {environment.name}.",
                kind="environment",
                name=environment.name,
                status=str(environment.status),
            )
        return self.runtime(environment.runtime).endpoint(environment.id, self.token(environment.id))

    def run_folder(self, identifier: str) -> Path:
        """The environment's sockets, token and spool on this machine."""
        return self._settings.run_folder / identifier

    def token(self, identifier: str) -> str:
        """The environment's token; it is kept in its run folder only."""
        if identifier not in self._tokens:
            try:
                self._tokens[identifier] = (self.run_folder(identifier) / "token").read_text()
            except FileNotFoundError:
                raise NotFound(f"Environment {identifier} has no token here.", remedy="Start it again.") from None
        return self._tokens[identifier]

    def spec(self, environment: Environment, token: str) -> EnvironmentSpec:
        """What the runtime is asked to start."""
        folder = self._settings.home / "environments" / environment.id
        return EnvironmentSpec(
            id=environment.id,
            name=environment.name,
            owner=environment.owner,
            mode=environment.mode,
            image=environment.image,
            notebooks=folder / "notebooks",
            logs=folder / "logs",
            run=self.run_folder(environment.id),
            token=token,
            base_url=base_url(environment.name),
            limits=environment.limits,
            variables=self.variables(),
        )

    def kick(self, identifier: str) -> None:
        """Look at one environment now. Returns at once; it has one thread however often it is kicked."""
        with self._lock:
            if identifier in self._busy:
                self._busy[identifier] = True
                return
            self._busy[identifier] = False
        self._threads.spawn(lambda: self._converge(identifier), f"environment-{identifier}")

    def one_pass(self) -> list[str]:
        """Look at everything once; gives the ids for which something is to be done, which begins."""
        seen = self._observe_all()
        # Records after observations: what was started meanwhile has a record, or it is nobody's.
        records = self._environments.all()
        now = time.time()
        todo = []
        for identifier in records.keys() | seen.keys():
            record = records.get(identifier)
            if record and record.runtime in self.problems:
                continue
            if next_step(record.wanted if record else None, seen.get(identifier), now):
                todo.append(identifier)
                self.kick(identifier)
        return todo

    def _loop(self) -> None:
        first = True
        while not self._closing.is_set():
            try:
                if first:
                    seen = self._observe_all()
                    if not self.problems:
                        remove_leftovers(self._settings.run_folder, self._environments, seen)
                first = False
                self.one_pass()
            except Busy as error:
                log.warning("pass postponed", reason=error.message)
            except Exception:
                log.exception("a reconcile pass failed")
            self._closing.wait(self._settings.reconcile_interval)

    def _observe_all(self) -> dict[str, Observed]:
        seen: dict[str, Observed] = {}
        for name, runtime in self.runtimes.items():
            try:
                seen.update({one.id: one for one in runtime.observe()})
                self.problems.pop(name, None)
            except LaunchError as error:
                if name not in self.problems:
                    log.warning("runtime does not answer", runtime=name, reason=error.message)
                self.problems[name] = error
        return seen

    def _observe(self, identifier: str) -> tuple[Runtime | None, Observed | None]:
        record = self._environments.by_id(identifier)
        runtimes = [self.runtime(record.runtime)] if record else list(self.runtimes.values())
        for runtime in runtimes:
            found = next((one for one in runtime.observe() if one.id == identifier), None)
            if found or record:
                return runtime, found
        return None, None

    def _converge(self, identifier: str) -> None:
        try:
            while not self._closing.is_set():
                if self._one_step(identifier):
                    continue
                with self._lock:
                    if not self._busy[identifier]:
                        del self._busy[identifier]
                        return
                    self._busy[identifier] = False
        except Exception as error:
            # The next pass tries again; an intent that cannot be fulfilled was noted by the step itself.
            log.exception("environment not converged", environment=identifier, reason=str(error))
        finally:
            with self._lock:
                self._busy.pop(identifier, None)

    def _one_step(self, identifier: str) -> bool:
        try:
            runtime, seen = self._observe(identifier)
        except RuntimeUnavailable as error:
            return self._fail_if_starting(identifier, error)
        record = self._environments.by_id(identifier)
        step = next_step(record.wanted if record else None, seen, time.time())
        if step is None or (runtime is None and record is None):
            return False
        log.info("step", environment=identifier, step=str(step), name=record.name if record else None)
        if record is None:
            if runtime is not None:
                runtime.stop(identifier, self._settings.stop_grace)
            return True
        return self._do(step, record, self.runtime(record.runtime), seen)

    def _do(self, step: Step, record: Environment, runtime: Runtime, seen: Observed | None) -> bool:
        match step:
            case Step.START:
                return self._start(record, runtime)
            case Step.AWAIT:
                return self._starting.wait_ready(record, runtime, self.token(record.id))
            case Step.DIED:
                return self._died(record, runtime, seen)
            case Step.STOP:
                runtime.stop(record.id, self._settings.stop_grace)
                self._tokens.pop(record.id, None)
            case Step.SETTLE:
                shutil.rmtree(self.run_folder(record.id), ignore_errors=True)
                self._environments.note(record.id, record.wanted, status=Status.STOPPED, started=None)
            case Step.FORGET:
                self._forget(record, runtime)
        return True

    def _start(self, record: Environment, runtime: Runtime) -> bool:
        spec = self.spec(record, secrets.token_urlsafe(32))
        make_private(spec.run.parent)
        make_private(spec.run)
        for folder in (spec.notebooks, spec.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with self._starting.turn(record) as mine:
            if not mine:
                return not self._closing.is_set()
            write_atomically(spec.run / "token", spec.token.encode())
            self._tokens[record.id] = spec.token
            generation = record.wanted.generation
            if not self._environments.note(record.id, record.wanted, started_generation=generation):
                return True
            return self._starting.start(record, runtime, spec)

    def _died(self, record: Environment, runtime: Runtime, seen: Observed | None) -> bool:
        ends = gives_up(record.wanted, self._settings.restarts)
        # One that somebody is removing looks like one that died, for a moment; then it is made again.
        if ends and (self._closing.wait(VANISHING) or not self._observe(record.id)[1]):
            return True
        cause = seen.cause if seen and seen.cause else "It ended by itself."
        remedy = seen.remedy if seen else ""
        failures = record.wanted.failures + 1
        tail = last_log(runtime, record.id)
        if ends:
            changes: dict[str, Any] = {"status": Status.FAILED, "cause": cause, "remedy": remedy, "log": tail}
        else:
            pause = pause_before(failures)
            changes = {
                "status": Status.STARTING,
                "cause": f"{cause.rstrip('.')}. Starting again ({failures} of {self._settings.restarts}).",
                "remedy": "",
                "log": tail,
                "retry_at": time.time() + pause,
                "started_generation": 0,  # what is left of it is in the way now
            }
            self._threads.later(pause, lambda: self.kick(record.id), f"retry-{record.id}")
        self._environments.note(record.id, record.wanted, failures=failures, **changes)
        return True

    def _forget(self, record: Environment, runtime: Runtime) -> None:
        if record.remove_files:
            runtime.remove_files(self.spec(record, ""))
            shutil.rmtree(self._settings.home / "environments" / record.id, ignore_errors=True)
        shutil.rmtree(self.run_folder(record.id), ignore_errors=True)
        self._tokens.pop(record.id, None)
        self.timelines.forget(record.id)
        self._environments.forget(record.id, record.wanted)

    def _fail_if_starting(self, identifier: str, error: LabdockError) -> bool:
        record = self._environments.by_id(identifier)
        if record and record.wanted.desired is Desired.RUNNING and record.status is Status.STARTING:
            changes = {"status": Status.FAILED, "cause": error.message, "remedy": error.remedy}
            self._environments.note(identifier, record.wanted, **changes)
        return False
