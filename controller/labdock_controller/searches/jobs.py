"""Search jobs: a search runs in a thread of the controller and writes its rows to a file that many may read.

The file is an Arrow stream, so a reader gets its bytes as they are while they are still being written, and paging
maps it. A job survives its client; its file and its record survive the controller, until they expire.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from labdock.errors import Conflict, LabdockError, LimitExceeded, from_problem
from labdock.home import write_atomically
from labdock.names import not_found
from labdock_controller.access.rights import Principal
from labdock_search.settings import Limits

if TYPE_CHECKING:
    from labdock_search import Engine, Result

log = structlog.get_logger("labdock.searches")
KEEP_SECONDS = 3600.0
KEEP_JOBS = 500
RUNNING_PER_USER = 20
PIECE = 1 << 20


@dataclass(frozen=True)
class SearchRequest:
    """What is asked; times as the language writes them (`-24h@h`), `timezone` an IANA name."""

    search: str
    app: str = "search"
    earliest: str = ""
    latest: str = ""
    timezone: str = "UTC"
    max_rows: int | None = None
    max_seconds: float | None = None


@dataclass
class SearchJob:
    """One search. `status` is `running`, `done`, `failed` or `cancelled`; `changed` is notified on every step."""

    id: str
    user: str
    request: SearchRequest
    path: Path
    started: float
    status: str = "running"
    duration: float = 0.0
    rows: int = 0
    scanned: int = 0
    kind: str = ""
    fields: list[dict[str, str]] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)
    problem: dict[str, Any] | None = None
    rules_all: bool = False  # it may have read what only an administrator may
    written: int = 0
    result: "Result | None" = None
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def ended(self) -> bool:
        return self.status != "running"

    @property
    def progress(self) -> float | None:
        return 1.0 if self.ended or self.result is None else self.result.progress

    def view(self) -> dict[str, Any]:
        """The job as JSON."""
        shown = {k: getattr(self, k) for k in ("id", "user", "status", "started", "rows", "kind", "fields", "messages")}
        running = self.result if not self.ended else None
        return {
            **shown,
            **asdict(self.request),
            "duration": self.duration if self.ended else time.time() - self.started,
            "scanned": running.scanned if running else self.scanned,
            "progress": self.progress,
            "error": self.problem,
        }

    def wait(self, seconds: float, since: int | None = None) -> None:
        """Until it ended, or (with `since`) more bytes than that are written; at most so long."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended or (since is not None and self.written > since), seconds)

    def raise_problem(self) -> None:
        """Raise the error that ended it, if one did."""
        if self.problem:
            raise from_problem(self.problem)


class SearchJobs:
    """All jobs of one controller. `tell` is called with a job when it starts and ends."""

    def __init__(self, folder: Path, engine: "Engine", tell: Callable[[SearchJob], None] = lambda _: None) -> None:
        self._folder, self._engine, self._tell = folder, engine, tell
        self._jobs: dict[str, SearchJob] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="search")

    def load(self) -> None:
        """Find the jobs of an earlier controller; those that ran then are failed now."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._folder.glob("*.json"):
            try:
                value = json.loads(path.read_text())
                value["request"] = SearchRequest(**value["request"])
                job = SearchJob(path=path.with_suffix(".arrow"), **value)
            except (OSError, ValueError, TypeError, KeyError):
                path.unlink(missing_ok=True)
                continue
            if not job.ended:
                job.status = "failed"
                job.problem = Conflict(
                    "The controller restarted while the search ran.", remedy="Run it again."
                ).to_problem()
                self._save(job)
            self._jobs[job.id] = job
        for path in self._folder.glob("*.arrow"):
            if path.stem not in self._jobs:
                path.unlink(missing_ok=True)

    def start(self, request: SearchRequest, principal: Principal) -> SearchJob:
        """Parse, plan and start with the rights of who asks.

        Raises `SearchError`, `NotFound`, `LimitExceeded` at once where it cannot run.
        """
        user = principal.user
        running = [j for j in self.all() if j.user == user and not j.ended]
        if len(running) >= RUNNING_PER_USER:
            raise LimitExceeded(
                f"{len(running)} searches of {user} are running.",
                remedy="Wait for one to end or cancel one: labdock jobs.",
                limit="running searches",
                value=RUNNING_PER_USER,
            )
        result = self._engine.search(
            request.search,
            user=user,
            app=request.app,
            capabilities=principal.capabilities,
            earliest=request.earliest,
            latest=request.latest,
            timezone=request.timezone,
            limits=Limits(request.max_seconds, request.max_rows),
        )
        identifier = secrets.token_hex(8)
        path = self._folder / f"{identifier}.arrow"
        job = SearchJob(identifier, user, request, path, time.time(), result=result, rules_all=principal.rules_all)
        # Readers may come before the first row: the file is there from the start.
        os.close(os.open(job.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with self._lock:
            self._jobs[identifier] = job
        self._save(job)
        self._tell(job)
        self._pool.submit(self._run, job, result)
        return job

    def all(self) -> list[SearchJob]:
        with self._lock:
            return sorted(self._jobs.values(), key=lambda j: j.started)

    def visible(self, principal: Principal) -> list[SearchJob]:
        """One's own, and everybody's for an administrator. An administrator's restricted token does not see what he
        found as one."""
        if principal.rules_all:
            return self.all()
        return [j for j in self.all() if j.user == principal.user and not j.rules_all]

    def get(self, identifier: str, principal: Principal) -> SearchJob:
        """A job of this user. Raises `NotFound`."""
        visible = {j.id: j for j in self.visible(principal)}
        if identifier not in visible:
            raise not_found("search job", identifier, visible, "Results are kept for an hour; run the search again.")
        return visible[identifier]

    def cancel(self, job: SearchJob) -> None:
        """Stop it; what it has written stays readable."""
        if job.result is not None and not job.ended:
            job.result.cancel()

    def remove(self, job: SearchJob) -> None:
        """Cancel and forget it with its rows."""
        self.cancel(job)
        job.wait(10)
        with self._lock:
            self._jobs.pop(job.id, None)
        job.path.unlink(missing_ok=True)
        job.path.with_suffix(".json").unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what ended more than an hour ago, and the oldest beyond the number kept."""
        ended = [j for j in self.all() if j.ended]
        now = time.time()
        for number, job in enumerate(reversed(ended)):
            if number >= KEEP_JOBS or now - (job.started + job.duration) > KEEP_SECONDS:
                self.remove(job)

    def close(self) -> None:
        for job in self.all():
            self.cancel(job)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: SearchJob, result: "Result") -> None:
        try:
            self._write(job, result)
            status, problem = "done", None
        except LabdockError as error:
            cancelled = error.details.get("reason") == "cancelled"
            status, problem = ("cancelled" if cancelled else "failed"), error.to_problem()
        except Exception as error:  # a bug of ours: the job says so and the log has the rest
            log.exception("search failed", search=job.id)
            status = "failed"
            problem = LabdockError(f"The search failed inside Labdock: {type(error).__name__}.").to_problem()
        job.scanned, job.messages = result.scanned, [asdict(m) for m in result.messages]
        job.duration, job.result, job.problem = time.time() - job.started, None, problem
        with job.changed:
            job.status = status
            job.changed.notify_all()
        self._save(job)
        self._tell(job)

    def _write(self, job: SearchJob, result: "Result") -> None:
        import pyarrow as pa  # noqa: PLC0415 - the engine has loaded it; routes that name jobs must not

        schema = result.schema
        job.kind, job.fields = result.kind, [asdict(f) for f in result.fields]
        with job.path.open("wb", buffering=0) as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in result.batches():
                writer.write_batch(batch)
                with job.changed:
                    job.rows += batch.num_rows
                    job.written = file.tell()
                    job.changed.notify_all()
        job.written = job.path.stat().st_size

    def _save(self, job: SearchJob) -> None:
        kept = ("id", "user", "started", "status", "duration", "rows", "scanned", "kind", "fields", "messages")
        value = {key: getattr(job, key) for key in kept} | {
            "rules_all": job.rules_all,
            "request": asdict(job.request),
            "problem": job.problem,
            "written": job.written,
        }
        write_atomically(job.path.with_suffix(".json"), json.dumps(value).encode())


def stream(job: SearchJob) -> Iterator[bytes]:
    """The bytes of a job's Arrow stream, following the writer. Raises the job's error where it failed."""
    with job.path.open("rb", buffering=0) as file:
        position = 0
        while True:
            ended = job.ended
            piece = file.read(PIECE)
            if piece:
                position += len(piece)
                yield piece
                continue
            if ended:
                break
            job.wait(5.0, since=position)
    job.raise_problem()
