"""What running environments use: processor, memory, last activity. Measured while somebody looks, at most every 2 s."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import structlog

from labdock.errors import LabdockError
from labdock_controller import probe
from labdock_controller.access.rights import Principal
from labdock_controller.environments import Environment, Environments
from labdock_controller.launcher import Launcher
from labdock_controller.reconcile import Status
from labdock_controller.runtimes.base import Usage
from labdock_controller.settings import Settings

log = structlog.get_logger("labdock.meter")
EVERY = 2.0
ACTIVITY_EVERY = 15.0
KEPT = 90  # measurements of each environment: three minutes of looking
PATIENCE = 0.4


@dataclass
class Track:
    """One environment's measurements: `[time, cores, bytes]`, the newest last."""

    points: deque[list[float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    cpu_seconds: float | None = None
    measured: float = 0.0
    memory: int | None = None
    limit_bytes: int | None = None
    activity: float | None = None
    asked: float = 0.0

    def take(self, usage: Usage, now: float) -> None:
        if self.cpu_seconds is not None and usage.cpu_seconds >= self.cpu_seconds and now > self.measured:
            cores = (usage.cpu_seconds - self.cpu_seconds) / (now - self.measured)
            self.points.append([round(now, 1), round(cores, 3), usage.memory_bytes])
        self.cpu_seconds, self.measured = usage.cpu_seconds, now
        self.memory, self.limit_bytes = usage.memory_bytes, usage.memory_limit_bytes


class Meter:
    def __init__(self, settings: Settings, environments: Environments, launcher: Launcher) -> None:
        self._idle_seconds = settings.idle_minutes * 60
        self._environments = environments
        self._launcher = launcher
        self._tracks: dict[str, Track] = {}
        self._lock = threading.Lock()
        self._looked = 0.0

    def look(self, principal: Principal) -> list[dict[str, Any]]:
        """What the user's running environments use now; measures if the last look was 2 s ago. Blocks shortly."""
        self._measure_soon()
        return self.known(principal)

    def known(self, principal: Principal) -> list[dict[str, Any]]:
        """The same as it was last measured; costs nothing."""
        running = [e for e in self._environments.visible(principal) if e.status is Status.RUNNING]
        return [self._reading(e) for e in running]

    def _measure_soon(self) -> None:
        if time.monotonic() - self._looked < EVERY or not self._lock.acquire(blocking=False):
            return
        self._looked = time.monotonic()
        # A runtime that hangs must not hang whoever asks: they get what is known.
        thread = threading.Thread(target=self._measure, name="meter", daemon=True)
        thread.start()
        thread.join(PATIENCE)

    def _measure(self) -> None:
        try:
            running = {i: e for i, e in self._environments.all().items() if e.status is Status.RUNNING}
            for gone in self._tracks.keys() - running.keys():
                del self._tracks[gone]
            for name, runtime in self._launcher.runtimes.items():
                mine = [i for i, e in running.items() if e.runtime == name]
                if not mine or name in self._launcher.problems:
                    continue
                for identifier, usage in runtime.usages(mine).items():
                    self._tracks.setdefault(identifier, Track()).take(usage, time.time())
            for identifier, environment in running.items():
                self._ask_activity(environment, self._tracks.setdefault(identifier, Track()))
        except LabdockError as error:
            log.info("not measured", reason=error.message)
        finally:
            self._lock.release()

    def _ask_activity(self, environment: Environment, track: Track) -> None:
        if time.monotonic() - track.asked < ACTIVITY_EVERY:
            return
        track.asked = time.monotonic()
        try:
            found = probe.get_json(self._launcher.endpoint(environment), "/v1/activity")
        except LabdockError:
            return
        used = [found.get("last_request"), found.get("last_kernel_activity"), environment.started]
        track.activity = max((float(t) for t in used if isinstance(t, int | float)), default=None)

    def _reading(self, environment: Environment) -> dict[str, Any]:
        track = self._tracks.get(environment.id, Track())
        points = list(track.points)
        memory_mb = environment.limits.memory_mb
        last = points[-1] if points else None
        return {
            "name": environment.name,
            "cpu": last[1] if last else None,
            "cpus": environment.limits.cpus,
            "memory": track.memory,
            "memory_limit": memory_mb * 1_048_576 if memory_mb else track.limit_bytes,
            "last_activity": track.activity,
            "stops_at": self.stops_at(environment, track.activity),
            "points": points,
        }

    def stops_at(self, environment: Environment, activity: float | None) -> float | None:
        """When it is stopped for idleness if nobody uses it; None where nothing of that kind is due."""
        if not self._idle_seconds or activity is None:
            return None
        return max(activity + self._idle_seconds, environment.keep_until)
