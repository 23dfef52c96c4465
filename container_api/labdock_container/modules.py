"""Modules: what there is, and how one is loaded and called. Only `load` and `call` run user code.

A module of the peer runs unchanged: it is imported as `app.model.<name>`, its working directory is the notebooks
folder, and `/srv/app/model` and `/srv/notebooks` mean Labdock's folders also where those paths do not exist.
"""

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labdock.errors import ModuleError, NotFound
from labdock.names import check_name
from labdock_container.export import CONTRACT, quiet
from labdock_container.module_files import ModuleFiles, ModuleMap, StatKey, stat_key
from labdock_container.user_errors import SourceMap, module_error, placeless

PACKAGE = "app.model"
# A file this young may be replaced within the clock's resolution: its stat alone does not prove it unchanged.
_YOUNG = 2_000_000_000


class WorkerSignal(BaseException):
    """Base of what a worker raises into user code to end it (deadline, cancellation); `call` lets it pass."""


@dataclass
class LoadedModule:
    """A module in this process. `namespace` is the module object, `functions` those of the contract it has."""

    name: str
    sha256: str
    namespace: types.ModuleType
    source: SourceMap
    stat: StatKey
    needs: dict[str, Any] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)

    def call(self, function: str, *args: Any) -> Any:
        """Run one of the module's functions in the notebooks folder and give what it returns.

        Whatever user code raises (`SystemExit` and `KeyboardInterrupt` too) becomes a `ModuleError` that names cell
        and line; only a `WorkerSignal` passes.
        """
        target = getattr(self.namespace, function, None)
        if not callable(target):
            raise self._without(function)
        os.chdir(self.source.notebooks)
        try:
            return target(*args)
        except WorkerSignal:
            raise
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            raise module_error(self.source, function, error) from None

    def _without(self, function: str) -> ModuleError:
        have = ", ".join(sorted(self.functions)) or "none of the contract's"
        message = f"Module {self.name!r} has no function {function} (it has {have})."
        remedy = f"Define {function} in an exported cell of {self.source.notebook or self.source.path.name}."
        return placeless(message, remedy, self.name, function, notebook=self.source.notebook)


class Modules:
    """The modules of one notebooks folder."""

    def __init__(self, notebooks: Path) -> None:
        self.notebooks = notebooks.absolute()
        self.files = ModuleFiles(self.notebooks)
        self._loaded: dict[str, LoadedModule] = {}

    def list(self) -> list[dict[str, Any]]:
        """Every module, after catching up with what happened to the notebooks; runs no user code."""
        self.files.refresh_all()
        records = []
        for name in self.files.names():
            try:
                records.append(self.files.record(name))
            except NotFound:  # removed a moment ago
                continue
        return records

    def export(self, name: str) -> dict[str, Any]:
        """Export the module's notebook now, changed or not, and give the module. Raises `NotFound`."""
        check_name(name, "module")
        self.files.refresh(name)
        notebook = self.files.find_notebook(name)
        if notebook:
            self.files.publish(notebook)
        return self.files.record(name)

    def refresh(self, name: str) -> None:
        """Export again if the notebook changed since; remove the module if its notebook is gone. One stat if not."""
        check_name(name, "module")
        self.files.refresh(name)

    def load(self, name: str) -> LoadedModule:
        """The module, executed anew only if its file (or a module it imported) changed.

        Raises `NotFound` that names the nearest module, `ModuleError` for what goes wrong while it is executed.
        """
        check_name(name, "module")
        known = self._loaded.get(name)
        helpers_changed = _helpers.drop_changed()
        if known and not helpers_changed and self._unchanged(known):
            return known
        source, cells = self.files.read(name)
        if known and not helpers_changed and hashlib.sha256(source).hexdigest() == known.sha256:
            known.stat = self._stat(name)
            return known
        self._loaded.pop(name, None)
        self._loaded[name] = loaded = self._execute(name, source, cells)
        return loaded

    def _stat(self, name: str) -> StatKey:
        try:
            return stat_key(self.files.path(name))
        except FileNotFoundError:
            raise self.files.missing(name) from None

    def _unchanged(self, known: LoadedModule) -> bool:
        stat = self._stat(known.name)
        return stat == known.stat and time.time_ns() - stat[0] > _YOUNG

    def _execute(self, name: str, source: bytes, known: ModuleMap | None) -> LoadedModule:
        stat = self._stat(name)
        path = self.files.path(name)
        text = source.decode(errors="replace")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        places = SourceMap(
            name,
            path,
            self.notebooks,
            known.notebook if known else None,
            known.cells if known else [],
            lines,
        )
        _provide_package(self.files.folder)
        os.chdir(self.notebooks)
        # `inspect` and `pickle` find the source and the classes under the name that the peer uses.
        namespace = types.ModuleType(f"{PACKAGE}.{name}")
        namespace.__file__ = str(path)
        namespace.__package__ = PACKAGE
        linecache.cache[str(path)] = (len(text), None, [f"{line}\n" for line in lines], str(path))
        sys.modules[namespace.__name__] = namespace
        try:
            exec(self._compiled(source, path), namespace.__dict__)  # noqa: S102 - the user's code is what we are for
        except WorkerSignal:
            del sys.modules[namespace.__name__]
            raise
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            sys.modules.pop(namespace.__name__, None)
            raise module_error(places, "import", error) from None
        setattr(sys.modules[PACKAGE], name, namespace)
        needs = getattr(namespace, "needs", None)
        return LoadedModule(
            name=name,
            sha256=hashlib.sha256(source).hexdigest(),
            namespace=namespace,
            source=places,
            stat=stat,
            needs=dict(needs) if isinstance(needs, dict) else {},
            functions={f for f in CONTRACT if callable(getattr(namespace, f, None))},
        )

    def _compiled(self, source: bytes, path: Path) -> types.CodeType:
        with quiet():  # the export has reported the compiler's warnings
            tree = ast.parse(source, str(path))
            tree = _PeerPaths(self.notebooks).visit(tree)
            return compile(tree, str(path), "exec", dont_inherit=True)


class _PeerPaths(ast.NodeTransformer):
    """Points the peer's absolute paths at Labdock's folders; positions in the source stay as they are."""

    def __init__(self, notebooks: Path) -> None:
        self._folders: dict[str, Path] = {}
        for peer, ours in (("/srv/app/model", notebooks / "modules"), ("/srv/notebooks", notebooks)):
            path = Path(peer)
            if not (path.exists() and ours.exists() and path.samefile(ours)):
                self._folders[peer] = ours

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if not isinstance(node.value, str):
            return node
        for peer, ours in self._folders.items():
            if node.value == peer or node.value.startswith(peer + "/"):
                if node.value.startswith("/srv/app/model/data"):
                    (ours / "data").mkdir(parents=True, exist_ok=True)
                moved = ast.Constant(str(ours) + node.value.removeprefix(peer))
                return ast.copy_location(moved, node)
        return node


def _provide_package(folder: Path) -> None:
    """`app` and `app.model` as packages, so that modules import one another as in the peer."""
    for name in ("app", PACKAGE):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = []
            sys.modules[name] = package
    sys.modules["app"].model = sys.modules[PACKAGE]  # type: ignore[attr-defined]
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))  # last: helpers beside the notebooks import, but shadow nothing
    sys.dont_write_bytecode = True  # no __pycache__ among the user's modules
    _helpers.folder = folder
    if _helpers not in sys.meta_path:
        sys.meta_path.append(_helpers)


class _Helpers(importlib.abc.MetaPathFinder):
    """Finds modules that others import (`from app.model import x`) and remembers which files they came from."""

    folder = Path()

    def __init__(self) -> None:
        self._stats: dict[str, tuple[Path, StatKey]] = {}

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        path = self.folder / f"{name}.py"
        if package != PACKAGE or not path.is_file():
            return None
        self._stats[fullname] = (path, stat_key(path))
        return importlib.util.spec_from_file_location(fullname, path)

    def drop_changed(self) -> bool:
        """Forget them all once one file changed. True if so: whoever imported them must be executed again too."""
        if all(_stat_or_none(path) == stat for path, stat in self._stats.values()):
            return False
        for name in self._stats:
            sys.modules.pop(name, None)
        self._stats.clear()
        return True


def _stat_or_none(path: Path) -> StatKey | None:
    try:
        return stat_key(path)
    except FileNotFoundError:
        return None


_helpers = _Helpers()
