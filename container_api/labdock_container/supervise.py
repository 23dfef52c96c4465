"""`python -m labdock_container supervise`: the environment's programs under supervisord, until SIGTERM.

`dev` runs the API and JupyterLab, `prod` the API alone. A program that dies is started again; one that cannot stay up
ends the environment with status 1, so that whoever started it learns of it. If supervisord itself is killed, its
programs end with it (`guard.py`), kernels too (they watch their parent). After SIGTERM no process of the environment
is left: what escaped its process group is found by `LABDOCK_ENVIRONMENT_ID`.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labdock.errors import InvalidOptions
from labdock_container import notebooks_folder

STOP_SECONDS = 8  # a program's time to end after SIGTERM; Docker's own is 10
_PACKAGE = Path(__file__).parent


def programs(mode: str) -> dict[str, list[str]]:
    """The command line of each supervised program. Raises `InvalidOptions` for an unknown mode.

    `-P`: the working directory is the user's, and a `random.py` there must not stand in for Python's.
    """
    if mode not in ("dev", "prod"):
        raise InvalidOptions(f"LABDOCK_MODE is {mode!r}.", remedy="Set it to dev or prod.", option="LABDOCK_MODE")
    python = [sys.executable, "-P", "-m"]
    chosen = {"api": [*python, "labdock_container", "serve"]}
    if mode == "dev":
        config = _PACKAGE / "jupyter" / "jupyter_server_config.py"
        chosen["jupyter"] = [*python, "jupyterlab", f"--config={config}"]
    return chosen


def configuration(mode: str, logs: Path | None, pid: int) -> str:
    """supervisord's configuration. Paths that a user chose come from the environment: they need no quoting."""
    sections = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true" if logs else "silent=false",
        f"logfile={'%(ENV_LABDOCK_LOG_FOLDER)s/supervisord.log' if logs else '/dev/null'}",
        "logfile_maxbytes=1MB",
        "logfile_backups=1",
        "pidfile=%(ENV_LABDOCK_RUN_FOLDER)s/supervisord.pid",
        "identifier=labdock",
        "minfds=256",
    ]
    # One group: supervisord ends groups one after the other, the programs of a group together.
    sections += ["[group:environment]", f"programs={','.join(programs(mode))}"]
    for name, command in programs(mode).items():
        guarded = [sys.executable, "-I", "-S", str(_PACKAGE / "guard.py"), str(pid), *command]
        sections += [
            f"[program:{name}]",
            f"command={' '.join(_quoted(part) for part in guarded)}",
            "directory=%(ENV_LABDOCK_NOTEBOOKS)s",
            "autostart=true",
            "autorestart=true",
            "startsecs=15",
            "startretries=3",
            f"stopwaitsecs={STOP_SECONDS}",
            "stopasgroup=true",
            "killasgroup=true",
            "redirect_stderr=true",
            *_log_lines(name, logs),
        ]
    return "\n".join(sections) + "\n"


def _log_lines(name: str, logs: Path | None) -> list[str]:
    if logs:
        return [
            f"stdout_logfile=%(ENV_LABDOCK_LOG_FOLDER)s/{name}.log",
            "stdout_logfile_maxbytes=5MB",
            "stdout_logfile_backups=1",
        ]
    return ["stdout_logfile=/dev/fd/1", "stdout_logfile_maxbytes=0"]


def _quoted(part: str) -> str:
    """For supervisord: `%` expands, ` ;` starts a comment, and it splits as a shell does."""
    if any(c in part for c in "\n;#'"):
        raise InvalidOptions(
            f"The path {part!r} holds a character that supervisord cannot take.",
            remedy="Install Labdock in a folder whose path has no newline, quote, ; or #.",
        )
    return "'" + part.replace("%", "%%") + "'"


def prepare(variables: Mapping[str, str]) -> dict[str, str]:
    """Fill the notebooks folder, make the others, and give the environment of the supervised programs."""
    notebooks = Path(variables.get("LABDOCK_NOTEBOOKS") or "/notebooks").absolute()
    run = Path(variables.get("LABDOCK_RUN_FOLDER") or "/run/labdock").absolute()
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    notebooks_folder.fill(notebooks)
    given = {"LABDOCK_NOTEBOOKS": str(notebooks), "LABDOCK_RUN_FOLDER": str(run)}
    if variables.get("LABDOCK_LOG_FOLDER"):
        logs = Path(variables["LABDOCK_LOG_FOLDER"]).absolute()
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        given["LABDOCK_LOG_FOLDER"] = str(logs)
    return given | jupyter_folders(notebooks, run)


def jupyter_folders(notebooks: Path, run: Path) -> dict[str, str]:
    """Where Jupyter and IPython keep their files: nothing of the machine's user is read or written.

    What a user would miss (settings, open tabs, trusted notebooks, history) stays with the notebooks.
    """
    kept = notebooks / ".labdock"
    return {
        "JUPYTER_CONFIG_DIR": str(kept / "jupyter"),
        "JUPYTER_CONFIG_PATH": str(_PACKAGE / "jupyter" / "config"),
        "JUPYTER_DATA_DIR": str(kept / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(run / "jupyter"),
        "JUPYTERLAB_SETTINGS_DIR": str(kept / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(kept / "workspaces"),
        "IPYTHONDIR": str(kept / "ipython"),
        "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR") or str(run / "matplotlib"),
        "JUPYTER_PLATFORM_DIRS": "1",
    }


def supervise() -> int:
    """Run until SIGTERM or until a program cannot be kept up; gives the exit status."""
    os.environ.update(prepare(os.environ))
    for name in ("JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE"):
        os.environ.pop(name, None)  # the token's only home is the run folder's file
    logs = os.environ.get("LABDOCK_LOG_FOLDER")
    text = configuration(os.environ.get("LABDOCK_MODE") or "dev", Path(logs) if logs else None, os.getpid())
    path = Path(os.environ["LABDOCK_RUN_FOLDER"]) / "supervisord.conf"
    path.write_text(text)
    try:
        return _run(path)
    finally:
        end_leftovers(os.environ.get("LABDOCK_ENVIRONMENT_ID", ""))
        for name in ("api.sock", "jupyter.sock"):
            (path.parent / name).unlink(missing_ok=True)


def _run(path: Path) -> int:
    from supervisor import events  # noqa: PLC0415 - `serve` must start without it
    from supervisor.medusa.asyncore_25 import ExitNow  # noqa: PLC0415
    from supervisor.options import ServerOptions  # noqa: PLC0415
    from supervisor.states import SupervisorStates  # noqa: PLC0415
    from supervisor.supervisord import Supervisor  # noqa: PLC0415

    class EndsWhenHopeless(Supervisor):  # type: ignore[misc]
        status = 0

        def runforever(self) -> None:
            events.subscribe(events.ProcessStateFatalEvent, self.give_up)
            for group in self.process_groups.values():
                group.transition()  # start now, not after the loop's first second
            with contextlib.suppress(ExitNow):  # how supervisord says that all have ended
                super().runforever()

        def give_up(self, event: Any) -> None:
            name = event.process.config.name
            print(f"labdock: {name} does not stay up, see its log: the environment ends", file=sys.stderr, flush=True)
            self.status = 1
            self.options.mood = SupervisorStates.SHUTDOWN

    options = ServerOptions()
    options.realize(["-c", str(path)], doc=__doc__)
    options.first = True
    options.test = False  # supervisord sets both in its own `main`
    supervisor = EndsWhenHopeless(options)
    supervisor.main()
    return supervisor.status


def end_leftovers(environment: str) -> None:
    """Kill every other process that carries this environment's id; twice, since one may fork meanwhile."""
    if not environment:
        return
    mark = f"LABDOCK_ENVIRONMENT_ID={environment}".encode()
    for _ in range(2):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                carries = mark in (entry / "environ").read_bytes().split(b"\0")
                if carries and int(entry.name) != os.getpid():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:  # gone, or another user's
                continue
