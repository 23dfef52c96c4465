"""Figures in words: the filters of the templates. `static/js/words.js` says the same in the browser."""

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from labdock import figures

NARROW = "\u202f"  # a thin space that does not break
NOTHING = "\u2013"
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def figure(words: Callable[[float], str]) -> Callable[[Any], str]:
    """The filter with a dash for nothing; what a record has in place of a figure stays as it is."""

    @functools.wraps(words)
    def shown(value: Any) -> str:
        if value is None:
            return NOTHING
        return words(value) if isinstance(value, int | float) else str(value)

    return shown


@figure
def number(value: float) -> str:
    """`12 345`, `0.25`."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}".replace(",", NARROW)
    return figures.figure(value).replace(",", NARROW)


@figure
def size(value: float) -> str:
    """Bytes with a decimal unit: `12.3 MB`."""
    amount, unit = float(value), 0
    while abs(amount) >= 999.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    shown = f"{amount:.0f}" if unit == 0 or amount >= 99.95 else f"{amount:.1f}"
    return f"{shown}{NARROW}{UNITS[unit]}"


@figure
def duration(seconds: float) -> str:
    """`0.3 s`, `42 s`, `5 min`, `3 h 20 min`, `4 d 2 h`."""
    if seconds < 10:
        return f"{seconds:.1f}{NARROW}s" if seconds >= 0.1 else f"{seconds * 1000:.0f}{NARROW}ms"
    whole = round(seconds)
    if whole < 120:
        return f"{whole}{NARROW}s"
    if whole < 7200:
        return f"{whole // 60}{NARROW}min"
    hours, days = whole // 3600, whole // 86_400
    if hours < 48:
        return f"{hours}{NARROW}h {whole % 3600 // 60}{NARROW}min"
    return f"{days}{NARROW}d {hours % 24}{NARROW}h"


@figure
def percent(part: float) -> str:
    return f"{part * 100:.0f}{NARROW}%"


def iso(epoch: float | None) -> str:
    """Epoch seconds as `<time datetime>` wants them; the browser turns them to its own zone."""
    moment = _moment(epoch)
    return moment.isoformat(timespec="milliseconds") if moment else ""


def utc(epoch: float | None) -> str:
    """What stands there until the browser's zone is known."""
    moment = _moment(epoch)
    return moment.strftime("%Y-%m-%d %H:%M UTC") if moment else NOTHING


def _moment(epoch: float | None) -> datetime | None:
    """None for nothing and for what no calendar has."""
    try:
        return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def plural(count: int, one: str, many: str = "") -> str:
    """`1 row`, `2 rows`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def as_json(value: Any) -> str:
    """For a data attribute: the template escapes it like any text."""
    return json.dumps(value, default=str)


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "size": size,
    "duration": duration,
    "percent": percent,
    "iso": iso,
    "utc": utc,
    "plural": plural,
    "as_json": as_json,
}
