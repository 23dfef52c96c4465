"""The run folder that a container shares with the controller, and what the container's user may do in it.

The controller's run folder is 0700, so on the host only the controller (and root) gets below it; a container sees
its own `<id>` alone. That folder and what is in it belong to the container's user: a controller that is root gives it
away, any other runs containers under its own uid. Since the container may put anything there, links to places of the
host included, nothing of an old container is used by a new one, and the controller follows no link in there
(`labdock_controller.sockets`, `door/spool.py`).
"""

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from labdock.home import make_private, write_atomically
from labdock_controller.runtimes.docker.profile import USER

CONTROLLER_ID = "controller-id"


def container_user() -> tuple[int, int]:
    """uid and gid that environments of this controller run under. Never root."""
    return (USER if os.geteuid() == 0 else os.geteuid()), USER


def make_run_folder(folder: Path, token: str) -> None:
    """`folder` anew, with `token` and an empty spool, for the container's user. No container uses it now."""
    remove_run_folder(folder)
    make_private(folder.parent)
    folder.mkdir(mode=0o700)
    spool = folder / "spool"
    spool.mkdir(mode=0o700)
    path = folder / "token"
    write_atomically(path, token.encode())
    if os.geteuid() == 0:
        uid, gid = container_user()
        for item in (path, spool, folder):
            os.chown(item, uid, gid, follow_symlinks=False)


def remove_run_folder(folder: Path) -> None:
    """Remove it and what the container left in it; links are removed, not followed. No container uses it now."""
    if folder.is_symlink():
        folder.unlink()
        return
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except PermissionError:  # folders that not even their owner may enter
        _open_up(folder)
        shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    """Give the owner its rights on every folder below."""
    folder.chmod(0o700)
    for _, names, _, handle in os.fwalk(folder):
        for name in names:
            if stat.S_ISDIR(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                os.chmod(name, 0o700, dir_fd=handle)


def controller_id(home: Path) -> str:
    """The random id of the controller with this home; made on first use. Two controllers share an engine by it."""
    path = home / CONTROLLER_ID
    if not path.exists():
        make_private(home)
        new = home / f".{CONTROLLER_ID}.{secrets.token_hex(4)}"
        write_atomically(new, secrets.token_hex(6).encode())
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(new, path)
        new.unlink()
    return path.read_text().strip()
