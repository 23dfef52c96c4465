"""The files of modules: `modules/<name>.py` and `<name>.map.json`, kept in step with the notebooks they come from.

A module with a map belongs to a notebook and follows it: saved, renamed, deleted. A module without one was written by
hand and is left alone. All writers take `modules/.lock`, so Jupyter and the workers do not cross.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labdock.errors import NotFound
from labdock.home import write_atomically
from labdock.names import NAME, not_found
from labdock_container.cells import Finding
from labdock_container.export import CellLines, Export, check_notebook_name, describe, export

_SKIPPED = {"data", "models", "modules", "node_modules", "__pycache__"}
StatKey = tuple[int, ...]
_DEPTH = 4  # folders below the notebooks folder that are searched for notebooks


@dataclass
class ModuleMap:
    """What `<name>.map.json` holds. `stat` is the notebook's at the time of the export."""

    notebook: str
    stat: StatKey
    sha256: str
    cells: list[CellLines] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    doc: str = ""
    exported_at: str = ""

    @classmethod
    def read(cls, path: Path) -> "ModuleMap | None":
        """The map, or None where there is none or it is damaged (the next refresh writes it anew)."""
        try:
            value = json.loads(path.read_bytes())
            value["cells"] = [CellLines(**c) for c in value["cells"]]
            value["findings"] = [Finding(**f) for f in value["findings"]]
            value["stat"] = tuple(value["stat"])
            return cls(**value)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None


def stat_key(path: Path) -> StatKey:
    """What changes whenever the file does. Raises `FileNotFoundError`."""
    status = path.stat()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


class ModuleFiles:
    """The `modules` folder of one notebooks folder. Methods may be called from any process and thread."""

    def __init__(self, notebooks: Path) -> None:
        self.notebooks = notebooks
        self.folder = notebooks / "modules"

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.py"

    def map_path(self, name: str) -> Path:
        return self.folder / f"{name}.map.json"

    def names(self) -> list[str]:
        """Every module there is now, exported or written by hand."""
        found = (p.stem for p in self.folder.glob("*.py")) if self.folder.is_dir() else iter(())
        return sorted(name for name in found if NAME.fullmatch(name) and name != "__init__")

    def notebook_paths(self) -> Iterator[str]:
        """Every notebook below the notebooks folder, relative to it, those at the top first."""
        for root, folders, files in os.walk(self.notebooks):
            here = Path(root).relative_to(self.notebooks)
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
            if len(here.parts) >= _DEPTH:
                folders.clear()
            yield from ((here / f).as_posix() for f in sorted(files) if f.endswith(".ipynb") and not f.startswith("."))

    def publish(self, notebook: str) -> list[Finding]:
        """Export `notebook` (a path below the notebooks folder) now. Gives its findings; never touches the notebook.

        A notebook without exported cells has no module: the one it had is removed. Raises `FileNotFoundError` where
        the notebook is gone, `OSError` where the module cannot be written.
        """
        with self._locked():
            return self._publish(notebook)

    def _publish(self, notebook: str) -> list[Finding]:
        source = self.notebooks / notebook
        stat = stat_key(source)
        result = export(source.read_bytes(), notebook)
        name = source.stem
        if not result.source:
            if not result.findings:  # an unreadable notebook, half written perhaps, costs no module
                self._remove(name, notebook)
            return result.findings
        refused = check_notebook_name(notebook) or self._taken(name, notebook)
        if refused:
            return [refused, *result.findings]
        self._keep_handwritten(name, result)
        self._write(name, notebook, stat, result)
        return result.findings

    def _write(self, name: str, notebook: str, stat: StatKey, result: Export) -> None:
        content = ModuleMap(
            notebook=notebook,
            stat=stat,
            sha256=result.sha256,
            cells=result.cells,
            findings=result.findings,
            doc=result.doc,
            exported_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        # The module first: after a crash in between, the old map's `stat` makes the next refresh export again.
        path = self.path(name)
        if not path.exists() or path.read_bytes() != result.source.encode():
            write_atomically(path, result.source.encode(), mode=0o644)
        write_atomically(self.map_path(name), json.dumps(asdict(content), indent=1).encode(), mode=0o644)

    def _taken(self, name: str, notebook: str) -> Finding | None:
        owner = ModuleMap.read(self.map_path(name))
        if owner is None or owner.notebook == notebook or not (self.notebooks / owner.notebook).exists():
            return None
        return Finding(
            "error",
            f"{notebook} is not exported: the module {name!r} comes from {owner.notebook}.",
            "Give one of the two notebooks another name.",
        )

    def _keep_handwritten(self, name: str, result: Export) -> None:
        path = self.path(name)
        if not path.exists() or self.map_path(name).exists() or path.read_bytes() == result.source.encode():
            return
        kept = path.with_suffix(".py.orig")
        path.replace(kept)
        result.findings.append(
            Finding("info", f"modules/{path.name} was there before; it is kept as {kept.name}.", "Delete it if unused.")
        )

    def refresh(self, name: str) -> None:
        """Bring the module into step with its notebook: export again what changed, remove what lost its notebook."""
        known = ModuleMap.read(self.map_path(name))
        if known and self._is_current(known):
            return
        if known is None and self.path(name).exists() and not (self.notebooks / f"{name}.ipynb").exists():
            return  # written by hand; no search through all folders at each fit
        with self._locked():
            known = ModuleMap.read(self.map_path(name))
            if known and not (self.notebooks / known.notebook).exists():
                self._remove(name, known.notebook)
                known = None
            notebook = known.notebook if known else self.find_notebook(name)
            if notebook and not (known and self._is_current(known)) and self._is_newer(name, notebook, known):
                self._publish(notebook)

    def _is_current(self, known: ModuleMap) -> bool:
        try:
            return stat_key(self.notebooks / known.notebook) == known.stat
        except FileNotFoundError:
            return False

    def _is_newer(self, name: str, notebook: str, known: ModuleMap | None) -> bool:
        """A module written by hand wins over an older notebook of its name; an exported one never does."""
        path = self.path(name)
        if known or not path.exists():
            return True
        return (self.notebooks / notebook).stat().st_mtime_ns > path.stat().st_mtime_ns

    def find_notebook(self, name: str) -> str | None:
        """The notebook of that name, the one nearest to the top, or None."""
        if (self.notebooks / f"{name}.ipynb").is_file():
            return f"{name}.ipynb"
        return next((p for p in self.notebook_paths() if Path(p).stem == name), None)

    def refresh_all(self) -> None:
        """`refresh` for every notebook and every module: what changed while Jupyter was down is caught up."""
        for name in {Path(p).stem for p in self.notebook_paths()} | set(self.names()) | set(self._mapped()):
            if NAME.fullmatch(name):
                self.refresh(name)

    def _mapped(self) -> Iterator[str]:
        if self.folder.is_dir():
            yield from (p.name.removesuffix(".map.json") for p in self.folder.glob("*.map.json"))

    def forget(self, notebook: str) -> None:
        """The notebook, or the folder of notebooks, is gone or has another name: remove its modules."""
        with self._locked():
            for name in list(self._mapped()):
                known = ModuleMap.read(self.map_path(name))
                if known and (known.notebook == notebook or known.notebook.startswith(f"{notebook}/")):
                    self._remove(name, known.notebook)

    def _remove(self, name: str, notebook: str) -> None:
        known = ModuleMap.read(self.map_path(name))
        if known is None or known.notebook != notebook:
            return  # written by hand, or another notebook's
        self.path(name).unlink(missing_ok=True)
        self.map_path(name).unlink(missing_ok=True)

    def read(self, name: str) -> tuple[bytes, ModuleMap | None]:
        """The module's source, and its map if it describes just this source. Raises `NotFound`."""
        source, known = self._read(name)
        if known is not None and known.sha256 != _sha256(source):
            with self._locked():  # a save may be between the module and its map
                source, known = self._read(name)
        return source, known if known is not None and known.sha256 == _sha256(source) else None

    def _read(self, name: str) -> tuple[bytes, ModuleMap | None]:
        try:
            return self.path(name).read_bytes(), ModuleMap.read(self.map_path(name))
        except FileNotFoundError:
            raise self.missing(name) from None

    def missing(self, name: str) -> NotFound:
        """The error for a module that does not exist; it names the nearest one."""
        remedy = "A module is a notebook whose exported cells have names, such as mltkc_fit; save it in JupyterLab."
        return not_found("module", name, self.names(), remedy)

    def record(self, name: str) -> dict[str, Any]:
        """What `GET /v1/modules` says of the module. Raises `NotFound`."""
        source, known = self.read(name)
        functions, needs, docstring = describe(source.decode(errors="replace"))
        return {
            "name": name,
            "functions": functions,
            "needs": {str(k): str(v) for k, v in needs.items()},
            "doc": docstring or (known.doc if known else ""),
            "notebook": known.notebook if known else None,
            "sha256": _sha256(source),
            "findings": [f.to_dict() for f in known.findings] if known else [],
            "exported_at": known.exported_at if known else None,
        }

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _sha256(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()
