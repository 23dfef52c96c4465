"""Connecting to a socket in a folder that belongs to somebody less trusted than the controller.

What runs in an environment owns its run folder and may put a link to another socket of the host there (the Docker
Engine's, say): a `connect` by path would follow it, with the controller's rights.
"""

import contextlib
import os
import stat
from collections.abc import Iterator


@contextlib.contextmanager
def pinned(path: str) -> Iterator[str]:
    """A path that leads to the socket at `path` itself, while the block runs, whatever is put at `path` meanwhile.

    Raises `OSError`: `ConnectionRefusedError` for a link or anything else that is no socket.
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise ConnectionRefusedError(f"{path} is not a socket")
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
