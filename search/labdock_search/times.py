"""Times as users write them: relative (`-24h@h`), absolute, epoch; spans; strftime formats."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from labdock_search.faults import Span, fault, shown

UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "week", "weeks"),
    "mon": ("mon", "month", "months"),
    "q": ("q", "qtr", "qtrs", "quarter", "quarters"),
    "y": ("y", "yr", "yrs", "year", "years"),
    "us": ("us",),
    "ms": ("ms",),
    "cs": ("cs",),
    "ds": ("ds",),
}
UNIT_OF = {word: unit for unit, words in UNITS.items() for word in words}
SECONDS = {"us": 1e-6, "ms": 1e-3, "cs": 1e-2, "ds": 0.1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

YEAR = 365 * 86_400
LENGTHS = {**SECONDS, "mon": YEAR / 12, "q": YEAR / 4, "y": YEAR}
FARTHEST = 9_999 * YEAR  # one offset of a relative time: calendars end there
MOST_STEPS = 20
LAST = 253_402_300_799  # the last second of the year 9999
BEYOND = (OverflowError, ValueError, OSError)  # what datetime raises for a time that it cannot hold
# What the zone database has for its own use; DuckDB knows none of them.
NO_ZONES = ("localtime", "posixrules", "posix/", "right/")

RELATIVE = re.compile(r"(?:([+-]?)(\d*)([a-zA-Z]+))?(?:@([a-zA-Z]+)([0-7]?))?", re.ASCII)
SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)(?:@(\w+))?")
ABSOLUTE = ("%m/%d/%Y:%H:%M:%S", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


@dataclass(frozen=True)
class Step:
    """One part of a relative time: an offset (`-24h`) or a snap (`@d`, `@w1`)."""

    unit: str
    amount: int = 0
    snap: bool = False
    weekday: int = 0  # 0 is Sunday


@dataclass(frozen=True)
class TimeSpan:
    amount: float
    unit: str  # one of UNITS, or "" for a plain number

    @property
    def seconds(self) -> float | None:
        """Its fixed length, or None for months and longer."""
        return self.amount * SECONDS[self.unit] if self.unit in SECONDS else None


def zone(name: str) -> ZoneInfo:
    try:
        if name.startswith(NO_ZONES):
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise fault(f"Unknown time zone {shown(name)}", Span(0), remedy="Use a name such as Europe/Berlin.") from None


def relative_steps(written: str) -> list[Step] | None:
    """The steps of `-1d@d+2h`, or None where it is no relative time."""
    if written in {"now", "now()"}:
        return []
    steps: list[Step] = []
    at = 0
    while at < len(written):
        match = RELATIVE.match(written, at)
        if match is None or match.end() == at:
            return None
        sign, digits, word, snap, weekday = match.groups()
        if word:
            unit = UNIT_OF.get(word.lower() if word != "M" else "mon")
            if unit is None or len(digits) > 12 or not (sign or digits):
                return None
            amount = int(digits or 1)
            if amount * LENGTHS[unit] > FARTHEST:
                return None
            steps.append(Step(unit, -amount if sign == "-" else amount))
        if snap:
            unit = UNIT_OF.get(snap.lower())
            if unit is None or (weekday and unit != "w"):
                return None
            steps.append(Step(unit, snap=True, weekday=int(weekday or 0) % 7))
        at = match.end()
    return steps if 0 < len(steps) <= MOST_STEPS else None


def resolve(written: str, now: float, zone_name: str, span: Span) -> float | None:
    """Epoch seconds of a time as written; None for "" and 0 (all time). Raises `SearchError`."""
    plain = written.strip()
    if plain in {"", "0"}:
        return None if plain == "" else 0.0
    if re.fullmatch(r"\d{1,12}(\.\d+)?", plain, re.ASCII) and float(plain) <= LAST:
        return float(plain)
    steps = relative_steps(plain)
    try:
        if steps is not None:
            return shift(now, steps, zone_name)
        return _absolute(plain, zone_name)
    except BEYOND:
        pass
    raise fault(
        f"{shown(written)} is no time",
        span,
        expected="a relative time (-24h@h, now), epoch seconds up to the year 9999, or 2018-08-20T13:00:00",
    )


def _absolute(written: str, zone_name: str) -> float:
    for form in ABSOLUTE:
        try:
            return datetime.strptime(written, form).replace(tzinfo=zone(zone_name)).timestamp()
        except ValueError:
            continue
    moment = datetime.fromisoformat(written)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone(zone_name))).timestamp()


def shift(moment: float, steps: list[Step], zone_name: str) -> float:
    """Apply offsets and snaps in the user's zone. Raises one of `BEYOND` outside the years 1 to 9999."""
    local = datetime.fromtimestamp(moment, UTC).astimezone(zone(zone_name))
    for step in steps:
        local = _snap(local, step) if step.snap else _offset(local, step)
    return local.timestamp()


def _offset(local: datetime, step: Step) -> datetime:
    if step.unit in {"mon", "q", "y"}:
        months = step.amount * {"mon": 1, "q": 3, "y": 12}[step.unit]
        total = local.year * 12 + local.month - 1 + months
        year, month = divmod(total, 12)
        first = local.replace(year=year, month=month + 1, day=1)
        nextmonth = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        return first.replace(day=min(local.day, (nextmonth - timedelta(days=1)).day))
    if step.unit in {"d", "w"}:
        return local + timedelta(days=step.amount * (7 if step.unit == "w" else 1))
    moved = local.astimezone(UTC) + timedelta(seconds=step.amount * SECONDS[step.unit])
    return moved.astimezone(local.tzinfo)


def _snap(local: datetime, step: Step) -> datetime:
    if step.unit in {"us", "ms", "cs", "ds"}:
        return local
    cut = {"second": 0, "minute": 0, "hour": 0}
    if step.unit in {"s", "m", "h"}:
        keep = {"s": (), "m": ("second",), "h": ("second", "minute")}[step.unit]
        return local.replace(microsecond=0, **dict.fromkeys(keep, 0))  # type: ignore[arg-type]
    day = local.replace(microsecond=0, **cut)  # type: ignore[arg-type]
    if step.unit == "w":
        return day - timedelta(days=(day.isoweekday() - step.weekday) % 7)
    if step.unit == "mon":
        return day.replace(day=1)
    if step.unit == "q":
        return day.replace(day=1, month=day.month - (day.month - 1) % 3)
    return day.replace(day=1, month=1) if step.unit == "y" else day


def parse_span(written: str, span: Span) -> TimeSpan:
    """`1m`, `2h`, `1mon`, `10`. Raises `SearchError`."""
    match = SPAN.fullmatch(written.strip())
    word = match.group(2) if match else ""
    unit = "" if not word else "mon" if word == "M" else UNIT_OF.get(word.lower(), "?")
    amount = float(match.group(1)) if match else 0.0
    if match is None or unit == "?" or not 0 < amount < 1e15 or (unit in {"d", "w", "mon", "q", "y"} and amount % 1):
        raise fault(f"{shown(written)} is no span", span, expected="a span such as 1m, 1h, 1d or 1mon")
    return TimeSpan(amount, unit)
