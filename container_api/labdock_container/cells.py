"""The cells of a notebook that belong to its module.

A code cell is exported if and only if its metadata has a `name` key, whatever the value. Where `name` is missing, the
tags `labdock-init`, `labdock-fit`, … or a first line `# mltkc_fit` do the same.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

_TAGS = {f"labdock-{word}" for word in ("import", "stage", "init", "fit", "apply", "save", "load", "summary")}
_COMMENT = re.compile(r"#\s*(mltkc_[A-Za-z0-9_]+)\s*$")

# What IPython understands and Python does not: %magic, !shell, ?help, help?, x = %magic, x = !shell.
_MAGIC = re.compile(r"\s*(%|!|\?|[\w.,\s]+=\s*[%!]|.*\?\s*$)")
_MAGICS = 100  # in one cell; each costs a parse, and nobody saves a notebook to wait for it
# Cell magics whose body is Python that should still run; the body of any other is something else (bash, HTML, …).
_PYTHON_CELL_MAGICS = {"time", "timeit", "capture", "prun", "python", "python3"}


@dataclass(frozen=True)
class Finding:
    """Something about a notebook that its author should know. `cell` and `line` count from 1."""

    severity: str  # "error": the module cannot work; "warning": it may not; "info"
    message: str
    remedy: str
    cell: int | None = None
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Cell:
    """An exported cell: its number among all cells of the notebook (from 1), its name, its lines as exported."""

    number: int
    name: str
    lines: list[str]
    findings: list[Finding] = field(default_factory=list)


def read_cells(content: bytes) -> list[dict[str, Any]]:
    """All cells of a notebook file, of any nbformat. Raises `ValueError` that says what is wrong."""
    try:
        notebook = json.loads(content)
    except ValueError as error:
        raise ValueError(f"the file is not JSON ({error})") from None
    if not isinstance(notebook, dict):
        raise ValueError("the file is not a notebook")
    if notebook.get("nbformat") != 4:
        notebook = _converted(notebook)
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError("the file has no list of cells")
    return cells


def _converted(notebook: dict[str, Any]) -> dict[str, Any]:
    import nbformat  # noqa: PLC0415 - slow to import, needed for notebooks of before 2015 only

    try:
        read: Any = nbformat.reads(json.dumps(notebook), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - a damaged file fails in many ways; all mean the same
        raise ValueError(f"the file is no notebook that nbformat can read ({error})") from None
    return dict(read)


def exported_cells(cells: list[dict[str, Any]]) -> list[Cell]:
    """Those cells that make up the module, in order, with IPython's own syntax commented out."""
    return list(_exported(cells))


def _exported(cells: list[dict[str, Any]]) -> Iterator[Cell]:
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        # Python's own idea of a line, not str.splitlines': form feeds and U+2028 do not end one.
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        name = _export_name(cell, lines)
        if name is not None:
            plain, findings = without_magics(lines, number)
            yield Cell(number, name, plain, findings)


def _export_name(cell: dict[str, Any], lines: list[str]) -> str | None:
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if "name" in metadata:
        return " ".join(str(metadata["name"]).split())
    tags = metadata.get("tags")
    tagged = next((tag for tag in tags if tag in _TAGS), None) if isinstance(tags, list) else None
    if tagged:
        return str(tagged).replace("labdock-", "mltkc_")
    first = next((line for line in lines if line.strip()), "")
    comment = _COMMENT.match(first.strip())
    return comment[1] if comment else None


def without_magics(lines: list[str], number: int) -> tuple[list[str], list[Finding]]:
    """`lines` with magics and shell lines replaced by `pass  # …`, and a finding for each; the line count is kept.

    Only what Python cannot parse is touched: a `%` that continues an expression or stands in a string stays.
    """
    lines, findings = _without_cell_magic(list(lines), number)
    for _ in range(_MAGICS):
        wrong = _unparsable_line(lines)
        if wrong is None or not _MAGIC.match(lines[wrong]):
            break
        findings.append(_magic_finding(lines[wrong], number, wrong))
        _comment_out(lines, wrong)
    return lines, findings


def _without_cell_magic(lines: list[str], number: int) -> tuple[list[str], list[Finding]]:
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None or not lines[first].lstrip().startswith("%%"):
        return lines, []
    finding = _magic_finding(lines[first], number, first)
    word = lines[first].strip()[2:].split()
    if word and word[0] in _PYTHON_CELL_MAGICS:
        _comment_out(lines, first)
        return lines, [finding]
    return [f"# {line}".rstrip() for line in lines], [finding]


def _magic_finding(line: str, number: int, index: int) -> Finding:
    return Finding(
        "warning",
        f"{line.strip()[:80]!r} is for notebooks only; the module leaves it out.",
        "Move it to a cell that is not exported, or write it in Python.",
        number,
        index + 1,
    )


def _unparsable_line(lines: list[str]) -> int | None:
    try:
        ast.parse("\n".join(lines))
    except SyntaxError as error:
        return error.lineno - 1 if error.lineno and error.lineno <= len(lines) else None
    except (ValueError, RecursionError, MemoryError):  # NUL characters, absurd nesting
        return None
    return None


def _comment_out(lines: list[str], index: int) -> None:
    """In place. `pass` keeps a block that held nothing else; a backslash carries a magic on to the next line."""
    line = lines[index]
    indent = line[: len(line) - len(line.lstrip())]
    lines[index] = f"{indent}pass  # {line.strip()}"
    while line.rstrip().endswith("\\") and index + 1 < len(lines):
        index += 1
        line = lines[index]
        lines[index] = f"{indent}# {line.strip()}"
