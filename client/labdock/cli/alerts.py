"""`labdock alerts`: saved searches that run on a schedule."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from labdock.cli import options
from labdock.cli.output import plural, say, show_json, show_pairs, show_table
from labdock.errors import InvalidOptions
from labdock.lab import Lab


def alerts(
    name: Annotated[str | None, typer.Argument(help="One saved search.")] = None,
    save: Annotated[str | None, typer.Option("--save", help="Save this search under the name.")] = None,
    schedule: Annotated[str, typer.Option("--schedule", help="5m, 1h, or five cron fields; none: a report.")] = "",
    earliest: Annotated[str, typer.Option("--earliest", help="Start of the time range of each run.")] = "",
    latest: Annotated[str, typer.Option("--latest", help="Its end.")] = "",
    when: Annotated[str, typer.Option("--when", help="A search over the result; fires where rows remain.")] = "",
    throttle: Annotated[str, typer.Option("--throttle", help="SECONDS or SECONDS:field,field of silence.")] = "",
    webhook: Annotated[str, typer.Option("--webhook", help="POST the rows to this address.")] = "",
    email: Annotated[str, typer.Option("--email", help="Mail the rows to this address.")] = "",
    notable: Annotated[str, typer.Option("--notable", help="FIELD:SCORE: a notable event for each row's object.")] = "",
    script: Annotated[str, typer.Option("--script", help="Run this program of the home's scripts folder.")] = "",
    sharing: Annotated[str, typer.Option("--sharing", help="user, app or global.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Run it now, actions included.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Keep it from running on its schedule.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let it run again.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show its runs.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it with its history.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List alerts, or save, run, pause or remove one.

    Example: labdock alerts botnet --save 'index=botsv3 | stats count by src_ip' --schedule 5m --notable src_ip:20
    """
    with options.lab() as lab:
        if name is None:
            _list(lab, as_json=as_json)
            return
        if save:
            definition = {"schedule": schedule, "earliest": earliest, "latest": latest, "sharing": sharing}
            actions = _actions(webhook, email, notable, script)
            extra = {"condition": {"search": when}} if when else {}
            shown = lab.alerts.save(
                name, save, replace=replace, actions=actions, throttle=_throttle(throttle), **definition, **extra
            )
        elif delete:
            lab.alerts.remove(name)
            show_json({"name": name, "removed": True}) if as_json else say(f"{name} is removed.")
            return
        elif history:
            _history(lab.alerts.runs(name), as_json=as_json)
            return
        elif run:
            shown = lab.alerts.run(name)
        else:
            act = lab.alerts.pause if pause else lab.alerts.resume if resume else lab.alerts.get
            shown = act(name)
    if as_json:
        show_json(shown)
    else:
        show_pairs({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in shown.items()})


def _list(lab: Lab, *, as_json: bool) -> None:
    found = lab.alerts.list()
    if as_json:
        show_json(found)
        return
    rows = [
        {**one, "next": _when(one["next_run"]), "does": ", ".join(a["type"] for a in one["actions"])} for one in found
    ]
    heads = {
        "name": "NAME",
        "owner": "OWNER",
        "sharing": "SHARING",
        "schedule": "SCHEDULE",
        "next": "NEXT",
        "does": "DOES",
    }
    show_table(rows, heads, empty="There is no alert yet. Save one: labdock alerts NAME --save 'SEARCH' --schedule 5m.")


def _history(runs: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        show_json(runs)
        return
    rows = [
        {
            **one,
            "at": _when(one["started"]),
            "did": "; ".join(f"{a['type']}: {a['message']}" for a in one["actions"])
            or (one["error"] or {}).get("detail", ""),
        }
        for one in runs
    ]
    heads = {"at": "AT", "status": "STATUS", "rows": "ROWS", "job": "SEARCH", "did": "DID"}
    show_table(rows, heads, empty=f"{plural(0, 'run')} so far.")


def _actions(webhook: str, email: str, notable: str, script: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if webhook:
        found.append({"type": "webhook", "url": webhook})
    if email:
        found.append({"type": "email", "to": email})
    if notable:
        field, _, score = notable.partition(":")
        found.append({"type": "index", "risk_object": field, "risk_score": _number(score or "0", "--notable")})
    if script:
        found.append({"type": "script", "name": script})
    return found


def _throttle(text: str) -> dict[str, Any]:
    if not text:
        return {}
    seconds, _, names = text.partition(":")
    return {"seconds": _number(seconds, "--throttle"), "fields": options.fields(names)}


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOptions(f"{text!r} of {option} is no number.", remedy="See: labdock alerts --help.") from None


def _when(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""
