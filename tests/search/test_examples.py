"""Every example of the help runs, and the language's page is made from the registry."""

import math
from pathlib import Path

import pytest

from labdock_search.commands import load
from labdock_search.functions import EVAL
from labdock_search.functions.aggregates import AGGREGATES
from labdock_search.pipeline import parse
from labdock_search.reference import page

COMMANDS = sorted({command.name: command for command in load().values()}.items())
EXAMPLES = [(name, example) for name, command in COMMANDS for example in command.examples]
EXPRESSIONS = [(name, example) for name, function in sorted(EVAL.items()) for example in function.examples]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=lambda x: x if isinstance(x, str) else "")
def test_example_of_a_command(lab, name, example):
    assert any(step.name in {name, *load()[name].aliases} for step in parse(example.search).steps)
    if example.rows is not None:
        found = lab.rows(example.search)
        assert [list(row) for row in found] == [list(row) for row in example.rows]
        assert found == [dict(row) for row in example.rows]


@pytest.mark.parametrize(("name", "example"), EXPRESSIONS, ids=lambda x: x if isinstance(x, str) else "")
def test_example_of_a_function(lab, name, example):
    found = lab.value(example.expression)
    if isinstance(example.gives, float):
        assert math.isclose(found, example.gives, rel_tol=1e-12)
    else:
        assert found == example.gives


def test_every_command_and_function_has_help():
    for name, command in COMMANDS:
        assert command.summary, name
        assert command.usage.startswith(name), name
        assert command.examples, name
    for name, function in EVAL.items():
        assert function.summary, name
        assert function.signature.startswith(name), name
        assert function.examples, name


def test_the_languages_size():
    assert len(EVAL) >= 60
    assert len({a.name for a in AGGREGATES.values()}) >= 20
    wanted = [
        "search",
        "inputlookup",
        "outputlookup",
        "makeresults",
        "where",
        "eval",
        "stats",
        "eventstats",
        "streamstats",
        "timechart",
        "chart",
        "bin",
        "bucket",
        "fillnull",
        "table",
        "fields",
        "rename",
        "sort",
        "head",
        "tail",
        "dedup",
        "top",
        "rare",
        "rex",
        "regex",
        "lookup",
        "append",
        "join",
        "convert",
        "tstats",
        "mvexpand",
        "makemv",
        "spath",
        "transaction",
        "fit",
        "apply",
        "summary",
        "listmodels",
        "deletemodel",
        "score",
        "sample",
    ]
    assert set(wanted) <= set(load())


def test_the_languages_page_is_current():
    written = Path(__file__).parents[2] / "docs" / "search.md"
    assert written.read_text("utf-8") == page(), "run make docs"
