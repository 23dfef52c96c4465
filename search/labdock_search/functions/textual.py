"""Text functions."""

import re

from labdock_search import sql
from labdock_search.functions.base import Arguments, function, numeric, string
from labdock_search.kinds import Value

FAMILY = "text"


def _simple(args: Arguments, name: str) -> Value:
    value = args.string(0)
    return string(sql.call(name, value.use()), value)


@function("lower", "lower(text)", "In lower case.", FAMILY, 1, -1, ('lower("AbC")', "abc"))
def lower(args: Arguments) -> Value:
    return _simple(args, "lower")


@function("upper", "upper(text)", "In upper case.", FAMILY, 1, -1, ('upper("AbC")', "ABC"))
def upper(args: Arguments) -> Value:
    return _simple(args, "upper")


@function("len", "len(text)", "How many characters.", FAMILY, 1, -1, ('len("abc")', 3))
def length(args: Arguments) -> Value:
    value = args.string(0)
    return numeric(sql.call("length", value.use()), value, whole=True)


def _trim(args: Arguments, name: str) -> Value:
    value = args.string(0)
    if len(args) == 1:
        return string(sql.call(name, value.use(), sql.text(" \t")), value)
    characters = args.string(1)
    return string(sql.call(name, value.use(), characters.use()), value, characters)


@function(
    "trim",
    "trim(text[, characters])",
    "Without spaces or given characters around it.",
    FAMILY,
    1,
    2,
    ('trim("  a ")', "a"),
)
def trim(args: Arguments) -> Value:
    return _trim(args, "trim")


@function("ltrim", "ltrim(text[, characters])", "Trimmed on the left.", FAMILY, 1, 2, ('ltrim("xxa", "x")', "a"))
def ltrim(args: Arguments) -> Value:
    return _trim(args, "ltrim")


@function("rtrim", "rtrim(text[, characters])", "Trimmed on the right.", FAMILY, 1, 2, ('rtrim("axx", "x")', "a"))
def rtrim(args: Arguments) -> Value:
    return _trim(args, "rtrim")


@function(
    "substr",
    "substr(text, start[, length])",
    "Part of a text; the first character is 1, negative counts from the end.",
    FAMILY,
    2,
    3,
    ('substr("abcdef", 2, 3)', "bcd"),
    ('substr("abcdef", -2)', "ef"),
)
def substr(args: Arguments) -> Value:
    value = args.string(0)
    numbers = [args.number(i) for i in range(1, len(args))]
    places = [sql.cast(n.use(), "BIGINT") if not isinstance(n.constant, int) else n.use() for n in numbers]
    return string(sql.call("substring", value.use(), *places), value, *numbers)


@function(
    "replace",
    "replace(text, regex, replacement)",
    r"Every match replaced; \1 is the first group.",
    FAMILY,
    3,
    -1,
    (r'replace("1/14/2023", "^(\d+)/(\d+)/", "\2/\1/")', "14/1/2023"),
)
def replace(args: Arguments) -> Value:
    value = args.string(0)
    pattern = sql.text(args.pattern(1))
    by = args.constant(2, "a replacement")
    safe = re.sub(r"\\(?!\d)", r"\\\\", by)
    return string(sql.call("regexp_replace", value.use(), pattern, sql.text(safe), sql.text("g")), value)


@function("urldecode", "urldecode(text)", "With %41 decoded.", FAMILY, 1, -1, ('urldecode("a%20b")', "a b"))
def urldecode(args: Arguments) -> Value:
    return _simple(args, "url_decode")


@function(
    "urlencode", "urlencode(text)", "With special characters as %41.", FAMILY, 1, -1, ('urlencode("a b")', "a%20b")
)
def urlencode(args: Arguments) -> Value:
    return _simple(args, "url_encode")


@function(
    "ipmask",
    "ipmask(mask, ip)",
    "The address with a mask applied.",
    FAMILY,
    2,
    -1,
    ('ipmask("255.255.0.0", "10.1.2.3")', "10.1.0.0"),
)
def ipmask(args: Arguments) -> Value:
    args.scope.plan.uses_python("labdock_ipmask")
    mask, address = args.string(0), args.string(1)
    return string(sql.call("labdock_ipmask", mask.use(), address.use()), mask, address)
