"""The commands, one file each. `REGISTRY` has them by name and by alias."""

import functools

from labdock_search.commands.base import MISSING, REGISTRY, Command

__all__ = ["MISSING", "REGISTRY", "Command", "load"]


@functools.cache
def load() -> dict[str, Command]:
    """Import every command once; gives the registry."""
    import importlib  # noqa: PLC0415
    import pkgutil  # noqa: PLC0415

    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY
