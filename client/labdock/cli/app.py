"""The commands, and what is done about whatever they raise."""

import sys
from collections.abc import Callable, Sequence

import typer

from labdock.cli import (
    alerts,
    controller,
    dashboard,
    data,
    demo,
    doctor,
    environments,
    frames,
    images,
    jobs,
    lab,
    models,
    modules,
    notebooks,
    options,
    output,
    quotas,
    search,
    version,
)
from labdock.errors import LabdockError

ABOUT = """Launch data science environments, send tables into them, put notebook modules to work.

First steps: labdock demo; then labdock up -d and labdock dashboard, or labdock start and labdock open.
"""
DEBUG = "--debug"


COMMANDS: dict[str, Callable[..., None]] = {
    "up": controller.up,
    "down": controller.down,
    "demo": demo.demo,
    "lab": lab.lab,
    "start": environments.start,
    "stop": environments.stop,
    "restart": environments.restart,
    "upgrade": environments.upgrade,
    "share": environments.share,
    "rm": environments.rm,
    "ps": environments.ps,
    "logs": environments.logs,
    "open": environments.open_,
    "dashboard": dashboard.dashboard,
    "stage": frames.stage,
    "fit": frames.fit,
    "apply": frames.apply,
    "search": search.search,
    "shell": search.shell,
    "alerts": alerts.alerts,
    "ingest": data.ingest,
    "indexes": data.indexes,
    "lookups": data.lookups,
    "jobs": jobs.jobs,
    "modules": modules.modules,
    "models": models.models,
    "new-notebook": notebooks.new_notebook,
    "images": images.images,
    "quotas": quotas.quotas,
    "doctor": doctor.doctor,
    "version": version.version,
}


def build() -> typer.Typer:
    """The command line as a typer application."""
    app = typer.Typer(
        name="labdock",
        help=ABOUT,
        epilog="Exit codes and everything else: docs/cli.md.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(options.everywhere)
    for name, function in COMMANDS.items():
        app.command(name)(function)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code."""
    debug = DEBUG in arguments  # anywhere, also after the command
    arguments = [a for a in arguments if a != DEBUG]
    try:
        build()(list(arguments), prog_name="labdock")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except LabdockError as error:
        if debug:
            output.show_traceback(error)
        output.show_error(error, as_json="--json" in arguments)
        return output.exit_code(error)
    except KeyboardInterrupt:
        return output.INTERRUPTED
    except BrokenPipeError:
        output.quiet_pipe()
        return 0
    except Exception as error:  # noqa: BLE001 - the last line: nobody shall read a traceback who did not ask
        if debug:
            output.show_traceback(error)
        output.show_bug(error)
        return output.INTERNAL
    sys.stdout.flush()
    return 0
