"""What a request is answered with: bytes that a worker sealed, or that were kept in a file."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Result:
    """What the request is answered with: a sealed memory file, or a kept file that is read, never mapped.

    User code could cut a file in the run folder short, and a map of it would then kill the API.
    """

    content_type: str
    headers: dict[str, str]
    size: int
    path: Path | None = None
    view: memoryview | bytes | None = None

    @classmethod
    def from_sealed(cls, fd: int, content_type: str, headers: dict[str, str]) -> "Result":
        """Takes the descriptor over."""
        try:
            size = os.fstat(fd).st_size
            view = memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ)) if size else b""
        finally:
            os.close(fd)
        return cls(content_type, headers, size, view=view)

    def content(self) -> memoryview | bytes:
        """The bytes. Blocks for a kept file."""
        if self.view is not None:
            return self.view
        assert self.path is not None  # noqa: S101 - one of the two is set
        return self.path.read_bytes()


def write_copy(view: memoryview | bytes, path: Path) -> None:
    """Write the bytes to a file, by rename."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(view)
    part.replace(path)
