"""`python -m labdock_container serve|supervise`: see `docs/interfaces.md` section 2."""

import argparse
import sys

from labdock.errors import LabdockError


def main() -> int:
    parser = argparse.ArgumentParser(prog="labdock_container", description="An environment's programs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="the API, in the foreground")
    commands.add_parser("supervise", help="the API, and JupyterLab in mode dev, kept running until SIGTERM")
    command = parser.parse_args().command
    try:
        if command == "supervise":
            from labdock_container.supervise import supervise  # noqa: PLC0415 - each command imports its own world

            return supervise()
        from labdock_container.app import serve  # noqa: PLC0415

        return serve()
    except LabdockError as error:
        print(f"labdock: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
