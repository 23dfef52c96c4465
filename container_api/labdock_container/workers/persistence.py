"""A fitted model in its file: by the module's own `save` and `load`, or with joblib where it has none."""

from pathlib import Path
from typing import Any

import joblib

from labdock.names import not_found
from labdock_container.models import Manifest, ModelStore
from labdock_container.modules import LoadedModule
from labdock_container.user_errors import placeless


def load(store: ModelStore, module: LoadedModule, manifest: Manifest | None, name: str) -> Any:
    """The model of a manifest's version; without one, what the module's own `load` knows under that name."""
    if manifest is not None and manifest["persistence"] == "joblib":
        path = store.path(manifest) / "model.joblib"
        try:
            return joblib.load(path)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - unpickling runs user code
            message = f"Model {name!r} cannot be loaded: {type(error).__name__}: {error}"
            remedy = "Fit it again: its module or a library has changed since."
            raise placeless(message, remedy, module.name, "load") from None
    if "load" not in module.functions:
        raise not_found("model", name, store.names(), f"Module {module.name!r} has no load; fit it first.")
    return module.call("load", f"{module.name}_{name}")


def save(module: LoadedModule, model: Any, folder: Path, name: str) -> str:
    """Keep the model by the module's own `save`, or with joblib in `folder`; gives which of the two it was."""
    if {"save", "load"} <= module.functions:
        module.call("save", model, f"{module.name}_{name}")
        return "module"
    try:
        joblib.dump(model, folder / "model.joblib")
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - pickling runs user code
        message = f"The model of module {module.name!r} cannot be kept: {type(error).__name__}: {error}"
        remedy = "Define save(model, name) and load(name) in the notebook."
        raise placeless(message, remedy, module.name, "save") from None
    return "joblib"
