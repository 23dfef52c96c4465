"""Searches in notebooks: `%load_ext labdock`, then `%%labdock_search` over a cell or `%labdock_search` in a line.

%%labdock_search --earliest -24h --into flows
index=botsv3 sourcetype="stream:tcp"
| stats count sum(bytes_in) as bytes by src_ip
| sort -bytes

top = %labdock_search | inputlookup cards.csv | head 5
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from labdock.errors import InvalidOptions, LabdockError
from labdock.lab import Lab, connect
from labdock.names import nearest
from labdock.searches import Search, clock, underlined

NAME = "labdock_search"
OPTIONS = ("--earliest", "--latest", "--app", "--timezone", "--into", "--max-rows", "--max-seconds")
SHOWN = 60
WORD = re.compile(
    r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^\s"']*))(?:\s+(?P<rest>.*)|\Z)""", re.DOTALL
)


class Rows(pd.DataFrame):
    """What a search found: a frame like any other, which shows `_time` as a time and how the search went."""

    _metadata = ("told", "zone")
    told: str
    zone: str

    def shown(self) -> pd.DataFrame:
        """A plain frame of at most `SHOWN` rows for people."""
        frame = pd.DataFrame(self.head(SHOWN))
        if "_time" in frame.columns:
            frame["_time"] = [_time(value, getattr(self, "zone", "UTC")) for value in frame["_time"]]
        return frame

    def _repr_html_(self) -> str:
        return f"{self.shown().to_html(max_cols=40, index=False)}<p>{getattr(self, 'told', '')}</p>"

    def __repr__(self) -> str:
        return f"{self.shown().to_string(index=False)}\n{getattr(self, 'told', '')}".rstrip()


def _time(value: Any, zone: str) -> str:
    if not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - not a NaN
        return "" if value is None or value is pd.NA or isinstance(value, float) else str(value)
    return clock(value, zone)


def options_of(line: str) -> tuple[dict[str, str], str]:
    """The leading options of a line and the rest of it, untouched. Raises `InvalidOptions`."""
    found: dict[str, str] = {}
    rest = line.lstrip()
    while rest.startswith("--"):
        word, _, after = rest.partition(" ")
        name, equals, value = word.partition("=")
        if name not in OPTIONS:
            best = nearest(name, OPTIONS)
            raise InvalidOptions(
                f"%{NAME} has no option {name}.",
                remedy=f"{f'Did you mean {best}? ' if best else ''}There is: {', '.join(OPTIONS)}.",
            )
        if not equals:
            value, after = _word(after)
        if not value:
            raise InvalidOptions(f"The option {name} has no value.", remedy=f"Write {name} VALUE.")
        found[name.removeprefix("--").replace("-", "_")] = value
        rest = after.lstrip()
    return found, rest


def _word(text: str) -> tuple[str, str]:
    """The first word, which may be quoted, and what follows. Raises `InvalidOptions`."""
    found = WORD.fullmatch(text)
    if found is None:
        raise InvalidOptions(f"The quotes of {text.strip()!r} do not end.", remedy="Close them.")
    return found["double"] or found["single"] or found["plain"] or "", found["rest"] or ""


@magics_class
class SearchMagics(Magics):
    """The magics of one shell, and its connection to the controller, made with the first search."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.variables: dict[str, Any] = shell.user_ns
        self.lab: Lab | None = None

    def connected(self) -> Lab:
        if self.lab is None:
            self.lab = connect()
        return self.lab

    @no_var_expand
    @line_cell_magic(NAME)  # type: ignore[arg-type]  # IPython's decorators are typed for names only
    def search(self, line: str, cell: str | None = None) -> Rows | None:
        """%%labdock_search [--earliest T] [--latest T] [--app A] [--timezone Z] [--into NAME] [--max-rows N]

        Run the cell, or the rest of the line, as a search. Gives its rows as a DataFrame; with `--into` they become
        the variable NAME as well.
        """
        text = ""
        try:
            given, rest = options_of(line)
            text = rest if cell is None else f"{rest}\n{cell}" if rest.strip() else cell
            return self._run(text.strip("\n"), given)
        except LabdockError as error:
            raise _plain(error, text.strip("\n")) from None

    def _run(self, text: str, given: dict[str, str]) -> Rows:
        into = given.pop("into", "")
        if into and not into.isidentifier():
            raise InvalidOptions(f"{into!r} is no name of a variable.", remedy="Such as --into flows.")
        asked: dict[str, Any] = dict(given)
        for name, kind in (("max_rows", int), ("max_seconds", float)):
            if name in asked:
                asked[name] = _number(name, asked[name], kind)
        found = self.connected().search(text, **asked)
        try:
            rows = Rows(found.pandas())
        except KeyboardInterrupt:
            found.cancel()
            raise
        rows.zone, rows.told = given.get("timezone", "UTC"), _told(found)
        for message in found.messages:
            print(message, file=sys.stderr)
        if into:
            self.variables[into] = rows
        return rows

    def completions(self, context: CompletionContext) -> SimpleMatcherResult:
        """What fits at the cursor of a search's cell or line; nothing elsewhere, and nothing without a controller."""
        nothing = SimpleMatcherResult(completions=[])
        lines = context.full_text.split("\n")
        place = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        begin = _search_begins(context.full_text, place)
        if begin is None:
            return nothing
        text, position = context.full_text[begin:], place - begin
        try:
            found = self.connected().searches.complete(text, position)
        except LabdockError:
            return nothing
        start = min((int(each["start"]) for each in found), default=position)
        offered = [SimpleCompletion(str(each["text"]), type=str(each["sort"])) for each in found]
        return SimpleMatcherResult(completions=offered, matched_fragment=text[start:position], suppress=bool(offered))


def _search_begins(text: str, place: int) -> int | None:
    """Where the search begins that the cursor stands in: after the magic and its options."""
    cell, line = f"%%{NAME}", f"%{NAME}"
    if text.startswith(cell):
        end = text.find("\n")
        return end + 1 if 0 <= end < place else None
    begin = text.rfind("\n", 0, place) + 1
    at = text.find(f"{line} ", begin, place)
    if at < 0:
        return None
    try:
        _, rest = options_of(text[at + len(line) : place])
    except InvalidOptions:
        return None
    return place - len(rest)


def _number(name: str, value: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(value)
    except ValueError:
        raise InvalidOptions(f"--{name.replace('_', '-')} {value} is no number.", remedy="Give a number.") from None


def _told(found: Search) -> str:
    record = found.refresh(60).record
    more = f"; the first {SHOWN} are shown" if record["rows"] > SHOWN else ""
    return f"{record['rows']:,} rows, {record['scanned']:,} read, {record['duration']:.2f} s{more}"


def _plain(error: LabdockError, text: str) -> LabdockError:
    """The error as a notebook shows it: the place underlined, what to do, and none of our frames."""
    lines = [f"{type(error).__name__}: {error.message}"]
    if "position" in error.details:
        lines.append(underlined(text, error))
    lines += [error.remedy] if error.remedy else []

    def render() -> list[str]:
        return lines

    error._render_traceback_ = render  # type: ignore[attr-defined]  # IPython asks it
    return error


def load(shell: InteractiveShell) -> None:
    """`%load_ext labdock`."""
    magics = SearchMagics(shell)
    shell.register_magics(magics)
    completer = getattr(shell, "Completer", None)
    if completer is not None:

        @context_matcher(identifier=f"labdock.{NAME}", priority=200)  # type: ignore[untyped-decorator]
        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            return magics.completions(context)

        others: Iterator[Any] = (m for m in completer.custom_matchers if not _is_ours(m))
        completer.custom_matchers = [matcher, *others]


def _is_ours(matcher: Any) -> bool:
    return str(getattr(matcher, "matcher_identifier", "")).startswith("labdock.")
