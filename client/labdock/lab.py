"""The way in: `labdock.connect()` gives a `Lab`, which knows environments and models."""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from labdock import kernel
from labdock.alerts import Alerts
from labdock.connection import Connection
from labdock.data import Indexes, Lookups
from labdock.environments import Environments
from labdock.errors import TransportError
from labdock.home import ControllerAddress, home
from labdock.models import Models
from labdock.quotas import Quotas
from labdock.searches import Search, Searches


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    timeout: float | None = None,
    verify: bool | str = True,
    progress: bool | None = None,
) -> "Lab":
    """Connect to a controller: the one named here, else by `LABDOCK_URL` and `LABDOCK_TOKEN`, else (in an environment's
    notebook) the environment's own, to search, else the one that runs on this machine for this user (`labdock up`),
    over its Unix socket.

    `timeout` limits the silence while an answer is waited for (none by default: a fit may take long), `verify` is
    False or a file of certificates to trust, `progress` shows long work always (True) or never (False). Raises
    `TransportError` when no controller answers and `Unauthenticated` when it does not know the token.
    """
    lab = Lab(find(url, token, timeout=timeout, verify=verify), progress=progress)
    lab.finder = lambda: find(url, token, timeout=timeout, verify=verify)
    lab.me()
    return lab


def find(
    url: str | None = None, token: str | None = None, *, timeout: float | None = None, verify: bool | str = True
) -> Connection:
    """The connection that `connect` would use, unchecked. Raises `TransportError` where nothing names a controller."""
    url = url or os.environ.get("LABDOCK_URL") or None
    if url is None and (inside := kernel.connection(timeout)) is not None:
        return inside
    token = token if token is not None else os.environ.get("LABDOCK_TOKEN")
    address = ControllerAddress.read(home())
    if url is None and address is None:
        raise TransportError(
            f"No controller runs for {home()}.",
            remedy="Start one: labdock up -d (or set LABDOCK_URL and LABDOCK_TOKEN for one elsewhere).",
            sent=False,
        )
    if address is not None and url in (None, address.url):
        path = address.socket if address.socket and os.path.exists(address.socket) else ""  # noqa: PTH110
        if verify is True and address.certificate:
            verify = address.certificate
        return Connection(address.url, token or address.token, socket_path=path, timeout=timeout, verify=verify)
    return Connection(url or "", token or "", timeout=timeout, verify=verify)


class Lab:
    """A controller and what it manages. Use it from several threads if you like; `close` it or use `with`."""

    def __init__(self, connection: Connection, *, progress: bool | None = None) -> None:
        self.connection = connection
        self.progress = progress
        self.environments = Environments(self)
        self.models = Models(self)
        self.searches = Searches(self)
        self.alerts = Alerts(self)
        self.quotas = Quotas(self)
        self.indexes = Indexes(self)
        self.lookups = Lookups(self)
        self.finder: Callable[[], Connection] = lambda: connection

    @property
    def web_url(self) -> str:
        """The controller's address for a browser."""
        return self.connection.url

    def me(self) -> dict[str, Any]:
        """Who the controller takes us for: `user`, `roles`, `capabilities`."""
        return dict(self.connection.call("GET", "/api/me"))

    def runtimes(self) -> list[dict[str, Any]]:
        """Where environments can run, with state and remedy."""
        return list(self.connection.call("GET", "/api/runtimes"))

    def images(self) -> list[dict[str, Any]]:
        """What environments can start from."""
        return list(self.connection.call("GET", "/api/images"))

    def search(
        self,
        search: str,
        *,
        earliest: str = "",
        latest: str = "",
        app: str = "search",
        timezone: str = "UTC",
        max_rows: int | None = None,
        max_seconds: float | None = None,
    ) -> Search:
        """Start a search: `lab.search("index=botsv3 | stats count by src_ip").pandas()`.

        Also `.polars()`, `.table()` (Arrow), `.rows()`, `.reader()` (batches as they are found), `.page(…)`,
        `.export("file.parquet")`. Raises `SearchError` with the position of what cannot be understood.
        """
        times = {"earliest": earliest, "latest": latest, "timezone": timezone}
        return self.searches.start(search, app=app, max_rows=max_rows, max_seconds=max_seconds, **times)

    def sign_in_link(self, then: str = "/") -> str:
        """A link that signs a browser in once and goes on to `then`, a path of the controller."""
        return str(self.connection.call("POST", "/api/tickets", {"next": then})["url"])

    def find_again(self) -> None:
        """Look the controller up anew: it may have come back at another address after a restart."""
        try:
            new = self.finder()
        except TransportError:
            return
        old = self.connection
        if (new.url, new.token, new.socket_folder) != (old.url, old.token, old.socket_folder):
            self.connection = new
            old.close()

    def close(self) -> None:
        """Close idle connections."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lab at {self.web_url}>"
