"""The peer's endpoints, byte for byte, for its clients: `POST /fit`, `/apply`, `GET /`, `/summary`, `/graphics/…`."""

import json
import os
import stat
from importlib.metadata import version
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from labdock.errors import LabdockError
from labdock.intake import EXTENSION
from labdock.wire import FrameOptions
from labdock_container.answers import Result
from labdock_container.context import Context
from labdock_container.jobs import Job
from labdock_container.routes.tasks import TaskRunner, wait_for
from labdock_container.workers.task import Outcome, Task

_NO_MODEL = "no model exists"
_GRAPHICS = "/graphics/"
_JSON = b"application/json"


def routes(context: Context) -> dict[tuple[str, str], Any]:
    """The routes by method and path. `/graphics/…` has its own prefix: see `graphics`."""
    peer = PeerRoutes(context)
    return {
        ("POST", "/fit"): peer.fit,
        ("POST", "/apply"): peer.apply,
        ("GET", "/"): peer.summary,
        ("GET", "/summary"): peer.summary,
    }


def is_peer_path(path: str) -> bool:
    return path in ("/", "/fit", "/apply", "/summary") or path.startswith(_GRAPHICS)


async def refuse(send: Any, given: bool) -> None:
    """The 401 that the peer's client knows."""
    body = _dumps({"detail": "Invalid token" if given else "No header with token"})
    await _send(send, 401, body, [(b"www-authenticate", b"Bearer")])


class PeerRoutes:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._runner = TaskRunner(context)
        self._latest: FrameOptions | None = None

    async def fit(self, scope: Any, receive: Any, send: Any) -> None:
        await self._frame("/fit", scope, receive, send)

    async def apply(self, scope: Any, receive: Any, send: Any) -> None:
        await self._frame("/apply", scope, receive, send)

    async def summary(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI
        """A JSON string that holds JSON, as the peer sends it."""
        answer = {"app": "Labdock", "version": version("labdock"), "model": _NO_MODEL, "token": "valid"}
        if self._latest is not None:
            settings = self._context.settings
            task = Task(
                "peer-summary",
                {"options": vars(self._latest)},
                settings.max_score_time,
                settings.worker_memory_mb << 20,
                model=self._latest.model,
                module=self._latest.algo,
            )
            try:
                outcome = await self._context.pool.run(task)
                Result.from_sealed(outcome.fd, "", {})
                answer |= outcome.message["summary"]
            except LabdockError as error:
                answer["model"] = str(error)
        await _send(send, 200, _dumps(json.dumps(answer)))

    async def _frame(self, action: str, scope: Any, receive: Any, send: Any) -> None:
        context, settings = self._context, self._context.settings
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        try:
            divert = scope.get("extensions", {}).get(EXTENSION)
            body = await context.spool.receive(receive, int(length) if length.isdigit() else None, divert)
        except LabdockError as error:
            await _fail(send, action, error)
            return
        fit = action == "/fit"
        job = context.jobs.open("fit" if fit else "apply", None, "", "")
        task = Task(
            "peer",
            {"action": action, "job": job.id, "size": body.size},
            settings.max_fit_time if fit else settings.max_score_time,
            settings.worker_memory_mb << 20,
            [body.fd],
        )
        self._runner.start(job, body, task, lambda outcome: self._finish(job, outcome))
        if not await wait_for(job, receive):
            await self._runner.abandon(job)
        elif job.failure is not None:
            await _fail(send, action, job.failure)
        elif job.result is not None:
            content = job.result.content()
            if not job.kept:
                job.result = None
            await _send(send, 200, content)

    def _finish(self, job: Job, outcome: Outcome) -> Result:
        message = outcome.message
        job.rows, job.module, job.model = message["rows"], str(message["algo"]), str(message["model"])
        if message["rows"] is not None and job.module:
            self._latest = FrameOptions(algo=job.module, model=job.model)
        return Result.from_sealed(outcome.fd, "application/json", {})


async def graphics(context: Context, path: str, send: Any) -> None:
    """A file that a notebook left in `graphics/`. The peer serves these to anybody; here the token was checked."""
    content = _read_beneath(context.settings.notebooks / "graphics", path.removeprefix(_GRAPHICS))
    if content is None:
        await _send(send, 404, _dumps({"detail": "Not Found"}))
        return
    kind = guess_type(path)[0] or "application/octet-stream"
    headers = [(b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff")]
    await _send(send, 200, content, headers, kind.encode())


def _read_beneath(folder: Path, relative: str) -> bytes | None:
    """The file's bytes, if it is a regular file in `folder` reached without any link or `..`."""
    parts = relative.split("/")
    if any(p in ("", ".", "..") or "\0" in p for p in parts):
        return None
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (0 if last else os.O_DIRECTORY)
            inner = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = inner
        if not stat.S_ISREG(os.fstat(at).st_mode):
            return None
        with os.fdopen(os.dup(at), "rb") as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(at)


async def _fail(send: Any, action: str, error: LabdockError) -> None:
    await _send(send, 200, _dumps({"status": "error", "message": f"{action}: ERROR: {error}"}))


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _send(
    send: Any,
    status: int,
    body: Any,
    headers: list[tuple[bytes, bytes]] | None = None,
    kind: bytes = _JSON,
) -> None:
    fields = [(b"content-length", str(len(body)).encode()), (b"content-type", kind), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
