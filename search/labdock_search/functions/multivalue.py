"""Functions of several values, and of JSON."""

from typing import Any

from labdock_search import kinds, sql, syntax
from labdock_search.faults import Span, fault
from labdock_search.functions.base import Arguments, attempt, function, numeric, several, string
from labdock_search.kinds import Kind, Value

FAMILY = "multivalue"
JSON = "JSON"


def _nonempty(tree: sql.E) -> sql.E:
    """An empty list is no value."""
    return sql.call("nullif", tree, sql.call("list_value"))


@function("mvcount", "mvcount(field)", "How many values.", FAMILY, 1, -1, ('mvcount(split("a,b", ","))', 2))
def mvcount(args: Arguments) -> Value:
    value = args.list(0)
    return numeric(sql.call("len", value.use()), value, whole=True)


@function(
    "mvindex",
    "mvindex(field, start[, end])",
    "The value at an index from 0; negative from the end; a range with `end`.",
    FAMILY,
    2,
    3,
    ('mvindex(split("a,b,c", ","), 1)', "b"),
    ('mvindex(split("a,b,c", ","), -1)', "c"),
    ('mvjoin(mvindex(split("a,b,c", ","), 0, 1), "-")', "a-b"),
)
def mvindex(args: Arguments) -> Value:
    value = args.list(0)
    start = _place(args.number(1))
    if len(args) == 2:
        return string(sql.call("list_extract", value.use(), start), value)
    end = _place(args.number(2))
    return several(_nonempty(sql.call("list_slice", value.use(), start, end)), value)


def _place(index: Value) -> sql.E:
    """DuckDB counts from 1, and from -1 at the end."""
    if isinstance(index.constant, int):
        return sql.number(index.constant + 1 if index.constant >= 0 else index.constant)
    whole = sql.cast(index.use(), "BIGINT")
    later = sql.binary("+", sql.cast(index.use(), "BIGINT"), sql.number(1))
    return sql.case([(sql.binary(">=", index.use(), sql.number(0)), later)], whole)


@function(
    "mvjoin",
    "mvjoin(field, delimiter)",
    "All values as one text.",
    FAMILY,
    2,
    -1,
    ('mvjoin(split("a b", " "), ";")', "a;b"),
)
def mvjoin(args: Arguments) -> Value:
    value, by = args.list(0), args.string(1)
    return string(sql.call("array_to_string", value.use(), by.use()), value, by)


@function(
    "mvappend",
    "mvappend(value, …)",
    "All values in one field.",
    FAMILY,
    1,
    None,
    ('mvjoin(mvappend("a", null(), split("b,c", ",")), "")', "abc"),
)
def mvappend(args: Arguments) -> Value:
    parts = [kinds.to_list(value) for value in args.values() if value.kind is not Kind.NULL]
    if not parts:
        return kinds.null()
    tree = parts[0].use()
    for part in parts[1:]:
        tree = sql.call("list_concat", tree, part.use())
    return several(_nonempty(tree), *parts)


@function(
    "mvdedup", "mvdedup(field)", "Each value once.", FAMILY, 1, -1, ('mvjoin(mvdedup(split("b,a,b", ",")), "")', "ba")
)
def mvdedup(args: Arguments) -> Value:
    value = args.list(0)
    first = sql.binary("=", sql.call("list_position", value.use(), sql.column("item")), sql.column("place"))
    lam = sql.each("item", first)
    lam.append("expressions", sql.name("place"))
    return several(sql.call("list_filter", value.use(), lam), value, value)


@function("mvsort", "mvsort(field)", "Values in order.", FAMILY, 1, -1, ('mvjoin(mvsort(split("b,a", ",")), "")', "ab"))
def mvsort(args: Arguments) -> Value:
    value = args.list(0)
    return several(sql.call("list_sort", value.use()), value)


@function(
    "mvzip",
    "mvzip(a, b[, delimiter])",
    "First with first, second with second.",
    FAMILY,
    2,
    3,
    ('mvjoin(mvzip(split("1,2", ","), split("a,b", ",")), ";")', "1,a;2,b"),
)
def mvzip(args: Arguments) -> Value:
    a, b = args.list(0), args.list(1)
    by = sql.text(args.constant(2, "a delimiter") if len(args) == 3 else ",")

    def item(side: str) -> sql.E:
        return sql.call("struct_extract_at", sql.column("pair"), sql.number(1 if side == "a" else 2))

    joined = sql.binary("||", sql.binary("||", item("a"), by), item("b"))
    zipped = sql.call("list_zip", a.use(), b.use(), sql.true())
    return several(_nonempty(sql.call("list_transform", zipped, sql.each("pair", joined))), a, b)


@function(
    "mvrange",
    "mvrange(start, end[, step])",
    "Numbers from start up to, without, end.",
    FAMILY,
    2,
    3,
    ('mvjoin(mvrange(1, 6, 2), " ")', "1 3 5"),
)
def mvrange(args: Arguments) -> Value:
    whole: list[sql.E] = [sql.cast(args.number(i).use(), "BIGINT") for i in range(len(args))]
    # A list can be at most as long as a search may return values in one field.
    start = whole[0].copy()
    step = whole[2].copy() if len(whole) == 3 else sql.number(1)
    limit = sql.binary("+", start, sql.binary("*", step, sql.number(100_000)))
    end = whole[1]
    whole[1] = sql.call("least", end, limit)
    if len(args) == 3:
        up = sql.binary(">", whole[2].copy(), sql.number(0))
        whole[1] = sql.case([(up, whole[1])], sql.call("greatest", end.copy(), limit.copy()))
    found = attempt(sql.call("range", *whole))
    return several(_nonempty(sql.cast(found, "VARCHAR[]")), *args.values())


@function(
    "mvfind",
    "mvfind(field, regex)",
    "The index of the first that fits.",
    FAMILY,
    2,
    -1,
    ('mvfind(split("a,b", ","), "b")', 1),
)
def mvfind(args: Arguments) -> Value:
    value = args.list(0)
    hit = sql.call("regexp_matches", sql.column("item"), sql.text(args.pattern(1)))
    hits = sql.call("list_transform", value.use(), sql.each("item", hit))
    place = sql.call(
        "nullif", sql.call("coalesce", sql.call("list_position", hits, sql.true()), sql.number(0)), sql.number(0)
    )
    return numeric(sql.binary("-", place, sql.number(1)), value, whole=True)


def _single_field(args: Arguments, index: int) -> str:
    """The one field that the inner expression of mvfilter names."""
    found: set[str] = set()
    stack: list[Any] = [args.node.arguments[index]]
    while stack:
        node = stack.pop()
        if isinstance(node, syntax.Field):
            found.add(node.name)
        for name in ("arguments", "parts", "choices"):
            stack.extend(getattr(node, name, ()))
        stack.extend(getattr(node, name) for name in ("left", "right", "operand") if hasattr(node, name))
    if len(found) != 1:
        raise fault(f"{args.function.name}() must name exactly one field", args.span, expected=args.function.signature)
    return found.pop()


@function(
    "mvfilter",
    "mvfilter(condition)",
    "The values for which a condition over their field is true.",
    FAMILY,
    1,
    -1,
    ('mvjoin(mvfilter(match(mv, "^a")), ",")', "a1,a2"),
)
def mvfilter(args: Arguments) -> Value:
    name = _single_field(args, 0)
    values, inner = _inside(args, name, name, 0)
    if inner.kind is not Kind.BOOL:
        raise fault("mvfilter() takes a condition", args.node.arguments[0].span, expected="a comparison")
    return several(_nonempty(sql.call("list_filter", values.use(), sql.each("item", inner.use()))), values, inner)


@function(
    "mvmap",
    "mvmap(field, expression)",
    "The expression for each value.",
    FAMILY,
    2,
    -1,
    ('mvjoin(mvmap(mv, upper(mv)), ",")', "A1,A2,B1"),
)
def mvmap(args: Arguments) -> Value:
    node = args.node.arguments[0]
    if not isinstance(node, syntax.Field):
        raise fault("mvmap() begins with a field", node.span, expected=args.function.signature)
    values, inner = _inside(args, node.name, node.name, 1)
    text = kinds.to_string(inner)
    return several(sql.call("list_transform", values.use(), sql.each("item", text.use())), values, text)


def _inside(args: Arguments, name: str, parameter: str, index: int) -> tuple[Value, Value]:
    """The field's values and the expression over one of them."""
    scope = args.scope
    column = scope.frame.find(name, args.span)
    values = kinds.to_list(kinds.of_column(column) if column else kinds.null())
    if scope.parameters:
        raise fault(f"{args.function.name}() cannot be nested", args.span, remedy="Use two eval.")
    scope.parameters = {parameter: Value(sql.column("item"), Kind.STR)}
    try:
        return values, scope.settle(scope.value(args.node.arguments[index]), args.span)
    finally:
        scope.parameters = {}


@function(
    "split",
    "split(text, delimiter)",
    "The parts between delimiters.",
    FAMILY,
    2,
    -1,
    ('mvcount(split("a;b;c", ";"))', 3),
)
def split(args: Arguments) -> Value:
    value, by = args.string(0), args.string(1)
    return several(sql.call("string_split", value.use(), by.use()), value, by)


@function(
    "mv_to_json_array",
    "mv_to_json_array(field)",
    "The values as a JSON array.",
    JSON,
    1,
    -1,
    ('mv_to_json_array(split("a,b", ","))', '["a","b"]'),
)
def mv_to_json_array(args: Arguments) -> Value:
    value = args.list(0)
    return string(sql.cast(sql.call("to_json", value.use()), "VARCHAR"), value)


@function(
    "spath",
    "spath(json, path)",
    "What a JSON text has at a path (a.b{}.c, a{0}).",
    JSON,
    2,
    -1,
    ('spath("{\\"a\\":{\\"b\\":5}}", "a.b")', "5"),
)
@function(
    "json_extract",
    "json_extract(json, path)",
    "What a JSON text has at a path.",
    JSON,
    2,
    -1,
    ('json_extract("{\\"a\\":[1,2]}", "a{1}")', "2"),
)
def spath(args: Arguments) -> Value:
    value = args.string(0)
    path = args.constant(1, "a path")
    return extract_path(value, path, args.node.arguments[1].span)


def extract_path(value: Value, path: str, span: Span) -> Value:
    """The value or values at a path of a JSON text; null where the text is no JSON."""
    from labdock_search.patterns import json_path  # noqa: PLC0415

    pointer, many = json_path(path, span)
    found = attempt(sql.call("json_extract_string", value.use(), sql.text(pointer)))
    return several(_nonempty(found), value) if many else string(found, value)


@function("json_valid", "json_valid(text)", "Whether it is JSON.", JSON, 1, -1, ('if(json_valid("[1]"), 1, 0)', 1))
def json_valid(args: Arguments) -> Value:
    value = args.string(0)
    return Value(sql.cast(sql.call("json_valid", value.use()), "BOOLEAN"), Kind.BOOL, size=value.size + 2)
