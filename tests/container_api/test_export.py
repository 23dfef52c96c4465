"""Notebook in, module out: what is exported, what is found, and where its lines come from."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labdock_container.export import Export, check_notebook_name, export, locate


def cell(source: str | list[str], kind: str = "code", **metadata: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": metadata, "source": source}


def notebook(*cells: dict[str, Any], version: int = 4) -> bytes:
    return json.dumps({"nbformat": version, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}).encode()


def exported(*cells: dict[str, Any]) -> Export:
    return export(notebook(*cells), "n.ipynb")


def code_of(result: Export) -> str:
    return "\n".join(line for line in result.source.splitlines() if line and not line.startswith("# "))


CONTRACT = [
    cell("def init(df, param):\n    return {}", name="mltkc_init"),
    cell("def fit(model, df, param):\n    return {}", name="mltkc_fit"),
    cell("def apply(model, df, param):\n    return df", name="mltkc_apply"),
]


def test_only_code_cells_with_a_name_are_exported_in_their_order() -> None:
    result = exported(
        cell("# Text", kind="markdown", name="mltkc_init"),
        cell("a = 1", name="whatever I like"),
        cell("b = 2"),
        cell("c = 3", name=""),
        cell("raw", kind="raw", name="x"),
        cell(["d = 4\n", "e = 5"], name=None),
    )
    assert code_of(result) == "a = 1\nc = 3\nd = 4\ne = 5"


def test_tags_and_first_line_comments_stand_in_for_a_missing_name() -> None:
    result = exported(
        cell("a = 1", tags=["other", "labdock-fit"]),
        cell("\n# mltkc_apply\nb = 2"),
        cell("c = 3", tags=["fit"]),
        cell("# see mltkc_apply\nd = 4"),
        cell("#mltkc_save\ne = 5"),
    )
    assert code_of(result).replace("#mltkc_save\n", "") == "a = 1\nb = 2\ne = 5"


def test_a_complete_module_has_no_findings_and_knows_its_functions() -> None:
    result = exported(*CONTRACT)
    assert result.findings == []
    assert result.functions == ["init", "fit", "apply"]


def test_every_line_leads_back_to_its_cell() -> None:
    cells = [cell("x", kind="markdown"), cell("a = 1\n\n\nb = 2", name="one"), cell("c = 3"), cell("d = 4", name="two")]
    result = exported(*cells)
    for number, line in enumerate(result.source.splitlines(), 1):
        place = locate(result.cells, number)
        if place and line:
            source = str(cells[place[0].number - 1]["source"]).split("\n")
            assert source[place[1] - 1] == line
    found = {line for n, line in enumerate(result.source.splitlines(), 1) if locate(result.cells, n)}
    assert {"a = 1", "b = 2", "d = 4"} <= found


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("%matplotlib inline\na = 1", "pass  # %matplotlib inline\na = 1"),
        ("!pip install x\na = 1", "pass  # !pip install x\na = 1"),
        ("files = !ls\na = 1", "pass  # files = !ls\na = 1"),
        ("t = %timeit -o f()\na = 1", "pass  # t = %timeit -o f()\na = 1"),
        ("?print\na = 1", "pass  # ?print\na = 1"),
        ("print?\na = 1", "pass  # print?\na = 1"),
        ("if True:\n    %time f()\na = 1", "if True:\n    pass  # %time f()\na = 1"),
        ("!pip install \\\n  x y\na = 1", "pass  # !pip install \\\n# x y\na = 1"),
        ("!echo 'half\na = 1", "pass  # !echo 'half\na = 1"),
        ("%%time\na = 1", "pass  # %%time\na = 1"),
        ("%%bash\nls\na = 1", "# %%bash\n# ls\n# a = 1"),
    ],
)
def test_notebook_syntax_is_commented_out_and_reported(source: str, kept: str) -> None:
    result = exported(*CONTRACT, cell(source, name="more"))
    lines = result.source.split("\n")
    last = result.cells[-1]
    assert "\n".join(lines[last.first - 1 : last.first - 1 + last.count]) == kept
    assert last.count == len(source.split("\n"))
    ast.parse(result.source)
    assert [(f.severity, f.cell) for f in result.findings] == [("warning", 4)]


@pytest.mark.parametrize(
    "source", ["x = (5\n%3)", 's = """\n%time\n!ls\n"""', "y = 7 \\\n% 2", "z = 1 if a else 2 # ?"]
)
def test_what_only_looks_like_a_magic_stays(source: str) -> None:
    result = exported(*CONTRACT, cell(source, name="more"))
    assert source in result.source
    assert result.findings == []


def test_a_syntax_error_names_the_cell_that_is_wrong_and_the_module_is_written_all_the_same() -> None:
    result = exported(cell("a", kind="markdown"), CONTRACT[0], cell("x = 1\ndef fit(:\n  pass", name="f"), CONTRACT[2])
    [finding] = [f for f in result.findings if f.severity == "error"]
    assert (finding.cell, finding.line) == (3, 2)
    assert "def fit(:" in finding.remedy
    assert "def apply" in result.source


def test_a_function_without_a_body_is_blamed_on_its_own_cell_not_on_the_next() -> None:
    result = exported(CONTRACT[0], cell("def fit(model, df, param):", name="f"), CONTRACT[2])
    [finding] = result.findings
    assert (finding.severity, finding.cell, finding.line) == ("error", 2, 1)


def test_missing_functions_and_half_a_persistence_are_found() -> None:
    messages = [f.message for f in exported(CONTRACT[0], cell("def save(m, n): pass", name="s")).findings]
    assert messages == ["The module has no function fit, apply.", "The module has save but not load."]


def test_functions_that_are_assigned_or_imported_count() -> None:
    text = "from x import fit\ninit = make()\ntry:\n    from y import apply\nexcept ImportError:\n    apply = None"
    assert exported(cell(text, name="a")).findings == []


def test_needs_and_title_are_read_without_running_anything() -> None:
    result = exported(
        cell("# My *module*\nMore.", kind="markdown"), cell("needs = {'a': 'number'}\n1/0", name="a"), *CONTRACT
    )
    assert result.needs == {"a": "number"}
    assert result.doc == "My *module*"
    wrong = exported(cell("needs = {'a': 'float64'}", name="a"), *CONTRACT)
    assert "needs['a']" in wrong.findings[0].message


def test_compiler_warnings_are_findings() -> None:
    [finding] = exported(*CONTRACT, cell('pattern = "\\d"', name="w")).findings
    assert finding.severity == "warning"
    assert (finding.cell, finding.line) == (4, 1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"nbformat": 4, "cells": 5}', b"\xff\xfe", b'{"nbformat": 9}']
)
def test_a_damaged_file_is_a_finding(content: bytes) -> None:
    result = export(content, "n.ipynb")
    assert result.source == ""
    assert result.findings[0].severity == "error"


def test_an_old_notebook_is_read() -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [
            {"metadata": {}, "cells": [{"cell_type": "code", "language": "python", "metadata": {"name": "f"},
             "input": "a = 1", "outputs": [], "collapsed": False, "prompt_number": 1}]}
        ],
    }  # fmt: skip
    assert "a = 1" in export(json.dumps(old).encode(), "n.ipynb").source


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("my notebook.ipynb", "my_notebook.ipynb"),
        ("Über uns.ipynb", "Ueber_uns.ipynb"),
        ("v1.2.ipynb", "v1_2.ipynb"),
        ("модель.ipynb", "module.ipynb"),
        ("a" * 80 + ".ipynb", "a" * 64 + ".ipynb"),
        ("sub/naïve test.ipynb", "naive_test.ipynb"),
    ],
)
def test_a_name_that_cannot_be_a_module_gets_one_that_can(name: str, better: str) -> None:
    finding = check_notebook_name(name)
    assert finding
    assert better in finding.remedy
    assert check_notebook_name(better) is None


@given(st.lists(st.text(st.characters(), max_size=60), max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_text_in_cells_keeps_its_lines_or_becomes_a_finding(sources: list[str]) -> None:
    result = exported(*[cell(text, name=f"c{i}") for i, text in enumerate(sources)])
    lines = result.source.split("\n")
    for place, text in zip(result.cells, sources, strict=True):
        assert place.count == len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        assert place.first + place.count - 1 <= len(lines)
    if not any(f.severity == "error" for f in result.findings):
        compile(result.source or "pass", "n", "exec")


@pytest.mark.parametrize(
    "source",
    ["(" * 100_000, "-" * 100_000 + "1", "a = " + "[" * 90 + "]" * 90, "if 1:\n" * 3, "x = " + "1+" * 50_000 + "1",
     "\0", "def f():\n" + "\n".join(" " * i + "if 1:" for i in range(1, 200)), "%" * 50_000, "!a\n" * 3_000,
     "lambda: " * 20_000 + "1", "f" + "'{" * 200, "x" * 1_000_000],
)  # fmt: skip
def test_hostile_cells_become_findings_in_bounded_time_and_crash_nothing(source: str) -> None:
    """In a process of its own, since what is feared is the interpreter's end."""
    program = (
        "import json, sys; from labdock_container.export import export;"
        "cell = {'cell_type': 'code', 'metadata': {'name': 'x'}, 'source': sys.stdin.read()};"
        "print(len(export(json.dumps({'nbformat': 4, 'cells': [cell]}).encode(), 'n').findings))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > 0


def test_an_export_takes_milliseconds() -> None:
    """Against starting nbconvert, which is what the peer does at each save: at least 50 times less."""
    shipped = Path(__file__).parents[2] / "notebooks" / "a_threat_hunting_notebook.ipynb"
    program = (
        "import sys, time; from labdock_container.export import export; content = open(sys.argv[1], 'rb').read();"
        "export(content, 'n'); t = time.process_time(); [export(content, 'n') for _ in range(20)];"
        "print((time.process_time() - t) / 20)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(shipped)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05
