"""Comparison and conditional functions, and those that ask what a value is."""

import ipaddress
from typing import Any

from labdock_search import kinds, sql
from labdock_search.faults import fault
from labdock_search.functions.base import Arguments, function, string, truth
from labdock_search.kinds import Kind, Value

FAMILY = "comparison"
KIND = "informational"


def branches(pairs: list[tuple[Value, Value]], default: Value | None) -> Value:
    """CASE over values brought to one kind."""
    results = [then for _, then in pairs] + ([default] if default else [])
    kind = kinds.common([value.kind for value in results])
    if kind is Kind.NULL:
        return kinds.null()
    trees = [(when.use(), kinds.convert(then, kind).use()) for when, then in pairs]
    tree = sql.case(trees, kinds.convert(default, kind).use() if default else None)
    return Value(tree, kind, size=sum(w.size + t.size for w, t in pairs) + 2)


def _result(args: Arguments, index: int) -> Value:
    return args.scope.settle(args.scope.result(args.node.arguments[index]), args.span)


@function("if", "if(condition, then, else)", "The one value or the other.", FAMILY, 3, -1, ('if(1<2, "a", "b")', "a"))
def if_(args: Arguments) -> Value:
    return branches([(args.condition(0), _result(args, 1))], _result(args, 2))


@function(
    "case",
    "case(condition, value, …)",
    "The value after the first true condition, else null.",
    FAMILY,
    2,
    None,
    ('case(1>2, "a", 2>1, "b")', "b"),
)
def case(args: Arguments) -> Value:
    if len(args) % 2:
        raise fault("case() takes pairs of condition and value", args.span, expected="an even number of arguments")
    return branches([(args.condition(i), _result(args, i + 1)) for i in range(0, len(args), 2)], None)


@function(
    "validate",
    "validate(condition, value, …)",
    "The value after the first condition that is false, else null.",
    FAMILY,
    2,
    None,
    ('validate(1<2, "a", 2<1, "b")', "b"),
)
def validate(args: Arguments) -> Value:
    if len(args) % 2:
        raise fault("validate() takes pairs of condition and value", args.span, expected="an even number of arguments")
    pairs = []
    for i in range(0, len(args), 2):
        when = args.condition(i)
        pairs.append((truth(sql.negate(when.use()), when), _result(args, i + 1)))
    return branches(pairs, None)


@function(
    "coalesce", "coalesce(value, …)", "The first that is not null.", FAMILY, 1, None, ('coalesce(null(), "x")', "x")
)
def coalesce(args: Arguments) -> Value:
    values = [value for value in args.values() if value.kind is not Kind.NULL]
    kind = kinds.common([value.kind for value in values])
    if kind is Kind.NULL:
        return kinds.null()
    parts = [kinds.convert(value, kind) for value in values]
    tree = sql.call("coalesce", *[part.use() for part in parts])
    return Value(tree, kind, size=sum(part.size for part in parts) + 1)


@function("nullif", "nullif(a, b)", "Null where a equals b, else a.", FAMILY, 2, -1, ("nullif(3, 3)", None))
def nullif(args: Arguments) -> Value:
    from labdock_search.expressions import compare  # noqa: PLC0415 - expressions need the functions

    a, b = args.value(0), args.value(1)
    equal = compare("=", a, b)
    tree = sql.case([(sql.is_not_true(equal.use()), a.use())])
    return Value(tree, a.kind, size=equal.size + a.size + 2)


@function("null", "null()", "No value.", FAMILY, 0, -1, ("null()", None))
def null(args: Arguments) -> Value:
    return kinds.null()


@function("true", "true()", "True.", FAMILY, 0, -1, ('if(true(), "a", "b")', "a"))
def true(args: Arguments) -> Value:
    return truth(sql.true())


@function("false", "false()", "False.", FAMILY, 0, -1, ('if(false(), "a", "b")', "b"))
def false(args: Arguments) -> Value:
    return truth(sql.false())


@function(
    "in",
    "in(value, choice, …)",
    "Whether the value is one of the choices.",
    FAMILY,
    2,
    None,
    ('if(in("a", "b", "a"), 1, 0)', 1),
)
def in_(args: Arguments) -> Value:
    from labdock_search.expressions import among  # noqa: PLC0415

    values = args.values()
    return among(values[0], values[1:])


@function(
    "like",
    "like(text, pattern)",
    "Whether the text fits; % is any text, _ one character.",
    FAMILY,
    2,
    -1,
    ('if(like("server01", "serv%"), 1, 0)', 1),
)
def like(args: Arguments) -> Value:
    return args.scope.like(args.value(0), args.value(1))


@function(
    "match",
    "match(text, regex)",
    "Whether the regular expression finds something in the text.",
    FAMILY,
    2,
    -1,
    (r'if(match("10.1.2.3", "^10\.\d+"), 1, 0)', 1),
)
def match(args: Arguments) -> Value:
    subject = args.string(0)
    return truth(sql.call("regexp_matches", subject.use(), sql.text(args.pattern(1))), subject)


@function(
    "cidrmatch",
    "cidrmatch(cidr, ip)",
    "Whether the address is in the network.",
    FAMILY,
    2,
    -1,
    ('if(cidrmatch("10.0.0.0/8", "10.1.2.3"), 1, 0)', 1),
)
def cidrmatch(args: Arguments) -> Value:
    network, address = args.string(0), args.string(1)
    if isinstance(network.constant, str):
        try:
            found = ipaddress.ip_network(network.constant, strict=False)
        except ValueError:
            span = args.node.arguments[0].span
            raise fault("This is no network", span, expected="a network such as 10.0.0.0/8") from None
        if found.version == 4:
            low, high = int(found.network_address), int(found.broadcast_address)
            whole = ipv4_number(address)
            inside = sql.all_of(
                [sql.binary(">=", whole.use(), sql.number(low)), sql.binary("<=", whole.use(), sql.number(high))]
            )
            return truth(sql.call("coalesce", inside, sql.false()), whole, whole)
    args.scope.plan.uses_python("labdock_cidrmatch")
    return truth(sql.call("labdock_cidrmatch", network.use(), address.use()), network, address)


def ipv4_number(address: Value) -> Value:
    """An IPv4 address as a whole number, null for other text."""
    text = kinds.to_string(address)
    whole = None
    for index, weight in enumerate((1 << 24, 1 << 16, 1 << 8, 1), 1):
        octet = sql.try_cast(sql.call("split_part", text.use(), sql.text("."), sql.number(index)), "BIGINT")
        part: Any = sql.binary("*", octet, sql.number(weight)) if weight > 1 else octet
        whole = part if whole is None else sql.binary("+", whole, part)
    octets = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
    valid = sql.call("regexp_full_match", text.use(), sql.text(rf"({octets}\.){{3}}{octets}"))
    return Value(sql.case([(valid, whole)]), Kind.INT, size=5 * text.size + 20)  # type: ignore[list-item]


@function(
    "searchmatch",
    'searchmatch("search terms")',
    "Whether the event fits search terms.",
    FAMILY,
    1,
    -1,
    ('if(searchmatch("nosuchfield=*"), 1, 0)', 0),
)
def searchmatch(args: Arguments) -> Value:
    from labdock_search.predicates import condition_of_text  # noqa: PLC0415

    text = args.constant(0, "search terms")
    return condition_of_text(text, args.node.arguments[0].span, args.scope)


@function("isnull", "isnull(value)", "Whether there is no value.", KIND, 1, -1, ("if(isnull(null()), 1, 0)", 1))
def isnull(args: Arguments) -> Value:
    value = args.value(0)
    return truth(sql.is_null(value.use()), value)


@function("isnotnull", "isnotnull(value)", "Whether there is a value.", KIND, 1, -1, ("if(isnotnull(5), 1, 0)", 1))
def isnotnull(args: Arguments) -> Value:
    value = args.value(0)
    return truth(sql.not_null(value.use()), value)


@function("isnum", "isnum(value)", "Whether it is a number.", KIND, 1, -1, ('if(isnum("x"), 1, 0)', 0))
def isnum(args: Arguments) -> Value:
    value = kinds.to_number(args.value(0))
    return truth(sql.not_null(value.use()), value)


@function("isint", "isint(value)", "Whether it is a whole number.", KIND, 1, -1, ("if(isint(2.5), 1, 0)", 0))
def isint(args: Arguments) -> Value:
    value = kinds.to_number(args.value(0))
    whole = sql.binary("=", value.use(), sql.call("trunc", value.use()))
    return truth(sql.call("coalesce", whole, sql.false()), value, value)


@function("isstr", "isstr(value)", "Whether it is text and no number.", KIND, 1, -1, ('if(isstr("x"), 1, 0)', 1))
def isstr(args: Arguments) -> Value:
    value = args.value(0)
    number = kinds.to_number(value)
    both = [sql.not_null(value.use()), sql.is_null(number.use())]
    return truth(sql.all_of(both), value, number)


@function("isbool", "isbool(value)", "Whether it is a condition.", KIND, 1, -1, ("if(isbool(1=1), 1, 0)", 1))
def isbool(args: Arguments) -> Value:
    return truth(sql.true() if args.value(0).kind is Kind.BOOL else sql.false())


@function("typeof", "typeof(value)", "Number, String, Boolean or Invalid.", KIND, 1, -1, ("typeof(5)", "Number"))
def typeof(args: Arguments) -> Value:
    value = args.value(0)
    if value.kind is Kind.BOOL:
        return kinds.text("Boolean")
    if value.kind is Kind.NULL:
        return kinds.text("Invalid")
    number = kinds.to_number(value)
    pairs = [(sql.is_null(value.use()), sql.text("Invalid")), (sql.not_null(number.use()), sql.text("Number"))]
    return string(sql.case(pairs, sql.text("String")), value, number)
