"""A result as charts see it: its time, its texts and its numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Sequence[Mapping[str, Any]]
TIME = "_time"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_INNER = {"series", "value", "time"}  # what charts call their own columns


@dataclass(frozen=True)
class Shape:
    """A result as charts see it: its time, its texts and its numbers, each in the order of the result."""

    rows: Rows
    time: bool
    texts: list[str]
    numbers: list[str]
    names: dict[str, str]  # field -> what the chart calls it

    @property
    def labels(self) -> dict[str, str]:
        return {inner: name for name, inner in self.names.items()}

    def distinct(self, name: str) -> list[Any]:
        """The values of a field, the most frequent first; with numbers about, those of the largest sums."""
        weights: dict[Any, float] = {}
        for row in self.rows:
            amount = row.get(self.numbers[0]) if self.numbers else 1
            size = abs(amount) if isinstance(amount, int | float) else 0
            weights[row.get(name)] = weights.get(row.get(name), 0) + size
        return [value for value in sorted(weights, key=lambda v: -weights[v]) if value is not None]


def shape_of(fields: Sequence[Mapping[str, str]], rows: Rows) -> Shape:
    visible = [f for f in fields if not f["name"].startswith("_") or f["name"] == TIME]
    numbers = [f["name"] for f in visible if f["type"] == "number" and f["name"] != TIME]
    texts = [f["name"] for f in visible if f["type"] == "string" and f["name"] != TIME]
    time = any(f["name"] == TIME and f["type"] == "number" for f in visible)
    # A text with a value of its own in nearly every row, such as a message, divides nothing.
    if numbers and len(texts) > 1:
        texts = [t for t in texts if len({row.get(t) for row in rows}) <= max(50, len(rows) // 2)] or texts[:1]
    names = {TIME: "time"}
    for at, name in enumerate([*texts, *numbers]):
        names[name] = name if _PLAIN.fullmatch(name) and name not in _INNER else f"c{at}"
    return Shape(rows, time, texts, numbers, names)


def values_of(shape: Shape) -> list[dict[str, Any]]:
    """The rows with the columns that charts use; times in milliseconds, numbers that JSON lacks left out."""
    used = [*([TIME] if shape.time else []), *shape.texts, *shape.numbers]
    found = []
    for row in shape.rows:
        values = {shape.names[name]: row.get(name) for name in used}
        for name in shape.numbers:
            if not isinstance(row.get(name), int | float):
                values[shape.names[name]] = None
        if shape.time:
            moment = row.get(TIME)
            values["time"] = moment * 1000 if isinstance(moment, int | float) else None
        found.append(values)
    return found


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
