"""What modules and manifests are told of a request: the peer's `meta`, and where a model comes from."""

import contextlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from labdock.wire import FrameOptions
from labdock_container.models import Manifest
from labdock_container.modules import LoadedModule
from labdock_container.needs import kind_of
from labdock_container.results import to_json

_LIBRARIES = ("pandas", "numpy", "pyarrow", "scikit-learn", "joblib")


def meta_of(options: FrameOptions, features: list[str], mode: str) -> dict[str, Any]:
    """A module's `param`: the peer's `meta` (`docs/interfaces.md` section 3)."""
    inner: dict[str, Any] = {
        "params": {"mode": mode, "algo": options.algo, **options.params},
        "args": list(features),
        "feature_variables": list(features),
        "model_name": options.model,
        "algo_name": "MLTKContainer",
        "mlspl_limits": {},
        "kfold_cv": None,
    }
    meta: dict[str, Any] = {"options": inner, "feature_variables": list(features)}
    if options.target:
        inner["target_variable"] = list(options.target)
        meta["target_variables"] = list(options.target)
    return meta


def origin_of(
    module: LoadedModule, options: FrameOptions, features: list[str], schema: pa.Schema, rows: int
) -> Manifest:
    """What a manifest says before the training: whose model it is and what it was made from."""
    return {
        "model": options.model,
        "module": module.name,
        "module_sha256": module.sha256,
        "features": features,
        "target": list(options.target),
        "params": to_json(options.params),
        "schema": [{"name": f.name, "type": str(f.type), "kind": kind_of(f.type)} for f in schema],
        "rows": rows,
        "libraries": _libraries(),
    }


def own_files(notebooks: Path, name: str) -> tuple[tuple[str, int, int], ...]:
    """Files that a module's own `save` keeps under this name in the peer's model folder."""
    found = []
    folder = notebooks / "modules" / "data"
    if folder.is_dir():
        for path in folder.glob(f"{name}*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(sorted(found))


def _libraries() -> dict[str, str]:
    found = dict(_INSTALLED)
    for name in ("torch", "tensorflow", "keras", "xgboost", "lightgbm"):
        if name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", "?"))
    return found


def _installed() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


_INSTALLED = _installed()  # reads files for milliseconds: once, in the nursery
