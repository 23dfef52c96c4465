"""Log files: their last lines, and their new ones as they are written."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

BLOCK = 65_536
LINE_LIMIT = 16_384
POLL = 0.2


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines, reading from the end; empty where there is no such file."""
    try:
        with path.open("rb") as file:
            position = file.seek(0, 2)
            data = b""
            while position > 0 and data.count(b"\n") <= count:
                step = min(BLOCK, position)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except (FileNotFoundError, NotADirectoryError):
        return []
    lines = data.decode(errors="replace").splitlines()
    return [line[:LINE_LIMIT] for line in lines[-count:]] if count > 0 else []


def tail_of(files: Iterable[Path], count: int) -> str:
    """The last lines of several logs, each line after its file's stem, one file after another.

    Each file gets an equal share of `count`, and what the others do not need.
    """
    found = {path.stem: lines for path in files if (lines := last_lines(path, count))}
    left, shown = count, dict[str, list[str]]()
    for waiting, name in enumerate(sorted(found, key=lambda stem: len(found[stem])), start=-len(found)):
        share = min(len(found[name]), left // -waiting)
        shown[name] = found[name][len(found[name]) - share :]
        left -= share
    return "".join(f"{name} | {line}\n" for name in found for line in shown[name])


class FollowFiles(Iterator[str]):
    """New lines of several files until `alive` says no or `close` is called, from any thread."""

    def __init__(self, files: list[Path], alive: Callable[[], bool]) -> None:
        self._positions = {path: path.stat().st_size if path.exists() else 0 for path in files}
        self._rests = dict.fromkeys(files, b"")
        self._alive = alive
        self._lines: deque[str] = deque()
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def __next__(self) -> str:
        quiet = 0
        while not self._lines:
            if self._closed.is_set():
                raise StopIteration
            if self._read():
                break
            quiet += 1
            if quiet % 10 == 0 and not self._alive() and not self._read():
                raise StopIteration
            self._closed.wait(POLL)
        return self._lines.popleft()

    def _read(self) -> bool:
        for path, position in self._positions.items():
            try:
                size = path.stat().st_size
                if size == position:
                    continue
                with path.open("rb") as file:
                    file.seek(position if size > position else 0)  # smaller: it was rotated
                    data = self._rests[path] + file.read()
                    self._positions[path] = file.tell()
            except FileNotFoundError:
                continue
            *whole, self._rests[path] = data.split(b"\n")
            if len(self._rests[path]) > LINE_LIMIT:
                whole, self._rests[path] = [*whole, self._rests[path]], b""
            self._lines.extend(f"{path.stem} | {line.decode(errors='replace')[:LINE_LIMIT]}" for line in whole)
        return bool(self._lines)
