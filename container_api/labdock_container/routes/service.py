"""`/health`, `/metrics`, `/v1/activity`, `/v1/modules`: what the environment says of itself."""

import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from labdock_container.activity import kernel_activity
from labdock_container.context import Context

router = APIRouter()
VERSION = version("labdock")


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    context = context_of(request)
    return {
        "status": "ok",
        "version": VERSION,
        "workers": context.pool.size,
        "uptime": round(time.monotonic() - context.started, 3),
    }


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(context_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/activity")
async def activity(request: Request) -> dict[str, Any]:
    context = context_of(request)
    kernels, last = await run_in_threadpool(kernel_activity, context.settings.run, context.token.value)
    busy = context.pool.busy > 0
    return {
        "last_request": time.time() if busy else context.last_request,
        "kernels": kernels,
        "last_kernel_activity": last,
    }


@router.get("/v1/modules")
async def modules(request: Request) -> list[dict[str, Any]]:
    return await run_in_threadpool(context_of(request).modules.list)


@router.post("/v1/modules/{name}/export")
async def export(request: Request, name: str) -> dict[str, Any]:
    return await run_in_threadpool(context_of(request).modules.export, name)
