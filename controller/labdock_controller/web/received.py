"""Files on their way in: received into a folder of their own, which is gone afterwards."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.requests import Request

from labdock.errors import DiskFull, InvalidOptions
from labdock_controller.services import Services


@contextmanager
def upload(services: Services, name: str) -> Iterator[Path]:
    """A path in a folder of its own for a file that is called `name` by its sender; gone afterwards."""
    plain = name.replace("\\", "/").rpartition("/")[2]
    if plain != name or name in (".", "..") or "\0" in name:
        raise InvalidOptions(f"{name!r} is not the name of a file.", remedy="Send the name without folders.")
    uploads = services.settings.home / "uploads"
    uploads.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=uploads) as folder:
        yield Path(folder) / name


async def receive(request: Request, path: Path) -> None:
    """Write the body to `path` as it comes. Raises `DiskFull`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        async for chunk in request.stream():
            view = memoryview(chunk)
            while view:
                view = view[os.write(handle, view) :]
    except OSError as error:
        raise DiskFull(f"The file could not be received: {error.strerror}.", remedy="Free space, then retry.") from None
    finally:
        os.close(handle)
