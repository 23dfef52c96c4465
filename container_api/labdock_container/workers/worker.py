"""A worker's life: wait for a task, run it, answer. One process, one task at a time, user code inside."""

import contextlib
import errno
import faulthandler
import fcntl
import io
import mmap
import os
import select
import signal
import socket
import sys
import termios
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labdock.errors import DiskFull, LabdockError, ModuleError, ModuleOutOfMemory, StorageError
from labdock.spool import READER_SECONDS
from labdock.wire import FrameOptions
from labdock_container import tables
from labdock_container.settings import Settings
from labdock_container.workers import peer_tasks, processes
from labdock_container.workers.describing import meta_of
from labdock_container.workers.fitting import Answer, Fitter
from labdock_container.workers.maps import MappedFrame, Maps
from labdock_container.workers.protocol import Link, Message
from labdock_container.workers.staging import stage
from labdock_container.workers.steps import Steps

# Asks for the traceback of whatever runs, C code included; the pool sends it before it ends a worker.
DUMP_SIGNAL = signal.SIGQUIT
# An answer's way to its client, which needs both cores of a small machine: what a fit left to do comes after it.
_ANSWER_SECONDS = 0.002
# What of a new version's manifest the controller's record of the model holds.
_RECORD = (
    *("model", "version", "module", "module_sha256", "features", "target", "params", "metrics", "rows", "duration"),
    *("data_sha256", "libraries"),
)


def main(sock: socket.socket, fds: Sequence[int], settings: Settings) -> None:
    """Serve tasks until the API closes the socket.

    `fds` as `WorkerProcess.create` makes them: where what is printed goes, and memory files for tracebacks, for the
    number of the pool's reads of the output and for the steps of a task.
    """
    output, crash, counter, steps = fds
    printed = Printed(output, counter)
    _redirect(output)
    crash_file = os.fdopen(os.dup(crash), "w")
    faulthandler.enable(file=crash_file, all_threads=False)
    faulthandler.register(DUMP_SIGNAL, file=crash_file, all_threads=False, chain=False)
    os.environ["LABDOCK_WORKER"] = "1"
    settings.notebooks.mkdir(parents=True, exist_ok=True)
    os.chdir(settings.notebooks)
    sys.path.append(str(settings.notebooks))
    Worker(Link(sock), settings, printed, Steps(steps)).run()


def _redirect(output: int) -> None:
    """Descriptors 1 and 2 lead to the pool's pipe, for this process and all that it starts; 0 is empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw = open(fd, "wb", closefd=False)  # noqa: SIM115 - lives as long as the process
        stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class Printed:
    """Whether anything came into the output pipe, from this process or any that it started.

    The pool counts its reads in a memory file that both map; what it has not read yet is still in the pipe.
    """

    def __init__(self, pipe: int, counter: int) -> None:
        self._pipe = pipe
        self._counter = mmap.mmap(counter, 8, prot=mmap.PROT_READ)
        self._before = bytes(8)

    def begin(self) -> None:
        self._before = self._counter[:8]

    def since_begin(self) -> bool:
        waiting = fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4))
        return bool(waiting != bytes(4) or self._counter[:8] != self._before)


class Worker:
    def __init__(self, link: Link, settings: Settings, printed: Printed, steps: Steps) -> None:
        self._link = link
        self._settings = settings
        self._printed = printed
        self._steps = steps
        self._maps = Maps()
        self._frame: MappedFrame | None = None  # this task's; unmapped after the answer, for that takes time
        self._fitter = Fitter(settings.notebooks, settings.model_versions, steps.add)
        self._state = ProcessState()

    def run(self) -> None:
        while received := self._receive():
            message, fds = received
            try:
                self._serve(message, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _receive(self) -> tuple[Message, list[int]] | None:
        """The next task. What a fit left to do is done before; what waits for another frame does so for as long as the
        frames' files do."""
        if self._fitter.unsettled:
            self._idle(_ANSWER_SECONDS)
            self._fitter.settle()
        if len(self._maps) and self._idle(READER_SECONDS):
            self._maps.clear()
        return self._link.receive()

    def _idle(self, seconds: float) -> bool:
        """Whether no task came for so long."""
        return not self._link.pending and not select.select([self._link], [], [], seconds)[0]

    def _serve(self, message: Message, fds: list[int]) -> None:
        begun = time.perf_counter()
        self._limit(message)
        self._printed.begin()
        self._steps.begin()
        answer_fd = None
        recycle = False
        try:
            reply, answer_fd = self._run(message, fds, begun)
        except LabdockError as error:
            reply = {"type": "error", "problem": error.to_problem()}
            recycle = isinstance(error, ModuleOutOfMemory)
        except MemoryError:
            reply, recycle = {"type": "error", "problem": _no_memory(message).to_problem()}, True
        except OSError as error:
            reply = {"type": "error", "problem": _storage_error(error).to_problem()}
        except Exception as error:  # noqa: BLE001 - user code may have broken anything in this process
            reply, recycle = {"type": "error", "problem": _broken(message, error).to_problem()}, True
        self._flush()
        # Processes that user code left running end with the worker, and so does what it changed for others.
        reply["recycle"] = recycle or processes.has_live_children() or not self._state.intact()
        if reply["recycle"]:
            self._fitter.settle()  # this process is killed once it has answered
        reply["cached"] = self._fitter.cached
        # Asked before the answer, so that who sent the frame may write the next one into the same file.
        reply["released"] = reply["type"] == "result" and self._frame is not None and self._frame.released()
        try:
            self._link.send(reply, [answer_fd] if answer_fd is not None else [])
        finally:
            if answer_fd is not None:
                os.close(answer_fd)
            if self._frame is not None and reply["released"]:
                self._maps.keep(self._frame)
            self._frame = None

    def _limit(self, message: Message) -> None:
        """Each task may use so much beyond what the warm models hold; those may hold half of it."""
        self._fitter.shrink(message["memory"] // 2)
        processes.limit_memory(message["memory"])

    def _run(self, message: Message, fds: list[int], begun: float) -> tuple[Message, int]:
        kind = message["kind"]
        if kind == "options":
            text = tables.read_options(self._map(message, fds))
            return {"type": "result", "options": text}, tables.seal_bytes([])
        if kind == "peer":
            body = self._map(message, fds).to_pybytes()
            return peer_tasks.run(self._fitter, self._settings, message, body)
        options = FrameOptions.from_dict(message["options"])
        if kind == "peer-summary":
            return {"type": "result", "summary": peer_tasks.summary(self._fitter, options)}, tables.seal_bytes([])
        if kind == "summary":
            return {"type": "result", "summary": self._fitter.summary(options)}, tables.seal_bytes([])
        self._steps.add("read")
        table = tables.read_table(self._map(message, fds), message["content_type"], message["max_rows"])
        if kind == "stage":
            return self._stage(table, options)
        task = self._fitter.fit if kind == "fit" else self._fitter.apply
        return self._answer(task(table, options), message, begun)

    def _map(self, message: Message, fds: list[int]) -> Any:
        self._frame = self._maps.open(fds[0], message["size"])
        return self._frame.buffer

    def _stage(self, table: Any, options: FrameOptions) -> tuple[Message, int]:
        chosen = [*(options.features or [c for c in table.column_names if c not in options.target]), *options.target]
        table = tables.select(table, chosen)
        features = [c for c in chosen if c not in options.target]
        self._steps.add("write")
        files = stage(self._settings.data, options.model, table, meta_of(options, features, "stage"))
        staged = {"model": options.model, "rows": table.num_rows, "files": files}
        return {"type": "result", "staged": staged, "rows": table.num_rows, "model": options.model}, (
            tables.seal_bytes([])
        )

    def _answer(self, answer: Answer, message: Message, begun: float) -> tuple[Message, int]:
        info = {
            "job": message["job"],
            "module": answer.module,
            "model": answer.model,
            "version": answer.version,
            "rows": answer.table.num_rows,
            "duration": round(time.perf_counter() - begun, 6),
            "info": answer.info,
            "metrics": answer.metrics or {},
            "warnings": answer.warnings or [],
            **self._output(),
        }
        fd = tables.encode_answer(answer.table, info, message["accept"])
        record = {key: answer.manifest.get(key) for key in _RECORD} if answer.manifest else None
        return {"type": "result", "info": info, "rows": answer.table.num_rows, "record": record}, fd

    def _output(self) -> dict[str, Any]:
        """What was printed so far, as the pool collected it; it is asked only if anything was."""
        self._flush()
        if not self._printed.since_begin():
            return {"output": ""}
        self._link.send({"type": "output"})
        received = self._link.receive()
        if received is None:
            raise SystemExit(0)  # the API is gone
        return {"output": received[0]["output"]}

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()


class ProcessState:
    """What every task relies on in its process and user code can take away."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._variables = set(os.environ)
        self._streams = (sys.stdout, sys.stderr)
        self._files = [os.fstat(fd).st_ino for fd in (1, 2)]
        self._folder = Path.cwd()

    def intact(self) -> bool:
        """Whether all of it is as it was; additions are fine. Goes back to the working directory."""
        try:
            os.chdir(self._folder)
            return (
                set(self._path) <= set(sys.path)
                and set(os.environ) >= self._variables
                and (sys.stdout, sys.stderr) == self._streams
                and not any(stream.closed for stream in self._streams)
                and [os.fstat(fd).st_ino for fd in (1, 2)] == self._files
            )
        except (OSError, TypeError):
            return False


def _broken(message: Message, error: Exception) -> ModuleError:
    return ModuleError(
        f"The {message['kind']} failed in its worker: {type(error).__name__}: {error}",
        remedy="Try again in the fresh worker; if it stays, the module damages its process.",
        function=message["kind"],
        cell=None,
        line=None,
        traceback="".join(traceback.format_exception(error))[-4000:],
    )


def _no_memory(message: Message) -> ModuleOutOfMemory:
    return ModuleOutOfMemory(
        f"The {message['kind']} needs more memory than the {message['memory'] >> 20:,} MB that a worker may use.",
        remedy="Send fewer rows or columns, or raise LABDOCK_WORKER_MEMORY_MB.",
        limit="max_memory_usage_mb",
        setting="LABDOCK_WORKER_MEMORY_MB",
    )


def _storage_error(error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("There is no space left in the environment's folders.", remedy="Delete models or staged data.")
    return StorageError(
        f"A file could not be written: {error.strerror or error}.", remedy="Check the notebooks folder."
    )
