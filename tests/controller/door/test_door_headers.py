"""What crosses the door towards JupyterLab and back, seen by an observer in JupyterLab's place."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from labdock.errors import Forbidden
from labdock_controller.door import Destination
from labdock_controller.door.origin import check_origin

BASE = "/environments/__dev__/jupyter/"


@pytest.fixture
def observer(door: Any, environment: Any) -> Any:
    """The observing environment as `__dev__`'s JupyterLab."""
    _, known = door.host.environments["__dev__"]
    place = Destination(known.id, known.name, known.api, known.api, known.token, known.run)
    door.host.environments["__dev__"] = ("alice", place)
    return environment


def test_the_browsers_credentials_stay_and_the_rest_passes(door: Any, observer: Any) -> None:
    headers = {
        "Host": "lab.example:8443",
        "Cookie": "labdock_session=alice-token; _xsrf=2|abc; username-lab=x=y; labdock_session2=kept",
        "X-XSRFToken": "2|abc",
        "Accept": "application/json, text/plain",
        "If-None-Match": '"e"',
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "TE": "trailers",
        "Origin": "http://lab.example:8443",
        "User-Agent": "a browser",
    }
    door.ask("POST", BASE + "api/kernels?a=%2F&b=+x", b"{}", headers, tcp=True)
    seen = observer.requests[0]
    assert (seen["path"], seen["query"], seen["body"]) == (BASE + "api/kernels", "a=%2F&b=+x", b"{}")
    got = seen["headers"]
    assert got["host"] == "lab.example:8443"
    assert got["authorization"] == "token inner"
    assert got["cookie"] == "_xsrf=2|abc; username-lab=x=y; labdock_session2=kept"
    for kept in ("X-XSRFToken", "Accept", "If-None-Match", "Origin", "User-Agent"):
        assert got[kept.lower()] == headers[kept]
    assert not {"x-hop", "te"} & set(got)
    assert "alice-token" not in str(got)


@pytest.mark.parametrize(
    "path",
    [
        "files/a%2Fb%252F.txt",
        "files/../../etc",
        "api//contents",
        "files/%E2%82%AC",
        "a;b=c,d",
        "files/%2e%2e/x",
        "x%20y",
    ],
)
def test_paths_pass_byte_for_byte(door: Any, observer: Any, path: str) -> None:
    assert door.ask("GET", BASE + path, tcp=True)[0] == 200
    assert observer.requests[0]["path"] == BASE + path


def test_a_chunked_body_stays_one(door: Any, observer: Any) -> None:
    door.ask("PUT", BASE + "api/contents/x", iter([b"a" * 100_000, b"b"]), tcp=True)
    assert observer.requests[0]["body"] == b"a" * 100_000 + b"b"
    door.ask("DELETE", BASE + "api/contents/x", tcp=True)
    assert (observer.requests[1]["method"], observer.requests[1]["body"]) == ("DELETE", b"")


def test_answers_cannot_reach_beyond_the_environments_path(door: Any, observer: Any) -> None:
    cookies = [
        b"_xsrf=1; expires=Thu, 01 Jan 2037 00:00:00 GMT; Path=/environments/__dev__/jupyter/; SameSite=Lax",
        b"labdock_session=stolen; Path=/",
        b" labdock_session = stolen",
        b"__Host-labdock_session=stolen; Secure; Path=/",
        b"toss=1; Path=/api; Domain=lab.example; HttpOnly",
        b"bare=1",
        b"=nameless",
    ]
    observer.answer = (
        302,
        [
            *((b"set-cookie", cookie) for cookie in cookies),
            (b"location", BASE.encode() + b"lab?reset"),
            (b"service-worker-allowed", b"/"),
            (b"clear-site-data", b'"cookies"'),
            (b"access-control-allow-origin", b"http://evil.example"),
            (b"content-security-policy", b"frame-ancestors 'self'"),
            (b"keep-alive", b"timeout=5"),
            (b"content-encoding", b"gzip"),
        ],
        [b"still packed"],
    )
    status, headers, body = door.ask("GET", BASE, tcp=True)
    assert (status, body) == (302, b"still packed")
    assert headers["Location"] == f"{BASE}lab?reset"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'self'"
    assert headers.get_all("Set-Cookie") == [
        f"_xsrf=1; Path={BASE}; expires=Thu, 01 Jan 2037 00:00:00 GMT; SameSite=Lax",
        f"toss=1; Path={BASE}; HttpOnly",
        f"bare=1; Path={BASE}",
    ]
    for dropped in ("Service-Worker-Allowed", "Clear-Site-Data", "Access-Control-Allow-Origin", "Keep-Alive"):
        assert headers[dropped] is None


def test_an_environment_without_jupyterlab_says_so(door: Any, environment: Any) -> None:
    status, _, body = door.ask("GET", BASE + "lab")
    assert status == 409
    assert b"--mode dev" in body


def connection(kind: str = "http", method: str = "POST", scheme: str = "http", **headers: str) -> HTTPConnection:
    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return HTTPConnection({"type": kind, "method": method, "scheme": scheme, "headers": pairs})


OURS = [
    ("http", "lab.example", "http://lab.example"),
    ("http", "lab.example:80", "http://lab.example"),
    ("http", "LAB.example", "http://lab.EXAMPLE"),
    ("http", "[::1]:8420", "http://[::1]:8420"),
    ("https", "lab.example", "https://lab.example:443"),
    ("https", "lab.example:8443", "https://lab.example:8443"),
]
THEIRS = [
    ("http", "lab.example", "https://lab.example"),
    ("https", "lab.example", "http://lab.example"),
    ("http", "lab.example", "http://lab.example:8080"),
    ("http", "lab.example", "http://lab.example.evil.example"),
    ("http", "lab.example", "http://evil.example/lab.example"),
    ("http", "lab.example", "http://lab.example/"),
    ("http", "lab.example", "http://lab.example, http://evil.example"),
    ("http", "lab.example", "http://user@lab.example"),
    ("http", "lab.example", "http://lab.example\\@evil.example"),
    ("http", "lab.example", "//lab.example"),
    ("http", "lab.example", "lab.example"),
    ("http", "lab.example", "null"),
    ("http", "lab.example", "http://lab.example:port"),
    ("http", "lab.example", "file://"),
    ("http", "", "http://"),
]


@pytest.mark.parametrize(("scheme", "host", "origin"), OURS)
def test_an_exact_origin_is_ours(scheme: str, host: str, origin: str) -> None:
    check_origin(connection(scheme=scheme, host=host, origin=origin))
    websocket = {"http": "ws", "https": "wss"}[scheme]
    check_origin(connection("websocket", scheme=websocket, host=host, origin=origin))
    check_origin(connection(host="inner", origin=origin), frozenset({origin}))


@pytest.mark.parametrize(("scheme", "host", "origin"), THEIRS)
def test_what_only_looks_like_ours_is_not(scheme: str, host: str, origin: str) -> None:
    websocket = {"http": "ws", "https": "wss"}[scheme]
    for one in (
        connection(scheme=scheme, host=host, origin=origin),
        connection(scheme=scheme, host=host, origin=origin, authorization="Bearer t"),
        connection("websocket", scheme=websocket, host=host, origin=origin),
    ):
        with pytest.raises(Forbidden):
            check_origin(one)


def test_tls_in_front_is_a_setting() -> None:
    check_origin(connection(host="lab.example", origin="https://lab.example"), tls=True)
    with pytest.raises(Forbidden):
        check_origin(connection(host="lab.example", origin="http://lab.example"), tls=True)
