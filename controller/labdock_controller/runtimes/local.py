"""The runtime `local`: environments are processes of this machine, supervised in a session of their own.

Every process of an environment carries `LABDOCK_RUN_FOLDER=<run folder>/<id>` in its environment. That mark is all
the runtime relies on: a restarted controller finds (adopts) what runs, and `stop` ends what carries it, whoever
started it. The controller's own run folder is part of the mark, so two controllers do not touch each other's.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from labdock.errors import LaunchError, NotFound, RuntimeUnavailable
from labdock.home import make_private, write_atomically
from labdock_controller.runtimes import processes
from labdock_controller.runtimes.base import (
    Endpoint,
    EnvironmentSpec,
    Observed,
    Progress,
    Runtime,
    State,
    Usage,
)
from labdock_controller.runtimes.follow import FollowFiles, tail_of
from labdock_controller.runtimes.processes import Process
from labdock_controller.runtimes.start_lock import is_locked, locked
from labdock_controller.runtimes.variables import MARK, variables_of
from labdock_controller.settings import Settings

ID = re.compile(r"[0-9a-f]{12}")
RECORD = "supervisor.json"  # who the supervisor is; its presence means that the environment's object exists
LOG_FILES = ("supervise.log", "api.log", "jupyter.log")
NEEDED = {
    "container": ("labdock_container", "uvicorn", "fastapi", "supervisor", "nbformat"),
    "jupyter": ("jupyterlab",),
}
OWN_LOG_LIMIT = 1_000_000
KILL_SECONDS = 15.0

# Children belong to the process, not to a runtime object: who starts them must reap them and learns how they ended.
_children: dict[str, subprocess.Popen[bytes]] = {}


class LocalRuntime(Runtime):
    name: ClassVar[str] = "local"
    uses_images: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._run = settings.run_folder
        self._home = settings.home
        self._records: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}  # by environment, with the file's version

    def command(self, spec: EnvironmentSpec) -> list[str]:  # noqa: ARG002 - a subclass may look at it
        """What supervises an environment. `-P`: files beside the notebooks do not shadow libraries."""
        return [sys.executable, "-P", "-m", "labdock_container", "supervise"]

    def check(self) -> None:
        if not (processes.PROC / "self/environ").exists():
            raise RuntimeUnavailable(
                "The runtime local needs Linux (/proc).", remedy="Use the runtime docker on this system."
            )
        self._check_extra("container")

    def prepare(self, image: str, progress: Progress) -> None:  # noqa: ARG002 - this machine is the image
        self.check()

    def start(self, spec: EnvironmentSpec) -> None:
        self._check_extra("container")
        if spec.mode == "dev":
            self._check_extra("jupyter")
        for folder in (spec.run.parent, spec.run, spec.run / "spool"):
            make_private(folder)
        with locked(spec.run) as lock:
            # Locked by another: a start whose process has not shown its mark yet. It will be seen in a moment.
            if lock is None or self._supervisor(spec.id, self._processes(spec.id)) is not None:
                return
            self._kill(spec.id)
            self._bury(spec.run)
            for name in ("api.sock", "jupyter.sock"):
                (spec.run / name).unlink(missing_ok=True)
            spec.notebooks.mkdir(parents=True, exist_ok=True)
            spec.logs.mkdir(parents=True, exist_ok=True)
            write_atomically(spec.run / "token", spec.token.encode())
            child = self._spawn(spec, lock)
            _children[str(spec.run)] = child
            self._remember(spec, child.pid)

    def stop(self, environment: str, grace: float = 10.0) -> None:
        if not ID.fullmatch(environment):
            return
        found = self._processes(environment)
        supervisor = self._supervisor(environment, found)
        if supervisor is not None:
            processes.send(supervisor, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while self._processes(environment) and time.monotonic() < deadline:
                self._reap(environment)
                time.sleep(0.05)
        folder = self._run / environment
        deadline = time.monotonic() + KILL_SECONDS
        while time.monotonic() < deadline:
            self._kill(environment)
            if not folder.is_dir():
                return
            with suppress(FileNotFoundError), locked(folder) as lock:  # another stop may be faster
                if lock is not None and not self._processes(environment):
                    shutil.rmtree(folder, ignore_errors=True)
                    self._bury(folder)
                    return
            time.sleep(0.05)
        raise LaunchError(
            f"Processes of environment {environment} cannot be ended.", remedy="See `ps` on this machine."
        )

    def observe(self) -> list[Observed]:
        found = processes.marked(MARK)
        inside = {Path(folder).name: group for folder, group in found.items() if Path(folder).parent == self._run}
        known = {path.name for path in self._run.glob("*") if path.is_dir()} if self._run.is_dir() else set()
        seen = (self._look_at(name, inside.get(name, [])) for name in sorted(known | set(inside)) if ID.fullmatch(name))
        return [one for one in seen if one is not None]

    def endpoint(self, environment: str, token: str) -> Endpoint:
        folder = self._run / environment
        record = self._record(environment)
        if not ID.fullmatch(environment) or (record is None and not self._processes(environment)):
            raise NotFound(f"There is no environment {environment} here.", remedy="Start it.", kind="environment")
        jupyter = f"unix:{folder / 'jupyter.sock'}" if (record or {}).get("mode", "dev") == "dev" else None
        return Endpoint(f"unix:{folder / 'api.sock'}", jupyter, token)

    def logs(self, environment: str, tail: int = 200) -> str:
        return tail_of(self._log_files(environment), tail)

    def follow(self, environment: str) -> Iterator[str]:
        return FollowFiles(self._log_files(environment), lambda: bool(self._processes(environment)))

    def usage(self, environment: str) -> Usage | None:
        found = self._processes(environment)
        if not found:
            return None
        return Usage(sum(p.cpu_seconds for p in found), sum(p.memory_bytes for p in found))

    def usages(self, environments: Iterable[str]) -> dict[str, Usage]:
        found = processes.marked(MARK)
        mine = {one: found.get(str(self._run / one), []) for one in environments}
        return {
            one: Usage(sum(p.cpu_seconds for p in group), sum(p.memory_bytes for p in group))
            for one, group in mine.items()
            if group
        }

    def remove_files(self, spec: EnvironmentSpec) -> None:
        shutil.rmtree(spec.notebooks, ignore_errors=True)

    def _check_extra(self, extra: str) -> None:
        missing = [name for name in NEEDED[extra] if importlib.util.find_spec(name) is None]
        if missing:
            raise RuntimeUnavailable(
                f"{sys.executable} lacks {', '.join(missing)}.",
                remedy='Run: pip install "labdock[container,jupyter]"',
                missing=missing,
            )

    def _spawn(self, spec: EnvironmentSpec, lock: int) -> subprocess.Popen[bytes]:
        log = spec.logs / LOG_FILES[0]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        output = os.open(log, flags | (os.O_TRUNC if log.exists() and log.stat().st_size > OWN_LOG_LIMIT else 0), 0o600)
        try:
            # The child keeps the lock until it closes foreign files: between fork and exec it has no mark yet.
            return subprocess.Popen(
                self.command(spec),
                cwd=spec.notebooks,
                env=variables_of(spec),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,
            )
        except OSError as error:
            raise LaunchError(
                f"The environment's process cannot be started: {error}.", remedy="See `ulimit -a`."
            ) from None
        finally:
            os.close(output)

    def _remember(self, spec: EnvironmentSpec, pid: int) -> None:
        process = processes.look_up(pid)
        record = {
            "pid": pid,
            "started": process.started if process else 0,
            "boot": processes.boot_id(),
            "mode": spec.mode,
            "time": time.time(),
        }
        write_atomically(spec.run / RECORD, json.dumps(record).encode())

    def _record(self, environment: str) -> dict[str, Any] | None:
        path = self._run / environment / RECORD
        try:
            # Each frame through the door asks: read again only what was written again (another inode).
            status = path.stat()
            version = (status.st_ino, status.st_mtime_ns)
            known = self._records.get(environment)
            if known is None or known[0] != version:
                known = self._records[environment] = (version, json.loads(path.read_text()))
        except (FileNotFoundError, ValueError):
            self._records.pop(environment, None)
            return None
        return known[1]

    def _processes(self, environment: str) -> list[Process]:
        return processes.marked(MARK).get(str(self._run / environment), [])

    def _supervisor(self, environment: str, found: list[Process]) -> Process | None:
        """The living supervisor: as recorded, else (killed before it was recorded) the oldest leader of a session."""
        record = self._record(environment)
        if record is None:
            return next((p for p in found if p.session == p.pid), None)
        if record["boot"] != processes.boot_id():
            return None
        return next((p for p in found if p.pid == record["pid"] and p.started == record["started"]), None)

    def _look_at(self, environment: str, found: list[Process]) -> Observed | None:
        record = self._record(environment)
        started = record["time"] if record else None
        if self._supervisor(environment, found) is not None:
            return Observed(environment, State.RUNNING, started)
        if is_locked(self._run / environment):
            return Observed(environment, State.STARTING, started)
        if record is None and not found:
            return None
        code = self._reap(environment)
        return Observed(environment, State.EXITED, started, code, *_words(code))

    def _reap(self, environment: str) -> int | None:
        child = _children.get(str(self._run / environment))
        return child.poll() if child else None

    @staticmethod
    def _bury(folder: Path) -> None:
        """Reap the child whose end was decided. One that is exiting shows no mark already and cannot be polled yet."""
        child = _children.pop(str(folder), None)
        if child is not None:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(KILL_SECONDS)

    def _kill(self, environment: str) -> None:
        """Kill what carries the mark and what descends from it, until a look finds nothing."""
        deadline = time.monotonic() + KILL_SECONDS
        while (found := self._processes(environment)) and time.monotonic() < deadline:
            everything = processes.with_descendants(found)
            for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: a fork bomb outruns plain killing
                for process in everything:
                    processes.send(process, number)
            self._reap(environment)
            time.sleep(0.02)
        self._reap(environment)

    def _log_files(self, environment: str) -> list[Path]:
        folder = self._home / "environments" / environment / "logs"
        return [folder / name for name in LOG_FILES] if ID.fullmatch(environment) else []


def _words(code: int | None) -> tuple[str, str]:
    remedy = "See the log, then start it again."
    if code is None:
        return "Its supervisor is gone.", remedy
    if code < 0:
        with suppress(ValueError):
            return f"Its supervisor was ended by {signal.Signals(-code).name}.", remedy
    return f"Its supervisor ended with exit code {code}.", remedy
