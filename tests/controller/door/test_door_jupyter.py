"""A real JupyterLab with real kernels through the door."""

import base64
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

BASE = "/environments/__dev__/jupyter/"
V1 = "v1.kernel.websocket.jupyter.org"
pytestmark = pytest.mark.slow


def ask(door: Any, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    content = json.dumps(body) if isinstance(body, dict) else body
    answer: tuple[int, Any, bytes] = door.ask(method, BASE + path, content, headers, tcp=True)
    return answer


def kernels(door: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ask(door, "GET", "api/kernels")[2])
    return found


@pytest.fixture
def kernel(door: Any, lab: Any) -> Iterator[str]:
    status, _, body = ask(door, "POST", "api/kernels", {"name": "python3"})
    assert status == 201, body
    identifier = json.loads(body)["id"]
    yield identifier
    if lab.process.poll() is None:
        ask(door, "DELETE", f"api/kernels/{identifier}")


def channel(door: Any, kernel: str, *, subprotocol: str | None = None, **settings: Any) -> ClientConnection:
    origin = settings.pop("origin", f"http://127.0.0.1:{door.served.port}")
    headers = settings.pop("additional_headers", {"Cookie": "labdock_session=alice-token"})
    return connect(
        f"ws://127.0.0.1:{door.served.port}{BASE}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}",
        origin=origin,
        subprotocols=[subprotocol] if subprotocol else None,
        additional_headers=headers,
        max_size=None,
        open_timeout=20,
        **settings,
    )


def request(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": "s", "version": "5.3"}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


def run(channel_: ClientConnection, code: str, seconds: float = 60) -> str:
    """What `code` printed, over the default (JSON) protocol."""
    message = request("execute_request", {"code": code, "silent": False, "store_history": False, "allow_stdin": False})
    channel_.send(json.dumps(message))
    printed, replied, idle = "", False, False
    while not (replied and idle):
        answer = json.loads(channel_.recv(timeout=seconds))
        if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
            continue
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        replied |= answer["msg_type"] == "execute_reply"
        idle |= answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle"
    return printed


def drain(channel_: ClientConnection) -> None:
    while True:
        channel_.recv(timeout=20)


def test_jupyterlab_is_served_below_its_base(door: Any, lab: Any) -> None:
    status, headers, _ = ask(door, "GET", "")
    assert status == 302
    assert headers["Location"].startswith(f"{BASE}lab")
    status, headers, page = ask(door, "GET", "lab")
    assert status == 200
    assert f'"baseUrl": "{BASE}"'.encode() in page
    assert headers.get_all("Server") is None
    assert len(headers.get_all("Date")) == 1
    status, headers, _ = door.ask("GET", "/environments/__dev__/jupyter", tcp=True)
    assert (status, headers["Location"]) == (307, BASE)


def test_jupyterlabs_page_holds_no_token(door: Any, lab: Any) -> None:
    """With one, JupyterLab would send it instead of the browser's own credentials."""
    pages = ("lab", "lab/tree/x.ipynb", "api/status", "api/me", "lab/api/settings", "login", "view/x", "tree", "")
    errors = ("nowhere", "lab/nowhere", "static/nowhere", "api/contents/nowhere", "files/nowhere", "lab/tree/nowhere/x",
              "nbconvert/html/nowhere.ipynb", "kernelspecs/nowhere/logo.png", "api/nowhere", "lab/extensions/nowhere",
              "edit/nowhere", "notebooks/nowhere.ipynb", "files/../x", "%00")  # fmt: skip
    for path in (*pages, *errors):
        _, headers, body = ask(door, "GET", path)
        assert lab.token.encode() not in body
        assert lab.token not in str(headers)


@pytest.mark.parametrize(
    "name", ["50%25%20off.txt", "a%20b%20%C3%BC%E2%82%AC.txt", "plus+and%26.txt", "semi%3Bcolon.txt"]
)
def test_names_pass_as_they_are_encoded(door: Any, lab: Any, name: str) -> None:
    content = {"type": "file", "format": "text", "content": f"in {name}"}
    assert ask(door, "PUT", f"api/contents/{name}", content)[0] == 201
    status, _, body = ask(door, "GET", f"files/{name}")
    assert (status, body.decode()) == (200, f"in {name}")
    assert ask(door, "DELETE", f"api/contents/{name}")[0] == 204


@pytest.mark.parametrize("path", ["../../../api/environments", "%2e%2e/%2e%2e/api", "files/..%2f..%2f..%2fetc/passwd"])
def test_traversal_ends_at_jupyterlab(door: Any, lab: Any, path: str) -> None:
    """The path is passed on raw: JupyterLab refuses it, and it reaches nothing of the controller's."""
    status, _, body = ask(door, "GET", path)
    assert status in {400, 403, 404}
    assert b"root:" not in body


def test_an_encoded_slash_does_not_stand_for_the_doors(door: Any, lab: Any) -> None:
    for path in ("/environments/__dev__%2Fjupyter/lab", "/environments/__dev__%2Fjupyter%2Flab"):
        assert door.ask("GET", path)[0] in {400, 404}


@pytest.mark.parametrize("subprotocol", [None, V1])
def test_a_kernel_runs_and_its_output_streams(door: Any, kernel: str, subprotocol: str | None) -> None:
    with channel(door, kernel, subprotocol=subprotocol) as channel_:
        assert channel_.subprotocol == subprotocol
        if subprotocol is None:
            assert run(channel_, "print(6 * 7)") == "42\n"
            begun = time.monotonic()
            printed = run(channel_, "import time\nfor i in range(3):\n    print(i, flush=True); time.sleep(.1)")
            assert printed == "0\n1\n2\n"
            assert time.monotonic() - begun < 5
        else:
            channel_.send(v1_message(request("kernel_info_request", {})))
            while v1_kind(channel_.recv(timeout=20)) != "kernel_info_reply":
                pass


def v1_message(message: dict[str, Any]) -> bytes:
    """The binary layout of the subprotocol: a count of offsets, the offsets, then channel and parts."""
    parts = [message["channel"].encode()]
    parts += [json.dumps(message[k]).encode() for k in ("header", "parent_header", "metadata", "content")]
    offsets = [8 * (2 + len(parts))]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    numbers = [len(offsets), *offsets]
    return b"".join(n.to_bytes(8, "little") for n in numbers) + b"".join(parts)


def v1_kind(data: Any) -> str:
    assert isinstance(data, bytes)
    count = int.from_bytes(data[:8], "little")
    offsets = [int.from_bytes(data[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
    kind: str = json.loads(data[offsets[1] : offsets[2]])["msg_type"]
    return kind


def test_fifty_megabytes_of_output_pass(door: Any, kernel: str) -> None:
    with channel(door, kernel) as channel_:
        printed = run(channel_, "print('x' * 50_000_000)", 120)
    assert len(printed) == 50_000_001
    assert set(printed) == {"x", "\n"}


def test_a_message_of_forty_megabytes_reaches_the_kernel(door: Any, kernel: str) -> None:
    with channel(door, kernel) as channel_:
        assert run(channel_, f"print(len('{'y' * 40_000_000}'))", 120) == "40000000\n"


def test_two_hundred_megabytes_are_uploaded(door: Any, lab: Any) -> None:
    """In one request, and in the chunks that JupyterLab's file browser sends."""
    blob = os.urandom(1_500_000) * 100
    content = json.dumps(
        {"type": "file", "format": "base64", "name": "big.bin", "content": base64.b64encode(blob).decode()}
    ).encode()
    assert len(content) > 200_000_000
    status, _, body = ask(door, "PUT", "api/contents/big.bin", content)
    assert status == 201, body[:500]
    assert (lab.notebooks / "big.bin").read_bytes() == blob
    status, _, body = ask(door, "GET", "files/big.bin")
    assert body == blob
    ask(door, "DELETE", "api/contents/big.bin")
    for number in (1, 2, -1):
        piece = base64.b64encode(blob[:5_000_000]).decode()
        model = {"type": "file", "format": "base64", "chunk": number, "name": "chunks.bin", "content": piece}
        assert ask(door, "PUT", "api/contents/chunks.bin", model)[0] in {200, 201}
    assert (lab.notebooks / "chunks.bin").stat().st_size == 15_000_000
    ask(door, "DELETE", "api/contents/chunks.bin")


def test_a_closed_tab_ends_jupyterlabs_side(door: Any, kernel: str) -> None:
    with channel(door, kernel) as channel_:
        run(channel_, "1")
        wait_for(lambda: [k["connections"] for k in kernels(door) if k["id"] == kernel] == [1])
    wait_for(lambda: [k["connections"] for k in kernels(door) if k["id"] == kernel] == [0])
    with channel(door, kernel) as dropped:
        run(dropped, "1")
        dropped.socket.shutdown(socket.SHUT_RDWR)  # no closing handshake: the browser was killed
    wait_for(lambda: [k["connections"] for k in kernels(door) if k["id"] == kernel] == [0])


def test_jupyterlab_dies_and_comes_back(door: Any, lab: Any) -> None:
    identifier = json.loads(ask(door, "POST", "api/kernels", {"name": "python3"})[2])["id"]
    with channel(door, identifier) as channel_:
        run(channel_, "1")
        lab.kill()
        with pytest.raises(ConnectionClosed) as closed:
            drain(channel_)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
    try:
        status, headers, page = ask(door, "GET", "lab", Accept="text/html")
        assert (status, headers["Content-Type"]) == (502, "text/html; charset=utf-8")
        assert b"http-equiv=refresh" in page
        status, _, body = ask(door, "GET", "api/kernels")
        assert (status, json.loads(body)["code"]) == (502, "launch-error")
        with pytest.raises(InvalidStatus) as refused:
            channel(door, identifier)
        assert refused.value.response.status_code == 502
    finally:
        lab.start()
    identifier = json.loads(ask(door, "POST", "api/kernels", {"name": "python3"})[2])["id"]
    with channel(door, identifier) as channel_:
        assert run(channel_, "print('back')") == "back\n"
    ask(door, "DELETE", f"api/kernels/{identifier}")


def test_nothing_is_left_open(door: Any, kernel: str) -> None:
    with channel(door, kernel) as channel_:
        run(channel_, "1")
    ask(door, "GET", "lab")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with channel(door, kernel) as channel_:
            channel_.send(json.dumps(request("kernel_info_request", {})))
        ask(door, "GET", "api/status")
    wait_for(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 2)


# -- who may, and from where -------------------------------------------------------------------------------------------


def test_only_the_owner_comes_in(door: Any, kernel: str) -> None:
    assert door.ask("GET", BASE + "api/kernels", user="bob")[0] == 403
    assert door.ask("GET", BASE + "api/kernels", user="viewer")[0] == 403
    assert door.ask("GET", BASE + "api/kernels", user="mallory")[0] == 401
    for user in ("bob", "mallory"):
        with pytest.raises(InvalidStatus) as refused:
            channel(door, kernel, additional_headers={"Authorization": f"Bearer {user}-token"})
        assert refused.value.response.status_code == 403


FOREIGN = [
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example",
    "http://localhost:{port}",
    "null",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_creates_no_kernel(door: Any, lab: Any, origin: str) -> None:
    """Jupyter itself would take these: the injected token switches its own checks off."""
    before = kernels(door)
    cookie = {"Authorization": "", "Cookie": "labdock_session=alice-token", "Content-Type": "text/plain"}
    headers = {**cookie, "Origin": origin.format(port=door.served.port)}
    status, _, body = door.ask("POST", BASE + "api/kernels", b"{}", headers, tcp=True)
    assert (status, json.loads(body)["code"]) == (403, "forbidden")
    assert kernels(door) == before


@pytest.mark.parametrize("origin", [*FOREIGN, None])
def test_a_foreign_page_opens_no_websocket(door: Any, kernel: str, origin: str | None) -> None:
    shown = None if origin is None else origin.format(port=door.served.port)
    for headers in ({"Cookie": "labdock_session=alice-token"}, {"Authorization": "Bearer alice-token"}):
        with pytest.raises(InvalidStatus) as refused:
            channel(door, kernel, origin=shown, additional_headers=headers)
        assert refused.value.response.status_code == 403


def test_our_own_pages_and_tokens_pass(door: Any, lab: Any) -> None:
    own = f"http://127.0.0.1:{door.served.port}"
    cookie = {"Authorization": "", "Cookie": "labdock_session=alice-token"}
    made = []
    for headers in (
        {**cookie, "Origin": own},
        {**cookie, "Referer": f"{own}{BASE}lab/tree/x.ipynb?reset"},
        {"Host": "lab.example:8443", "Origin": "http://lab.example:8443"},
        {},
    ):
        status, _, body = door.ask("POST", BASE + "api/kernels", b"{}", headers, tcp=True)
        assert status == 201, body
        made.append(json.loads(body)["id"])
    door.host.ours = frozenset({"https://public.example"})
    status, _, body = door.ask("POST", BASE + "api/kernels", b"{}", {**cookie, "Origin": "https://public.example"})
    assert status == 201
    for identifier in [*made, json.loads(body)["id"]]:
        ask(door, "DELETE", f"api/kernels/{identifier}")


def test_a_browsers_request_without_origin_and_referer_is_refused(door: Any, lab: Any) -> None:
    cookie = {"Authorization": "", "Cookie": "labdock_session=alice-token"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert door.ask(method, BASE + "api/kernels", b"{}", cookie)[0] == 403
        foreign = {**cookie, "Referer": "http://evil.example/"}
        assert door.ask(method, BASE + "api/kernels", b"{}", foreign)[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_may_link_but_not_embed(door: Any, lab: Any, headers: dict[str, str], status: int) -> None:
    cookie = {"Authorization": "", "Cookie": "labdock_session=alice-token"}
    assert door.ask("GET", BASE + "lab", None, {**cookie, **headers})[0] == status
