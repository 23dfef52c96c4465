"""Default settings: limits of models and modules that an administrator changes while the controller runs.

They carry the names of the peer's `mlspl.conf` where it has them. Only what was changed is stored; the rest follows
this version's defaults. Limits of uploads hold at once, those of modules from an environment's next start on.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from labdock.errors import InvalidOptions
from labdock_controller.access.rights import check_known
from labdock_controller.store import Store
from labdock_controller.store.tables import DefaultSettingRow
from labdock_search.onnx import ModelLimits


@dataclass(frozen=True)
class Definition:
    """One setting: its default, bounds and unit; `variable` is how an environment learns of it."""

    default: float
    least: float
    most: float
    unit: str
    description: str
    variable: str = ""


DEFINITIONS: dict[str, Definition] = {
    "max_model_size_mb": Definition(100, 0.001, 4096, "MB", "size of an ONNX file that may be uploaded"),
    "max_fit_time": Definition(600, 1, 604_800, "s", "seconds that a module's fit may take", "LABDOCK_MAX_FIT_TIME"),
    "max_score_time": Definition(600, 1, 604_800, "s", "seconds that an apply may take", "LABDOCK_MAX_SCORE_TIME"),
    "max_inputs": Definition(10_000_000, 1, 2_000_000_000, "rows", "rows of one fit or apply", "LABDOCK_MAX_INPUTS"),
    "max_memory_usage_mb": Definition(4000, 64, 4_194_304, "MB", "memory that a worker of an environment may grow by; "
                                      "unchanged, a container's limit decides", "LABDOCK_WORKER_MEMORY_MB"),
    "model_versions": Definition(5, 1, 1000, "versions", "versions kept of a fitted model", "LABDOCK_MODEL_VERSIONS"),
}  # fmt: skip
_DECIMAL = {"max_model_size_mb"}


@dataclass(frozen=True)
class DefaultSetting:
    """A setting as it holds now; `changed_by` is empty where it is the default."""

    name: str
    value: float
    default: float
    unit: str
    description: str
    least: float
    most: float
    changed: float | None = None
    changed_by: str = ""


class DefaultSettings:
    """Kept in memory: only this controller changes the store. `load` it once the tables are there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed: dict[str, tuple[float, float, str]] = {}
        self._lock = threading.Lock()

    def load(self) -> None:
        with self._store.read() as session:
            rows = session.scalars(select(DefaultSettingRow)).all()
        with self._lock:
            self._changed = {row.name: (row.value, row.changed, row.changed_by) for row in rows}

    def all(self) -> list[DefaultSetting]:
        return [self._view(name) for name in DEFINITIONS]

    def value(self, name: str) -> float:
        return self._view(name).value

    def change(self, values: dict[str, float | None], user: str) -> list[DefaultSetting]:
        """Set what is given, None for the default again. Raises `InvalidOptions`; then nothing is changed."""
        check_known(values, DEFINITIONS, "default setting")
        checked = {name: None if value is None else _checked(name, value) for name, value in values.items()}
        with self._store.write() as session:
            for name, value in checked.items():
                session.execute(delete(DefaultSettingRow).where(DefaultSettingRow.name == name))
                if value is not None:
                    session.add(DefaultSettingRow(name=name, value=value, changed=time.time(), changed_by=user))
        self.load()
        return self.all()

    def limits(self, base: ModelLimits) -> ModelLimits:
        """`base` with what is set here."""
        return ModelLimits(**{**vars(base), "max_model_size_mb": self.value("max_model_size_mb")})

    def variables(self) -> dict[str, str]:
        """What an environment that starts now is told: changed settings only."""
        with self._lock:
            changed = {name: value for name, (value, _, _) in self._changed.items()}
        return {d.variable: str(int(changed[n])) for n, d in DEFINITIONS.items() if d.variable and n in changed}

    def _view(self, name: str) -> DefaultSetting:
        definition = DEFINITIONS[name]
        with self._lock:
            value, changed, user = self._changed.get(name, (definition.default, None, ""))
        shown = (definition.unit, definition.description, definition.least, definition.most)
        return DefaultSetting(name, value, definition.default, *shown, changed, user)


def _checked(name: str, value: Any) -> float:
    definition = DEFINITIONS[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and (name in _DECIMAL or float(value).is_integer())
    if not whole or not definition.least <= value <= definition.most:
        kind = "a number" if name in _DECIMAL else "a whole number"
        raise InvalidOptions(
            f"{name} cannot be {value!r}.",
            remedy=f"Give {kind} from {definition.least:,} to {definition.most:,} {definition.unit}.",
            setting=name,
        )
    return float(value) if name in _DECIMAL else int(value)
