"""Processes of this machine, found by a mark in their environment and signalled without hitting a reused pid."""

import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True)
class Process:
    """One living process. `started` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    parent: int
    session: int
    started: int
    cpu_seconds: float
    memory_bytes: int


def boot_id() -> str:
    """Differs after each boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def look_up(pid: int) -> Process | None:
    """The living process with this pid; None for none and for one that is dead and not yet reaped."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except _GONE:
        return None
    # The name in parentheses may hold anything, so fields are counted from the last one.
    fields = text[text.rfind(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        memory_bytes=int(fields[21]) * _PAGE,
    )


def pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208 - a list of a thousand names


def variables(pid: int) -> list[bytes]:
    """`NAME=value` of the process's start; empty where that may not be read."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except (*_GONE, OSError):
        return []


def marked(name: str) -> dict[str, list[Process]]:
    """Living processes by the value of their variable `name`, oldest first."""
    prefix = os.fsencode(name) + b"="
    found: dict[str, list[Process]] = defaultdict(list)
    for pid in pids():
        value = next((v for v in variables(pid) if v.startswith(prefix)), None)
        process = look_up(pid) if value is not None else None
        if value is not None and process is not None:
            found[os.fsdecode(value[len(prefix) :])].append(process)
    return {value: sorted(processes, key=lambda p: (p.started, p.pid)) for value, processes in found.items()}


def with_descendants(roots: Iterable[Process]) -> list[Process]:
    """The processes and all that descend from them, also such as cleaned their environment."""
    children: dict[int, list[Process]] = defaultdict(list)
    for pid in pids():
        process = look_up(pid)
        if process is not None:
            children[process.parent].append(process)
    found: dict[int, Process] = {}
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process.pid not in found and process.pid != os.getpid():
            found[process.pid] = process
            waiting.extend(children[process.pid])
    return list(found.values())


def send(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process; nothing happens if it is gone, even if its pid is in use again."""
    with suppress(*_GONE):
        handle = os.pidfd_open(process.pid)
        try:
            now = look_up(process.pid)
            if now is not None and now.started == process.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
