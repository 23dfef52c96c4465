"""Whether a browser's request comes from one of our own pages.

The door injects Jupyter's token, and with it Jupyter leaves out its own XSRF and Origin checks: a page of another
site could then create a kernel with the victim's cookie. So the door checks before it passes anything on:

- An upgrade to a WebSocket needs an Origin, and it must be exactly ours: browsers send cookies with upgrades from any
  page and ask for no permission first.
- An unsafe method with an Origin must carry exactly ours. Without one, a request that a browser's cookie
  authenticates needs a Referer of ours; a request with a token needs none, for no page can make a browser send it.
- A safe method is refused where the browser itself says that another site embeds it (a script, an image, a fetch);
  following a link from elsewhere is allowed.

"Ours" is scheme, host and port of the request itself (`Host`, which the controller has checked against its list), or
an origin that the controller's settings name. Another port of the same host is somebody else.
"""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from labdock.errors import Forbidden

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SCHEMES = {"ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}


def check_origin(connection: HTTPConnection, ours: frozenset[str] = frozenset(), *, tls: bool | None = None) -> None:
    """Raise `Forbidden` unless the request may be passed on. `tls` overrides the connection's own scheme."""
    headers = connection.headers
    origin = headers.get("origin")
    if connection.scope["type"] == "websocket":
        if origin is None:
            raise foreign("A WebSocket was asked for without an Origin.")
        if not is_ours(origin, connection, ours, tls):
            raise foreign(f"A WebSocket was asked for by a page of {shown(origin)}.")
        return
    if connection.scope["method"] in SAFE:
        _check_embedding(connection)
        return
    if origin is not None:
        if not is_ours(origin, connection, ours, tls):
            raise foreign(f"The request comes from a page of {shown(origin)}.")
        return
    if by_token(connection):
        return
    referer = headers.get("referer")
    if referer is None:
        raise foreign("The request names neither Origin nor Referer.")
    if not is_ours(origin_of(referer), connection, ours, tls):
        raise foreign(f"The request comes from a page of {shown(origin_of(referer))}.")


def _check_embedding(connection: HTTPConnection) -> None:
    site = connection.headers.get("sec-fetch-site", "none")
    if site in {"same-origin", "none"} or by_token(connection):
        return
    if (
        connection.headers.get("sec-fetch-mode") == "navigate"
        and connection.headers.get("sec-fetch-dest") == "document"
    ):
        return
    raise foreign("A page of another site embeds this address.")


def by_token(connection: HTTPConnection) -> bool:
    """Whether the request carries a token of its own, which no foreign page can make a browser send."""
    return bool(connection.headers.get("authorization"))


def is_ours(origin: str, connection: HTTPConnection, ours: frozenset[str], tls: bool | None = None) -> bool:
    """Exact comparison of scheme, host and port; `null`, lists and anything with a path are nobody's."""
    found = normal(origin)
    if found is None:
        return False
    scheme = connection.scope.get("scheme", "http")
    scheme = _SCHEMES.get(scheme, scheme) if tls is None else ("https" if tls else "http")
    host = connection.headers.get("host", "")
    return found == normal(f"{scheme}://{host}") or any(found == normal(each) for each in ours)


def normal(origin: str) -> tuple[str, str, int] | None:
    """(scheme, host, port), or None for what is not exactly one origin."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or parts.fragment:
        return None
    if "@" in parts.netloc or any(c.isspace() or c in "\\,%" for c in origin):
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def origin_of(address: str) -> str:
    """The origin of a page's address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def shown(origin: str) -> str:
    return ascii(origin if len(origin) <= 80 else origin[:79] + "…")


def foreign(what: str) -> Forbidden:
    return Forbidden(
        what,
        remedy="Open the page through Labdock's own address; behind a proxy, name that address in the setting origins.",
    )
