"""Times of events: numbers and texts of the usual forms as epoch seconds.

Rules. A number is seconds, milliseconds, microseconds or nanoseconds since 1970, told by its size. A text is ISO 8601
or one of `FORMATS`. A text without a zone is in the caller's zone, UTC by default. `11/12/2026` is the 12th of
November, as Splunk reads it, unless the first number is above 12. A syslog time without a year is the latest such
time that is not more than a day ahead.
"""

import datetime as dt
import email.utils
import functools
import re
import zoneinfo
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from labdock.errors import InvalidOptions
from labdock_search.data import fields
from labdock_search.data.normalize import seconds

# Where no field is named, the first of these that an event has, in this order, case aside.
CANDIDATES = (
    "_time",
    "@timestamp",
    "timestamp",
    "time",
    "ts",
    "eventtime",
    "timecreated",
    "timegenerated",
    "event_time",
    "datetime",
    "date_time",
    "date",
    "created_at",
    "starttime",
    "start_time",
)
FORMATS = (
    "%d/%b/%Y:%H:%M:%S %z",  # Apache, nginx
    "%d/%b/%Y:%H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",  # Windows
    "%m/%d/%Y %H:%M:%S.%f",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M:%S.%f",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",  # ctime
    "%b %d, %Y %I:%M:%S %p",
    "%b %d %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%Y%m%dT%H%M%S",
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_DIGITS14 = re.compile(r"(19|20)\d{12}", re.ASCII)
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_SYSLOG = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", re.ASCII)
_LEADING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"
    r"|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?: [+-]\d{4})?"
    r"|(?<=^)\d{10}(?:\.\d+)?(?=\s)|(?<=^)\d{13}(?=\s)"
    r"|(?:(?<=^)|(?<=>))[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d",
    re.ASCII,
)
_UTC = dt.UTC


def zone_of(name: str) -> dt.tzinfo:
    """The time zone `Europe/Berlin`, `UTC` or `+02:00`. Raises `InvalidOptions`."""
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", name, re.ASCII)
    if offset:
        sign = -1 if offset[1] == "-" else 1
        return dt.timezone(sign * dt.timedelta(hours=int(offset[2]), minutes=int(offset[3])))
    try:
        return _UTC if name in ("UTC", "Z") else zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidOptions(
            f"There is no time zone {name!r}.", remedy="Use a name such as Europe/Berlin, or an offset such as +02:00."
        ) from None


def from_number(value: float) -> float | None:
    """Epoch seconds of a number in any unit; None for NaN and infinity."""
    size = abs(value)
    for limit, unit in ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9)):
        if size < limit:
            return value / unit
    return None


def parse(value: Any, zone: dt.tzinfo = _UTC, form: str | None = None) -> float | None:
    """Epoch seconds of one value, or None where it is no time. `form` is a `strptime` format that is tried alone."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return from_number(value)
    return _parse_text(str(value).strip(), zone, form)


@functools.lru_cache(maxsize=8192)
def _parse_text(text: str, zone: dt.tzinfo, form: str | None) -> float | None:
    if form is not None:
        return _strptime(text, form, zone)
    if _NUMBER.fullmatch(text) and not _DIGITS14.fullmatch(text):
        return from_number(float(text))
    found = _iso(text, zone)
    return _other(text, zone) if found is None else found


def _iso(text: str, zone: dt.tzinfo) -> float | None:
    """ISO 8601; more than six digits of a second's fraction, a comma, a space before the zone and `UTC` are fine."""
    fraction = 0.0
    tidy = text.replace(" UTC", "Z").replace(" +", "+").replace(" Z", "Z")
    found = _FRACTION.search(tidy)
    if found:
        fraction = float(f"0.{found[1]}")
        tidy = tidy[: found.start()] + tidy[found.end() :]
    try:
        moment = dt.datetime.fromisoformat(tidy)
    except ValueError:
        return None
    return _epoch(moment, zone) + fraction


def _other(text: str, zone: dt.tzinfo) -> float | None:
    for form in FORMATS:
        found = _strptime(text, form, zone)
        if found is not None:
            return found
    if _SYSLOG.match(text):
        return _without_year(text[:15], zone)
    try:
        return _epoch(email.utils.parsedate_to_datetime(text), zone)
    except (ValueError, TypeError, IndexError):
        return None


def _strptime(text: str, form: str, zone: dt.tzinfo) -> float | None:
    if form in ("%s", "%s.%f"):
        return from_number(float(text)) if _NUMBER.fullmatch(text) else None
    try:
        return _epoch(dt.datetime.strptime(text, form), zone)  # noqa: DTZ007 - `_epoch` adds the zone
    except ValueError:
        return None


def _without_year(text: str, zone: dt.tzinfo) -> float | None:
    limit = dt.datetime.now(_UTC).timestamp() + 86_400
    year = dt.datetime.now(zone).year
    for guess in (year + 1, year, year - 1, year - 4):  # the last for the 29th of February
        found = _strptime(f"{guess} {text}", "%Y %b %d %H:%M:%S", zone)
        if found is not None and found <= limit:
            return found
    return None


def _epoch(moment: dt.datetime, zone: dt.tzinfo) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def choose(names: list[str], given: str | None = None) -> list[str]:
    """The time fields among `names`: the one that was asked for, else the candidates, the likeliest first."""
    if given is not None:
        return [given] if given in names else []
    by_fold = {n.casefold(): n for n in reversed(names)}
    return [by_fold[c] for c in CANDIDATES if c in by_fold]


def leading(line: str, zone: dt.tzinfo = _UTC) -> float | None:
    """The time that a log line carries near its beginning, or None."""
    found = _LEADING.search(line, 0, 128)
    return parse(found[0], zone) if found else None


def parse_column(column: pa.ChunkedArray, zone: dt.tzinfo = _UTC, form: str | None = None) -> pa.ChunkedArray:
    """A column of an event type as epoch seconds; null where a value is no time."""
    if column.type in (fields.INT, fields.FLOAT):
        return _numbers(pc.cast(column, fields.FLOAT, safe=False))
    if column.type != fields.TEXT:
        return pa.chunked_array([pa.nulls(len(column), fields.FLOAT)])
    if form is None:
        fast = _fast(column, zone)
        if fast is not None:
            return fast
    return pa.chunked_array([pa.array([parse(v, zone, form) for v in column.to_pylist()], fields.FLOAT)])


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    size = pc.abs(column)
    unit = pc.if_else(
        pc.less(size, 1e11), 1.0, pc.if_else(pc.less(size, 1e14), 1e3, pc.if_else(pc.less(size, 1e17), 1e6, 1e9))
    )
    known = pc.less(pc.fill_null(size, 0.0), 1e20)  # false for NaN and infinity
    return pc.if_else(known, pc.divide(column, unit), pa.scalar(None, fields.FLOAT))


def _fast(column: pa.ChunkedArray, zone: dt.tzinfo) -> pa.ChunkedArray | None:
    """All values at once, where they are all numbers or all ISO 8601 of one kind."""
    first = next((v for v in column.slice(0, 100).to_pylist() if v), "")
    try:
        if _NUMBER.fullmatch(first) and not _DIGITS14.fullmatch(first):
            return _numbers(pc.cast(column, fields.FLOAT))
        if zone is _UTC or first.endswith("Z"):
            type_ = pa.timestamp("ns", "UTC") if first.endswith("Z") else pa.timestamp("ns")
            return seconds(pc.cast(column, type_), 1_000_000_000)
    except pa.ArrowInvalid:
        pass
    return None
