"""Idle stop: an environment that nobody used for so long is warned about, then stopped. Notebooks stay.

Used means: a request to its API, or activity of a kernel (`GET /v1/activity`). `extend` keeps it for a while.
"""

import time

import structlog

from labdock.errors import LabdockError
from labdock_controller import probe
from labdock_controller.environments import Environment, Environments
from labdock_controller.launcher import Launcher
from labdock_controller.reconcile import Desired, Status
from labdock_controller.settings import Settings

log = structlog.get_logger("labdock.idle")


class IdleStop:
    def __init__(self, settings: Settings, environments: Environments, launcher: Launcher) -> None:
        self._limit = settings.idle_minutes * 60
        self._warning = min(settings.idle_warning_minutes * 60, self._limit)
        self._environments = environments
        self._launcher = launcher
        self._warned: dict[str, float] = {}  # by environment: the last use that the warning was about

    @property
    def every(self) -> float:
        """Seconds between checks that are short enough for the limit."""
        return max(0.5, min(30.0, self._warning / 4 or self._limit / 4))

    def check(self) -> None:
        """Look at every running environment once. Does nothing where no limit is set."""
        if not self._limit:
            return
        for environment in self._environments.all().values():
            if environment.status is not Status.RUNNING:
                continue
            try:
                self._check_one(environment)
            except LabdockError as error:
                log.info("activity unknown", environment=environment.name, reason=error.message)

    def _check_one(self, environment: Environment) -> None:
        last = self._last_used(environment)
        now = time.time()
        idle = now - last
        if now < environment.keep_until or idle < self._limit - self._warning:
            return
        if idle >= self._limit:
            cause = f"Stopped because it was idle for {idle / 60:.0f} minutes."
            self._environments.ask(environment.id, Desired.STOPPED, cause=cause)
            self._launcher.kick(environment.id)
        elif self._warned.get(environment.id) != last:
            self._warned[environment.id] = last
            self._environments.tell(environment, "idle-warning", {"stops_at": last + self._limit})

    def _last_used(self, environment: Environment) -> float:
        activity = probe.get_json(self._launcher.endpoint(environment), "/v1/activity")
        used = [activity.get("last_request"), activity.get("last_kernel_activity"), environment.started]
        return max(float(t) for t in used if isinstance(t, int | float))
