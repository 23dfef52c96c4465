"""`labdock version`."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from labdock import __version__
from labdock.cli import options
from labdock.cli.output import say, show_json, show_pairs
from labdock.errors import LabdockError
from labdock.lab import find


def version(as_json: options.AsJson = False) -> None:
    """Print the versions of Labdock, the controller and libraries.

    Example: labdock version --json
    """
    found = {"labdock": __version__, "python": platform.python_version()}
    for package in ("pyarrow", "pandas"):
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            found[package] = ""
    try:
        found["controller"] = str(find(timeout=2.0).call("GET", "/health").get("version", ""))
    except LabdockError:
        found["controller"] = ""
    if as_json:
        show_json(found)
    else:
        say(f"labdock {__version__}")
        show_pairs({k: v for k, v in found.items() if k != "labdock"})
