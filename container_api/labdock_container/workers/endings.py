"""How a task ended that did not answer, in words: the deadline, memory, a signal, an exit."""

import asyncio
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labdock.errors import ModuleCrashed, ModuleOutOfMemory, ModuleTimeout
from labdock_container.export import CellLines
from labdock_container.module_files import ModuleMap
from labdock_container.workers import processes
from labdock_container.workers.process import WorkerProcess
from labdock_container.workers.task import Task

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)$', re.MULTILINE)
_DUMP_SECONDS = 0.5
_EVERY = 0.1
# Warm models may hold half of the limit besides what a task uses, and a worker begins with its libraries.
_MEMORY_FACTOR = 1.5
_MEMORY_START = 256 << 20


async def watch(worker: WorkerProcess, limit: int) -> int:
    """Tell the task's steps, and return when the worker and all that it started hold too much: the figure.

    That is anonymous memory beyond `limit`. The worker's own allocations fail there already; this is for those of its
    children together.
    """
    while True:
        await asyncio.sleep(_EVERY)
        worker.tell_steps()
        if not worker.process:
            continue
        used = await asyncio.get_running_loop().run_in_executor(None, _tree_bytes, worker.process)
        if used > limit * _MEMORY_FACTOR + _MEMORY_START:
            return used


def _tree_bytes(process: int) -> int:
    tree = [process, *processes.descendants(process)]
    if len(tree) == 1:
        return processes.status_bytes(process, "RssAnon")
    return sum(processes.share_bytes(p) for p in tree)


async def dump(worker: WorkerProcess, send: Callable[[WorkerProcess, int], None]) -> str:
    """Ask the worker where it is; the traceback, or nothing where it cannot even answer a signal."""
    before = len(worker.crash_report())
    send(worker, signal.SIGQUIT)
    until = time.monotonic() + _DUMP_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(0.01)
        report = worker.crash_report()[before:]
        if report.endswith("\n") and "File" in report:
            return report
    return ""


def timed_out(task: Task, notebooks: Path, trace: str, seconds: float, worker: WorkerProcess) -> ModuleTimeout:
    where, details = _place(task, notebooks, trace)
    setting = "LABDOCK_MAX_FIT_TIME" if task.kind == "fit" else "LABDOCK_MAX_SCORE_TIME"
    limit = "max_fit_time" if task.kind == "fit" else "max_score_time"
    return ModuleTimeout(
        f"{_subject(task)} was ended: it ran for {seconds:.1f} s and {task.deadline:g} s are allowed{where}.",
        remedy=f"Send fewer rows, make the code faster, or raise {limit} ({setting}).",
        **details,
        limit=limit,
        value=task.deadline,
        setting=setting,
        output=worker.output.text,
    )


def out_of_memory(task: Task, used: int) -> ModuleOutOfMemory:
    return ModuleOutOfMemory(
        f"{_subject(task)} was ended: it and its processes used {used >> 20:,} MB of memory; "
        f"{task.memory >> 20:,} MB are allowed.",
        remedy="Send fewer rows or columns, or raise max_memory_usage_mb (LABDOCK_WORKER_MEMORY_MB).",
        module=task.module,
        function=task.kind,
        limit="max_memory_usage_mb",
        value=task.memory >> 20,
        setting="LABDOCK_WORKER_MEMORY_MB",
    )


def crashed(task: Task, notebooks: Path, worker: WorkerProcess, status: int | None) -> ModuleCrashed:
    where, details = _place(task, notebooks, worker.crash_report())
    if status is None:
        cause, remedy = "its process is gone", "Try again."
    elif status == -signal.SIGKILL:
        cause = "its process was killed (SIGKILL), by the kernel for want of memory or by another process"
        remedy = "Check the environment's memory limit; send fewer rows."
    elif status < 0:
        cause = f"its process died of {_signal_name(-status)}"
        remedy = "A library with native code failed, or the code ended its own process; check its versions and inputs."
    else:
        cause = f"its process exited with status {status}"
        remedy = "Remove os._exit from the module; return a result or raise an exception."
    return ModuleCrashed(
        f"{_subject(task)} crashed: {cause}{where}.",
        remedy=remedy,
        **details,
        status=status,
        output=worker.output.text,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _subject(task: Task) -> str:
    name = f"Module {task.module!r}" if task.module else f"Model {task.model!r}" if task.model else "The task"
    return f"{name} ({task.kind})"


def _place(task: Task, notebooks: Path, trace: str) -> tuple[str, dict[str, Any]]:
    """The innermost place in the user's code that a faulthandler traceback names, in cells where there are cells."""
    details: dict[str, Any] = {"module": task.module, "function": task.kind, "cell": None, "line": None}
    details["traceback"] = trace[-4000:]
    folder = notebooks / "modules"
    for frame in _FRAME.finditer(trace):
        path = Path(frame["file"])
        if path.parent != folder:
            continue
        line = int(frame["line"])
        known = ModuleMap.read(path.with_suffix(".map.json"))
        cell = _cell(known.cells, line) if known else None
        details.update(module=path.stem, function=frame["function"], line=line)
        if cell is None:
            return f" at {path.name}, line {line}", details
        details.update(cell=cell.number, line=line - cell.first + 1)
        return f" at cell {cell.number}, line {line - cell.first + 1}", details
    return "", details


def _cell(cells: list[CellLines], line: int) -> CellLines | None:
    return next((c for c in cells if c.first <= line < c.first + max(c.count, 1)), None)
