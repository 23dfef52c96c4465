"""`labdock doctor`."""

import json
import subprocess
import sys
from typing import Annotated, Any

import typer

from labdock import controller
from labdock.cli import options
from labdock.cli.output import say, show_json, style
from labdock.errors import LaunchError
from labdock.home import home

SECONDS = 120
MARKS = {"ok": ("32", "✓"), "warning": ("33", "!"), "error": ("31", "✗"), "skipped": ("2", "-")}


def doctor(
    runtime: Annotated[str | None, typer.Option(help="The runtime that matters; as for 'up'.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Look at everything Labdock needs here, and say what is wrong and what to do. Exit code 1 if something is.

    Example: labdock doctor
    """
    found = examine(runtime)
    if as_json:
        show_json(found)
    else:
        _show(found)
    if not found["ok"]:
        raise typer.Exit(1)


def examine(runtime: str | None = None) -> dict[str, Any]:
    """The report of this machine, whether a controller runs or not. Raises `RuntimeUnavailable` for a missing extra."""
    controller.check_extras("")
    command = [sys.executable, "-m", "labdock_controller", "doctor", *(["--runtime", runtime] if runtime else [])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    try:
        found: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        said = ended.stderr.strip().splitlines()
        raise LaunchError(
            f"Nothing could be looked at: {said[-1] if said else ended.returncode}.",
            remedy=f"Correct that; settings are in {home() / 'labdock.toml'} and in LABDOCK_ variables.",
            log=said[-20:],
        ) from None
    return found


def _show(found: dict[str, Any]) -> None:
    width = max(len(one["title"]) for one in found["findings"])
    for one in found["findings"]:
        code, mark = MARKS[one["state"]]
        say(f"{style(code, mark)} {one['title'].ljust(width)}  {one['found']}")
        if one["remedy"]:
            say(f"  {' ' * width}  {style('1', 'Try:')} {one['remedy']}")
    wrong = [one["title"] for one in found["findings"] if one["state"] == "error"]
    say(f"Wrong: {', '.join(wrong)}." if wrong else "Nothing is wrong.")
