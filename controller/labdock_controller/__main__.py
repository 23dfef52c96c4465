"""`python -m labdock_controller serve [--host H] [--port P] [--runtime R]`: a controller in the foreground;
`doctor`: what is wrong here, as one JSON document.
"""

import argparse
import gc
import json
import sys
from typing import Any

from labdock.errors import LabdockError


def main(arguments: list[str] | None = None) -> int:
    """Gives the exit code."""
    parser = argparse.ArgumentParser(prog="labdock_controller", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run a controller in the foreground until SIGTERM")
    examine = commands.add_parser("doctor", help="look at everything that a controller needs; prints JSON")
    for command in (serve, examine):
        command.add_argument("--host", help="address to listen on (127.0.0.1)")
        command.add_argument("--port", type=int, help="port to listen on (8420); 0 picks a free one")
        command.add_argument("--runtime", help="where environments run (local)")
    given = parser.parse_args(arguments)
    chosen = {name: getattr(given, name) for name in ("host", "port", "runtime") if getattr(given, name) is not None}
    try:
        return _serve(chosen) if given.command == "serve" else _doctor(chosen)
    except LabdockError as error:
        print(f"labdock: {error}", file=sys.stderr)
        return 1


def _serve(chosen: dict[str, object]) -> int:
    gc.disable()  # nothing that imports make is garbage, and looking for some is a tenth of the start
    try:
        from labdock_controller import logs, server  # noqa: PLC0415 - a missing extra is named below
    except ImportError as error:
        raise _missing(error) from None
    gc.freeze()
    gc.enable()
    settings = _settings(chosen)
    logs.configure(settings)
    return server.run(settings)


def _doctor(chosen: dict[str, object]) -> int:
    """Prints the report. The exit code says only whether it could be made."""
    try:
        from labdock_controller.doctor import examine  # noqa: PLC0415
        from labdock_controller.finding import report  # noqa: PLC0415
        from labdock_controller.services import load_runtimes  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from None
    settings = _settings(chosen)
    runtimes = load_runtimes(settings, complain=False)
    try:
        print(json.dumps(report(examine(settings, runtimes))))
    finally:
        for runtime in runtimes.values():
            runtime.close()
    return 0


def _settings(chosen: dict[str, object]) -> Any:
    from pydantic import ValidationError  # noqa: PLC0415

    from labdock_controller.settings import Settings  # noqa: PLC0415

    try:
        return Settings(**chosen)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise LabdockError(f"The setting {name}: {first['msg']}.", remedy="See docs/controller.md.") from None


def _missing(error: ImportError) -> LabdockError:
    return LabdockError(f"{error}.", remedy='Run: pip install "labdock[controller]"')


if __name__ == "__main__":
    sys.exit(main())
