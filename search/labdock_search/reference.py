"""The language's page, from the registry: `docs/search.md` is what `page()` gives, and a test keeps it so."""

from collections.abc import Iterable
from typing import Any

from labdock_search.commands import Command, load
from labdock_search.functions import EVAL
from labdock_search.functions.aggregates import AGGREGATES

INTRODUCTION = """# The search language

<!-- Made by `make docs` from search/labdock_search; edit the commands there. -->

A search is a pipeline: `index=botsv3 sourcetype="stream:tcp" | stats count by src_ip | sort -count`. It begins with
search terms, or after a `|` with a command that makes rows. It is a practical subset of Splunk's Search Processing
Language with its meaning; commands of it that are not here answer "not supported yet".

`"x"` is a text. In `eval` and `where`, `'x'` is a field whose name has special characters: `'predicted(botnet)'`.
```` ```text``` ```` is a comment, `` `name(arguments)` `` a macro, `[ … ]` a subsearch.

Times are epoch seconds, shown in the user's zone. A time range is written `-24h@h`, `now`, `2018-08-20T13:00:00` or
in epoch seconds; `earliest=` and `latest=` among the search terms win over the range beside the search.

A field that no row has is empty, not an error. Comparison is numeric where both sides are numbers. Dividing by zero
and functions outside their domain give no value. Regular expressions take linear time (RE2): no look-ahead.

Errors name the command, the position and the nearest known name. `labdock search --explain` shows the plan, the SQL
and which files are read.
"""


def page() -> str:
    """The whole page as Markdown."""
    commands = sorted({command.name: command for command in load().values()}.items())
    parts = [INTRODUCTION, "## Commands\n", _index(name for name, _ in commands), ""]
    for _, command in commands:
        parts += _command(command)
    parts += ["## Functions of stats, chart, timechart, top and their relatives\n", *_aggregates(), ""]
    parts += ["## Functions of eval and where\n", *_functions(), ""]
    return "\n".join(parts)


def _index(names: Iterable[str]) -> str:
    return " · ".join(f"[{name}](#{name})" for name in names) + "\n"


def _command(command: Command) -> list[str]:
    also = f" (also `{'`, `'.join(command.aliases)}`)" if command.aliases else ""
    lines = [f"### {command.name}\n", f"    {command.usage}\n", f"{command.summary}{also}\n"]
    if command.notes:
        lines.append(f"{command.notes}\n")
    for example in command.examples:
        lines += ["```", example.search, "```\n"]
        if example.rows:
            lines += [_table(example.rows), ""]
    return lines


def _table(rows: Any) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(map(_cell, names)) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return shown.replace("|", "\\|").replace("\n", " ")


def _aggregates() -> list[str]:
    found = {aggregate.name: aggregate for aggregate in AGGREGATES.values()}
    lines = ["| Function | Also | Gives |", "| --- | --- | --- |"]
    for name, aggregate in sorted(found.items()):
        also = ", ".join(f"`{alias}`" for alias in aggregate.aliases)
        lines.append(f"| `{name}` | {also} | {aggregate.summary} |")
    return lines


def _functions() -> list[str]:
    families: dict[str, list[str]] = {}
    for _, function in sorted(EVAL.items()):
        example = function.examples[0]
        expression = example.expression.replace("|", "\\|")
        shown = f"`{expression}` → {_cell(example.gives) or 'no value'}"
        signature = function.signature.replace("|", "\\|")
        row = f"| `{signature}` | {function.summary} | {shown} |"
        families.setdefault(function.family, []).append(row)
    lines: list[str] = []
    for family, rows in sorted(families.items()):
        lines += [
            f"### {family[0].upper()}{family[1:]} functions\n",
            "| Function | Gives | Example |",
            "| --- | --- | --- |",
        ]
        lines += [*rows, ""]
    return lines
