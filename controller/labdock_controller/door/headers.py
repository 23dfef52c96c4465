"""What crosses the door between a browser and JupyterLab, header by header."""

import re

from starlette.types import Scope

from labdock_controller.door.upstream import HOP_BY_HOP, Headers, RawHeaders, back

# Set again below, by the HTTP client or by the WebSocket handshake.
_NOT_THERE = HOP_BY_HOP | {"authorization", "cookie", "expect", "content-length"}
_HANDSHAKE = frozenset(
    {"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"}
)

# JupyterLab lives on the controller's own origin: code in an environment must not reach beyond its own path. And to a
# request with a token, the injected one included, Jupyter allows any origin to read the answer.
_NOT_FROM_THERE = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "alt-svc",
        "clear-site-data",
        "service-worker-allowed",
        "strict-transport-security",
    }
)
_COOKIE = re.compile(r"[^=;\s]+")


def to_jupyter(scope: Scope, token: str, own_cookies: frozenset[str]) -> Headers:
    """The browser's headers, Host included, with the environment's token instead of the browser's credentials."""
    given = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in scope["headers"]]
    named = {t.strip().lower() for k, v in given if k == "connection" for t in v.split(",")}
    drop = _NOT_THERE | named | (_HANDSHAKE if scope["type"] == "websocket" else frozenset())
    headers = [(k, v) for k, v in given if k not in drop]
    cookies = [c for k, v in given if k == "cookie" for c in kept_cookies(v, own_cookies)]
    if cookies:
        headers.append(("cookie", "; ".join(cookies)))
    length = [(k, v) for k, v in given if k == "content-length"]
    return [*headers, *length, ("authorization", f"token {token}"), ("x-forwarded-proto", proto(scope))]


def proto(scope: Scope) -> str:
    return "https" if scope.get("scheme") in {"https", "wss"} else "http"


def kept_cookies(header: str, own: frozenset[str]) -> list[str]:
    """The pairs of a Cookie header but the controller's own."""
    pairs = [pair.strip() for pair in header.split(";")]
    return [pair for pair in pairs if pair and pair.partition("=")[0].strip() not in own]


def from_jupyter(raw: RawHeaders, base: str, own_cookies: frozenset[str]) -> list[tuple[bytes, bytes]]:
    """JupyterLab's headers for the browser. Cookies stay below `base` and never carry the controller's names."""
    headers = []
    for key, value in back(raw):
        if key.decode("latin-1") in _NOT_FROM_THERE:
            continue
        if key == b"set-cookie":
            cookie = confined(value.decode("latin-1"), base, own_cookies)
            if cookie:
                headers.append((key, cookie.encode("latin-1")))
            continue
        headers.append((key, value))
    return headers


def confined(cookie: str, base: str, own: frozenset[str]) -> str | None:
    """A Set-Cookie without Domain and with a Path below `base`; None for one of the controller's."""
    name_match = _COOKIE.match(cookie)
    if (
        name_match is None
        or name_match.group() in own
        or name_match.group().lower().startswith(("__host-", "__secure-"))
    ):
        return None
    pair, *attributes = [part.strip() for part in cookie.split(";")]
    kept = [a for a in attributes if a.partition("=")[0].strip().lower() not in {"domain", "path"}]
    path = next((a.partition("=")[2].strip() for a in attributes if a.lower().startswith("path=")), "")
    if not path.startswith(base):
        path = base
    return "; ".join([pair, f"Path={path}", *kept])
