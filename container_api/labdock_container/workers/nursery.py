"""The nursery: one process without threads that has the big libraries loaded and forks the workers from itself.

    python -m labdock_container.workers.nursery <descriptor of its socket>

A fork takes milliseconds where a fresh interpreter takes half a second, and inherits no lock of the API's threads.
The API asks over the socket: `spawn` (with the worker's socket, its output pipe and its crash file) and `kill`; the
nursery answers `spawned` and `exited`. It reaps, and it adopts: whatever a worker's user code forked and left behind
becomes the nursery's child, where it is found and killed. When the API is gone (end of file), so is everything here.
"""

import contextlib
import gc
import importlib
import os
import random
import select
import signal
import socket
import sys
import time
from typing import Any

from labdock_container.settings import Settings
from labdock_container.workers import processes
from labdock_container.workers.protocol import Link, ProtocolError

PRELOAD = (
    "numpy",
    "pandas",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.ipc",
    "pyarrow.pandas_compat",
    "pandas.api.internals",
    "joblib",
    "joblib.numpy_pickle",
    "sklearn",
    "sklearn.ensemble",
    "labdock.frames",
    "labdock_container.workers.worker",
)


class Nursery:
    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        self._settings = settings
        self._workers: dict[int, int] = {}  # process id -> the pool's number for the worker
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the API is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        self._link.send({"type": "ready"})
        while True:
            if not self._link.pending:
                ready, _, _ = select.select([self._link.fileno(), self._wakeup_read], [], [])
                if self._wakeup_read in ready:
                    self._reap()
                if self._link.fileno() not in ready:
                    continue
            received = self._link.receive()
            if received is None:
                return
            self._obey(*received)

    def _obey(self, message: dict[str, Any], fds: list[int]) -> None:
        if message["type"] == "spawn":
            self._spawn(message["worker"], fds)
        elif message["type"] == "kill":
            process = next((p for p, n in self._workers.items() if n == message["worker"]), None)
            if process is not None:
                self._kill(process, message["signal"])

    def _spawn(self, number: int, fds: list[int]) -> None:
        nursery = os.getpid()
        process = os.fork()
        if process == 0:
            self._be_worker(nursery, fds)
        for fd in fds:
            os.close(fd)
        self._workers[process] = number
        self._link.send({"type": "spawned", "worker": number, "process": process})

    def _be_worker(self, nursery: int, fds: list[int]) -> None:
        code = 70
        try:
            os.setsid()
            processes.die_with_parent(nursery)
            processes.adopt_orphans()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._link.sock.close()
            os.close(self._wakeup_read)
            os.close(self._wakeup_write)
            _reseed()
            worker = importlib.import_module("labdock_container.workers.worker")
            worker.main(socket.socket(fileno=fds[0]), fds[1:], self._settings)
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second nursery
            with contextlib.suppress(Exception):
                sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code & 255)

    def _kill(self, process: int, number: int) -> None:
        if number == signal.SIGKILL:
            processes.kill_below(process)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)
        else:
            processes.kill(process, number)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup_read, 4096):
                pass
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                break
            number = self._workers.pop(process, None)
            if number is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process, signal.SIGKILL)
                self._sweep()
                self._link.send({"type": "exited", "worker": number, "status": os.waitstatus_to_exitcode(status)})

    def _sweep(self) -> None:
        """Kill what workers that ended have left behind."""
        for _ in range(100):
            if not processes.kill_below(os.getpid(), frozenset(self._workers)):
                return
            time.sleep(0.001)  # they may have forked between the look and the signal
            with contextlib.suppress(ChildProcessError):
                self._reap_orphans()

    def _reap_orphans(self) -> None:
        for process in list(processes.descendants(os.getpid())):
            if process not in self._workers:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process, os.WNOHANG)


def _reseed() -> None:
    """Forks share the nursery's random state; without this every worker would draw the same numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def preload() -> None:
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the API decides when workers end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    processes.adopt_orphans()
    settings = Settings.from_environment()
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    preload()
    gc.collect()
    gc.freeze()  # the libraries' objects stay shared between the workers
    try:
        with contextlib.suppress(ProtocolError, ConnectionError):
            Nursery(link, settings).run()
    finally:
        signal.set_wakeup_fd(-1)
        for _ in range(1000):
            if not processes.kill_below(os.getpid()):
                break
            time.sleep(0.001)


if __name__ == "__main__":
    main()
