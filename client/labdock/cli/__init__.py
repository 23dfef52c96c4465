"""The command line, `labdock`: one file for each noun, over the same library that notebooks use."""

import sys


def main() -> None:
    """The console script's entry. Ends the process with one of `labdock.cli.output.EXIT_CODES`."""
    try:
        from labdock.cli.app import run  # noqa: PLC0415 - app imports the modules of this package

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were imported, or while another error was shown
        code = 130
    sys.exit(code)
