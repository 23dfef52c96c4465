"""The search language: parser, plan, engine.

The names below are loaded when they are first used: reading or writing data needs no parser.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labdock_search.engine import Engine
    from labdock_search.result import FieldInfo, Message, Result
    from labdock_search.settings import Limits, Settings

__all__ = ["Engine", "FieldInfo", "Limits", "Message", "Result", "Settings"]

_HOMES = {"Engine": "engine", "FieldInfo": "result", "Message": "result", "Result": "result"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'settings')}"), name)
