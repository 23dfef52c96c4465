"""The documented rules on random data (Hypothesis), against models of them in plain Python."""

import csv
import io
from functools import cmp_to_key

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labdock_search.faults import Span
from labdock_search.grammar.parsers import parse_expression, parse_search
from labdock_search.kinds import as_number
from labdock_search.predicates import fits_text
from labdock_search.splitter import Piece, split
from labdock_search.syntax import And, Chain, Compare, Matches, Not, Or, Unary

QUICK = settings(deadline=None)
RUN = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

plain = st.text(alphabet="abAB01 9.-", min_size=1, max_size=4).filter(lambda t: t.strip() == t)
cell = st.one_of(st.just(""), plain, st.integers(-20, 20).map(str), st.floats(-5, 5).map(lambda f: f"{f:.1f}"))


def data(**columns: list[str]) -> str:
    """A makeresults of these columns; one more column keeps empty lines and the order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["row", *columns])
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        writer.writerow([number, *row])
    return '| makeresults format=csv data="' + out.getvalue().replace("\\", "\\\\").replace('"', '\\"') + '"'


def kept(lab, search: str) -> list[int]:
    return lab.column(search, "row")


# -- precedence: the parser's tree against one built by the rule

word = st.sampled_from(["a=1", "b=2", "c=3", "d=4"])


def truth(node, facts):
    """Evaluate either kind of tree."""
    if isinstance(node, Matches):
        return facts[node.field]
    if isinstance(node, Compare):
        return facts[node.left.name]
    if isinstance(node, Not):
        return not truth(node.part, facts)
    if isinstance(node, Unary):
        return not truth(node.operand, facts)
    if isinstance(node, And | Or):
        return (all if isinstance(node, And) else any)(truth(p, facts) for p in node.parts)
    assert isinstance(node, Chain)
    return (all if node.operators[0] == "AND" else any)(truth(p, facts) for p in node.parts)


def by_rule(tokens, facts, tighter):
    """Split at the looser operator first."""
    looser = "AND" if tighter == "OR" else "OR"
    groups, group = [], []
    for token in tokens:
        if token == looser:
            groups.append(group)
            group = []
        else:
            group.append(token)
    groups.append(group)
    fold = {"AND": all, "OR": any}

    def one(token: str) -> bool:
        value = facts[token.removeprefix("NOT ")[0]]
        return not value if token.startswith("NOT ") else value

    return fold[looser](fold[tighter](one(t) for t in g if t != tighter) for g in groups)


@st.composite
def chains(draw):
    parts = draw(st.lists(st.tuples(st.sampled_from(["", "NOT "]), word), min_size=1, max_size=7))
    tokens = ["".join(parts[0])]
    for part in parts[1:]:
        tokens += [draw(st.sampled_from(["AND", "OR"])), "".join(part)]
    return tokens


@QUICK
@given(chains(), st.tuples(*[st.booleans()] * 4))
def test_precedence(tokens, values):
    facts = dict(zip("abcd", values, strict=True))
    text = " ".join(tokens)
    piece = Piece(text, 0, len(text))
    assert truth(parse_search(piece), facts) == by_rule(tokens, facts, "OR")
    assert truth(parse_expression(piece), facts) == by_rule(tokens, facts, "AND")
    adjacent = " ".join(t for t in tokens if t != "AND")
    assert truth(parse_search(Piece(adjacent, 0, len(adjacent))), facts) == by_rule(tokens, facts, "OR")


# -- the splitter loses nothing

harmless = st.text(alphabet="ab =,()'x", max_size=6)
quoted = st.text(alphabet='a|[]"\\`', max_size=6).map(lambda t: '"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"')


@QUICK
@given(st.lists(st.lists(st.one_of(harmless, quoted), max_size=4).map("".join), min_size=1, max_size=5))
def test_pieces_joined_by_pipes_are_the_search(parts):
    parts = [part.replace("'", "") for part in parts]
    found = split("|".join(parts))
    assert [p.text[p.start : p.end] for p in found.pieces] == parts


# -- search against a model


@pytest.mark.slow
@RUN
@given(st.lists(cell, min_size=1, max_size=12), st.one_of(plain, st.just("*"), plain.map(lambda t: t[0] + "*")))
def test_search_equality(lab, values, wanted):
    made = data(f=values)
    model = [i for i, v in enumerate(values) if v and fits_text(v, wanted)]
    assert kept(lab, f'{made} | search f="{wanted}"') == model
    present = {i for i, v in enumerate(values) if v}
    assert kept(lab, f'{made} | search f!="{wanted}"') == sorted(present - set(model))
    assert kept(lab, f'{made} | search NOT f="{wanted}"') == [i for i in range(len(values)) if i not in model]


def compares(left: str, right: str) -> int:
    a, b = as_number(left), as_number(right)
    if a is not None and b is not None:
        return (a > b) - (a < b)
    return (left.encode() > right.encode()) - (left.encode() < right.encode())


@pytest.mark.slow
@RUN
@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=12), st.sampled_from(["<", "<=", "=", "!=", ">", ">="]))
def test_where_compares_numbers_by_value_and_texts_by_letter(lab, pairs, operator):
    import operator as op

    tests = {"<": op.lt, "<=": op.le, "=": op.eq, "!=": op.ne, ">": op.gt, ">=": op.ge}
    # A word in each column keeps both textual, so that the decision is made row by row.
    pairs = [*pairs, ("w", "w")]
    model = [i for i, (a, b) in enumerate(pairs) if a and b and tests[operator](compares(a, b), 0)]
    made = data(a=[a for a, _ in pairs], b=[b for _, b in pairs])
    assert kept(lab, f"{made} | where a{operator}b") == model
    refused = [i for i, (a, b) in enumerate(pairs) if a and b and i not in model]
    assert kept(lab, f"{made} | where NOT a{operator}b") == refused


# -- sort


@pytest.mark.slow
@RUN
@given(st.lists(cell, min_size=1, max_size=15), st.booleans())
def test_sort(lab, values, descending):
    def order(i: int, j: int) -> int:
        left, right = values[i], values[j]
        if not left or not right:
            return (not left) - (not right)
        a, b = as_number(left), as_number(right)
        found = compares(left, right) if (a is None) == (b is None) else (-1 if a is not None else 1)
        return -found if descending else found

    model = sorted(range(len(values)), key=cmp_to_key(order))
    got = kept(lab, f"{data(f=values)} | sort 0 {'-' if descending else ''}f")
    assert [values[i] for i in got] == [values[i] for i in model] or [
        as_number(values[i]) if as_number(values[i]) is not None else values[i] for i in got
    ] == [as_number(values[i]) if as_number(values[i]) is not None else values[i] for i in model]


# -- nulls, groups, several values


@pytest.mark.slow
@RUN
@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=15))
def test_stats_by_drops_rows_without_the_field(lab, pairs):
    pairs = [*pairs, ("w", "w")]
    made = data(k=[k for k, _ in pairs], v=[v for _, v in pairs])
    found = lab.rows(f"{made} | stats count count(v) as c sum(v) as s dc(v) as d values(v) as l by k")
    keys = sorted({k for k, _ in pairs if k}, key=lambda k: k.encode())
    assert [r["k"] for r in found] == keys
    for row in found:
        mine = [v for k, v in pairs if k == row["k"]]
        filled = [v for v in mine if v]
        numbers = [n for n in map(as_number, filled) if n is not None]
        assert (row["count"], row["c"], row["d"]) == (len(mine), len(filled), len(set(filled)))
        assert row["s"] == (pytest.approx(sum(numbers)) if numbers else None)
        assert (row["l"] or []) == sorted(set(filled), key=lambda v: v.encode())


@pytest.mark.slow
@RUN
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=4), min_size=1, max_size=8))
def test_multivalue_fields(lab, lists):
    made = data(m=[";".join(values) for values in lists]) + ' | makemv delim=";" m'
    counts: dict[str, int] = {}
    for values in lists:
        for value in set(values):
            counts[value] = counts.get(value, 0) + 1
    assert {r["m"]: r["count"] for r in lab.rows(f"{made} | stats count by m")} == counts
    assert lab.rows(f"{made} | stats count(m) as c")[0]["c"] == sum(map(len, lists))
    expanded = [(i, v) for i, values in enumerate(lists) for v in (values or [None])]
    assert [(r["row"], r["m"]) for r in lab.rows(f"{made} | mvexpand m | table row m")] == expanded
    assert kept(lab, f"{made} | search m=A") == [i for i, values in enumerate(lists) if "a" in values]
    assert kept(lab, f'{made} | where m="a"') == [i for i, values in enumerate(lists) if "a" in values]


@pytest.mark.slow
@RUN
@given(st.lists(cell, min_size=1, max_size=10), st.sampled_from(["0", "x", "unknown"]))
def test_fillnull(lab, values, filling):
    values = [*values, "w"]
    found = lab.column(f"{data(f=values)} | fillnull value={filling} f", "f")
    assert found == [v or filling for v in values]


@pytest.mark.slow
@RUN
@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False), min_size=1, max_size=10),
    st.integers(1, 3600),
)
def test_bins_are_multiples_of_the_span(lab, values, span):
    made = data(_time=[repr(v) for v in values])
    found = lab.column(f"{made} | bin _time span={span}s", "_time")
    for value, start in zip(values, found, strict=True):
        assert start % span == 0
        assert start <= value < start + span


def test_spans_point_at_their_text():
    assert Span(2, 3).to(Span(7, 1)) == Span(2, 6)
