"""The door's routes, for the controller's application to mount.

What moves the bytes (aiohttp) is imported with the first request, or by `load`: the controller answers before that.
"""

import json
import re
import time
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from labdock.errors import LabdockError, LimitExceeded, NotFound
from labdock.home import make_private
from labdock.names import check_name
from labdock.wire import PROBLEM
from labdock_controller.door.host import JUPYTER_CAPABILITY, DoorHost, base_path
from labdock_controller.door.spool import sweep
from labdock_controller.door.upload import SlowClient

if TYPE_CHECKING:
    from labdock_controller.door.frames import Frames
    from labdock_controller.door.jupyter import Jupyter
    from labdock_controller.door.upstream import Upstreams

FRAME_CAPABILITY = "search"
LEFT_BEHIND_SECONDS = 3600.0
_JOB = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Handler = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


class Door:
    """Holds the connections to environments. `close` it with the application."""

    def __init__(self, host: DoorHost) -> None:
        self.host = host
        self._next_sweep = 0.0
        folder = host.spool_folder()
        if folder is not None:
            make_private(folder)

    # Made on the event loop alone; modules are what another thread may import meanwhile.
    @cached_property
    def upstreams(self) -> "Upstreams":
        from labdock_controller.door.upstream import Upstreams  # noqa: PLC0415 - see above

        return Upstreams()

    @cached_property
    def frames(self) -> "Frames":
        from labdock_controller.door.frames import Frames  # noqa: PLC0415

        return Frames(self.host, self.upstreams)

    @cached_property
    def jupyter(self) -> "Jupyter":
        from labdock_controller.door.jupyter import Jupyter  # noqa: PLC0415

        return Jupyter(self.host, self.upstreams)

    def sweep(self) -> int:
        """Remove frames that callers on this machine left and never asked for; gives how many. Done now and then."""
        self._next_sweep = time.monotonic() + LEFT_BEHIND_SECONDS / 4
        folder = self.host.spool_folder()
        return sweep(folder, LEFT_BEHIND_SECONDS) if folder else 0

    async def close(self) -> None:
        """End background work and connections."""
        if "frames" in vars(self):
            await self.frames.close()
        if "upstreams" in vars(self):
            await self.upstreams.close()

    async def page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """JupyterLab over HTTP."""
        await self.jupyter.http(scope, receive, send)

    async def socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """JupyterLab's WebSockets."""
        await self.jupyter.websocket(scope, receive, send)

    async def frame(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST …/stage|fit|apply`."""
        if time.monotonic() > self._next_sweep:
            self.sweep()
        action = scope["path"].rpartition("/")[2]
        x = await self.frames.exchange(scope, receive, send, FRAME_CAPABILITY, f"/v1/{action}".encode())
        await self.frames.frame(scope, x, action)

    async def small(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything else of an environment's API that users reach: the same path below `/v1/`."""
        parameters = scope["path_params"]
        if "job" in parameters and not _JOB.fullmatch(parameters["job"]):
            raise NotFound("That is no job's id.", remedy="See 'labdock jobs'.", kind="job", name="", nearest=None)
        if "module" in parameters:
            check_name(parameters["module"], "module")
        rest = scope["path"].split("/", 4)[4]  # /api/environments/{name}/{rest}; every part was checked
        x = await self.frames.exchange(scope, receive, send, FRAME_CAPABILITY, f"/v1/{rest}".encode())
        await self.frames.pass_on(scope, x)


def load() -> None:
    """Import what the first request needs. It blocks: not for an event loop."""
    from labdock_controller.door import frames, jupyter  # noqa: F401, PLC0415


class Endpoint:
    """An ASGI endpoint that names its capability; the door's own refusals become problem details here."""

    def __init__(self, handler: Handler, capability: str) -> None:
        self.handler = handler
        self.capability = capability

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http" and "name" in scope["path_params"]:
                check_name(scope["path_params"]["name"], "environment")
            await self.handler(scope, receive, send)
        except LimitExceeded as error:
            await refuse(send, error, 408 if isinstance(error, SlowClient) else 413)


async def refuse(send: Send, error: LabdockError, status: int) -> None:
    """Problem details, and an end of the connection: the client may still be sending what nobody wants."""
    body = json.dumps({**error.to_problem(), "status": status}).encode()
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def routes(door: Door) -> list[BaseRoute]:
    """All routes below `/api/environments/{name}/` that pass through, and JupyterLab's."""
    frame = Endpoint(door.frame, FRAME_CAPABILITY)
    small = Endpoint(door.small, FRAME_CAPABILITY)
    page = Endpoint(door.page, JUPYTER_CAPABILITY)
    socket = Endpoint(door.socket, JUPYTER_CAPABILITY)
    api = "/api/environments/{name}"
    lab = "/environments/{name}/jupyter/{rest:path}"
    return [
        *(Route(f"{api}/{action}", frame, methods=["POST"]) for action in ("stage", "fit", "apply")),
        Route(f"{api}/summary", small, methods=["POST"]),
        Route(f"{api}/modules", small, methods=["GET"]),
        Route(f"{api}/modules/{{module}}/export", small, methods=["POST"]),
        Route(f"{api}/jobs", small, methods=["GET"]),
        Route(f"{api}/jobs/{{job}}", small, methods=["GET", "DELETE"]),
        Route(f"{api}/jobs/{{job}}/result", small, methods=["GET"]),
        Route(f"{api}/jobs/{{job}}/events", small, methods=["GET"]),
        Route(lab, page, methods=_METHODS),
        WebSocketRoute(lab, socket),
        Route("/environments/{name}/jupyter", Endpoint(with_slash, JUPYTER_CAPABILITY), methods=["GET"]),
    ]


async def with_slash(scope: Scope, receive: Receive, send: Send) -> None:
    """The address without its slash, as people type it."""
    name = Request(scope, receive).path_params["name"]
    headers = [(b"location", base_path(name).encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
