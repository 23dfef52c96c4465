"""What Linux is asked about processes and told to do with them: signals at a parent's death, orphans, memory."""

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = resource.getpagesize()
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """SIGKILL this process when its parent (the process `parent`) ends, also when that has happened already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process instead of init's."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents() -> dict[int, int]:
    """Every process of this machine with its parent; zombies left out."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    found[int(entry.name)] = int(fields[1])
    return found


def descendants(root: int, among: dict[int, int] | None = None) -> Iterator[int]:
    """Live processes below `root`, without itself. `among` is a snapshot of `parents()`."""
    children: dict[int, list[int]] = {}
    for process, parent in (parents() if among is None else among).items():
        children.setdefault(parent, []).append(process)
    waiting = list(children.get(root, ()))
    while waiting:
        process = waiting.pop()
        yield process
        waiting.extend(children.get(process, ()))


def kill(process: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def kill_below(root: int, spare: frozenset[int] = frozenset()) -> int:
    """SIGKILL everything below `root` but the trees of `spare`; how many were found. Once: they may be forking."""
    count = 0
    snapshot = parents()
    spared = {p for process in spare for p in (process, *descendants(process, snapshot))}
    for process in descendants(root, snapshot):
        if process not in spared:
            kill(process)
            count += 1
    return count


def has_live_children() -> bool:
    """Whether this process left any child running. One system call where it has none."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    me = os.getpid()
    return any(parent == me for parent in parents().values())


def status_bytes(process: int | str, field: str) -> int:
    """A figure such as `VmData` or `RssAnon` of a process, in bytes; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def share_bytes(process: int) -> int:
    """The process's anonymous memory, with each page that it shares with its forks counted in part."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return status_bytes(process, "RssAnon")


def limit_memory(growth: int) -> None:
    """Let this process map `growth` bytes of private writable memory beyond what it has now.

    RLIMIT_DATA and not RLIMIT_AS: read-only maps of frames, shared results and the reserved but unused address space
    of allocators and thread stacks do not count, so the figure is close to the memory really used. Allocations
    beyond it fail, which Python, numpy and Arrow turn into a MemoryError at the line that asked for too much.
    """
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    # `statm` says it sooner than `status`, and every task waits for it; the stack, some 100 kB, is in it too.
    soft = int(Path("/proc/self/statm").read_bytes().split()[5]) * _PAGE + growth
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
