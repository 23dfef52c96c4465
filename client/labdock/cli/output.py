"""What commands print: tables for people, JSON for programs, errors with their remedy, and the exit codes."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from labdock import errors
from labdock.errors import LabdockError
from labdock.figures import figure

# The nearest class counts. Documented in docs/cli.md; they never change.
EXIT_CODES: dict[type[LabdockError], int] = {
    LabdockError: 1,
    errors.ModuleError: 1,
    errors.RequestError: 2,
    errors.NotFound: 3,
    errors.Conflict: 4,
    errors.Unauthenticated: 5,
    errors.Forbidden: 5,
    errors.LimitExceeded: 6,
    errors.LaunchError: 7,
    errors.StorageError: 8,
    errors.TransportError: 9,
    errors.Busy: 9,
}
INTERRUPTED = 130
INTERNAL = 70


def exit_code(error: LabdockError) -> int:
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def say(text: str = "") -> None:
    """A line for people on standard output, at once: whoever reads a pipe waits for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line beside the answer, on standard error."""
    sys.stderr.write(text + "\n")


def show_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], empty: str) -> None:
    """Rows under headings, aligned and never cut off; `columns` maps keys to headings, `empty` is said of no row."""
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    if not cells:
        note(empty)
        return
    headings = list(columns.values())
    widths = [max(len(r[i]) for r in [headings, *cells]) for i in range(len(headings))]
    say(style("1", _line(headings, widths)))
    for row in cells:
        say(_line(row, widths))


def show_pairs(pairs: Mapping[str, Any]) -> None:
    """`name  value` lines, aligned; what is empty is left out."""
    shown = {k: _cell(v) for k, v in pairs.items() if v not in (None, "", [], {})}
    width = max((len(k) for k in shown), default=0)
    for key, value in shown.items():
        say(f"  {style('2', key.ljust(width))}  {value}")


def show_error(error: LabdockError, *, as_json: bool) -> None:
    """Message, what the details say to people, and remedy, on standard error."""
    if as_json:
        sys.stderr.write(json.dumps(error.to_problem(), ensure_ascii=False, default=str) + "\n")
        return
    note(f"{style('1;31', 'Error:', sys.stderr)} {error.message}")
    for name in ("traceback", "log", "output"):
        value = error.details.get(name)
        text = "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")
        if text.strip():
            note(style("2", "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-25:]), sys.stderr))
    if error.remedy:
        note(f"{style('1', 'Try:', sys.stderr)} {error.remedy}")


def show_bug(error: BaseException) -> None:
    """An error that nobody raised on purpose."""
    note(f"{style('1;31', 'Internal error:', sys.stderr)} {type(error).__name__}: {error}")
    note("This is a mistake in Labdock. Run the command again with --debug and report what it says.")


def show_traceback(error: BaseException) -> None:
    traceback.print_exception(error)


def style(code: str, text: str, stream: Any = None) -> str:
    """`text` in an ANSI style where the stream is a terminal that may be coloured."""
    stream = stream or sys.stdout
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def quiet_pipe() -> None:
    """The reader of our output has gone (`| head`): end without a message from the interpreter."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(seconds: float | None) -> str:
    """A point in time (epoch seconds) for people, in their own zone."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_cell(v)}" for k, v in value.items())
    return " ".join(str(value).split())
