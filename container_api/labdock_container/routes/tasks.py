"""Running a request's task as a job, and answering with what came of it."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from labdock.errors import LabdockError, TransportError
from labdock.spool import READER_SECONDS
from labdock.wire import JOB_HEADER
from labdock_container.answers import Result
from labdock_container.context import Context
from labdock_container.jobs import FINAL, Job
from labdock_container.routes.problems import problem
from labdock_container.spool import Body
from labdock_container.workers.task import Outcome, Task

Headers = Sequence[tuple[bytes, bytes]]

log = logging.getLogger("labdock.tasks")
_LOG_AFTER = 0.005  # a job's line is written when its answer is on the way
_GRACE = 1.0  # an apply that nobody waits for any more may still end within this, so that its worker stays warm


class TaskRunner:
    """Runs tasks of one API as jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def start(self, job: Job, body: Body, task: Task, finish: Callable[[Outcome], Result]) -> None:
        """Begin; `body` is closed at the end, `finish` makes the result of what the worker answered."""
        jobs = self._context.jobs

        def progress(step: str) -> None:
            job.emit("progress", {"step": step})

        def output(chunk: bytes) -> None:
            job.emit("log", {"text": chunk.decode(errors="replace")})

        task.on_begin = lambda: jobs.running(job)
        task.on_progress, task.on_output = progress, output
        jobs.start(job, asyncio.create_task(self._run(job, body, task, finish)))

    async def _run(self, job: Job, body: Body, task: Task, finish: Callable[[Outcome], Result]) -> None:
        jobs, metrics = self._context.jobs, self._context.metrics
        try:
            outcome = await self._context.pool.run(task)
            jobs.done(job, finish(outcome))
            if outcome.message.get("released") is True and not outcome.message.get("recycle"):
                self._keep(body)
            metrics.rows.labels(job.kind).inc(job.rows or 0)
        except asyncio.CancelledError as cancelled:
            jobs.cancelled(job, str(cancelled) or "the client went away")
        except LabdockError as error:
            jobs.failed(job, error)
        except Exception as error:
            log.exception("%s of %s failed", job.kind, job.id)
            jobs.failed(job, LabdockError(f"The environment failed: {error!r}.", remedy="See its log."))
        finally:
            self._free(body)
            metrics.tasks.labels(job.kind, job.status).inc()
            metrics.seconds.labels(job.kind).observe(job.duration or 0)
            asyncio.get_running_loop().call_later(_LOG_AFTER, _log, job)

    def _keep(self, body: Body) -> None:
        body.keep()
        if body.kept:
            asyncio.get_running_loop().call_later(READER_SECONDS + 1, self._context.spool.expire)

    @staticmethod
    def _free(body: Body) -> None:
        """Closing frees the frame's memory: milliseconds for a large one, so not on the event loop."""
        if body.size > 1 << 20 and not body.kept:
            asyncio.get_running_loop().run_in_executor(None, body.close)
        else:
            body.close()

    async def abandon(self, job: Job) -> None:
        """Its client has gone: what nobody can fetch later is ended."""
        if not job.kept and job.task and not job.task.done():
            await asyncio.wait({job.task}, timeout=_GRACE)
            self._context.jobs.cancel(job)
            await asyncio.wait({job.task})
        if not job.kept:
            job.result = None


def _log(job: Job) -> None:
    log.info(
        "%s module=%s model=%s rows=%s status=%s seconds=%s job=%s",
        *(job.kind, job.module or "-", job.model or "-", job.rows, job.status, job.duration, job.id),
    )


async def answer_once(send: Any, job: Job, headers: Headers = ()) -> None:
    """Answer; a result that nobody can fetch later is let go of at once."""
    await answer_job(send, job, headers)
    if not job.kept:
        job.result = None


async def wait_for(job: Job, receive: Any) -> bool:
    """Wait for the job's end; False if the client went away first."""
    if job.task is None or job.task.done():
        return True
    gone = asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait({job.task, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    return job.status in FINAL or job.task.done()


async def _disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer_job(send: Any, job: Job, more: Headers = ()) -> None:
    """What the job's request is answered with; `more` are headers of this answer, not of the job's result."""
    failure = job.failure
    if failure is not None:
        await answer_problem(send, failure, job=job.id)
        return
    result = job.result
    if result is None:
        lost = TransportError("The result is no longer kept.", remedy="Send the request again with a new key.")
        await answer_problem(send, lost, 410, job.id)
        return
    view = result.view
    if view is None:
        view = await asyncio.get_running_loop().run_in_executor(None, result.content)
    headers = [
        (b"content-type", result.content_type.encode()),
        (b"content-length", str(len(view)).encode()),
        (JOB_HEADER.lower().encode(), job.id.encode()),
        *((k.lower().encode(), v.encode("ascii", "replace")) for k, v in result.headers.items()),
        *more,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": view})


async def answer_problem(send: Any, error: LabdockError, status: int | None = None, job: str = "") -> None:
    number, headers, body = problem(error, status)
    if job:
        headers.append((JOB_HEADER.lower().encode(), job.encode()))
    await send({"type": "http.response.start", "status": number, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Any, status: int, value: Any, job: str = "") -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if job:
        headers += [(JOB_HEADER.lower().encode(), job.encode()), (b"location", f"/v1/jobs/{job}".encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
