"""What an environment's processes hold in memory, shared memory counted once."""

import contextlib
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil


def tree(pids: list[int]) -> list[psutil.Process]:
    """The processes and all below them."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(pid)
            for each in [parent, *parent.children(recursive=True)]:
                found[each.pid] = each
    return list(found.values())


def environment_pids(identifier: str) -> list[int]:
    """The processes of one environment, by the mark that each of them carries."""
    mark = f"LABDOCK_ENVIRONMENT_ID={identifier}".encode()
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
    return pids


def held(pids: list[int]) -> int:
    """Private memory of the processes, plus every file on tmpfs and memfd that they have open or mapped, once."""
    total, shared = 0, {}
    for process in tree(pids):
        root = Path(f"/proc/{process.pid}")
        with contextlib.suppress(OSError, ValueError):
            for line in (root / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon:"):
                    total += int(line.split()[1]) << 10
            for folder in ("fd", "map_files"):
                for link in (root / folder).iterdir():
                    with contextlib.suppress(OSError):
                        target = os.readlink(link)  # noqa: PTH115
                        if target.startswith(("/dev/shm/", "/memfd:")):
                            status = link.stat()
                            shared[status.st_dev, status.st_ino] = status.st_blocks * 512
    return total + sum(shared.values())


class Peak:
    """Samples `held` every few milliseconds while the block runs; `bytes` is the highest."""

    def __init__(self, pids: list[int]) -> None:
        self.bytes = 0
        self._pids = pids
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.is_set():
            self.bytes = max(self.bytes, held(self._pids))
            time.sleep(0.003)
