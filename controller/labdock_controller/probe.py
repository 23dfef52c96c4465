"""Short questions to an environment over its sockets: is it ready, what is it doing, which models has it."""

import http.client
import json
import socket
from typing import Any

from labdock.errors import TransportError
from labdock_controller.runtimes.base import Endpoint
from labdock_controller.sockets import pinned

TIMEOUT = 5.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            with pinned(self._path) as path:  # the environment owns the folder: no link is followed
                self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise


def connection(address: str, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
    """To `unix:/path` or `http://host:port`."""
    if address.startswith("unix:"):
        return UnixConnection(address.removeprefix("unix:"), timeout)
    return http.client.HTTPConnection(address.removeprefix("http://"), timeout=timeout)


def get(
    address: str, path: str, token: str = "", timeout: float = TIMEOUT, scheme: str = "Bearer"
) -> tuple[int, bytes]:
    """Status and body of a GET. Raises `TransportError` where nothing answers."""
    return ask("GET", address, path, token, timeout, scheme)


def ask(
    method: str, address: str, path: str, token: str = "", timeout: float = TIMEOUT, scheme: str = "Bearer"
) -> tuple[int, bytes]:
    """The same for any method without a body."""
    asked = connection(address, timeout)
    try:
        asked.request(method, path, headers={"Authorization": f"{scheme} {token}"} if token else {})
        answer = asked.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(
            f"{address}{path} does not answer: {error}.", remedy="See the environment's log."
        ) from None
    finally:
        asked.close()


def get_json(endpoint: Endpoint, path: str) -> Any:
    """What the environment's API says. Raises `TransportError` for anything but 200 with JSON."""
    status, body = get(endpoint.api, path, endpoint.token)
    try:
        if status == http.HTTPStatus.OK:
            return json.loads(body)
    except ValueError:
        pass
    raise TransportError(f"{path} of the environment answered {status}.", remedy="See the environment's log.")


def ready(endpoint: Endpoint, base_url: str) -> str:
    """What is missing until the environment is ready, in words; empty: it is."""
    parts = [("API", endpoint.api, "/health", "Bearer")]
    if endpoint.jupyter:
        parts.append(("JupyterLab", endpoint.jupyter, f"{base_url}api/status", "token"))
    for name, address, path, scheme in parts:
        try:
            status, _ = get(address, path, endpoint.token, scheme=scheme)
        except TransportError:
            return f"its {name} does not answer"
        if status != http.HTTPStatus.OK:
            return f"its {name} answers {status}"
    return ""
