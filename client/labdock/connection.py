"""Bytes to and from a controller or an environment: HTTP/1.1 over a Unix socket, TCP or TLS, connections kept open.

`Connection` is the one way out of the client: JSON calls, frames and event streams. Built on `http.client`, since it
can send buffers where they lie and read an answer into memory that is allocated once; `requests` and `httpx` copy
both in small pieces (5 and 13 times the time of a raw copy for 90 MB).
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from labdock.answers import PIECE, Moved, Response, describe, refusal
from labdock.errors import TransportError

Buffers = Sequence[Any]  # objects with the buffer protocol

_VECTORS = 512  # buffers in one sendmsg; Linux takes 1024
_CONNECT_SECONDS = 10.0


class _UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("labdock", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(_CONNECT_SECONDS)
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            self.sock = None
            raise


class Connection:
    """A controller's or an environment's API at `url`: `http(s)://host:port[/prefix]` or `unix:/path`.

    Safe for threads: each request takes a connection of its own from those kept open. `socket_path` is tried instead
    of the URL's TCP address (same routes, faster on one machine). `timeout` limits the silence between two pieces of
    an answer; none by default, since a fit may take long, and a dead peer is noticed by keep-alive probes.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        socket_path: str = "",
        timeout: float | None = None,
        verify: bool | str = True,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            socket_path, url = socket_path or parts.path, f"unix:{parts.path}"
        elif parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransportError(
                f"{url!r} is not the address of a controller.", remedy="Use http://host:port, https://… or unix:/path."
            )
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.token = token
        self._parts = parts
        self._socket_path = socket_path
        self._prefix = "" if parts.scheme == "unix" else parts.path.rstrip("/")
        self._tls = _tls_context(verify) if parts.scheme == "https" else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def socket_folder(self) -> Path | None:
        """The folder of the Unix socket in use; None over TCP."""
        return Path(self._socket_path).parent if self._socket_path else None

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One JSON call: the parsed answer, text where it is none, None where it is empty. Raises `LabdockError`s."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = () if body is None else (json.dumps(body).encode(),)
        response = self.request(method, path, data, headers, **query)
        content = response.read()
        if not content:
            return None
        if "json" in (response.headers.get("Content-Type") or ""):
            return json.loads(content)
        return content.decode("utf-8", "replace")

    def request(
        self,
        method: str,
        path: str,
        body: Buffers = (),
        headers: Mapping[str, str] | None = None,
        moved: Moved | None = None,
        **query: Any,
    ) -> Response:
        """Send one request; the answer is below 400, everything else is raised as the error that it describes.

        A kept connection that the server has closed meanwhile is replaced once; every route of Labdock may be sent
        twice (fits carry a key). Raises `TransportError` when no answer came.
        """
        target = self._prefix + path + _query(query)
        views = [memoryview(part).cast("B") for part in body]
        fields = self._fields(method, views, headers or {})
        sent = False  # once true, the server may have got the request
        while True:
            link, used = self._take()
            connected = used
            try:
                if not used:
                    self._connect(link)
                    connected = True
                sock = link.sock  # the link forgets it where the answer ends the connection
                raw = self._exchange(link, method, target, fields, views, moved)
            except (OSError, http.client.HTTPException) as error:
                link.close()
                if not used or not isinstance(error, (ConnectionError, http.client.BadStatusLine)):
                    raise self._unreachable(error, sent=connected or sent) from error
                sent = True
            except BaseException:
                link.close()
                raise
            else:
                if raw.status >= 400:
                    raise refusal(Response(raw, link, self._give_back), self.url)
                return Response(raw, link, self._give_back, sock)

    def close(self) -> None:
        """Close the connections that are idle now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # one that was refused by the constructor
            self.close()

    def _fields(self, method: str, views: list[memoryview], headers: Mapping[str, str]) -> dict[str, str]:
        fields = dict(headers)
        if self.token:
            fields["Authorization"] = f"Bearer {self.token}"
        if views or method in ("POST", "PUT"):
            fields["Content-Length"] = str(sum(map(len, views)))
        return fields

    def _exchange(
        self,
        link: http.client.HTTPConnection,
        method: str,
        target: str,
        fields: dict[str, str],
        views: list[memoryview],
        moved: Moved | None,
    ) -> http.client.HTTPResponse:
        link.putrequest(method, target, skip_accept_encoding=True)
        for name, value in fields.items():
            link.putheader(name, value)
        try:
            link.endheaders()
            _send(link.sock, views, moved)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses early (401, 413) stops reading; its answer may have arrived all the same.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return link.getresponse()
            raise
        return link.getresponse()

    def _connect(self, link: http.client.HTTPConnection) -> None:
        link.connect()
        if link.sock.family != socket.AF_UNIX:
            link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
                if hasattr(socket, name):
                    link.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        link.sock.settimeout(self.timeout)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        with self._lock:
            if self._pid != os.getpid():  # after a fork the sockets belong to the parent
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop(), True
        if self._socket_path:
            return _UnixHTTP(self._socket_path, _CONNECT_SECONDS), False
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls:
            return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=self._tls), False
        return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS), False

    def _give_back(self, link: http.client.HTTPConnection, keep: bool) -> None:
        if not keep:
            link.close()
            return
        with self._lock:
            self._idle.append(link)

    def _unreachable(self, error: Exception, *, sent: bool) -> TransportError:
        where = self.url + (f" ({self._socket_path})" if self._socket_path and "unix:" not in self.url else "")
        if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
            remedy = "Start a controller: labdock up -d"
            return TransportError(f"Nothing answers at {where}.", remedy=remedy, url=where, sent=sent)
        if isinstance(error, ssl.SSLError):
            remedy = "Check the address and the certificate; connect(verify='ca.pem') trusts another authority."
        else:
            remedy = "Check the address and that the controller runs (labdock up -d); then try again."
        return TransportError(
            f"The connection to {where} failed: {describe(error)}.",
            remedy=remedy,
            url=where,
            cause=describe(error),
            sent=sent,
        )


def _tls_context(verify: bool | str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if isinstance(verify, str):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the file may hold the server's own certificate
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _query(values: Mapping[str, Any]) -> str:
    given = {k: str(v).lower() if isinstance(v, bool) else v for k, v in values.items() if v is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _send(sock: socket.socket, views: list[memoryview], moved: Moved | None) -> None:
    """Send all `views` without joining them."""
    total = sum(map(len, views))
    sent = 0
    if isinstance(sock, ssl.SSLSocket):
        for view in views:
            for start in range(0, len(view), PIECE):
                sock.sendall(view[start : start + PIECE])
                sent += min(PIECE, len(view) - start)
                if moved:
                    moved("sent", sent, total)
        return
    rest = [view for view in views if len(view)]
    while rest:
        count = sock.sendmsg(rest[:_VECTORS])
        sent += count
        while rest and count >= len(rest[0]):
            count -= len(rest.pop(0))
        if count:
            rest[0] = rest[0][count:]
        if moved:
            moved("sent", sent, total)


def segment(name: str) -> str:
    """`name` as one segment of a path."""
    return quote(name, safe="")
