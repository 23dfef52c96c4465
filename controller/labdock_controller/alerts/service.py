"""The scheduler of alerts: takes what is due and has it run."""

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from labdock.errors import LabdockError
from labdock_controller.access.users import Users
from labdock_controller.alerts.records import Run, SavedSearch, SavedSearches
from labdock_controller.searches.service import Searches
from labdock_controller.settings import Settings

if TYPE_CHECKING:
    from labdock_controller.alerts.runs import Runs

log = structlog.get_logger("labdock.alerts")
TICK = 0.5
AT_ONCE = 4


class Alerts:
    """`saved` are the records. `run` is also what "run now" calls."""

    def __init__(self, saved: SavedSearches, users: Users, searches: Searches, settings: Settings) -> None:
        self.saved = saved
        self._users, self._searches, self._settings = users, searches, settings
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="alert")
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._clock = threading.Thread(target=self._loop, name="alerts", daemon=True)

    def start(self) -> None:
        self._clock.start()

    def close(self) -> None:
        self._closing.set()
        if self._clock.is_alive():
            self._clock.join(5)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, saved: SavedSearch, link: str = "") -> Run:
        """Run it now, its actions included. Keeps the run whatever happens."""
        return self._runs.run(saved, link)

    @functools.cached_property
    def _runs(self) -> "Runs":
        """Imported with the first run: the controller starts without what searches and actions need."""
        from labdock_controller.alerts.actions import Actions  # noqa: PLC0415
        from labdock_controller.alerts.runs import Runs  # noqa: PLC0415

        actions = Actions(self._settings, self._searches.indexes)
        return Runs(self.saved, self._users, self._searches, actions, self._closing)

    def _loop(self) -> None:
        while not self._closing.wait(TICK):
            try:
                for saved in self.saved.take_due(time.time()):
                    with self._lock:
                        if saved.id in self._running:  # it takes longer than its interval: no second one beside it
                            continue
                        self._running.add(saved.id)
                    self._pool.submit(self._run_due, saved)
            except LabdockError as error:
                log.warning("alerts postponed", reason=error.message)
            except Exception:
                log.exception("the scheduler failed")

    def _run_due(self, saved: SavedSearch) -> None:
        try:
            run = self.run(saved)
            log.info("alert ran", alert=saved.name, status=run.status, rows=run.rows)
        except Exception:
            log.exception("alert failed", alert=saved.name)
        finally:
            with self._lock:
                self._running.discard(saved.id)
