"""Mathematical and trigonometric functions. Outside its domain a function gives null."""

import math

from labdock_search import kinds, sql
from labdock_search.functions.base import Arguments, attempt, function, numeric
from labdock_search.kinds import Kind, Value

FAMILY = "mathematical"
TRIG = "trigonometric"

_UNARY = {
    "exp": ("exp", "e to the power of x.", "exp(0)", 1.0),
    "ln": ("ln", "The natural logarithm.", "ln(1)", 0.0),
    "sqrt": ("sqrt", "The square root.", "sqrt(9)", 3.0),
    "sin": ("sin", "The sine of radians.", "sin(0)", 0.0),
    "cos": ("cos", "The cosine of radians.", "cos(0)", 1.0),
    "tan": ("tan", "The tangent of radians.", "tan(0)", 0.0),
    "asin": ("asin", "The arc sine.", "asin(0)", 0.0),
    "acos": ("acos", "The arc cosine.", "acos(1)", 0.0),
    "atan": ("atan", "The arc tangent.", "atan(0)", 0.0),
    "sinh": ("sinh", "The hyperbolic sine.", "sinh(0)", 0.0),
    "cosh": ("cosh", "The hyperbolic cosine.", "cosh(0)", 1.0),
    "tanh": ("tanh", "The hyperbolic tangent.", "tanh(0)", 0.0),
    "asinh": ("asinh", "The inverse hyperbolic sine.", "asinh(0)", 0.0),
    "acosh": ("acosh", "The inverse hyperbolic cosine.", "acosh(1)", 0.0),
    "atanh": ("atanh", "The inverse hyperbolic tangent.", "atanh(0)", 0.0),
}


def _register(name: str, target: str, summary: str, example: str, gives: float) -> None:
    family = FAMILY if name in {"exp", "ln", "sqrt"} else TRIG

    @function(name, f"{name}(x)", summary, family, 1, -1, (example, gives))
    def build(args: Arguments) -> Value:
        value = args.number(0)
        return numeric(attempt(sql.call(target, value.use())), value)


for _name, _row in _UNARY.items():
    _register(_name, *_row)


@function("abs", "abs(x)", "The distance from zero.", FAMILY, 1, -1, ("abs(-3)", 3))
def absolute(args: Arguments) -> Value:
    value = args.number(0)
    return numeric(attempt(sql.call("abs", value.use())), value, whole=value.kind is Kind.INT)


def _rounded(args: Arguments, name: str) -> Value:
    value = args.number(0)
    if value.kind is Kind.INT:
        return value
    # A whole number where it fits, since 3.7 floors to 3 and not to 3.0.
    whole = sql.try_cast(sql.call(name, value.use()), "BIGINT")
    return numeric(whole, value, whole=True)


@function("floor", "floor(x)", "The next whole number below.", FAMILY, 1, -1, ("floor(1.9)", 1))
def floor(args: Arguments) -> Value:
    return _rounded(args, "floor")


@function("ceiling", "ceiling(x)", "The next whole number above.", FAMILY, 1, -1, ("ceiling(1.2)", 2))
@function("ceil", "ceil(x)", "The next whole number above.", FAMILY, 1, -1, ("ceil(1.2)", 2))
def ceiling(args: Arguments) -> Value:
    return _rounded(args, "ceil")


@function("exact", "exact(x)", "The value without rounding.", FAMILY, 1, -1, ("exact(1.5)", 1.5))
def exact(args: Arguments) -> Value:
    return args.number(0)


@function(
    "round",
    "round(x[, digits])",
    "Rounded, halves away from zero.",
    FAMILY,
    1,
    2,
    ("round(3.5)", 4),
    ("round(2.555, 2)", 2.56),
)
def rounded(args: Arguments) -> Value:
    digits = args.whole(1, "a number of digits") if len(args) == 2 else 0
    if digits == 0:
        return _rounded(args, "round")
    value = args.number(0)
    return numeric(sql.call("round", value.use(), sql.number(max(min(digits, 30), -30))), value)


@function("sigfig", "sigfig(x)", "Rounded to the digits that x has.", FAMILY, 1, -1, ("sigfig(1.25)", 1.25))
def sigfig(args: Arguments) -> Value:
    return args.number(0)


@function("log", "log(x[, base])", "The logarithm, to base 10 by default.", FAMILY, 1, 2, ("log(100)", 2.0))
def log(args: Arguments) -> Value:
    value = args.number(0)
    if len(args) == 1:
        return numeric(attempt(sql.call("log10", value.use())), value)
    base = args.number(1)
    tree = sql.binary("/", sql.call("ln", value.use()), sql.call("ln", base.use()))
    return numeric(attempt(tree), value, base)


@function("pi", "pi()", "3.14159…", FAMILY, 0, -1, ("round(pi(), 4)", 3.1416))
def pi(args: Arguments) -> Value:
    return kinds.number(math.pi)


@function("pow", "pow(x, y)", "x to the power of y.", FAMILY, 2, -1, ("pow(2, 10)", 1024.0))
def power(args: Arguments) -> Value:
    x, y = args.number(0), args.number(1)
    return numeric(attempt(sql.call("pow", x.use(), y.use())), x, y)


@function("atan2", "atan2(y, x)", "The angle of a point.", TRIG, 2, -1, ("atan2(0, 1)", 0.0))
def atan2(args: Arguments) -> Value:
    y, x = args.number(0), args.number(1)
    return numeric(sql.call("atan2", y.use(), x.use()), y, x)


@function("hypot", "hypot(x, y)", "The length of the hypotenuse.", TRIG, 2, -1, ("hypot(3, 4)", 5.0))
def hypot(args: Arguments) -> Value:
    x, y = args.number(0), args.number(1)
    squares = [sql.binary("*", sql.cast(v.use(), "DOUBLE"), sql.cast(v.use(), "DOUBLE")) for v in (x, y)]
    return numeric(sql.call("sqrt", sql.binary("+", *squares)), x, x, y, y)
