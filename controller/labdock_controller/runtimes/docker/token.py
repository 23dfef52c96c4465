"""Bringing the token into a container that shares no folder with the controller: through the standard input of a
short command, so that it is in no argument, variable, label or layer."""

from contextlib import suppress
from typing import Any

from labdock.errors import LaunchError
from labdock_controller.runtimes.docker.engine import Engine
from labdock_controller.runtimes.docker.errors import translated
from labdock_controller.runtimes.docker.profile import RUN

# `head -c` ends after the token: not every transport passes a half-closed connection on.
SCRIPT = f'umask 077 && mkdir -p {RUN}/spool && head -c "$1" >{RUN}/.token && mv {RUN}/.token {RUN}/token'


def deliver_token(engine: Engine, container: str, token: str) -> None:
    """Write `token` to the run folder inside; the container's first program waits for it."""
    data = token.encode()
    with translated():
        command = ["sh", "-c", SCRIPT, "token", str(len(data))]
        exec_id = engine.api.exec_create(container, command, stdin=True, stdout=True, stderr=True)["Id"]
        stream = engine.api.exec_start(exec_id, socket=True)
        try:
            _raw(stream).sendall(data)
            output = b"".join(iter(lambda: _raw(stream).recv(4096), b""))
        finally:
            _close(stream)
        code = engine.api.exec_inspect(exec_id)["ExitCode"]
    if code != 0:
        raise LaunchError(
            "The environment could not be given its token.",
            remedy="See the log; the image must be one of Labdock's.",
            log=output[8:].decode(errors="replace").splitlines()[-5:],
        )


def _close(stream: Any) -> None:
    """docker-py closes neither the socket below its file nor the answer it belongs to."""
    for part in (stream, _raw(stream), getattr(stream, "_response", stream)):
        with suppress(OSError, ValueError, AttributeError):
            part.close()


def _raw(stream: Any) -> Any:
    """docker-py hands out a file over the socket for some transports and the socket itself for others."""
    return getattr(stream, "_sock", stream)
