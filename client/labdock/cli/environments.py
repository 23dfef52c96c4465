"""`labdock start | stop | restart | upgrade | share | rm | ps | logs | open`."""

import os
import sys
from typing import Annotated

import typer

from labdock.cli import options
from labdock.cli.output import moment, note, say, show_json, show_table, style
from labdock.environment import Environment
from labdock.errors import InvalidOptions, LabdockError

COLUMNS = {
    "name": "NAME",
    "status": "STATUS",
    "runtime": "RUNTIME",
    "mode": "MODE",
    "image": "IMAGE",
    "started": "STARTED",
    "cause": "CAUSE",
}


def start(
    name: options.Name = "__dev__",
    image: Annotated[str | None, typer.Option(help="What to start from; the runtime's default otherwise.")] = None,
    mode: Annotated[str | None, typer.Option(help="dev (JupyterLab and API) or prod (API only).")] = None,
    runtime: Annotated[str | None, typer.Option(help="Where it runs: local, docker, …")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPUs that it may use; the image's default otherwise.")] = None,
    memory: Annotated[int | None, typer.Option(help="Memory that it may use, MB.")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs that it is given.")] = 0,
    wait: Annotated[bool, typer.Option(help="Wait until it is ready.")] = True,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Start an environment; one that runs already is left alone.

    Example: labdock start __dev__
    """
    asked = {"cpus": cpus, "memory_mb": memory, "gpus": gpus or None}
    limits = {name: value for name, value in asked.items() if value is not None}
    with options.lab(progress) as lab:
        environment = lab.environments.start(name, image=image, mode=mode, runtime=runtime, limits=limits, wait=wait)
        if as_json:
            show_json(environment.record)
            return
        say(f"{environment.name} is {environment.status}.")
        if environment.status == "running" and environment.mode != "prod":
            say(f"JupyterLab: labdock open {environment.name}")


def stop(name: options.OptionalName = None, as_json: options.AsJson = False) -> None:
    """Stop an environment; its notebooks, data and models stay.

    Example: labdock stop __dev__
    """
    with options.lab() as lab:
        _said(options.pick(lab, name).stop(), as_json=as_json)


def restart(
    name: options.OptionalName = None, as_json: options.AsJson = False, progress: options.Progress = None
) -> None:
    """Stop an environment and start it again.

    Example: labdock restart __dev__
    """
    with options.lab(progress) as lab:
        _said(options.pick(lab, name).restart(), as_json=as_json)


def upgrade(
    names: Annotated[list[str] | None, typer.Argument(help="Environments; all whose image is newer without.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would be restarted.")] = False,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Restart environments whose image there is a newer one of, one after another; notebooks and models stay.

    Example: labdock upgrade --dry-run
    """
    with options.lab(progress) as lab:
        outdated = lab.environments.outdated()
        chosen = [name for name in outdated if not names or name in names]
        for place, name in enumerate([] if dry_run else chosen):
            try:
                lab.environments.get(name).restart(progress=progress)
            except LabdockError as error:  # one that fails leaves the others as they are
                _stopped_at(error, chosen, place)
                raise
            if not as_json:
                say(f"{name} runs from the newest image.")
        if as_json:
            show_json({"upgraded": [] if dry_run else chosen, "outdated": list(outdated)})
        elif dry_run or not chosen:
            say(
                f"Newer images for: {', '.join(chosen)}." if chosen else "Every environment runs from its newest image."
            )


def _stopped_at(error: LabdockError, chosen: list[str], place: int) -> None:
    """Say in the error how far an upgrade came and how to go on."""
    left = chosen[place + 1 :]
    error.details |= {"upgraded": chosen[:place], "failed": chosen[place], "left": left}
    if left:
        error.remedy += f" Left as they were: {', '.join(left)}; go on with: labdock upgrade {' '.join(left)}."


def share(
    name: options.OptionalName = None,
    users: Annotated[list[str] | None, typer.Option("--with", help="A user who may use it; may be repeated.")] = None,
    app: Annotated[bool, typer.Option("--app", help="Everybody of one's app may use it.")] = False,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody may use it.")] = False,
    nobody: Annotated[bool, typer.Option("--nobody", help="Its owner alone again.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Let others stage, fit and apply in an environment; without an option, say who may.

    Example: labdock share __dev__ --with anna --with ben
    """
    if app + everybody + nobody > 1 or (nobody and users):
        raise InvalidOptions("--app, --all and --nobody exclude each other.", remedy="Choose one.")
    with options.lab() as lab:
        environment = options.pick(lab, name)
        if nobody:
            environment.share("user", users=[])
        elif users or app or everybody:
            named = sorted({*environment.record.get("users", []), *(users or [])}) if users else None
            environment.share("app" if app else "global" if everybody else None, users=named)
        record = environment.record
        if as_json:
            show_json({"name": environment.name, "sharing": record["sharing"], "users": record["users"]})
            return
        whom = {"user": [], "app": [f"everybody of the app {record['app']}"], "global": ["everybody"]}
        others = [*whom[record["sharing"]], *record["users"]]
        say(f"{environment.name} may be used by {record['owner']}{''.join(f', {one}' for one in others)}.")


def rm(
    name: options.Name,
    files: Annotated[bool, typer.Option("--files", help="Remove its notebooks, data and models too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Stop an environment and forget it.

    Example: labdock rm scratch --files --yes
    """
    with options.lab() as lab:
        environment = lab.environments.get(name)
        if files and not yes and sys.stdin.isatty():
            typer.confirm(f"Remove the notebooks, data and models of {name} for good?", abort=True)
        environment.delete(files=files)
        if as_json:
            show_json({"name": name, "removed": True, "files": files})
        else:
            say(f"{name} is removed{' with its files' if files else '; its notebooks stay'}.")


def ps(as_json: options.AsJson = False) -> None:
    """List the environments.

    Example: labdock ps
    """
    with options.lab() as lab:
        records = [environment.record for environment in lab.environments.list()]
        if as_json:
            show_json(records)
        else:
            rows = [
                {**record, "image": record["image"] or "-", "started": moment(record.get("started"))}
                for record in records
            ]
            show_table(rows, COLUMNS, empty="There is no environment yet. Start one: labdock start __dev__")


def logs(
    name: options.OptionalName = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines as they come.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="How many lines to begin with.")] = 200,
    as_json: options.AsJson = False,
) -> None:
    """Print an environment's log, also after it has exited.

    Example: labdock logs __dev__ -f --tail 20
    """
    with options.lab() as lab:
        environment = options.pick(lab, name)
        if follow:
            for line in environment.follow(tail):
                say(line) if not as_json else show_json({"line": line})
            return
        text = environment.logs(tail)
        if as_json:
            show_json({"name": environment.name, "lines": text.splitlines()})
        else:
            sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")


def open_(
    name: options.OptionalName = None,
    browser: Annotated[bool, typer.Option(help="Open the link as well as print it.")] = True,
    as_json: options.AsJson = False,
) -> None:
    """Open an environment's JupyterLab in the browser, signed in.

    Example: labdock open __dev__ --no-browser
    """
    with options.lab() as lab:
        environment = options.pick(lab, name)
        link = environment.open(browser=browser and can_show_browser())
        if as_json:
            show_json({"name": environment.name, "url": link})
        else:
            say(style("4", link))
            note("The link works once; ask for another with the same command.")


def can_show_browser() -> bool:
    """Whether a graphical browser can appear; a text browser in the same terminal helps nobody."""
    if sys.platform in ("darwin", "win32") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _said(environment: Environment, *, as_json: bool) -> None:
    if as_json:
        show_json(environment.record)
    else:
        say(f"{environment.name} is {environment.status}.")
