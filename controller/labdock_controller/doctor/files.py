"""Folders, files, sockets and the space for them."""

import os
import secrets
import shutil
import socket
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from labdock_controller.finding import Finding, Health
from labdock_controller.settings import Settings

PRIVATE = ("controller.json", "owner.token", "labdock.sqlite3", "tls-key.pem")
SOCKET_PATH = 107  # bytes that the kernel takes
LONGEST_SOCKET = "0123456789ab/jupyter.sock"
LITTLE_MB = {"home": 2048, "run": 512}
TOO_LITTLE_MB = {"home": 256, "run": 64}
MIB = 2**20


def home(settings: Settings) -> Iterator[Finding]:
    """The home can be written and is nobody else's."""
    folder = settings.home
    title = "Home folder"
    if not folder.exists():
        parent = next(one for one in folder.parents if one.exists())
        usable = os.access(parent, os.W_OK | os.X_OK)
        state = Health.OK if usable else Health.ERROR
        remedy = "" if usable else f"Make {parent} writable for you, or set LABDOCK_HOME to a folder of your own."
        yield Finding("home", title, state, f"{folder} is not there yet", remedy)
        return
    mode, owner = stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid
    if owner != os.geteuid():
        yield Finding("home", title, Health.ERROR, f"{folder} belongs to uid {owner}", "Set LABDOCK_HOME to your own.")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("home", title, Health.ERROR, f"{folder} cannot be written", f"chmod 700 {folder}")
    elif mode & 0o077:
        yield Finding(
            "home", title, Health.WARNING, f"others may look into {folder} ({mode:04o})", f"chmod 700 {folder}"
        )
    else:
        yield Finding("home", title, Health.OK, str(folder))


def private_files(settings: Settings) -> Iterator[Finding]:
    """Tokens and the store are for their owner's eyes only."""
    paths = [settings.home / name for name in PRIVATE]
    there = [path for path in paths if path.exists()]
    loose = [path for path in there if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if loose:
        names = " ".join(str(path) for path in loose)
        yield Finding("private-files", "Secrets", Health.ERROR, f"others may read {names}", f"chmod 600 {names}")
    else:
        yield Finding("private-files", "Secrets", Health.OK, f"{len(there)} files, all private")


def run_folder(settings: Settings) -> Iterator[Finding]:
    """Short enough for sockets, in memory, and writable."""
    folder, title = settings.run_folder, "Run folder"
    there = folder if folder.exists() else next(one for one in folder.parents if one.exists())
    length = len(os.fsencode(folder / LONGEST_SOCKET))
    if length > SOCKET_PATH:
        found = f"{folder} is too long: a socket in it has {length} bytes, {SOCKET_PATH} are allowed"
        yield Finding("run-folder", title, Health.ERROR, found, "Set LABDOCK_RUN to a shorter folder.")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding("run-folder", title, Health.ERROR, f"{there} cannot be written", "Set LABDOCK_RUN to your own.")
    elif _kind(there) not in ("tmpfs", "ramfs"):
        found = f"{folder} is not in memory: tokens and frames pass through a disk"
        yield Finding("run-folder", title, Health.WARNING, found, "Set LABDOCK_RUN to a folder on tmpfs (/dev/shm).")
    else:
        yield Finding("run-folder", title, Health.OK, f"{folder}, in memory")


def sockets(settings: Settings) -> Iterator[Finding]:
    """A Unix socket can be made where environments have theirs, and connected to."""
    folder = settings.run_folder
    there = folder if folder.exists() else next(one for one in folder.parents if one.exists())
    path = there / f".doctor-{secrets.token_hex(4)}"
    try:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(path))
            server.listen(1)
            client.connect(str(path))
    except OSError as error:
        remedy = "Set LABDOCK_RUN to a local folder (not NFS or SMB) of your own."
        yield Finding("sockets", "Unix sockets", Health.ERROR, f"none can be made in {there}: {error}", remedy)
    else:
        yield Finding("sockets", "Unix sockets", Health.OK, f"work in {there}")
    finally:
        path.unlink(missing_ok=True)


def space(settings: Settings) -> Iterator[Finding]:
    """Room for notebooks and indexes, and for frames on their way."""
    remedies = {
        "home": "Free space there, or move LABDOCK_HOME.",
        "run": "Free memory, or enlarge the tmpfs (`mount -o remount,size=…`).",
    }
    for name, folder in (("home", settings.home), ("run", settings.run_folder)):
        there = folder if folder.exists() else next(one for one in folder.parents if one.exists())
        usage = shutil.disk_usage(there)
        free = usage.free // MIB
        state = Health.ERROR if free < TOO_LITTLE_MB[name] else Health.WARNING if free < LITTLE_MB[name] else Health.OK
        found = f"{free:,} MiB of {usage.total // MIB:,} free in {there}"
        yield Finding(f"space-{name}", f"Space for {name}", state, found, "" if state is Health.OK else remedies[name])


def store(settings: Settings) -> Iterator[Finding]:
    """SQLite says whether its file is sound; another database has its own tools."""
    path = settings.home / "labdock.sqlite3"
    if not settings.store_url.startswith("sqlite"):
        yield Finding("store", "Store", Health.SKIPPED, "not SQLite: its own tools look after it")
    elif not path.exists():
        yield Finding("store", "Store", Health.OK, "not there yet")
    else:
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as database:
                said = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
            database.close()
        except sqlite3.Error as error:
            said = str(error)
        remedy = f"Stop the controller, keep a copy of {path}, then restore a backup of it."
        good = said == "ok"
        yield Finding(
            "store", "Store", Health.OK if good else Health.ERROR, f"{path.name}: {said}", "" if good else remedy
        )


def _kind(folder: Path) -> str:
    """The type of the file system that `folder` is on; empty where nothing tells."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best = ("", "")
    for _, point, kind, *_ in (line.split() for line in lines):
        inside = point == "/" or folder == Path(point) or Path(point) in folder.parents
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
