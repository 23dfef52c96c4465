"""Arguments and options that several commands share, and the way from them to the library."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from labdock import __version__
from labdock.environment import Environment
from labdock.errors import InvalidOptions, LabdockError
from labdock.lab import Lab, connect, find


def complete(path: str, *, prefix: str = "") -> Callable[[str], list[str]]:
    """A completion that asks the controller for names; without one there is nothing to offer."""

    def names(incomplete: str) -> list[str]:
        try:
            lab = Lab(find(timeout=2.0))
            records = (
                lab.environments.only().modules() if path == "modules" else lab.connection.call("GET", f"/api/{path}")
            )
        except LabdockError:
            return []
        known = [str(record["name"]) for record in records]
        known += [f"{prefix}{name}" for name in known] if prefix else []
        return sorted(name for name in known if name.startswith(incomplete))

    return names


complete_environment = complete("environments")
complete_model = complete("models", prefix="app:")
complete_module = complete("modules")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Name = Annotated[str, typer.Argument(help="The environment's name.", autocompletion=complete_environment)]
OptionalName = Annotated[
    str | None,
    typer.Argument(help="The environment's name; not needed where there is one.", autocompletion=complete_environment),
]
Env = Annotated[
    str | None,
    typer.Option("--env", help="The environment; not needed where there is one.", autocompletion=complete_environment),
]
File = Annotated[str, typer.Argument(help="A CSV, Parquet, Arrow or JSON lines file, or - for standard input.")]
Fields = Annotated[
    str | None, typer.Option("--fields", help="Comma-separated fields, wildcards allowed; all of them by default.")
]
Target = Annotated[str | None, typer.Option("--target", help="The field to predict.")]
Param = Annotated[list[str] | None, typer.Option("--param", help="key=value for the module; may be repeated.")]
Progress = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Show progress; by default on a terminal.")
]


def show_version(asked: bool) -> None:
    """Print the version and end, before anything else is looked at."""
    if asked:
        sys.stdout.write(f"labdock {__version__}\n")
        raise typer.Exit


def everywhere(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from; may stand anywhere.")] = False,
) -> None:
    """What can be said before any command."""


@contextmanager
def lab(progress: bool | None = None) -> Iterator[Lab]:
    """The controller that this command talks to."""
    with connect(progress=progress) as connected:
        yield connected


def pick(connected: Lab, name: str | None) -> Environment:
    """The environment named, or the only one."""
    return connected.environments.get(name) if name else connected.environments.only()


def fields(text: str | None) -> list[str]:
    """`a,b,c` as a list."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def params(pairs: list[str] | None) -> dict[str, Any]:
    """`key=value` pairs; numbers, booleans and JSON are taken as such, the rest as text. Raises `InvalidOptions`."""
    values: dict[str, Any] = {}
    for pair in pairs or []:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise InvalidOptions(f"--param {pair} is no pair.", remedy="Write --param key=value.")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values
