"""ONNX models that notebooks left for the controller: `labdock.outbox` writes them, the controller fetches them."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from labdock.errors import InvalidOptions
from labdock.home import write_atomically
from labdock.names import not_found
from labdock.outbox import FOLDER
from labdock_container.routes.service import context_of

router = APIRouter(prefix="/v1/outbox")
MOST = 20  # listed at once
FORM = 1 << 20
_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


@router.get("")
async def outbox(request: Request) -> list[dict[str, Any]]:
    """`{id, bytes, form}` of what waits, the oldest first."""
    return await run_in_threadpool(_waiting, _folder(request))


@router.get("/{identifier}/file", response_class=FileResponse)
async def file(request: Request, identifier: str) -> FileResponse:
    path = _folder(request) / f"{_checked(identifier)}.onnx"
    if not _plain(path):
        raise not_found("file", identifier, [])
    return FileResponse(path, media_type="application/octet-stream")


@router.put("/{identifier}", status_code=204)
async def answer(request: Request, identifier: str, said: dict[str, Any]) -> None:
    """The controller has it, or refuses it: the notebook learns which, and the file goes."""
    folder = _folder(request)
    _checked(identifier)

    def settle() -> None:
        if not _plain(folder / f"{identifier}.json"):
            raise not_found("file", identifier, [])
        write_atomically(folder / f"{identifier}.answer.json", json.dumps(said).encode())
        for name in (f"{identifier}.json", f"{identifier}.onnx"):
            (folder / name).unlink(missing_ok=True)

    await run_in_threadpool(settle)


def _folder(request: Request) -> Path:
    return context_of(request).settings.models / FOLDER


def _checked(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise InvalidOptions(f"{identifier[:40]!r} is no id of the outbox.", remedy="Take one from GET /v1/outbox.")
    return identifier


def _plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _waiting(folder: Path) -> list[dict[str, Any]]:
    try:
        forms = [p for p in folder.glob("*.json") if _ID.fullmatch(p.stem) and _plain(p)]
        forms.sort(key=lambda path: path.stat().st_mtime)
    except OSError:
        return []
    found = []
    for path in forms[:MOST]:
        model = path.with_suffix(".onnx")
        try:
            form = json.loads(path.read_bytes()[:FORM])
            found.append({"id": path.stem, "bytes": model.lstat().st_size, "form": form})
        except (OSError, ValueError):
            continue
    return found
