"""`/v1/jobs`: what runs and ran, its events as they come, its result, its end."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from labdock.errors import Conflict
from labdock_container.jobs import FINAL, Job
from labdock_container.routes.service import context_of
from labdock_container.routes.tasks import answer_job

router = APIRouter(prefix="/v1/jobs")
HEARTBEAT = 15.0


@router.get("")
async def jobs(request: Request) -> list[dict[str, Any]]:
    return context_of(request).jobs.list()


@router.get("/{job_id}")
async def job(request: Request, job_id: str) -> dict[str, Any]:
    return context_of(request).jobs.get(job_id).to_dict()


@router.delete("/{job_id}")
async def cancel(request: Request, job_id: str) -> dict[str, Any]:
    """Ends the job; one that has ended stays as it is. Answers when nothing of it runs any more."""
    found = context_of(request).jobs.get(job_id)
    context_of(request).jobs.cancel(found)
    if found.task:
        await asyncio.wait({found.task})
    return found.to_dict()


class _JobResponse(Response):
    """The job's own answer, byte for byte."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI
        await answer_job(send, self._job)


@router.get("/{job_id}/result")
async def result(request: Request, job_id: str, wait: bool = True) -> Response:
    found = context_of(request).jobs.get(job_id)
    if found.status not in FINAL:
        if not wait:
            raise Conflict(f"Job {job_id!r} is {found.status}.", remedy="Ask again without wait=0 to wait for it.")
        if found.task:
            await asyncio.wait({found.task})
    return _JobResponse(found)


@router.get("/{job_id}/events")
async def events(request: Request, job_id: str) -> Response:
    found = context_of(request).jobs.get(job_id)
    last = request.headers.get("last-event-id", "")
    return StreamingResponse(
        _stream(found, int(last) if last.isdecimal() and len(last) < 18 else 0),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(job: Job, after: int) -> AsyncIterator[bytes]:
    async for event in job.follow(after, HEARTBEAT):
        if event is None:
            yield b": still there\n\n"
        else:
            number, name, data = event
            yield f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
