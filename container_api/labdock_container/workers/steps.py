"""What a task does now, told without a message: memory that the pool looks into and the worker writes.

A message for each step would wake the pool while the worker computes, which a short fit notices.
"""

import mmap
import os

_SIZE = 1024
_LONGEST = 100


class Steps:
    """One worker's; a line of text for each step of its task, zeros behind them. Each process has its own `Steps`."""

    def __init__(self, file: int) -> None:
        """`file` is a memory file, taken over."""
        os.ftruncate(file, _SIZE)
        self._map = mmap.mmap(file, _SIZE)
        os.close(file)
        self._at = 0

    def clear(self) -> None:
        """For the next task, before the worker has it (the pool's)."""
        self._map[:] = bytes(_SIZE)
        self._at = 0

    def begin(self) -> None:
        """The memory is cleared: write from its start (the worker's)."""
        self._at = 0

    def add(self, step: str) -> None:
        """Tell one; what finds no room is not told (the worker's)."""
        line = f"{step}\n".encode()
        if self._at + len(line) < _SIZE:
            self._map[self._at : self._at + len(line)] = line
            self._at += len(line)

    def take(self) -> list[str]:
        """What came since it was last asked (the pool's). User code shares the memory: it may hold anything."""
        text = self._map[self._at :]
        whole = text[: text.rfind(b"\n", 0, text.find(b"\0")) + 1]
        self._at += len(whole)
        return [line[:_LONGEST] for line in whole.decode(errors="replace").splitlines()]
