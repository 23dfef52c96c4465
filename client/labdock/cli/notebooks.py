"""`labdock new-notebook`: the start of a module of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from labdock import templates
from labdock.cli import options
from labdock.cli.output import say, show_json


def new_notebook(
    name: Annotated[str, typer.Argument(help="The notebook's name, which becomes the module's.")],
    kind: Annotated[str, typer.Option("--kind", help=f"One of {', '.join(templates.TEMPLATES)}.")] = "classifier",
    folder: Annotated[str, typer.Option("--folder", help="Where to write it; by default here.")] = ".",
    as_json: options.AsJson = False,
) -> None:
    """Write a notebook that is a module already: cells for fit and apply, and one that tests them.

    Example: labdock new-notebook my_detector --kind classifier
    """
    path = templates.write(Path(folder), name, kind)
    show_json({"notebook": str(path), "kind": kind}) if as_json else say(
        f"{path} is written. Open it, run it, save it."
    )
