"""`labdock demo`: the main job from nothing to a result, in one command."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from labdock import controller
from labdock.cli import options
from labdock.cli.controller import log_file
from labdock.cli.output import say, show_json, style
from labdock.environment import Environment
from labdock.errors import LabdockError
from labdock.home import home, run_folder
from labdock.lab import Lab
from labdock.progress import Activity

if TYPE_CHECKING:
    import pandas as pd

ENVIRONMENT = "__dev__"
ALGO = "a_threat_hunting_notebook"
MODEL = "app:a_threat_hunt_model"
FIELDS = ["_time", "ComputerName", "Account_Name", "EventCode", "count"]
TOP = 5


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave controller and environment running, in your own LABDOCK_HOME.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another week of events.")] = 7,
    as_json: options.AsJson = False,
) -> None:
    """Start, stage, fit and apply: hunt an intruder in made-up events.

    Example: labdock demo --keep
    """
    controller.check_extras("local")
    began = time.monotonic()
    steps = _Steps(quiet=as_json)
    with contextlib.ExitStack() as stack:
        of = home() if keep else stack.enter_context(_temporary_home())
        own = stack.enter_context(_Controller(of, steps, keep=keep))
        events, rows = _week(seed, steps)  # while the controller starts
        found = _hunt(own.lab(), rows, str(events.attrs["intrusion"]["victim"]), steps)
        found |= {"seconds": round(time.monotonic() - began, 1), "kept": keep}
        if as_json:
            show_json(found)
        else:
            _show(found)


def _week(seed: int, steps: "_Steps") -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The events, and the lab's hourly counts of them."""
    with steps("Making a week of Windows events") as said:
        from labdock.samples import windows_events  # noqa: PLC0415 - needs pandas

        events = windows_events.generate(seed)
        rows = windows_events.hourly(events)
        said(f"{len(events):,} events, {len(rows):,} hourly counts, one intruder among them")
    return events, rows


def _hunt(lab: Lab, rows: "pd.DataFrame", planted: str, steps: "_Steps") -> dict[str, Any]:
    """Start an environment, stage, fit, apply, and rank the computers."""
    with steps("Starting an environment with JupyterLab") as said:
        environment = lab.environments.start(ENVIRONMENT, progress=False)
        said(f"{environment.name} runs ({environment.record.get('runtime')})")
    with steps("Staging them for the notebook") as said:
        staged = environment.stage(rows, into=MODEL, algo=ALGO, features=FIELDS, progress=False)
        said(", ".join(staged.files))
    with steps(f"Fitting {ALGO}") as said:
        model = environment.fit(rows, algo=ALGO, features=FIELDS, into=MODEL, progress=False)
        said(f"{model.reference} version {model.version.get('version')}")
    with steps("Applying the model") as said:
        scored = model.apply(rows, progress=False)
        flagged = int((scored["outlier"] < 0).sum())
        said(f"{flagged:,} of {len(scored):,} rows are unusual")
    top = rank(rows, scored)
    return {
        "environment": environment.name,
        "model": str(model.reference),
        "rows": len(rows),
        "planted": planted,
        "first": top[0]["ComputerName"] if top else None,
        "computers": top,
        "jupyter": _link(environment),
        "dashboard": environment.lab.sign_in_link("/environments"),
    }


def rank(rows: "pd.DataFrame", scored: "pd.DataFrame") -> list[dict[str, Any]]:
    """The guide's last search: `where outlier<0 | eval abs | stats sum by ComputerName | sort -anomaly_score`."""
    below = scored["outlier"].where(scored["outlier"] < 0, 0.0).abs()
    scores = below.groupby(rows["ComputerName"]).sum().sort_values(ascending=False)
    return [{"ComputerName": str(n), "anomaly_score": float(s)} for n, s in scores.head(TOP).items() if s > 0]


def _show(found: dict[str, Any]) -> None:
    say()
    say(style("1", "The most unusual computers of the week"))
    widest = max((len(c["ComputerName"]) for c in found["computers"]), default=0)
    highest = max((c["anomaly_score"] for c in found["computers"]), default=1.0)
    for place, computer in enumerate(found["computers"], 1):
        planted = computer["ComputerName"] == found["planted"]
        bar = "█" * max(1, round(24 * computer["anomaly_score"] / highest))
        mark = style("1;32", "  ← the planted intrusion") if planted else ""
        score = f"{computer['anomaly_score']:8.3f}"
        say(f"  {place}. {computer['ComputerName'].ljust(widest)} {score}  {style('36', bar.ljust(24))}{mark}")
    say()
    say(f"JupyterLab of this environment: {style('4', found['jupyter'])}")
    say(f"Dashboard, signed in: {style('4', found['dashboard'])}")
    if found["kept"]:
        say("Each link works once and everything runs on. Try next:")
        _suggest(_NEXT_KEPT)
    else:
        say("It ends with this demo; with --keep everything runs on. Try next:")
        _suggest(_NEXT)


_NEXT = (
    ("labdock demo --keep", "the same, left running: open the notebook and change it"),
    ("labdock up -d && labdock dashboard", "the lab by clicks, with an environment of your own"),
    ("python -c 'import labdock; help(labdock)'", "the library, for your own notebooks"),
)
_NEXT_KEPT = (
    ("labdock dashboard", "everything in the browser"),
    (f"labdock open {ENVIRONMENT}", f"JupyterLab: {ALGO}.ipynb, saved changes count at once"),
    ("labdock models", "what was fitted"),
    (f"labdock apply {MODEL} FILE", "the model on events of your own"),
    ("labdock down", "end everything"),
)


def _suggest(commands: tuple[tuple[str, str], ...]) -> None:
    width = max(len(command) for command, _ in commands)
    for command, about in commands:
        say(f"  {command.ljust(width)}  {style('2', about)}")


class _Steps:
    """One line for each step: what is done now, then what came of it and how long it took."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet

    @contextlib.contextmanager
    def __call__(self, title: str) -> Iterator[Any]:
        began = time.monotonic()
        result: list[str] = []
        with Activity(title, False if self.quiet else None):
            yield result.append
        if not self.quiet:
            seconds = style("2", f"{time.monotonic() - began:5.1f} s")
            say(f"{style('32', '✓')} {title.ljust(40)} {seconds}  {style('2', ' '.join(result))}")


@contextlib.contextmanager
def _temporary_home() -> Iterator[Path]:
    """A home for this demo alone; nothing of it is left. Models and notebooks of the user are not touched."""
    saved = {name: os.environ.get(name) for name in ("LABDOCK_HOME", "LABDOCK_RUN", "LABDOCK_URL", "LABDOCK_TOKEN")}
    of = Path(tempfile.mkdtemp(prefix="labdock-demo-"))
    for name in saved:
        os.environ.pop(name, None)
    os.environ["LABDOCK_HOME"] = str(of)
    try:
        yield of
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        shutil.rmtree(run_folder(of), ignore_errors=True)
        shutil.rmtree(of, ignore_errors=True)


class _Controller:
    """The controller of home `of`: the one that runs, else a new one, which is ended again unless it is kept."""

    def __init__(self, of: Path, steps: _Steps, *, keep: bool) -> None:
        self._of, self._steps, self._keep = of, steps, keep
        self._process: subprocess.Popen[bytes] | None = None
        self._lab: Lab | None = None

    def __enter__(self) -> Self:
        self._address = controller.running(self._of)
        if self._address is None:
            variables = {} if self._keep and _usual_port_is_free() else {"LABDOCK_PORT": "0"}
            self._process = controller.launch(self._of, variables, log_file(self._of))
        return self

    def lab(self) -> Lab:
        """The way to it, once it is ready."""
        with self._steps("Starting the controller") as said:
            address, already = self._address, self._process is None
            if self._process is not None:
                address = controller.wait_ready(self._process, self._of, log_file(self._of))
            assert address is not None  # noqa: S101 - it ran already, or was waited for
            said(f"{address.url}{' (it ran already)' if already else ''}")
        self._lab = Lab(controller.connect_to(address), progress=False)
        return self._lab

    def __exit__(self, *_: object) -> None:
        try:
            if self._process is not None and not self._keep:
                with Activity("Ending everything", False if self._steps.quiet else None):
                    if self._lab is not None:
                        _end(self._lab)
                    self._process.terminate()
                    self._process.wait(controller.STOP_SECONDS)
        finally:
            if self._lab is not None:
                self._lab.close()


def _usual_port_is_free() -> bool:
    """Whether the controller can have the port that it takes by default or was told to take."""
    try:
        socket.create_server(("127.0.0.1", int(os.environ.get("LABDOCK_PORT", "8420")))).close()
    except OSError:
        return False
    return True


def _end(lab: Lab) -> None:
    with contextlib.suppress(LabdockError):  # the controller is to be ended all the same
        for environment in lab.environments.list():
            environment.stop()


def _link(environment: Environment) -> str:
    return environment.lab.sign_in_link(f"/environments/{environment.name}/jupyter/lab/tree/{ALGO}.ipynb")
