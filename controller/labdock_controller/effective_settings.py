"""What the controller runs with, and where each value came from. Secrets are never part of it."""

import os
import tomllib
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from labdock_controller.settings import PREFIX, SETTINGS_FILE, Settings

SECRET = "(set, not shown)"  # noqa: S105 - what is shown instead of one


@dataclass(frozen=True)
class EffectiveSetting:
    """`source`: `default`, a variable's name, `labdock.toml` or `argument`."""

    name: str
    variable: str
    value: Any
    source: str
    description: str


def effective(settings: Settings) -> list[EffectiveSetting]:
    """Every setting, in the order of the documentation."""
    without_arguments = Settings(home=settings.home)
    file = _file(settings)
    found = []
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        value = getattr(settings, name)
        source = _source(name, variable, file)
        if name != "home" and value != getattr(without_arguments, name):
            source = "argument"
        found.append(EffectiveSetting(name, variable, _shown(value), source, field.description or ""))
    return found


def _source(name: str, variable: str, file: dict[str, Any]) -> str:
    if variable in os.environ:
        return variable
    if os.environ.get(f"{variable}_FILE"):
        return f"{variable}_FILE"
    return SETTINGS_FILE if name in file else "default"


def _file(settings: Settings) -> dict[str, Any]:
    try:
        return tomllib.loads((settings.home / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}  # what was unreadable at the start would have kept the controller from starting


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return SECRET if value.get_secret_value() else ""
    return value if isinstance(value, bool | int | float | str | list) or value is None else str(value)
