"""Date and time functions. Times are epoch seconds; formats and snaps follow the user's time zone."""

import re

from labdock_search import sql, times
from labdock_search.faults import Span, fault, shown
from labdock_search.functions.base import Arguments, attempt, function, numeric, string
from labdock_search.kinds import Value, number, to_number
from labdock_search.sql import E

FAMILY = "date and time"
PLACE = re.compile(r"%(?:([1-9]?)([NQ])|(E?[a-zA-Z%+-]?))", re.DOTALL)

# Splunk's letters that DuckDB spells differently; None where a part of its own is needed.
FORMAT = {
    "F": "%Y-%m-%d",
    "T": "%H:%M:%S",
    "D": "%m/%d/%y",
    "R": "%H:%M",
    "e": "%-d",
    "k": "%-H",
    "l": "%-I",
    "c": "%a %b %-d %H:%M:%S %Y",
    "x": "%m/%d/%Y",
    "X": "%H:%M:%S",
    "+": "%a %b %-d %H:%M:%S %Z %Y",
    "h": "%b",
    "C": "%Y",
    "t": "\t",
    "n": "\n",
    "E": "%Y",
    "P": "%p",
}
SAME = set("YmdHMSyjUWwAaBbpIZV%uG")


def moment(value: Value) -> E:
    """Epoch seconds as a timestamp, null where it is out of range."""
    return attempt(sql.call("to_timestamp", to_number(value).use()))


@function("now", "now()", "The time at which the search began.", FAMILY, 0, -1, ("if(now() > 1500000000, 1, 0)", 1))
def now(args: Arguments) -> Value:
    return number(int(args.scope.plan.now))


@function("time", "time()", "The time now, with microseconds.", FAMILY, 0, -1, ("if(time() > 1600000000, 1, 0)", 1))
def time(args: Arguments) -> Value:
    return numeric(sql.call("epoch", sql.call("get_current_timestamp")))


@function(
    "strftime",
    "strftime(time, format)",
    "A time as text.",
    FAMILY,
    2,
    -1,
    ('strftime(1534770000.25, "%Y-%m-%dT%H:%M:%S.%3N")', "2018-08-20T13:00:00.250"),
)
def strftime(args: Arguments) -> Value:
    value = args.number(0)
    parts = format_parts(value, args.constant(1, "a format"), args.node.arguments[1].span)
    tree = parts[0]
    for part in parts[1:]:
        tree = sql.binary("||", tree, part)
    return string(tree, *[value] * len(parts))


def format_parts(value: Value, form: str, span: Span) -> list[E]:
    """The pieces of a formatted time, to be joined."""
    parts: list[E] = []
    plain: list[str] = []

    def flush() -> None:
        if any(plain):
            parts.append(sql.call("strftime", moment(value), sql.text("".join(plain))))
        plain.clear()

    at = 0
    for match in PLACE.finditer(form):
        plain.append(form[at : match.start()])
        at = match.end()
        digits, fraction, letter = match.groups()
        if fraction:
            count = int(digits or (3 if fraction == "Q" else 9))
            flush()
            nanos = sql.call("strftime", moment(value), sql.text("%n"))
            parts.append(sql.call("rpad", nanos, sql.number(count), sql.text("0")))
        elif letter in {"z", "Ez"}:
            flush()
            parts.append(_offset(value, colon=letter == "Ez"))
        elif letter == "s":
            flush()
            parts.append(sql.cast(sql.cast(sql.call("floor", value.use()), "BIGINT"), "VARCHAR"))
        elif letter in SAME or letter in FORMAT:
            plain.append(FORMAT.get(letter, f"%{letter}"))
        else:
            raise fault(f"Unknown time format {shown(match.group())}", span, expected="%Y %m %d %H %M %S %3N %z …")
    plain.append(form[at:])
    flush()
    return parts or [sql.text("")]


def _offset(value: Value, *, colon: bool) -> E:
    """`+0200`."""
    seconds = sql.cast(sql.call("date_part", sql.text("timezone"), moment(value)), "BIGINT")
    sign = sql.case([(sql.binary("<", seconds.copy(), sql.number(0)), sql.text("-"))], sql.text("+"))
    size = sql.call("abs", seconds)
    hours = sql.binary("//", size.copy(), sql.number(3600))
    minutes = sql.binary("//", sql.binary("%", size, sql.number(3600)), sql.number(60))
    pattern = "%02d:%02d" if colon else "%02d%02d"
    return sql.binary("||", sign, sql.call("printf", sql.text(pattern), hours, minutes))


@function(
    "strptime",
    "strptime(text, format)",
    "The time that a text stands for, null where it does not fit.",
    FAMILY,
    2,
    -1,
    ('strptime("2018-08-20 13:00:00", "%Y-%m-%d %H:%M:%S")', 1534770000.0),
    ('strptime("no time", "%Y")', None),
)
def strptime(args: Arguments) -> Value:
    text, form = args.string(0), args.constant(1, "a format")
    return parse_time(text, form, args.node.arguments[1].span, args.scope.plan.timezone)


def parse_time(text: Value, form: str, span: Span, zone: str) -> Value:
    """Epoch seconds of a text in a format."""
    if form == "%s":
        return to_number(text)
    pieces, at = [], 0
    for match in PLACE.finditer(form):
        pieces.append(form[at : match.start()])
        at = match.end()
        digits, fraction, letter = match.groups()
        if fraction:
            pieces.append({"3": "%g", "6": "%f", "": "%g" if fraction == "Q" else "%n", "9": "%n"}.get(digits, "%n"))
        elif letter in {"z", "Ez", "Z"}:
            pieces.append("%Z" if letter == "Z" else "%z")
        elif letter in SAME or letter in FORMAT:
            pieces.append(FORMAT.get(letter, f"%{letter}"))
        else:
            raise fault(f"Unknown time format {shown(match.group())}", span, expected="%Y %m %d %H %M %S %3N %z …")
    pattern = "".join(pieces) + form[at:]
    found: E = sql.call("try_strptime", text.use(), sql.text(pattern))
    if "%z" not in pattern and "%Z" not in pattern:
        found = sql.call("timezone", sql.text(zone), found)
    return numeric(sql.call("epoch", found), text)


@function(
    "relative_time",
    "relative_time(time, relative)",
    "A time moved and snapped.",
    FAMILY,
    2,
    -1,
    ('relative_time(1534773599, "-1h@h")', 1534766400.0),
)
def relative_time(args: Arguments) -> Value:
    written = args.constant(1, "a relative time")
    steps = times.relative_steps(written)
    if steps is None:
        span = args.node.arguments[1].span
        raise fault(f"{shown(written)} is no relative time", span, expected="a relative time such as -1d@d")
    value = args.number(0)
    return numeric(sql.call("epoch", attempt(shifted(moment(value), steps))), value)


def shifted(tree: E, steps: list[times.Step]) -> E:
    """A timestamp after offsets and snaps, in the session's time zone."""
    names = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mon": "month", "y": "year"}
    for step in steps:
        if step.snap and step.unit == "w":
            # DuckDB's weeks begin on Monday; move so that the wanted day does.
            days = (step.weekday - 1) % 7
            moved = sql.binary("-", tree, interval(days, "d"))
            tree = sql.binary("+", sql.call("date_trunc", sql.text("week"), moved), interval(days, "d"))
        elif step.snap:
            unit = "quarter" if step.unit == "q" else names.get(step.unit, "millisecond")
            tree = sql.call("date_trunc", sql.text(unit), tree)
        else:
            sign = "-" if step.amount < 0 else "+"
            tree = sql.binary(sign, tree, interval(abs(step.amount), step.unit))
    return tree


def interval(amount: int, unit: str) -> E:
    if unit in {"us", "ms", "cs", "ds"}:
        return sql.call("to_microseconds", sql.number(int(amount * times.SECONDS[unit] * 1e6)))
    names = {
        "s": "to_seconds",
        "m": "to_minutes",
        "h": "to_hours",
        "d": "to_days",
        "w": "to_weeks",
        "mon": "to_months",
        "q": "to_quarters",
        "y": "to_years",
    }
    return sql.call(names[unit], sql.number(amount))
