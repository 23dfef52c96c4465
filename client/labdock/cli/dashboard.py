"""`labdock dashboard`: the controller's pages in the browser."""

import webbrowser
from typing import Annotated

import typer

from labdock.cli import options
from labdock.cli.environments import can_show_browser
from labdock.cli.output import note, say, show_json, style
from labdock.errors import InvalidOptions


def dashboard(
    page: Annotated[str, typer.Argument(help="The page: lab, environments, search, data, models… or a path.")] = "",
    browser: Annotated[bool, typer.Option(help="Open the link as well as print it.")] = True,
    as_json: options.AsJson = False,
) -> None:
    """Open the dashboard in the browser, signed in.

    Example: labdock dashboard models --no-browser
    """
    path = "/" + page.removeprefix("/")
    if path.startswith(("//", "/\\")):
        raise InvalidOptions(f"{page!r} is no page.", remedy="Name one, for example: labdock dashboard environments.")
    with options.lab() as lab:
        link = lab.sign_in_link(path)
    if browser and can_show_browser():
        webbrowser.open(link)
    if as_json:
        show_json({"page": path, "url": link})
    else:
        say(style("4", link))
        note("The link works once; ask for another with the same command.")
