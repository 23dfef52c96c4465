"""Runtimes for tests: subclasses of the local one whose environments are small real processes, some of them bad."""

import sys
from pathlib import Path
from typing import ClassVar

from labdock_controller.runtimes.base import EnvironmentSpec
from labdock_controller.runtimes.local import LocalRuntime

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


class FlakyRuntime(QuickRuntime):
    """Becomes ready and dies, again and again."""

    name = "flaky"
    arguments = ("--dies-after", "1.0", "--code", "9")


class StubbornRuntime(QuickRuntime):
    """Ignores SIGTERM and has children, one of which cleaned its environment."""

    name = "stubborn"
    arguments = ("--stubborn", "--children", "3")


RUNTIMES = (QuickRuntime, SlowRuntime, NeverReadyRuntime, DyingRuntime, FlakyRuntime, StubbornRuntime)
