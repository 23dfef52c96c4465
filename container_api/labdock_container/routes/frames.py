"""`POST /v1/stage`, `fit`, `apply`, `summary`: plain ASGI, since every microsecond here is paid for each apply."""

import json
import re
from dataclasses import replace
from typing import Any

from labdock.errors import InvalidFrame, InvalidName, InvalidOptions, LabdockError
from labdock.intake import EXTENSION
from labdock.names import check_name
from labdock.spool import announced
from labdock.wire import (
    ARROW_STREAM,
    CSV,
    KEY_HEADER,
    OPTIONS_HEADER,
    RECORD_HEADER,
    SPOOL_HEADER,
    SPOOL_KEPT_HEADER,
    SPOOL_SIZE_HEADER,
    FrameOptions,
)
from labdock_container.answers import Result
from labdock_container.context import Context
from labdock_container.jobs import Job
from labdock_container.routes.tasks import TaskRunner, answer_json, answer_once, answer_problem, wait_for
from labdock_container.spool import Body
from labdock_container.workers.task import Outcome, Task

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_INFO_HEADER_LIMIT = 8192
_LIMITS = ("max_fit_time", "max_score_time", "max_inputs", "max_memory_usage_mb")


class FrameRoute:
    """One of the routes that take a frame: spool, hand to a worker, answer."""

    def __init__(self, context: Context, kind: str) -> None:
        self._context = context
        self._kind = kind
        self._runner = TaskRunner(context)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            job, body = await self._job(headers, receive, scope.get("extensions", {}).get(EXTENSION))
        except LabdockError as error:
            await answer_problem(send, error, 415 if error.details.pop("content_type", None) else None)
            return
        if _asynchronous(headers):
            await answer_json(send, 202, job.to_dict(), job.id)
            return
        if await wait_for(job, receive):
            kept = body is not None and body.kept and SPOOL_HEADER.lower() in headers
            await answer_once(send, job, [(SPOOL_KEPT_HEADER.lower().encode(), b"1")] if kept else [])
        else:
            await self._runner.abandon(job)

    async def _job(self, headers: dict[str, str], receive: Any, divert: Any) -> tuple[Job, Body | None]:
        """The job of this request, new (with its body) or known by its key; the body is spooled when this returns."""
        context = self._context
        key = _key(headers)
        accept = CSV if CSV in headers.get("accept", "") else ARROW_STREAM
        options = _options(headers)
        body = await self._body(headers, receive, divert)
        try:
            content_type = _content_type(headers, body) if self._kind != "summary" else ""
            if options is None or options.inside:
                inside = await self._options_inside(body) if content_type == ARROW_STREAM else FrameOptions()
                options = _checked(options, inside)
            self._check(options)
            fingerprint = ""
            if key is not None:
                fingerprint = _fingerprint(self._kind, options, content_type, accept, body)
                known = context.jobs.find(key, fingerprint)
                if known is not None:
                    body.close()
                    return known, None
            kept = _asynchronous(headers)
            job = context.jobs.open(self._kind, key, options.algo, options.model, fingerprint, kept=kept)
        except BaseException:
            body.close()
            raise
        task = self._task(job, body, options, content_type, accept)
        self._runner.start(job, body, task, lambda outcome: _result(job, outcome, accept))
        return job, body

    async def _body(self, headers: dict[str, str], receive: Any, divert: Any) -> Body:
        name = headers.get(SPOOL_HEADER.lower())
        if name is not None:
            return self._context.spool.take(name, announced(headers.get(SPOOL_SIZE_HEADER.lower())))
        length = headers.get("content-length")
        size = int(length) if length and length.isdigit() else None
        body = await self._context.spool.receive(receive, size, divert)
        self._context.metrics.received.inc(body.size)
        return body

    def _check(self, options: FrameOptions) -> None:
        if options.algo:
            check_name(options.algo, "module")
        elif self._kind == "fit":
            raise InvalidOptions("The option algo is missing.", remedy="Name the module to fit.", option="algo")
        check_name(options.model, "model")
        for name, value in options.limits.items():
            if name not in _LIMITS:
                raise InvalidOptions(f"Unknown limit {name!r}.", remedy=f"Limits are: {', '.join(_LIMITS)}.")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
                raise InvalidOptions(f"Limit {name!r} is {value!r}.", remedy="Send a positive number.", option=name)

    async def _options_inside(self, body: Body) -> FrameOptions:
        """Options that were too long for a header lie in the frame's schema; a worker reads them."""
        settings = self._context.settings
        task = Task("options", {"size": body.size}, 30, settings.worker_memory_mb << 20, [body.fd])
        outcome = await self._context.pool.run(task)
        Result.from_sealed(outcome.fd, "", {})
        text = outcome.message["options"]
        return FrameOptions() if text is None else FrameOptions.from_json(text)

    def _task(self, job: Job, body: Body, options: FrameOptions, content_type: str, accept: str) -> Task:
        settings, limits = self._context.settings, options.limits
        fit = self._kind == "fit"
        seconds = limits.get("max_fit_time" if fit else "max_score_time")
        message = {
            "job": job.id,
            "options": {**vars(options), "limits": {}},
            "content_type": content_type,
            "accept": accept,
            "size": body.size,
            "max_rows": int(limits.get("max_inputs", settings.max_inputs)),
        }

        return Task(
            kind=self._kind,
            message=message,
            deadline=seconds or (settings.max_fit_time if fit else settings.max_score_time),
            memory=int(limits.get("max_memory_usage_mb", settings.worker_memory_mb)) << 20,
            fds=[body.fd],
            model=options.model,
            module=options.algo,
        )


def _asynchronous(headers: dict[str, str]) -> bool:
    return "respond-async" in headers.get("prefer", "")


def _key(headers: dict[str, str]) -> str | None:
    key = headers.get(KEY_HEADER.lower())
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidName(
            f"{key[:80]!a} is not an idempotency key.", remedy="Use 1 to 128 of the characters A-Z a-z 0-9 _ -."
        )
    return key


def _options(headers: dict[str, str]) -> FrameOptions | None:
    text = headers.get(OPTIONS_HEADER.lower())
    return None if text is None else FrameOptions.from_json(text)


def _checked(sent: FrameOptions | None, inside: FrameOptions) -> FrameOptions:
    """Options out of a frame's schema; what the header named was checked on the way and counts."""
    if sent is None:
        return inside
    return replace(inside, algo=sent.algo, model=sent.model, sharing=sent.sharing)


def _content_type(headers: dict[str, str], body: Body) -> str:
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given in (ARROW_STREAM, CSV):
        return given
    if not given and not body.size:
        raise InvalidFrame("The body is empty.", remedy=f"Send a frame as {ARROW_STREAM} or {CSV}.")
    raise InvalidFrame(
        f"Content-Type {given[:100]!r} is not a frame's." if given else "The request has no Content-Type.",
        remedy=f"Send {ARROW_STREAM} or {CSV}.",
        content_type=True,
    )


def _fingerprint(kind: str, options: FrameOptions, content_type: str, accept: str, body: Body) -> str:
    return json.dumps([kind, options.to_json(), content_type, accept, body.fingerprint()])


def _result(job: Job, outcome: Outcome, accept: str) -> Result:
    """The worker's answer as the client gets it; what it says of the job is noted there."""
    message = outcome.message
    job.rows = message.get("rows")
    if job.kind in ("stage", "summary"):
        Result.from_sealed(outcome.fd, "", {})
        value = json.dumps(message["staged" if job.kind == "stage" else "summary"]).encode()
        return Result("application/json", {}, len(value), view=value)
    info = message["info"]
    job.module, job.version, job.info = info["module"], info["version"], info["info"]
    headers = {}
    if accept == CSV:
        headers["Labdock-Info"] = _short_info(info)
    record = json.dumps(message["record"]) if message.get("record") else ""
    if record and len(record) <= _INFO_HEADER_LIMIT:
        headers[RECORD_HEADER] = record
    return Result.from_sealed(outcome.fd, accept, headers)


def _short_info(info: dict[str, Any]) -> str:
    text = json.dumps(info)
    if len(text) > _INFO_HEADER_LIMIT:
        text = json.dumps({**info, "output": info["output"][:1000], "info": None})
    if len(text) > _INFO_HEADER_LIMIT:
        text = json.dumps({k: info[k] for k in ("job", "module", "model", "version", "rows", "duration")})
    return text
