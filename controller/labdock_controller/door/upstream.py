"""Requests to an environment: over its Unix socket or TCP address, streamed, with its own token."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from labdock.errors import LaunchError, TransportError
from labdock_controller.door.host import Destination
from labdock_controller.sockets import pinned

Headers = list[tuple[str, str]]
RawHeaders = Iterable[tuple[bytes, bytes]]

# RFC 9110 section 7.6.1; `date` and `server` are written anew by our own server.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
NOT_BACK = HOP_BY_HOP | {"date", "server"}

# An environment's API closes idle connections after 75 s: let go of them earlier, so that no request meets a
# connection that is being closed.
IDLE_SECONDS = 45.0
FORGET_SECONDS = 600.0
READ_BUFFER = 2**20


@dataclass
class _Lease:
    session: aiohttp.ClientSession
    users: int = 0
    used: float = 0.0


class Upstreams:
    """One client session for each address, made on first use; a session holds no descriptor while idle."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}

    @contextlib.asynccontextmanager
    async def session(self, address: str) -> AsyncIterator[aiohttp.ClientSession]:
        """The session for `unix:/path` or `http://host:port`, while the block runs."""
        lease = self._leases.get(address)
        if lease is None:
            await self._forget_old()
            lease = self._leases.setdefault(address, _Lease(new_session(address)))
        lease.users += 1
        try:
            yield lease.session
        finally:
            lease.users -= 1
            lease.used = time.monotonic()

    async def _forget_old(self) -> None:
        """Close the sessions of environments that nobody asked for lately: most are gone."""
        limit = time.monotonic() - FORGET_SECONDS
        for address, lease in list(self._leases.items()):
            if not lease.users and lease.used < limit:
                del self._leases[address]
                await lease.session.close()

    async def close(self) -> None:
        """Close everything; requests on their way end with an error."""
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            await lease.session.close()


class SocketConnector(aiohttp.UnixConnector):
    """A connector that follows no link: the environment owns the folder that its sockets lie in."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],  # noqa: ARG002 - aiohttp's signature
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        try:
            async with asyncio.timeout(timeout.sock_connect):
                with pinned(self.path) as path:
                    _, protocol = await self._loop.create_unix_connection(self._factory, path)
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise
            raise UnixClientConnectorError(self.path, req.connection_key, error) from error
        return protocol


def new_session(address: str) -> aiohttp.ClientSession:
    """A session that adds, follows, decodes and remembers nothing."""
    connector: aiohttp.BaseConnector
    if address.startswith("unix:"):
        connector = SocketConnector(address.removeprefix("unix:"), limit=0, keepalive_timeout=IDLE_SECONDS)
    else:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, use_dns_cache=False)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        read_bufsize=READ_BUFFER,
        max_line_size=2**16,
        max_field_size=2**18,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


def url(address: str, target: bytes) -> URL:
    """The address of a raw request target (`/path?query`), byte for byte: nothing is decoded or normalised."""
    base = "http://localhost" if address.startswith("unix:") else address.rstrip("/")
    return URL(base + target.decode("latin-1"), encoded=True)


def back(headers: RawHeaders, drop: frozenset[str] = NOT_BACK) -> list[tuple[bytes, bytes]]:
    """An environment's headers for our client: without hop-by-hop headers, those named in Connection included."""
    pairs = [(k.lower(), v) for k, v in headers]
    named = {token.strip().lower() for k, v in pairs if k == b"connection" for token in v.decode("latin-1").split(",")}
    return [(k, v) for k, v in pairs if k.decode("latin-1") not in drop and k.decode("latin-1") not in named]


class Body:
    """A client's body on its way through; keeps what went wrong on the client's side, and says when it was read."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self.read = asyncio.Event()
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts:
                yield part
        except Exception as error:
            self.error = error
            raise
        self.read.set()


async def open_answer(
    session: aiohttp.ClientSession,
    method: str,
    target: URL,
    headers: Headers,
    body: Body | bytes | None,
    destination: Destination,
) -> aiohttp.ClientResponse:
    """Send, and wait for the answer's headers.

    Raises `LaunchError` or `TransportError` in the environment's name, or what the client's side of `body` raised.
    """
    try:
        return await session.request(method, target, headers=headers, data=body, allow_redirects=False)
    except (aiohttp.ClientConnectorError, FileNotFoundError) as error:
        raise unreachable(destination) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if isinstance(body, Body) and body.error is not None:
            raise body.error from None
        raise broken(destination) from error


def unreachable(destination: Destination) -> LaunchError:
    name = destination.name
    return LaunchError(
        f"The environment {name!r} does not answer.",
        remedy=f"It may be restarting: try again; see 'labdock logs {name}', else 'labdock restart {name}'.",
        environment=name,
        log=[],
    )


def broken(destination: Destination) -> TransportError:
    name = destination.name
    return TransportError(
        f"The environment {name!r} ended the connection before it answered.",
        remedy=f"Send the request again, with the same Idempotency-Key; see 'labdock logs {name}'.",
        environment=name,
    )


async def read_all(response: aiohttp.ClientResponse, destination: Destination) -> Any:
    """A small JSON answer."""
    try:
        return await response.json(content_type=None)
    except (aiohttp.ClientError, ValueError) as error:
        raise broken(destination) from error
