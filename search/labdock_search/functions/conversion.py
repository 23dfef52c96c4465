"""Conversion functions."""

import re

from labdock_search import kinds, sql
from labdock_search.faults import fault, shown
from labdock_search.functions.base import Arguments, attempt, function, numeric, string
from labdock_search.kinds import Kind, Value

FAMILY = "conversion"
DIRECTIVE = re.compile(r"%(?:%|([-+ 0#']*)(\d*)(?:\.(\d+))?([a-zA-Z]))")


@function(
    "tonumber",
    "tonumber(text[, base])",
    "The number that a text stands for, else null.",
    FAMILY,
    1,
    2,
    ('tonumber("12.5")', 12.5),
    ('tonumber("ff", 16)', 255),
    ('tonumber("abc")', None),
)
def tonumber(args: Arguments) -> Value:
    if len(args) == 1:
        return kinds.to_number(args.value(0))
    base = args.whole(1, "a base from 2 to 36")
    if not 2 <= base <= 36:
        raise fault(f"{base} is no base", args.node.arguments[1].span, expected="a whole number from 2 to 36")
    if base == 10:
        return kinds.to_number(args.value(0))
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"[:base]
    text = sql.call("lower", sql.call("trim", args.string(0).use()))
    position = sql.binary("-", sql.call("strpos", sql.text(digits), sql.column("item")), sql.number(1))
    values = sql.call("list_transform", sql.call("string_split", text.copy(), sql.text("")), sql.each("item", position))
    step = sql.binary("+", sql.binary("*", sql.column("total"), sql.number(base)), sql.column("digit"))
    lam = sql.each("total", step)
    lam.append("expressions", sql.name("digit"))
    whole = attempt(sql.cast(sql.call("list_reduce", values, lam), "BIGINT"))
    valid = sql.call("regexp_full_match", text, sql.text(f"[{digits}]{{1,18}}"))
    return numeric(sql.case([(valid, whole)]), args.string(0), whole=True)


@function(
    "tostring",
    'tostring(value[, "hex"|"commas"|"duration"])',
    "The value as text.",
    FAMILY,
    1,
    2,
    ("tostring(15)", "15"),
    ('tostring(255, "hex")', "0xFF"),
    ('tostring(12345.6789, "commas")', "12,345.68"),
    ('tostring(615, "duration")', "00:10:15"),
    ('tostring(-90061, "duration")', "-1+01:01:01"),
)
def tostring(args: Arguments) -> Value:
    if len(args) == 1:
        return kinds.to_string(args.value(0))
    form = args.constant(1, "hex, commas or duration")
    value = args.number(0)
    if form == "hex":
        whole = sql.try_cast(sql.call("trunc", value.use()), "BIGINT")
        return string(sql.binary("||", sql.text("0x"), attempt(sql.call("to_base", whole, sql.number(16)))), value)
    if form == "commas":
        pattern = sql.text("{:,.2f}" if value.kind is Kind.NUM else "{:,}")
        shown_value = sql.call("format", pattern, value.use())
        return string(sql.case([(sql.not_null(value.use()), shown_value)]), value, value)
    if form == "duration":
        return string(_duration(value), value, value, value, value, value, value)
    raise fault(f"Unknown form {shown(form)}", args.node.arguments[1].span, expected='"hex", "commas" or "duration"')


def _duration(value: Value) -> sql.E:
    """`[-][D+]HH:MM:SS`."""
    seconds = sql.call("abs", sql.try_cast(sql.call("trunc", value.use()), "BIGINT"))
    sign = sql.case([(sql.binary("<=", value.use(), sql.number(-1)), sql.text("-"))], sql.text(""))

    def part(divisor: int, modulus: int) -> sql.E:
        found = sql.binary("//", seconds.copy(), sql.number(divisor)) if divisor > 1 else seconds.copy()
        return sql.binary("%", found, sql.number(modulus))

    clock = sql.call("printf", sql.text("%02d:%02d:%02d"), part(3600, 24), part(60, 60), part(1, 60))
    days = sql.binary("//", seconds.copy(), sql.number(86400))
    long = sql.binary("||", sql.binary("||", sql.cast(days.copy(), "VARCHAR"), sql.text("+")), clock.copy())
    length = sql.case([(sql.binary(">", days, sql.number(0)), long)], clock)
    shown_value = sql.binary("||", sign, length)
    return sql.case([(sql.is_null(value.use()), sql.cast(sql.null(), "VARCHAR"))], shown_value)


@function(
    "printf",
    "printf(format, value, …)",
    "Values laid out by a format (%s %d %i %u %f %e %g %x %X %o %c).",
    FAMILY,
    1,
    None,
    ('printf("%05.1f|%s|%d", 3.14159, "a", 7)', "003.1|a|7"),
)
def printf(args: Arguments) -> Value:
    form = args.constant(0, "a format")
    wanted = [m for m in DIRECTIVE.finditer(form) if m.group(0) != "%%"]
    if len(wanted) != len(args) - 1:
        message = f"The format asks for {len(wanted)} values, {len(args) - 1} are given"
        raise fault(message, args.span, expected="one value for each % in the format")
    parts, pattern, at = [], [], 0
    for index, match in enumerate(wanted, 1):
        pattern.append(form[at : match.start()])
        piece, tree = _directive(match, args, index)
        pattern.append(piece)
        parts.append(tree)
        at = match.end()
    leftover = "".join(pattern) + form[at:]
    if re.search(r"%(?![-+ 0#]*\d*(\.\d+)?[a-zA-Z%])", leftover):
        raise fault("The format has a % that stands for nothing", args.node.arguments[0].span, expected="%% for a %")
    return string(attempt(sql.call("printf", sql.text(leftover), *parts)), *args.values())


def _directive(match: re.Match[str], args: Arguments, index: int) -> tuple[str, sql.E]:
    flags, width, precision, letter = match.groups()
    if int(width or 0) > 1000 or int(precision or 0) > 100:
        raise fault("The format is too wide", args.node.arguments[0].span, expected="at most 1000 characters")
    flags = flags.replace("'", "")
    decimals = f".{precision}" if precision is not None else ""
    if letter in "diuxXo":
        whole = sql.cast(sql.call("trunc", args.number(index).use()), "BIGINT")
        return f"%{flags}{width}{'d' if letter in 'iu' else letter}", whole
    if letter in "fFeEgG":
        return f"%{flags}{width}{decimals}{letter}", sql.cast(args.number(index).use(), "DOUBLE")
    if letter in "sc":
        return f"%{flags.replace('0', '')}{width}{decimals}s", args.string(index).use()
    span = args.node.arguments[0].span
    raise fault(f"Unknown conversion %{letter}", span, expected="%s %d %i %u %f %e %g %x %X %o %c")
