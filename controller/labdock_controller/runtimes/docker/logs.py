"""A container's log: its last lines, its new ones, and what is kept of it after the container is gone."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from labdock.home import write_atomically
from labdock_controller.runtimes.docker import sdk as docker
from labdock_controller.runtimes.docker.engine import Engine
from labdock_controller.runtimes.docker.errors import translate, translated

LINE_LIMIT = 16_384
KEPT_LINES = 2000
FILE = "container.log"


def read_log(engine: Engine, container: str, tail: int) -> str:
    """The last lines; raises `NotFound` where there is no such container."""
    with translated():
        data: bytes = engine.api.logs(container, tail=max(tail, 0), stdout=True, stderr=True)
    return data.decode(errors="replace")


def keep_log(engine: Engine, container: str, folder: Path) -> None:
    """Write the last lines to `folder`, where they outlive the container."""
    text = read_log(engine, container, KEPT_LINES)
    if text and folder.parent.is_dir():
        folder.mkdir(exist_ok=True)
        write_atomically(folder / FILE, text.encode())


def kept_log(folder: Path, tail: int) -> str:
    """What `keep_log` wrote; empty where it wrote nothing."""
    try:
        lines = (folder / FILE).read_text(errors="replace").splitlines(keepends=True)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return "".join(lines[-tail:] if tail > 0 else [])


class FollowContainer(Iterator[str]):
    """New lines of a container until it ends or `close` is called, from any thread."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._lines: deque[str] = deque()
        self._rest = b""
        self._closed = threading.Event()
        with translated():
            self._stream: Any = engine.api.attach(container, stdout=True, stderr=True, stream=True, logs=False)

    def close(self) -> None:
        """Let a waiting `next` end."""
        self._closed.set()
        with suppress(OSError, AttributeError):
            self._stream.close()
        with suppress(OSError, AttributeError):  # docker-py closes the socket, but not the file over it
            self._stream._response.close()  # noqa: SLF001

    def __next__(self) -> str:
        while not self._lines:
            chunk = self._read()
            if chunk is None:
                given_up = self._closed.is_set()
                self.close()
                if given_up or not self._rest:
                    raise StopIteration
                chunk = b"\n"
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LINE_LIMIT:
                whole, self._rest = [*whole, self._rest], b""
            self._lines.extend(line.decode(errors="replace")[:LINE_LIMIT] for line in whole)
        return self._lines.popleft()

    def _read(self) -> bytes | None:
        """The next piece; None at the end. A broken connection is an error unless we closed it."""
        if self._closed.is_set():
            return None
        try:
            piece: bytes | None = next(self._stream, None)
        except (docker.errors.DockerException, OSError, ValueError) as error:
            if self._closed.is_set():
                return None
            raise translate(error) from error
        return piece
