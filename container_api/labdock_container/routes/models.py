"""`/v1/models`: manifests of what was fitted here."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from labdock.names import check_name
from labdock_container.routes.service import context_of

router = APIRouter(prefix="/v1/models")


@router.get("")
async def models(request: Request) -> list[dict[str, Any]]:
    return await run_in_threadpool(context_of(request).models.all)


@router.get("/{name}")
async def model(request: Request, name: str) -> dict[str, Any]:
    check_name(name, "model")
    return {"name": name, "versions": await run_in_threadpool(context_of(request).models.versions, name)}


@router.delete("/{name}", status_code=204)
async def delete(request: Request, name: str) -> None:
    check_name(name, "model")
    await run_in_threadpool(context_of(request).models.delete, name)
