"""Jobs: every stage, fit and apply is one. Those with a key and all fits outlive their client, their result is kept.

What must survive the API lies in the run folder: `jobs/<id>.json` (what it is and how it ended) and
`jobs/<id>.result`. A job that was running when the API died is found there after the restart, as failed.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labdock.errors import Conflict, LabdockError, ModuleCrashed, from_problem
from labdock.names import not_found
from labdock_container.answers import Result, write_copy

KEEP_SECONDS = 3600.0
KEEP_NEWEST = 50
KEEP_BYTES = 2 << 30
_LISTED = 200
_EVENTS = 2000
FINAL = ("done", "failed", "cancelled")


@dataclass
class Job:
    id: str
    kind: str
    module: str = ""
    model: str = ""
    kept: bool = False
    fingerprint: str = ""
    status: str = "queued"
    started: float = field(default_factory=time.time)
    duration: float | None = None
    rows: int | None = None
    version: int | None = None
    info: Any = None
    error: dict[str, Any] | None = None
    result: Result | None = None
    task: "asyncio.Task[None] | None" = None
    ended: float | None = None
    events: deque[tuple[int, str, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _count: int = 0

    def to_dict(self) -> dict[str, Any]:
        """What `GET /v1/jobs/{id}` says."""
        names = ("id", "kind", "status", "module", "model", "started", "duration", "rows", "version", "info", "error")
        return {name: getattr(self, name) for name in names}

    def emit(self, event: str, data: dict[str, Any]) -> None:
        """Tell whoever follows the job."""
        self._count += 1
        self.events.append((self._count, event, data))
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, after: int, heartbeat: float) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        """Events after number `after`, old ones first, until the job has ended; None where nothing came for long."""
        while True:
            changed = self._changed
            for event in [e for e in self.events if e[0] > after]:
                after = event[0]
                yield event
            if self.status in FINAL and (not self.events or self.events[-1][0] <= after):
                return
            if changed is self._changed:
                try:
                    async with asyncio.timeout(heartbeat):
                        await changed.wait()
                except TimeoutError:
                    yield None

    @property
    def failure(self) -> LabdockError | None:
        return from_problem(self.error) if self.error else None


class Jobs:
    """The jobs of one environment, the newest last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()

    def recover(self) -> None:
        """Read what an earlier API left; what was running then has failed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self.folder.glob("*.part"):
            path.unlink(missing_ok=True)
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(ValueError, TypeError, KeyError, OSError):
                found.append(self._read(path))
        for job in sorted(found, key=lambda j: j.started):
            self._jobs[job.id] = job
            if job.status not in FINAL:
                self._finish(job, "failed", _restarted(job))
        for path in self.folder.glob("*.result"):
            if path.stem not in self._jobs:
                path.unlink(missing_ok=True)

    def list(self) -> list[dict[str, Any]]:
        """The newest first, without what was printed."""
        return [_brief(job.to_dict()) for job in reversed(self._jobs.values())]

    def get(self, job_id: str) -> Job:
        """Raises `NotFound`."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise not_found("job", job_id, self._jobs, "Results are kept for an hour.") from None

    def find(self, key: str, fingerprint: str) -> Job | None:
        """The job that has this key. Raises `Conflict` if it was another request's."""
        job = self._jobs.get(key)
        if job is not None and job.fingerprint != fingerprint:
            raise Conflict(
                f"The idempotency key {key!r} was used for a different request.", remedy="Use a new key.", key=key
            )
        return job

    def open(
        self, kind: str, key: str | None, module: str, model: str, fingerprint: str = "", *, kept: bool = False
    ) -> Job:
        """A new job, to be started; kept on disk as fits and those with a key are."""
        kept = kept or key is not None or kind == "fit"
        job = Job(key or secrets.token_hex(12), kind, module, model, kept, fingerprint)
        self._jobs[job.id] = job
        return job

    def start(self, job: Job, task: "asyncio.Task[None]") -> None:
        """`task` runs the job. On disk once the task has had its first turn, in which a worker gets to work."""
        job.task = task
        asyncio.get_running_loop().call_soon(self._started, job)

    def _started(self, job: Job) -> None:
        if job.kept and job.status not in FINAL:
            self._write(job)
        if job.kept or len(self._jobs) > KEEP_NEWEST + 2 * _LISTED:
            self._forget_old()

    def running(self, job: Job) -> None:
        if job.status == "queued":
            job.status = "running"
            job.emit("status", {"status": "running"})

    def done(self, job: Job, result: Result) -> None:
        job.result = result
        if job.kept:
            self._keep(job)
        else:
            self._finish(job, "done", None)

    def failed(self, job: Job, error: LabdockError) -> None:
        self._finish(job, "failed", error)

    def cancelled(self, job: Job, why: str) -> None:
        self._finish(job, "cancelled", Conflict(f"The {job.kind} was cancelled: {why}.", remedy="Send it again."))

    def cancel(self, job: Job) -> None:
        """End a job that has not ended."""
        if job.task and not job.task.done():
            job.task.cancel("asked to")

    async def settle(self) -> None:
        """Cancel what runs, wait until what is kept is written."""
        tasks = [job.task for job in self._jobs.values() if job.task and not job.task.done()]
        for task in tasks:
            task.cancel("the API stops")
        await asyncio.gather(*tasks, *self._writing, return_exceptions=True)

    def _keep(self, job: Job) -> None:
        """Write the result beside the answer's way to the client; the job is done for others when it is on disk."""
        writing = asyncio.create_task(self._keep_result(job))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        self._finish(job, "done", None, write=False)

    async def _keep_result(self, job: Job) -> None:
        result = job.result
        if result is None or result.view is None:
            return
        path = self.folder / f"{job.id}.result"
        try:
            await asyncio.get_running_loop().run_in_executor(None, write_copy, result.view, path)
        except OSError:
            return  # no space: the result stays in memory until it is forgotten
        result.path = path
        result.view = None
        self._write(job)
        self._forget_old()

    def _finish(self, job: Job, status: str, error: LabdockError | None, write: bool = True) -> None:
        if job.status in FINAL:
            return
        job.status = status
        job.ended = time.time()
        job.duration = round(job.ended - job.started, 6)
        job.error = error.to_problem() if error else None
        if job.kept and write:
            self._write(job)
        job.emit("status", {"status": status, "error": job.error})

    def _write(self, job: Job) -> None:
        result = job.result
        record = {
            **job.to_dict(),
            "fingerprint": job.fingerprint,
            "ended": job.ended,
            "result": [result.content_type, result.headers, result.size] if result else None,
        }
        part = self.folder / f"{job.id}.json.part"
        with contextlib.suppress(OSError):
            part.write_text(json.dumps(record))
            part.replace(self.folder / f"{job.id}.json")

    def _read(self, path: Path) -> Job:
        record = json.loads(path.read_text())
        result = record.pop("result")
        job = Job(kept=True, **record)
        kept = path.with_suffix(".result")
        if result and kept.exists():
            job.result = Result(result[0], result[1], result[2], path=kept)
        elif job.status == "done":
            job.status, job.error = "failed", _restarted(job).to_problem()
        if job.status in FINAL:
            job.emit("status", {"status": job.status, "error": job.error})
        return job

    def _forget_old(self) -> None:
        """Results are kept for an hour and while few enough are newer; the list is somewhat longer."""
        now = time.time()
        kept = bytes_kept = 0
        for job in list(reversed(self._jobs.values())):
            if job.status not in FINAL:
                continue
            kept += job.kept
            bytes_kept += job.result.size if job.result else 0
            old = now - (job.ended or now) > KEEP_SECONDS
            if job.kept and (old or kept > KEEP_NEWEST or (bytes_kept > KEEP_BYTES and kept > 1)):
                self._remove(job)
        unkept = [job for job in self._jobs.values() if not job.kept and job.status in FINAL]
        for job in unkept[: max(0, len(unkept) - _LISTED)]:
            self._jobs.pop(job.id, None)

    def _remove(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        for suffix in (".json", ".result"):
            (self.folder / f"{job.id}{suffix}").unlink(missing_ok=True)


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    error = record["error"]
    if error:
        details = {k: v for k, v in error["details"].items() if k not in ("output", "traceback")}
        record = {**record, "error": {**error, "details": details}}
    return record


def _restarted(job: Job) -> LabdockError:
    return ModuleCrashed(
        f"The environment's API restarted while this {job.kind} ran; it did not finish.",
        remedy="Send it again with a new key.",
        module=job.module,
        function=job.kind,
        cell=None,
        line=None,
        traceback="",
    )
