"""`labdock jobs`: what environments work on and what they did lately, and searches."""

from typing import Annotated, Any

import typer

from labdock.cli import options
from labdock.cli.output import note, say, show_error, show_json, show_pairs, show_table
from labdock.errors import LabdockError
from labdock.jobs import Job
from labdock.lab import Lab

COLUMNS = {
    "id": "JOB",
    "kind": "KIND",
    "status": "STATUS",
    "module": "MODULE",
    "model": "MODEL",
    "rows": "ROWS",
    "duration": "SECONDS",
}


def jobs(
    job: Annotated[str | None, typer.Argument(help="One job, by its id.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what the job prints until it ends.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the job.")] = False,
    searches: Annotated[bool, typer.Option("--searches", help="Searches instead of an environment's jobs.")] = False,
    env: options.Env = None,
    as_json: options.AsJson = False,
) -> None:
    """List an environment's jobs or one's searches, or show, follow or cancel one.

    Example: labdock jobs fit-0a1b2c --follow
    """
    with options.lab() as lab:
        if searches:
            _searches(lab, job, cancel=cancel, as_json=as_json)
            return
        environment = options.pick(lab, env)
        if job is None:
            records = [one.record for one in environment.jobs()]
            if as_json:
                show_json(records)
            else:
                show_table(records, COLUMNS, empty=f"{environment.name} did nothing lately.")
            return
        one = environment.job(job)
        if cancel:
            one.cancel()
            one.refresh()
        if follow:
            _follow(one, as_json=as_json)
        _show(one.record, as_json=as_json)


def _searches(lab: Lab, identifier: str | None, *, cancel: bool, as_json: bool) -> None:
    if identifier:
        one = lab.searches.get(identifier)
        _show(one.cancel().record if cancel else one.record, as_json=as_json)
        return
    records = [one.record for one in lab.searches.list()]
    if as_json:
        show_json(records)
        return
    short = [{**r, "search": " ".join(str(r["search"]).split())[:80]} for r in records]
    heads = {"id": "SEARCH", "status": "STATUS", "rows": "ROWS", "duration": "SECONDS", "search": "TEXT"}
    show_table(short, heads, empty="No search lately.")


def _follow(job: Job, *, as_json: bool) -> None:
    for event in job.events():
        if event.kind == "log" and not as_json:
            say(event.text)
        elif event.text:
            note(f"{event.kind}: {event.text}")
    job.refresh()


def _show(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(record)
        return
    show_pairs({k: v for k, v in record.items() if k not in ("error", "info")})
    error = Job.error_of(record)
    if isinstance(error, LabdockError):
        show_error(error, as_json=False)
