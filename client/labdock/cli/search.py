"""`labdock search` and `labdock shell`."""

import math
import sys
from typing import Annotated, Any

import typer

from labdock.cli import options
from labdock.cli.output import note, plural, say, show_json, show_table
from labdock.errors import InvalidOptions, LabdockError, SearchError
from labdock.searches import Search, clock, underlined

FORMATS = ("table", "csv", "spreadsheet", "json", "parquet", "arrow")
SHOWN = 1000

Earliest = Annotated[
    str, typer.Option("--earliest", help="Start of the time range: -24h@h, 2026-11-01, epoch seconds.")
]
Latest = Annotated[str, typer.Option("--latest", help="End of the time range: now, -1h, a date.")]
App = Annotated[str, typer.Option("--app", help="The app whose lookups and models are seen.")]
Timezone = Annotated[str, typer.Option("--timezone", help="Time zone of days and shown times, such as Europe/Zurich.")]


def search(
    text: Annotated[str, typer.Argument(help="The search, in quotes; - reads it from standard input.")],
    earliest: Earliest = "",
    latest: Latest = "",
    app: App = "search",
    timezone: Timezone = "UTC",
    format: Annotated[  # noqa: A002 - the option's name
        str, typer.Option("--format", help="table, csv, spreadsheet, json (lines), parquet or arrow.")
    ] = "table",
    out: Annotated[str | None, typer.Option("--out", help="Write all rows to this file, by its suffix.")] = None,
    max_rows: Annotated[int | None, typer.Option("--max-rows", help="Stop after so many rows.")] = None,
    max_seconds: Annotated[float | None, typer.Option("--max-seconds", help="Stop after so long.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the plan and its SQL; run nothing.")] = False,
    dialect: Annotated[str, typer.Option("--sql", help="Show the plan in this dialect: duckdb or spark.")] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id and leave it running.")] = False,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Run a search.

    Example: labdock search 'index=botsv3 | stats count by src_ip | sort -count' --earliest -7d
    """
    text = sys.stdin.read() if text == "-" else text
    if format not in FORMATS:
        raise InvalidOptions(f"There is no format {format!r}.", remedy=f"Formats are: {', '.join(FORMATS)}.")
    asked: dict[str, Any] = {"earliest": earliest, "latest": latest, "app": app, "timezone": timezone}
    with options.lab(progress) as lab:
        try:
            if explain or dialect:
                say(lab.searches.explain(text, dialect=dialect or "duckdb", **asked))
                return
            found = lab.searches.start(text, **asked, max_rows=max_rows, max_seconds=max_seconds)
            if detach:
                show_json(found.record) if as_json else say(found.id)
                return
            _show(found, format, out, timezone, as_json=as_json)
        except SearchError as error:
            if not as_json:
                note(underlined(text, error))
            raise


def shell(app: App = "search", timezone: Timezone = "UTC") -> None:
    """Type searches one after the other, with history and completion. Ctrl-D ends it.

    Example: labdock shell --app search
    """
    try:
        from labdock.cli.prompt import prompt  # noqa: PLC0415 - needs an extra
    except ImportError:
        raise InvalidOptions(
            "The shell needs prompt_toolkit.", remedy='Install it: pip install "labdock[search]".'
        ) from None
    with options.lab() as lab:
        for text in prompt(lab, app):
            try:
                _show(lab.search(text, app=app, timezone=timezone), "table", None, timezone, as_json=False)
            except LabdockError as error:
                if isinstance(error, SearchError):
                    note(underlined(text, error))
                note(f"{error.message} {error.remedy}")
            except KeyboardInterrupt:
                note("Stopped reading; the search is cancelled.")


def _show(found: Search, format: str, out: str | None, zone: str, *, as_json: bool) -> None:  # noqa: A002
    """The rows, in a table with times of the zone; Ctrl-C cancels the search."""
    try:
        if out:
            found.export(out, None if format == "table" else format)
            _end(found, f"{plural(found.refresh(60).record['rows'], 'row')} in {out}.", as_json=as_json)
        elif as_json:
            rows = found.rows()
            show_json({**found.refresh(60).record, "results": rows})
        elif format == "table":
            _table(found, zone)
        else:
            for piece in found.pieces(format):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except KeyboardInterrupt:
        found.cancel()
        raise


def _table(found: Search, zone: str) -> None:
    rows: list[dict[str, Any]] = []
    for batch in found.reader():
        rows += batch.slice(0, SHOWN - len(rows)).to_pylist()
    record = found.refresh(60).record
    names = [f["name"] for f in found.fields]
    shown = [{name: _cell(name, row[name], zone) for name in names} for row in rows]
    show_table(shown, {name: name for name in names}, empty="No rows.")
    more = "" if record["rows"] <= SHOWN else f"; the first {SHOWN:,} are shown (all: --out FILE)"
    _end(found, f"{plural(record['rows'], 'row')}, {record['scanned']:,} read, {record['duration']:.2f} s{more}.")


def _end(found: Search, text: str, *, as_json: bool = False) -> None:
    if as_json:
        show_json(found.record)
        return
    for message in found.messages:
        note(message)
    note(text)


def _cell(name: str, value: Any, zone: str) -> Any:
    if name == "_time" and isinstance(value, int | float):
        return clock(value, zone)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}" if value != int(value) or abs(value) >= 1e15 else f"{value:.0f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else value
