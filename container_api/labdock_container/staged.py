"""Names of files and folders while they are written, and the removal of what a killed process left of them.

The name holds the writer's process id, so that what a killed worker left is told from what another one writes now.
"""

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

_PENDING = re.compile(r"\.[A-Za-z0-9_.-]{1,80}\.([0-9a-f]{8})[0-9a-f]{8}\.pending", re.ASCII)


def pending_path(folder: Path, name: str) -> Path:
    """Where to write `name` before it is renamed into place."""
    return folder / f".{name}.{os.getpid():08x}{secrets.token_hex(4)}.pending"


def clean(folder: Path, *, nobody_writes: bool = False) -> None:
    """Remove what writers left that do not live any more; all of it where `nobody_writes`, as when the API starts."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(folder)):
            found = _PENDING.fullmatch(entry.name)
            if not found or (Path(f"/proc/{int(found[1], 16)}").exists() and not nobody_writes):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                Path(entry).unlink(missing_ok=True)
