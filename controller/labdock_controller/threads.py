"""Threads of the launcher: each ends by itself, or with the controller."""

import threading
import time
from collections.abc import Callable


class Threads:
    """`spawn` them; they look at `closing` themselves, and `join` waits for those that still run."""

    def __init__(self, closing: threading.Event) -> None:
        self._closing = closing
        self._running: set[threading.Thread] = set()

    def spawn(self, target: Callable[[], None], name: str) -> None:
        def run() -> None:
            try:
                target()
            finally:
                self._running.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._running.add(thread)
        thread.start()

    def later(self, seconds: float, target: Callable[[], None], name: str) -> None:
        """The same after a while, unless the controller closes before."""

        def wait() -> None:
            if not self._closing.wait(seconds):
                target()

        self.spawn(wait, name)

    def join(self, seconds: float) -> None:
        """Returns when none runs any more, or after so long."""
        deadline = time.monotonic() + seconds
        for thread in list(self._running):
            thread.join(max(0.0, deadline - time.monotonic()))
