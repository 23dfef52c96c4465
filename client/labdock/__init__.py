"""Labdock: launch data science environments, send tables into them, put notebook modules and models to work.

    import labdock

    lab = labdock.connect()
    env = lab.environments.start("__dev__")
    model = env.fit(df, algo="a_threat_hunting_notebook", features=[…], into="app:my_model")
    model.predictions, model.metrics, model.apply(other)

What is named here is the library; everything else may change. Names are loaded on first use, so that importing
`labdock` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from labdock.errors import (
    Busy,
    Conflict,
    DiskFull,
    Exited,
    Forbidden,
    ImageMissing,
    InvalidFrame,
    InvalidName,
    InvalidOptions,
    LabdockError,
    LaunchError,
    LimitExceeded,
    ModelRefused,
    ModuleCrashed,
    ModuleError,
    ModuleOutOfMemory,
    ModuleTimeout,
    NotFound,
    RequestError,
    RuntimeUnavailable,
    SearchError,
    StartTimeout,
    StorageError,
    TransportError,
    Unauthenticated,
)

if TYPE_CHECKING:
    from labdock.environment import Environment, Staged
    from labdock.environments import Environments
    from labdock.estimator import NotebookModel
    from labdock.events import Event
    from labdock.fitted_model import FittedModel
    from labdock.jobs import Job
    from labdock.lab import Lab, connect
    from labdock.models import Model, Models
    from labdock.registration import Registered, register
    from labdock.searches import Search

__version__ = "0.1.0"

__all__ = [
    "Busy",
    "Conflict",
    "DiskFull",
    "Environment",
    "Environments",
    "Event",
    "Exited",
    "FittedModel",
    "Forbidden",
    "ImageMissing",
    "InvalidFrame",
    "InvalidName",
    "InvalidOptions",
    "Job",
    "Lab",
    "LabdockError",
    "LaunchError",
    "LimitExceeded",
    "Model",
    "ModelRefused",
    "Models",
    "ModuleCrashed",
    "ModuleError",
    "ModuleOutOfMemory",
    "ModuleTimeout",
    "NotFound",
    "NotebookModel",
    "Registered",
    "RequestError",
    "RuntimeUnavailable",
    "Search",
    "SearchError",
    "Staged",
    "StartTimeout",
    "StorageError",
    "TransportError",
    "Unauthenticated",
    "__version__",
    "connect",
    "register",
]

_LAZY = {
    "Environment": "environment",
    "Environments": "environments",
    "Event": "events",
    "FittedModel": "fitted_model",
    "Job": "jobs",
    "Lab": "lab",
    "Model": "models",
    "Models": "models",
    "NotebookModel": "estimator",
    "Registered": "registration",
    "Search": "searches",
    "Staged": "environment",
    "connect": "lab",
    "register": "registration",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"labdock.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'labdock' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext labdock`: the magics `%labdock_search` and `%%labdock_search`."""
    from labdock.magic import load  # noqa: PLC0415 - needs IPython

    load(shell)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
