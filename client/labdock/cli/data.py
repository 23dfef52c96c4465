"""`labdock ingest`, `labdock indexes`, `labdock lookups`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from labdock.cli import options
from labdock.cli.output import note, plural, say, show_json, show_table
from labdock.errors import InvalidOptions, StorageError
from labdock.progress import Activity

Index = Annotated[str, typer.Option("--index", help="The index; made if there is none.")]


def ingest(
    files: Annotated[list[str], typer.Argument(help="CSV, Parquet, Arrow, JSON lines, Zeek or Windows event files.")],
    index: Index = "main",
    sourcetype: Annotated[str | None, typer.Option("--sourcetype", help="Such as stream:tcp.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="By default the event's own, else the file's path.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="By default the events' own.")] = None,
    time_field: Annotated[str | None, typer.Option("--time-field", help="The field that holds the time.")] = None,
    time_format: Annotated[str | None, typer.Option("--time-format", help="Its strptime format.")] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="Of times without a zone.")] = "UTC",
    again: Annotated[bool, typer.Option("--again", help="Also a file that was ingested before.")] = False,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Read files of events into an index.

    Example: labdock ingest conn.log --index botsv3 --sourcetype stream:tcp
    """
    _check_files(files)
    reports = []
    with options.lab(progress) as lab, Activity("ingesting", lab.progress) as activity:
        for file in files:
            activity.say(file)
            given = {"sourcetype": sourcetype, "source": source, "host": host, "time_field": time_field}
            more = {"time_format": time_format, "timezone": timezone, "again": again}
            reports.append(lab.indexes.ingest(file, index, **{k: v for k, v in {**given, **more}.items() if v}))
    if as_json:
        show_json(reports)
    else:
        for report in reports:
            _say_report(report)
    unread = [file["name"] for report in reports for file in report["files"] if file["error"]]
    if unread:
        raise StorageError(
            f"{plural(len(unread), 'file')} could not be read: {', '.join(unread)}.",
            remedy="What is wrong with each is told above; the events of the others are in the index.",
            files=unread,
        )


def _say_report(report: dict[str, Any]) -> None:
    for file in report["files"]:
        if file["error"]:
            note(f"{file['name']}: {file['error']}")
            continue
        rest = f", {plural(file['bad'], 'bad line')} left out" if file["bad"] else ""
        known = "was ingested before (--again reads it again)" if file["skipped"] else ""
        say(f"{file['name']}: {known or plural(file['rows'], 'event') + ' in ' + report['index'] + rest}")
        for problem in file["problems"][:5]:
            note(f"  line {problem['line']}: {problem['reason']}: {problem['text'][:120]}")
        for notice in file["notices"]:
            note(f"  {notice}")


def indexes(
    name: Annotated[str | None, typer.Argument(help="Show this index with its fields, or change it.")] = None,
    readers: Annotated[
        str | None, typer.Option("--readers", help="Who may search it: user:NAME,role:ROLE, or everyone.")
    ] = None,
    keep_days: Annotated[float | None, typer.Option("--keep-days", help="How long events stay; 0: for ever.")] = None,
    delete: Annotated[str | None, typer.Option("--delete", help="Delete this index with its events.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the indexes, with rows, size and time span; or say who may search one and how long its events stay.

    Example: labdock indexes botsv3 --readers role:power,user:anna
    """
    if name is None and (readers is not None or keep_days is not None):
        raise InvalidOptions("No index is named.", remedy="Such as: labdock indexes botsv3 --readers role:power.")
    with options.lab() as lab:
        if delete:
            lab.indexes.delete(delete)
            say(f"Deleted {delete}.")
            return
        if name is not None:
            if readers is not None:
                lab.indexes.restrict(name, None if readers == "everyone" else options.fields(readers))
            if keep_days is not None:
                lab.indexes.keep(name, keep_days or None)
            _show_index(lab.indexes.get(name), as_json=as_json)
            return
        found = lab.indexes.list()
    if as_json:
        show_json(found)
        return
    _list_indexes(found)


def _show_index(index: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(index)
        return
    days = index["retention_days"]
    readers = "everyone" if index["readers"] is None else ", ".join(index["readers"]) or "administrators"
    kept = f"{days:g} days" if days else "for ever"
    say(f"{index['name']}: {plural(index['rows'], 'event')}, searched by {readers}, kept {kept}.")
    heads = {"name": "FIELD", "type": "TYPE"}
    show_table([{"name": name, "type": kind} for name, kind in index["fields"].items()], heads, empty="No fields yet.")


def _list_indexes(found: list[dict[str, Any]]) -> None:
    rows = [
        {
            "name": one["name"],
            "rows": f"{one['rows']:,}",
            "size": f"{one['bytes'] / 1e6:,.1f} MB",
            "from": _day(one["earliest"]),
            "to": _day(one["latest"]),
            "sourcetypes": ", ".join(one["sourcetypes"]),
        }
        for one in found
    ]
    heads = {"name": "INDEX", "rows": "ROWS", "size": "SIZE", "from": "FROM", "to": "TO", "sourcetypes": "SOURCETYPES"}
    show_table(rows, heads, empty="There is no index yet. Make one: labdock ingest FILE --index NAME.")


def lookups(
    action: Annotated[str, typer.Argument(help="list, add, remove, share or get.")] = "list",
    name: Annotated[str | None, typer.Argument(help="The lookup, or the CSV file to add.")] = None,
    as_name: Annotated[str | None, typer.Option("--as", help="Its name; the file's by default.")] = None,
    app: Annotated[str, typer.Option("--app", help="The app that it belongs to.")] = "search",
    sharing: Annotated[str | None, typer.Option("--sharing", help="user, app or global.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List, add, remove, share or print the tables that searches look things up in.

    Example: labdock lookups add assets.csv --sharing app
    """
    if action != "list" and not name:
        raise InvalidOptions(f"labdock lookups {action} needs a name.", remedy="See: labdock lookups --help.")
    with options.lab() as lab:
        if action == "list":
            _list_lookups(lab.lookups.list(app), as_json=as_json)
        elif action == "add":
            _check_files([str(name)])
            added = lab.lookups.add(str(name), as_name, app=app, sharing=sharing, replace=replace)
            show_json(added) if as_json else say(f"{added['name']}: {plural(added['rows'], 'row')}.")
            for notice in added["notices"]:
                note(notice)
        elif action == "remove":
            lab.lookups.remove(str(name), app)
            say(f"Removed {name}.")
        elif action == "share":
            shared = lab.lookups.share(str(name), sharing or "app", app)
            show_json(shared) if as_json else say(f"{name} is shared with: {shared['sharing']}.")
        elif action == "get":
            say(lab.lookups.csv(str(name), app).decode("utf-8", "replace").rstrip("\n"))
        else:
            raise InvalidOptions(f"{action!r} is no action.", remedy="There is: list, add, remove, share, get.")


def _list_lookups(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    heads = {"name": "LOOKUP", "rows": "ROWS", "owner": "OWNER", "app": "APP", "sharing": "SHARING"}
    show_table(found, heads, empty="There is no lookup yet. Add one: labdock lookups add FILE.csv.")


def _check_files(files: list[str]) -> None:
    for file in files:
        if not Path(file).is_file():
            raise StorageError(f"There is no file {file}.", remedy="Check its path.")


def _day(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds is not None else ""
