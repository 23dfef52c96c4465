"""How far a start has come: its phases with their times, and the layers of an image that is being pulled.

Kept in memory: it is of use while one waits. Each step is an event too, for whoever watches.
"""

import threading
import time
from typing import Any

PHASES = ("queued", "pulling", "creating", "starting", "ready")


class Timelines:
    """By environment. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, dict[str, float]] = {}
        self._layers: dict[str, dict[str, dict[str, Any]]] = {}

    def begin(self, environment: str) -> None:
        """A start begins: it waits for its turn."""
        with self._lock:
            self._phases[environment] = {PHASES[0]: time.time()}
            self._layers.pop(environment, None)

    def reach(self, environment: str, phase: str) -> bool:
        """Note that `phase` began; False where that was known."""
        with self._lock:
            reached = self._phases.setdefault(environment, {})
            if phase in reached:
                return False
            reached[phase] = time.time()
            return True

    def layer(self, environment: str, step: dict[str, Any]) -> None:
        """Note what a runtime's `prepare` told of one layer."""
        if "layer" in step:
            with self._lock:
                layers = self._layers.setdefault(environment, {})
                layers[str(step["layer"])] = {key: step.get(key) for key in ("status", "current", "total")}

    def layers(self, environment: str) -> list[dict[str, Any]]:
        """Each layer as it was last told, in the order in which they came."""
        with self._lock:
            return [{"layer": name, **layer} for name, layer in self._layers.get(environment, {}).items()]

    def of(self, environment: str) -> list[dict[str, Any]]:
        """`[{phase, at}]` in order; empty where this controller did not start it."""
        with self._lock:
            reached = self._phases.get(environment, {})
            return [{"phase": phase, "at": reached[phase]} for phase in PHASES if phase in reached]

    def forget(self, environment: str) -> None:
        with self._lock:
            self._phases.pop(environment, None)
            self._layers.pop(environment, None)
