"""Failed sign-ins, counted for each name and each address, so that passwords cannot be tried by the thousand."""

import threading
import time
from collections import deque

from labdock.errors import LimitExceeded

FAILURES = 10
WINDOW = 300.0
REMEMBERED = 10_000


class Attempts:
    """In memory: a restart forgets, which costs an attacker more than it gives."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, user: str, address: str) -> None:
        """Raise `LimitExceeded` after ten failures within five minutes."""
        now = time.monotonic()
        with self._lock:
            for key in _keys(user, address):
                times = self._failed.get(key)
                while times and times[0] < now - WINDOW:
                    times.popleft()
                if times and len(times) >= FAILURES:
                    seconds = int(times[0] + WINDOW - now) + 1
                    raise LimitExceeded(
                        "Too many failed sign-ins.",
                        remedy=f"Wait {seconds} s, or use a link from `labdock open`.",
                        limit="sign-ins",
                        value=FAILURES,
                        setting="",
                        retry_after=seconds,
                    )

    def failed(self, user: str, address: str) -> None:
        with self._lock:
            if len(self._failed) > REMEMBERED:
                self._failed.clear()
            for key in _keys(user, address):
                self._failed.setdefault(key, deque(maxlen=FAILURES)).append(time.monotonic())

    def worked(self, user: str, address: str) -> None:
        with self._lock:
            for key in _keys(user, address):
                self._failed.pop(key, None)


def _keys(user: str, address: str) -> list[tuple[str, str]]:
    # Over the Unix socket there is no address: its callers are this user anyway.
    return [("user", user[:64])] + ([("address", address)] if address else [])
