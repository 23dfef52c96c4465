"""The pool: which worker runs which task, and how a task ends that does not end by itself.

Runs on the API's event loop and never blocks it. A task goes to the worker that has its model warm, else to an idle
one; it has a deadline, a memory limit, and can be cancelled; a worker that dies, whatever the cause, costs its own
task only and is replaced. One worker more than configured is forked while every other one is busy with fits, so that
an apply never waits for a training to end.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time

from labdock.errors import Busy, Conflict, LabdockError, from_problem
from labdock_container.settings import Settings
from labdock_container.workers import endings
from labdock_container.workers.process import WorkerProcess
from labdock_container.workers.protocol import Channel, Message
from labdock_container.workers.task import Outcome, Task

log = logging.getLogger("labdock.pool")
_NURSERY_FAILURES = 3  # starts in a row that came to nothing, before waiting tasks are told so
_NURSERY_PAUSE = 5.0
_STILLBORN_PAUSE = 0.5
_WAITING = 500  # tasks; each holds its frame in memory


class Pool:
    """`start()`, then `await run(task)` as often as you like, then `await stop()`.

    Tasks may come before the workers are there: they wait for them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._numbers = itertools.count(1)
        self._workers: dict[int, WorkerProcess] = {}
        self._waiting: list[tuple[Task, asyncio.Future[WorkerProcess]]] = []
        self._nursery: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready = False
        self._failures = 0
        self._stopping = False
        self.restarts = 0

    @property
    def size(self) -> int:
        return len(self._workers)

    @property
    def busy(self) -> int:
        return sum(w.task is not None for w in self._workers.values())

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers, for metrics and tests."""
        return [w.process for w in self._workers.values() if w.process]

    def start(self) -> None:
        """Begin to load the libraries and to fork workers; tasks wait until that is done."""
        self._open_nursery()

    async def stop(self) -> None:
        """End every worker and the nursery; whatever runs is lost."""
        self._stopping = True
        if self._channel:
            self._channel.close()
        if self._nursery:
            await asyncio.get_running_loop().run_in_executor(None, _end, self._nursery)
        for worker in list(self._workers.values()):
            worker.lost(None)
        self._workers.clear()

    async def run(self, task: Task) -> Outcome:
        """Run a task to its end. Raises the error that the worker named or that its end means.

        Cancelling the caller ends the task and its worker.
        """
        worker = await self._worker_for(task)
        try:
            return await self._attend(worker, task)
        finally:
            self._released(worker)

    async def _attend(self, worker: WorkerProcess, task: Task) -> Outcome:
        finished = worker.begin(task)
        begun = time.monotonic()
        watch = asyncio.create_task(endings.watch(worker, task.memory))
        try:
            done, _ = await asyncio.wait({finished, watch}, timeout=task.deadline, return_when=asyncio.FIRST_COMPLETED)
            if finished in done:
                return self._outcome(worker, task, finished)
            if watch in done:
                self._discard(worker)
                raise endings.out_of_memory(task, watch.result())
            trace = await endings.dump(worker, self._signal)
            if finished.done():  # it ended just then
                return self._outcome(worker, task, finished)
            self._discard(worker)
            raise endings.timed_out(task, self._settings.notebooks, trace, time.monotonic() - begun, worker)
        except asyncio.CancelledError:
            self._discard(worker)
            raise
        finally:
            watch.cancel()

    def _outcome(self, worker: WorkerProcess, task: Task, finished: "asyncio.Future[Outcome | int | None]") -> Outcome:
        result = finished.result()
        if not isinstance(result, Outcome):
            raise endings.crashed(task, self._settings.notebooks, worker, result)
        if result.message["type"] == "error":
            if result.fd >= 0:
                os.close(result.fd)
            error = from_problem(result.message["problem"])
            error.details.setdefault("output", worker.output.text)
            raise error
        return result

    async def _worker_for(self, task: Task) -> WorkerProcess:
        if self._stopping:
            raise Conflict("The environment's API is stopping.", remedy="Try again when it runs.")
        if len(self._waiting) >= _WAITING:
            raise Busy(f"{_WAITING} requests wait for a worker already.", remedy="Try again in a moment.")
        worker = None if self._waiting else self._idle(task)
        if worker is None:
            self._grow(task)
            future: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
            entry = (task, future)
            self._waiting.append(entry)
            self._hand_out()
            try:
                worker = await future
            except asyncio.CancelledError:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                elif future.done() and not future.cancelled():
                    self._released(future.result())
                raise
        worker.reserve(task)
        return worker

    def _idle(self, task: Task) -> WorkerProcess | None:
        idle = [w for w in self._workers.values() if w.idle]
        if not idle:
            return None
        warm = [w for w in idle if task.model and task.model in w.cached]
        # The one idle for longest, so that warm models of others are pushed out as late as possible.
        return min(warm or idle, key=lambda w: (len(w.cached) if not warm else 0, w.since))

    def _grow(self, task: Task) -> None:
        """One worker more while all the others train, for what is not a fit."""
        if task.kind == "fit" or len(self._workers) > self._settings.workers or not self._workers:
            return
        if all(w.task is not None and w.task.kind == "fit" for w in self._workers.values()):
            self._spawn()

    def _hand_out(self) -> None:
        while self._waiting:
            task, future = min(self._waiting, key=lambda entry: entry[0].order)
            worker = self._idle(task)
            if worker is None:
                return
            self._waiting.remove((task, future))
            if not future.done():
                worker.reserve(task)
                future.set_result(worker)

    def _released(self, worker: WorkerProcess) -> None:
        if worker.recycle and worker.number in self._workers:
            self._discard(worker)
        worker.release()
        surplus = len(self._workers) > self._settings.workers
        if surplus and not self._waiting and worker.number in self._workers:
            self._discard(worker, replace=False)
        self._hand_out()

    def _discard(self, worker: WorkerProcess, replace: bool = True) -> None:
        """Kill a worker with all that it started, and fork another."""
        if self._workers.pop(worker.number, None) is None:
            return
        self._signal(worker, signal.SIGKILL)
        worker.lost(-signal.SIGKILL)
        if replace:
            self.restarts += 1
            self._refill()

    def _refill(self) -> None:
        while not self._stopping and self._channel and len(self._workers) < self._settings.workers:
            self._spawn()

    def _spawn(self) -> None:
        assert self._channel is not None  # noqa: S101 - callers checked
        number = next(self._numbers)
        worker, fds = WorkerProcess.create(number, self._worker_lost)
        self._workers[number] = worker
        self._channel.send({"type": "spawn", "worker": number}, fds)
        for fd in fds:
            os.close(fd)

    def _signal(self, worker: WorkerProcess, number: int) -> None:
        if self._channel:
            self._channel.send({"type": "kill", "worker": worker.number, "signal": int(number)})

    def _worker_lost(self, worker: WorkerProcess) -> None:
        """Its socket closed. The nursery's `exited` tells how it ended; this is for one that lives on without it."""
        self._signal(worker, signal.SIGKILL)

    def _open_nursery(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "labdock_container.workers.nursery", str(theirs.fileno())]
        self._nursery = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._ready = False
        self._channel = Channel(ours, self._from_nursery, self._nursery_lost)

    def _from_nursery(self, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        kind = message["type"]
        if kind == "ready":
            self._ready = True
            self._failures = 0
            log.info("forking %d workers", self._settings.workers)
            self._refill()
            self._hand_out()
            return
        worker = self._workers.get(message["worker"])
        if worker is None:
            return
        if kind == "spawned":
            worker.process = message["process"]
        elif kind == "exited":
            self._workers.pop(worker.number, None)
            stillborn = not worker.served and worker.task is None
            worker.lost(message["status"])
            self.restarts += 1
            if stillborn:  # something is wrong with all of them: do not fork without end
                asyncio.get_running_loop().call_later(_STILLBORN_PAUSE, self._refill)
            else:
                self._refill()
            self._hand_out()

    def _nursery_lost(self) -> None:
        """The kernel has killed the workers with it; begin again with another."""
        for worker in list(self._workers.values()):
            worker.lost(None)
        self._workers.clear()
        self._channel = None
        if self._nursery:  # reaped, or killed if it lives on without its socket
            asyncio.get_running_loop().run_in_executor(None, _end, self._nursery)
        if self._stopping:
            return
        self._failures += not self._ready
        log.error("the workers' nursery ended; starting another")
        if self._failures < _NURSERY_FAILURES:
            self._open_nursery()
            return
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(_no_workers())
        self._waiting.clear()
        asyncio.get_running_loop().call_later(_NURSERY_PAUSE, self._open_nursery_again)

    def _open_nursery_again(self) -> None:
        if not self._stopping and self._channel is None:
            self._open_nursery()


def _no_workers() -> LabdockError:
    return LabdockError(
        "The environment's workers cannot start.", remedy="See the environment's log; it tries again by itself."
    )


def _end(nursery: "subprocess.Popen[bytes]") -> None:
    """The nursery ends by itself when its socket is closed; a stuck one is killed, and its workers with it."""
    try:
        nursery.wait(5)
    except subprocess.TimeoutExpired:
        nursery.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            nursery.wait(5)
