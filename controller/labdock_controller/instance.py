"""One controller for one home: a lock on the home, and an epoch in the store that fences whoever lost its place.

The lock answers at once where both controllers share a machine. The epoch is what protects the data: a controller
that was frozen while another took over cannot commit anything when it comes back (`Store.write`), and exits.
Liveness is a counter in the store that the holder raises; clocks are not compared.
"""

import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from labdock.errors import Busy, Conflict, LabdockError
from labdock.home import make_private, write_atomically
from labdock_controller.runtimes import processes
from labdock_controller.store import Store

log = structlog.get_logger("labdock.instance")
LOCK_FILE = "controller.lock"
BEAT_EVERY = 2.0
SILENT_FOR = 9.0  # a holder whose counter stands still for so long is frozen or gone
LOOK_EVERY = 0.25


def describe(home: Path) -> dict[str, Any]:
    """This process, for the messages of others."""
    me = processes.look_up(os.getpid()) if processes.PROC.exists() else None
    return {
        "pid": os.getpid(),
        "started": me.started if me else 0,
        "host": socket.gethostname(),
        "home": str(home),
        "since": time.time(),
        "url": "",
    }


def shown(holder: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder.get("since") or 0)))
    url = f", {holder['url']}" if holder.get("url") else ""
    return f"process {holder.get('pid')} on {holder.get('host')}, running since {since}{url}"


class Instance:
    """`take` the place, `beat` in the background, `leave`."""

    def __init__(self, home: Path, store: Store) -> None:
        self._home = make_private(home)
        self._store = store
        self._lock: int | None = None
        self._left = threading.Event()
        self._beating: threading.Thread | None = None
        self.holder = describe(home)
        self.replaced: dict[str, Any] = {}  # the frozen controller whose place this one took

    def take(self) -> None:
        """Become the one controller, with the store's tables up to date.

        Raises `Conflict` that names the holder where another one lives; takes over from one that is frozen.
        """
        locked = self._try_lock()
        if not self._store.exists():
            if not locked:
                raise self._in_the_way(self._lock_holder())
            self._store.migrate()
        epoch, _, holder = self._store.holder()
        if holder and not (locked and self._is_dead(holder)):
            self._watch(holder)
            epoch, _, holder = self._store.holder()
        elif not holder and not locked:
            holder = self._wait_for_lock(self._lock_holder())
            epoch, _, _ = self._store.holder()
        if not self._store.claim(epoch, self.holder):
            raise self._in_the_way(self._store.holder()[2] or {})
        if self._lock is None:
            self._replace_lock()
            self.replaced = holder or {}
            log.warning("took over from a controller that stood still", holder=shown(holder or {}))
        self._store.migrate()

    def start(self, on_lost: Callable[[dict[str, Any]], None]) -> None:
        """Beat from now on; `on_lost` is told the new holder when another controller took over."""
        self._store.on_fenced = on_lost
        self._beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        self._beating.start()

    def leave(self) -> None:
        """Let the next one in at once."""
        self._left.set()
        if self._beating:
            self._beating.join(10)
        try:
            self._store.release()
        except LabdockError as error:
            log.info("place not released", reason=error.message)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def end_replaced(self) -> bool:
        """End the frozen controller that still holds the port; it can write nothing any more. Gives whether it was."""
        process = processes.look_up(int(self.replaced.get("pid") or 0))
        if process is None or self.replaced.get("host") != socket.gethostname():
            return False
        if process.started != self.replaced.get("started"):
            return False
        processes.send(process, signal.SIGKILL)
        return True

    def _beat(self) -> None:
        while not self._left.wait(BEAT_EVERY):
            try:
                self._store.beat(self.holder)
            except Busy as error:
                log.warning("no beat", reason=error.message)
            except Conflict:
                return  # fenced; on_lost was called
            except Exception:
                log.exception("no beat")

    def _watch(self, holder: dict[str, Any]) -> None:
        """Return when the holder shows no life; raise when it does."""
        _, first, _ = self._store.holder()
        deadline = time.monotonic() + SILENT_FOR
        while time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            _, now, current = self._store.holder()
            if current is None and (self._lock is not None or self._try_lock()):
                return  # it left
            if now != first and current is not None:
                raise self._in_the_way(current)
            if self._lock is None and self._try_lock() and self._is_dead(holder):
                return

    def _wait_for_lock(self, holder: dict[str, Any]) -> dict[str, Any]:
        """Another process has the lock and no place yet: it starts, or it ends. Let it."""
        deadline = time.monotonic() + SILENT_FOR
        while time.monotonic() < deadline:
            if self._try_lock():
                return {}
            if current := self._store.holder()[2]:
                raise self._in_the_way(current)
            time.sleep(LOOK_EVERY)
        raise self._in_the_way(holder)

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        """With the lock in hand, a holder of this home and machine is dead; elsewhere nobody knows."""
        return holder.get("host") == socket.gethostname() and holder.get("home") == str(self._home)

    def _in_the_way(self, holder: dict[str, Any]) -> Conflict:
        return Conflict(
            f"Another controller runs here: {shown(holder)}.",
            remedy="Use it, or end it with `labdock down`; a second one needs another LABDOCK_HOME.",
            holder=holder,
        )

    def _try_lock(self) -> bool:
        if self._lock is not None:
            return True
        path = self._home / LOCK_FILE
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino != path.stat().st_ino:
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            os.close(handle)
            return False
        self._lock = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(self.holder).encode(), 0)
        return True

    def _replace_lock(self) -> None:
        """The frozen one keeps its lock on a file that no longer has the name."""
        path = self._home / LOCK_FILE
        write_atomically(path, json.dumps(self.holder).encode())
        self._try_lock()

    def _lock_holder(self) -> dict[str, Any]:
        try:
            holder: dict[str, Any] = json.loads((self._home / LOCK_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return holder
