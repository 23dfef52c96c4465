"""The API's view of one worker process: its task, what it prints, whether it is still there."""

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from labdock_container.workers.output import Output
from labdock_container.workers.protocol import Channel, Message
from labdock_container.workers.steps import Steps
from labdock_container.workers.task import Outcome, Task

_PIPE_BYTES = 1 << 20


class WorkerProcess:
    """One worker. `finished` futures give an `Outcome`, or an exit status where the process ended instead."""

    def __init__(
        self, number: int, sock: socket.socket, output: Output, steps: Steps, crash: int, on_lost: Callable[..., None]
    ) -> None:
        self.number = number
        self.process = 0
        self.task: Task | None = None
        self.cached: list[str] = []
        self.recycle = False
        self.served = False  # whether it ever answered
        self.since = time.monotonic()
        self.output = output
        self._steps = steps
        self._crash = crash
        self._gone = False
        self._finished: asyncio.Future[Any] | None = None
        self._on_lost = on_lost
        self._channel = Channel(sock, self._received, self._closed)

    @classmethod
    def create(cls, number: int, on_lost: Callable[..., None]) -> tuple["WorkerProcess", list[int]]:
        """The API's side, and the descriptors for the worker's (the caller closes them)."""
        ours, theirs = socket.socketpair()
        read, write = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(read, False)
        crash = os.memfd_create("labdock-crash", os.MFD_CLOEXEC)
        counter = os.memfd_create("labdock-reads", os.MFD_CLOEXEC)
        steps = os.memfd_create("labdock-steps", os.MFD_CLOEXEC)
        fds = [theirs.detach(), write, os.dup(crash), os.dup(counter), os.dup(steps)]
        return cls(number, ours, Output(read, counter), Steps(steps), crash, on_lost), fds

    @property
    def idle(self) -> bool:
        return self.task is None and not self._gone

    def reserve(self, task: Task) -> None:
        self.task = task

    def release(self) -> None:
        self.task = None
        self.since = time.monotonic()

    def begin(self, task: Task) -> "asyncio.Future[Any]":
        """Send the task; the future never raises."""
        self.output.begin(self._printed if task.on_output else None)
        self._steps.clear()
        if task.on_begin:
            task.on_begin()
        self._finished = asyncio.get_running_loop().create_future()
        if self._gone:
            self._finished.set_result(None)
        else:
            self._channel.send({**task.message, "type": "run", "kind": task.kind, "memory": task.memory}, task.fds)
        return self._finished

    def lost(self, status: int | None) -> None:
        """The process ended with this exit code (negative: a signal), or is given up."""
        if self._gone:
            return
        self._gone = True
        self.tell_steps()
        self.output.drain()
        self.output.close()
        self._channel.close()
        self._finish(status)

    def tell_steps(self) -> None:
        """Tell the task's steps since the last time; asked now and then, before what is printed, and at the end."""
        if self.task and self.task.on_progress:
            for step in self._steps.take():
                self.task.on_progress(step)

    def crash_report(self) -> str:
        """What faulthandler wrote: the newest first lines of a traceback, or nothing."""
        with contextlib.suppress(OSError):
            return os.pread(self._crash, 1 << 16, 0).decode(errors="replace")
        return ""

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._crash)

    def _received(self, message: Message, fds: list[int]) -> None:
        kind = message.get("type")
        if kind == "output":
            self.output.drain()
            self._channel.send({"output": self.output.text})
        elif kind in ("result", "error"):
            self.served = True
            self.output.drain()
            self.tell_steps()
            self.cached = [str(m) for m in message.get("cached", ())]
            self.recycle = bool(message.get("recycle"))
            if self._finished is not None and not self._finished.done():
                self._finish(Outcome(message, fds.pop(0) if fds else -1))
        for fd in fds:
            os.close(fd)

    def _printed(self, chunk: bytes) -> None:
        self.tell_steps()
        if self.task and self.task.on_output:
            self.task.on_output(chunk)

    def _closed(self) -> None:
        self._on_lost(self)

    def _finish(self, result: Any) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(result)
