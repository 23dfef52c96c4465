"""Runtimes for tests: subclasses of the local one whose environments are small real processes, some of them bad."""

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import ClassVar

from labdock_controller.runtimes.base import EnvironmentSpec, Observed, State
from labdock_controller.runtimes.local import LocalRuntime
from labdock_controller.settings import Settings

SCRIPT = Path(__file__).with_name("quick_environment.py")


class QuickRuntime(LocalRuntime):
    name: ClassVar[str] = "quick"
    arguments: ClassVar[tuple[str, ...]] = ()

    def command(self, spec: EnvironmentSpec) -> list[str]:
        return [sys.executable, "-S", str(SCRIPT), *self.arguments]


class SlowRuntime(QuickRuntime):
    name = "slow"
    arguments = ("--slow", "1.5")


class NeverReadyRuntime(QuickRuntime):
    name = "never"
    arguments = ("--never",)


class DyingRuntime(QuickRuntime):
    """Dies before it was ready."""

    name = "dying"
    arguments = ("--never", "--dies-after", "0.2", "--code", "7")


class RemovedRuntime(QuickRuntime):
    """Somebody removes its first object before that was ready: it is seen dead, and a moment later no more."""

    name = "removed"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._starts: set[str] = set()
        self._seen_dead: Counter[str] = Counter()

    def command(self, spec: EnvironmentSpec) -> list[str]:
        first = spec.id not in self._starts
        self._starts.add(spec.id)
        return [*super().command(spec), *(DyingRuntime.arguments if first else ())]

    def observe(self) -> list[Observed]:
        found = super().observe()
        for one in found:
            # By its own thread: while it waits until the environment is ready, and then to decide what to do.
            if one.state is State.EXITED and one.id in threading.current_thread().name:
                self._seen_dead[one.id] += 1
                if self._seen_dead[one.id] == 2:
                    threading.Timer(0.1, self.stop, (one.id, 0)).start()
        return found


class FlakyRuntime(QuickRuntime):
    """Becomes ready and dies, again and again."""

    name = "flaky"
    arguments = ("--dies-after", "1.0", "--code", "9")


class StubbornRuntime(QuickRuntime):
    """Ignores SIGTERM and has children, one of which cleaned its environment."""

    name = "stubborn"
    arguments = ("--stubborn", "--children", "3")


RUNTIMES = (
    QuickRuntime,
    SlowRuntime,
    NeverReadyRuntime,
    DyingRuntime,
    RemovedRuntime,
    FlakyRuntime,
    StubbornRuntime,
)
