"""Where Labdock keeps what: the home folder, the run folder, and how a client finds the local controller."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs


def home() -> Path:
    """`LABDOCK_HOME`, else the platform's data folder for `labdock`. Not created here."""
    given = os.environ.get("LABDOCK_HOME")
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_dir("labdock"))


def run_folder(of: Path) -> Path:
    """The short folder for sockets, tokens and spooled frames that belongs to home `of`. Not created here.

    On tmpfs where there is one, since frames pass through it; short, since a Unix socket's path ends at 107
    bytes; one for each home, so that two controllers of one user do not meet. `LABDOCK_RUN` overrides it.
    """
    given = os.environ.get("LABDOCK_RUN")
    if given:
        return Path(given).expanduser().absolute()
    memory = Path("/dev/shm")  # noqa: S108 - checked and made 0700 by whoever creates the folder
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(of)).hexdigest()[:8]
    return base / f"labdock-{os.getuid()}" / digest


def make_private(folder: Path) -> Path:
    """Create `folder` and its missing parents as 0700; refuse one that another user owns."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in (folder, folder.parent):
        status = part.lstat()
        if part.name.startswith("labdock-") and status.st_uid != os.getuid():
            raise PermissionError(f"{part} belongs to another user")
    folder.chmod(0o700)
    return folder


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write to a temporary name, fsync, rename, fsync the folder: readers see the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class ControllerAddress:
    """How to reach the controller of one home: written by the controller when it is ready, 0600."""

    url: str  # http://127.0.0.1:8420
    socket: str  # Unix socket, faster for callers on this machine; "" where there is none
    token: str
    pid: int
    certificate: str = ""  # what to trust where the URL is https: the controller's certificate; "": plain HTTP

    def write(self, of: Path) -> None:
        write_atomically(of / "controller.json", json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, of: Path) -> "ControllerAddress | None":
        """The address in home `of`, or None where no controller wrote one."""
        try:
            return cls(**json.loads((of / "controller.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
