"""Failures of user code, told in the user's terms: notebook cell and line, and only their own frames."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from labdock.errors import ModuleError, ModuleOutOfMemory
from labdock_container.export import CellLines, locate, syntax_error_place

_TEXT = 2000  # characters kept of an exception's own text
_FRAMES = 20  # user frames kept of a traceback; endless recursion has thousands
_CHAIN = 5  # exceptions kept of a chain of causes


@dataclass(frozen=True)
class Place:
    """Where in the user's code: the cell (None outside notebooks), the line in it, the function, the line's text."""

    where: str
    cell: int | None
    line: int
    function: str
    text: str


@dataclass(frozen=True)
class SourceMap:
    """What is needed to name places: the module's file, its source, its cells, the folder of other user code."""

    module: str
    path: Path
    notebooks: Path
    notebook: str | None = None
    cells: list[CellLines] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def place(self, filename: str, line: int | None, function: str) -> Place | None:
        """The place of a frame if it is in user code, else None."""
        if filename == str(self.path):
            text = self.lines[line - 1].strip() if line and 0 < line <= len(self.lines) else ""
            found = locate(self.cells, line)
            if found:
                cell, inner = found
                named = f" ({cell.name})" if cell.name else ""
                return Place(f"cell {cell.number}{named}, line {inner}", cell.number, inner, function, text)
            return Place(f"{self.path.name}, line {line or 0}", None, line or 0, function, text)
        if Path(filename).is_relative_to(self.notebooks):
            return Place(f"{Path(filename).name}, line {line or 0}", None, line or 0, function, "")
        return None


def placeless(message: str, remedy: str, module: str, function: str, **details: Any) -> ModuleError:
    """A `ModuleError` that no line of a cell is to blame for."""
    where = {"module": module, "function": function, "cell": None, "line": None, "traceback": ""}
    return ModuleError(message, remedy=remedy, **where, **details)


def module_error(source: SourceMap, function: str, error: BaseException) -> ModuleError:
    """`error`, raised while `function` of the module ran (`import` while it was loaded), as a `ModuleError`."""
    places = list(_places(source, error))
    innermost = places[-1] if places else None
    at = f" at {innermost.where}" if innermost else ""
    what = _in_words(error)
    doing = "could not be loaded" if function == "import" else f"failed in {function}"
    cls = ModuleOutOfMemory if isinstance(error, MemoryError) else ModuleError
    return cls(
        f"Module {source.module!r} {doing}{at}: {what}",
        remedy=_remedy(source, error, innermost),
        module=source.module,
        function=function,
        cell=innermost.cell if innermost else None,
        line=innermost.line if innermost else None,
        notebook=source.notebook,
        exception=type(error).__name__,
        traceback=_traceback(source, error),
    )


def _places(source: SourceMap, error: BaseException) -> Iterator[Place]:
    if isinstance(error, SyntaxError) and error.filename == str(source.path):
        _, cell, line = syntax_error_place(error, source.lines, source.cells)
        found = source.place(error.filename, cell.first + (line or 1) - 1 if cell else error.lineno, "")
        if found:
            yield found
        return
    for frame, line in traceback.walk_tb(error.__traceback__):
        found = source.place(frame.f_code.co_filename, line, _function_of(frame))
        if found:
            yield found


def _function_of(frame: FrameType) -> str:
    name = frame.f_code.co_name
    return "" if name == "<module>" else name


def _in_words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})."
    if isinstance(error, SyntaxError):
        return f"syntax error: {error.msg}."
    text = _text_of(error)
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _text_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg  # str() adds the line in the module's file, which is not the user's
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - __str__ is user code too
        return f"(its text could not be read: {type(broken).__name__})"
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _TEXT else text[:_TEXT] + "…"


def _remedy(source: SourceMap, error: BaseException, place: Place | None) -> str:
    file = source.notebook or f"modules/{source.path.name}"
    if isinstance(error, ModuleNotFoundError):
        return f"Install the package in the environment, or correct the import in {file}."
    if isinstance(error, SystemExit):
        return f"Return a result or raise an exception instead, in {file}."
    if isinstance(error, MemoryError):
        return "Send fewer rows or columns, or raise LABDOCK_WORKER_MEMORY_MB."
    shown = f": {place.text[:120]}" if place and place.text else "."
    return f"Correct {file}{shown}"


def _traceback(source: SourceMap, error: BaseException) -> str:
    parts: list[str] = []
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen and len(parts) < _CHAIN:
        seen.add(id(current))
        lines = [
            f"{p.where[0].upper()}{p.where[1:]}" + (f", in {p.function}" if p.function else "")
            + (f"\n    {p.text}" if p.text else "")
            for p in _places(source, current)
        ]  # fmt: skip
        if len(lines) > _FRAMES:
            cut = len(lines) - _FRAMES
            lines = [*lines[:5], f"… {cut} more …", *lines[-(_FRAMES - 5) :]]
        parts.append("\n".join([*lines, f"{type(current).__name__}: {_text_of(current)}".rstrip(": ")]))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n\nWhile that was handled, another exception came:\n\n".join(reversed(parts))
