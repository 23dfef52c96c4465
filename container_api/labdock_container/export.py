"""From a notebook to its module: `modules/<notebook>.py`, and beside it the map from its lines back to the cells."""

import ast
import hashlib
import re
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labdock.names import NAME
from labdock_container.cells import Cell, Finding, exported_cells, read_cells

CONTRACT: tuple[str, ...] = ("init", "fit", "apply", "save", "load", "summary", "stage")
REQUIRED = ("init", "fit", "apply")
NEEDS_TYPES = ("number", "text", "time", "boolean", "any")
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "æ": "ae", "å": "a"}
)
_warnings_lock = threading.RLock()  # warnings.catch_warnings changes the whole process


@dataclass(frozen=True)
class CellLines:
    """Where a cell lies in the module: its first line there (from 1) and how many lines it has."""

    number: int
    name: str
    first: int
    count: int


@dataclass
class Export:
    """A notebook's module. `source` is empty where the notebook has no exported cell, or could not be read."""

    source: str = ""
    cells: list[CellLines] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    needs: dict[str, Any] = field(default_factory=dict)
    doc: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()


def export(content: bytes, notebook: str) -> Export:
    """Turn a notebook file's bytes into its module. Never raises for what a user may have written: see `findings`.

    `notebook` is the notebook's path below the notebooks folder, for the module's first line and the messages.
    """
    try:
        cells = read_cells(content)
    except ValueError as error:
        finding = Finding("error", f"{notebook} cannot be exported: {error}.", "Open it in JupyterLab and save it.")
        return Export(findings=[finding])
    chosen = exported_cells(cells)
    if not chosen:
        return Export()
    result = _assemble(chosen, notebook)
    result.doc = _title(cells)
    try:
        result.source.encode()
    except UnicodeEncodeError:
        result.findings.append(
            Finding("error", f"{notebook} holds text that is not Unicode.", "Remove the damaged characters.")
        )
        result.source = result.source.encode(errors="replace").decode()
    _examine(result)
    return result


def _assemble(cells: list[Cell], notebook: str) -> Export:
    shown = "".join(c if c.isprintable() else "?" for c in notebook)
    lines = [f"# Exported from {shown} by Labdock. Edit the notebook: the next save writes this file anew."]
    result = Export()
    for cell in cells:
        lines += ["", f"# %% cell {cell.number} {cell.name}".rstrip()]
        result.cells.append(CellLines(cell.number, cell.name, len(lines) + 1, len(cell.lines)))
        result.findings += cell.findings
        lines += cell.lines
    result.source = "\n".join(lines) + "\n"
    return result


def locate(cells: list[CellLines], line: int | None) -> tuple[CellLines, int] | None:
    """The cell that holds line `line` of the module, and the line within that cell, or None."""
    if line is None:
        return None
    for cell in cells:
        if cell.first <= line < cell.first + max(cell.count, 1):
            return cell, line - cell.first + 1
    return None


def _title(cells: list[dict[str, Any]]) -> str:
    for cell in cells:
        source = cell.get("source", "")
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if cell.get("cell_type") == "markdown" and text.strip():
            return text.strip().splitlines()[0].lstrip("# ").strip()
    return ""


def describe(source: str) -> tuple[list[str], dict[str, Any], str]:
    """What a module defines without running it: its contract functions, its `needs`, its docstring.

    A source that Python cannot parse defines nothing.
    """
    try:
        with quiet():
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [], {}, ""
    names = set(_bound_names(tree.body))
    return [name for name in CONTRACT if name in names], _literal_needs(tree), (ast.get_docstring(tree) or "").strip()


def _bound_names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            parts = [node.body, getattr(node, "orelse", []), *(h.body for h in getattr(node, "handlers", []))]
            yield from (name for part in parts for name in _bound_names(part))


def _literal_needs(tree: ast.Module) -> dict[str, Any]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "needs" for t in node.targets):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                return {}
            return value if isinstance(value, dict) else {}
    return {}


def _examine(result: Export) -> None:
    """Syntax and contract, as far as they can be known without running anything."""
    before = len(result.findings)
    result.findings += _syntax(result)
    result.functions, result.needs, docstring = describe(result.source)
    result.doc = docstring or result.doc
    if any(f.severity == "error" for f in result.findings[before:]):
        return
    names = set(result.functions)
    if "import *" not in result.source:
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            listed = ", ".join(missing)
            result.findings.append(
                Finding(
                    "warning",
                    f"The module has no function {listed}.",
                    f"Define {listed} in a cell whose metadata has a name, such as mltkc_{missing[0]}.",
                )
            )
    if len(names & {"save", "load"}) == 1:
        have, lack = ("save", "load") if "save" in names else ("load", "save")
        result.findings.append(
            Finding(
                "warning",
                f"The module has {have} but not {lack}.",
                "Define both, or neither: then Labdock keeps the model by itself.",
            )
        )
    wrong = {c: t for c, t in result.needs.items() if t not in NEEDS_TYPES}
    if wrong:
        column, kind = next(iter(wrong.items()))
        result.findings.append(
            Finding("warning", f"needs[{column!r}] is {kind!r}.", f"Use one of: {', '.join(NEEDS_TYPES)}.")
        )


def _syntax(result: Export) -> Iterator[Finding]:
    with quiet() as caught:
        try:
            compile(result.source, "module", "exec", dont_inherit=True)
        except SyntaxError as error:
            wrong, cell, line = syntax_error_place(error, result.source.split("\n"), result.cells)
            number = cell.number if cell else None
            yield Finding("error", f"Syntax error: {wrong.msg}.", _syntax_remedy(wrong), number, line)
        except (ValueError, RecursionError, MemoryError) as error:
            yield Finding("error", f"The module cannot be compiled: {error}.", "Simplify the exported cells.")
    for warning in caught:
        place = locate(result.cells, warning.lineno)
        if place:
            yield Finding("warning", f"{warning.message}.", "", place[0].number, place[1])


def syntax_error_place(
    error: SyntaxError, lines: list[str], cells: list[CellLines]
) -> tuple[SyntaxError, CellLines | None, int | None]:
    """The cell that is really wrong, and the line in it.

    Python reports `def f():` without a body on the line after it, which may lie in the next cell: the first cell that
    fails by itself is meant.
    """
    for cell in cells:
        try:
            with quiet():
                ast.parse("\n".join(lines[cell.first - 1 : cell.first - 1 + cell.count]))
        except SyntaxError as own:
            return own, cell, min(own.lineno or 1, cell.count)
        except (ValueError, RecursionError, MemoryError):
            continue
    place = locate(cells, error.lineno)
    return (error, *place) if place else (error, None, error.lineno)


def _syntax_remedy(error: SyntaxError) -> str:
    text = (error.text or "").strip()
    return f"Correct: {text[:80]}" if text else "Correct the cell."


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Records the compiler's warnings instead of showing them; one thread at a time."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def check_notebook_name(notebook: str) -> Finding | None:
    """Whether the notebook's name can be a module's; the finding says which name would do."""
    stem = Path(notebook).stem
    if NAME.fullmatch(stem):
        return None
    plain = unicodedata.normalize("NFKD", stem.translate(_LETTERS)).encode("ascii", "ignore").decode()
    better = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-")[:64] or "module"
    return Finding(
        "error",
        f"{notebook} is not exported: {stem!r} cannot be the name of a module.",
        f"Rename the notebook, for example to {better}.ipynb.",
    )
