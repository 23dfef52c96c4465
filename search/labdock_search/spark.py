"""A plan's statement in Spark's dialect, for those who run it there.

Only what is known to mean the same in Spark SQL is written; the rest is refused by name. Files stand as
``parquet.`index/{file,file}` `` relative to the folder of the indexes.
"""

import re
from collections.abc import Callable

from sqlglot import exp

from labdock.errors import SearchError
from labdock_search.sql import E, not_null

# Functions of the plan that Spark has with the same meaning, by Spark's name.
SAME = {
    **{name: name for name in (
        "abs", "acos", "asin", "atan", "avg", "ceil", "coalesce", "cos", "count", "exp", "floor", "greatest", "least",
        "length", "ln", "lower", "ltrim", "max", "md5", "min", "nullif", "pow", "replace", "row_number", "rtrim", "sin",
        "sqrt", "stddev_pop", "stddev_samp", "sum", "tan", "trim", "upper", "var_pop", "var_samp", "concat", "lag",
    )},
    "list_sort": "array_sort",
    "regexp_extract": "regexp_extract",
    "regexp_matches": "regexp_like",
    "list": "collect_list",
    "contains": "contains",
    "starts_with": "startswith",
}  # fmt: skip


def render(query: exp.Select) -> str:
    """The statement as text. Raises `SearchError` that names what Spark lacks or means otherwise."""
    tree = query.copy()
    for cte in tree.find_all(exp.CTE):
        cte.set("materialized", None)  # a hint of DuckDB's; Spark decides by itself
    found = tree.transform(_translated)
    text: str = found.sql("spark", pretty=True)
    return text


def _translated(node: E) -> E:
    rule = RULES.get(type(node))
    return rule(node) if rule else node


def _function(node: E) -> E:
    name = str(node.name).lower()
    if name == "read_parquet":
        return _files(node)
    if name == "isfinite":  # a NaN is greater than all else in Spark
        largest = exp.Cast(this=exp.Literal.string("infinity"), to=exp.DataType(this=exp.DataType.Type.DOUBLE))
        size = exp.Anonymous(this="abs", expressions=[node.expressions[0].transform(_translated)])
        return exp.Paren(this=exp.LT(this=size, expression=largest))
    if name not in SAME:
        raise _refused(f"the function {name}")
    # sqlglot does not visit below a node that was replaced.
    arguments = [argument.transform(_translated) for argument in node.expressions]
    if name == "list" and arguments and isinstance(arguments[0], exp.Distinct):
        return exp.Anonymous(this="collect_set", expressions=arguments[0].expressions)
    if name.startswith("regexp_"):
        arguments = [_pattern(argument) for argument in arguments]
    return exp.Anonymous(this=SAME[name], expressions=arguments)


def _pattern(argument: E) -> E:
    """RE2 writes a named group `(?P<x>…)`, Java `(?<x>…)`."""
    if isinstance(argument, exp.Literal) and argument.is_string:
        return exp.Literal.string(re.sub(r"\(\?P<", "(?<", argument.name))
    return argument


def _files(node: E) -> E:
    labels = [literal.name for literal in node.expressions[0].expressions]
    index = labels[0].partition("/")[0]
    if all(label.startswith(f"{index}/") for label in labels):
        names = [label.removeprefix(f"{index}/") for label in labels]
        path = f"{index}/{names[0] if len(names) == 1 else '{' + ','.join(names) + '}'}"
    else:
        path = "{" + ",".join(labels) + "}"
    return exp.Table(this=exp.to_identifier(path, quoted=True), db=exp.to_identifier("parquet"))


def _ordered(node: E) -> E:
    """Where nulls stand, always in words: the defaults differ."""
    node.set("nulls_first", bool(node.args.get("nulls_first")))
    return node


def _filter(node: E) -> E:
    """Lists are collected without nulls in Spark, so nothing has to leave them out."""
    listed = node.this
    if isinstance(listed, exp.Anonymous) and str(listed.name).lower() == "list":
        first = listed.expressions[0]
        value = first.expressions[0] if isinstance(first, exp.Distinct) else first
        if node.expression.this == not_null(value.copy()):
            return _function(listed)
    return node


def _lambda(node: E) -> E:
    del node
    raise _refused("a function over the values of a field")


def _column(node: E) -> E:
    if node.name == "file_index":
        raise _refused("the number of a file (several indexes in one search)")
    return node


RULES: dict[type, Callable[[E], E]] = {
    exp.Anonymous: _function,
    exp.Ordered: _ordered,
    exp.Filter: _filter,
    exp.Lambda: _lambda,
    exp.Column: _column,
}


def _refused(what: str) -> SearchError:
    return SearchError(
        f"This search is not written for Spark: it needs {what}.",
        remedy="Run it here, or write that part without it.",
        position=0,
        length=1,
    )
