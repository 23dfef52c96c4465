"""The notebooks folder of an environment, filled with what ships: never over a file that is there."""

import os
import shutil
import tempfile
from pathlib import Path

FOLDERS = ("data", "modules", "models")


def shipped() -> Path:
    """Where the shipped notebooks lie: in the installed package, or in the repository of an editable install."""
    package = Path(__file__).parent
    installed = package / "notebooks"
    return installed if installed.is_dir() else package.parents[1] / "notebooks"


def fill(folder: Path) -> list[str]:
    """Make the folder and copy each shipped file that is missing; gives what was copied, relative to the folder.

    A notebook that its user deleted comes back with the next start; one that its user edited stays as it is.
    """
    source = shipped()
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    copied = []
    for path in sorted(source.rglob("*")) if source.is_dir() else []:
        relative = path.relative_to(source)
        if not path.is_file() or any(part.startswith((".", "__pycache__")) for part in relative.parts):
            continue
        target = folder / relative
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
            copied.append(relative.as_posix())
    return copied


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, also when a user creates the same file at this moment."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".labdock.")
    os.close(handle)
    try:
        shutil.copyfile(source, temporary)
        Path(temporary).chmod(0o644)
        os.link(temporary, target)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
