"""Connections: kept open, threads apart, cut off, refused; buffers sent from where they lie."""

import contextlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labdock.errors import LabdockError, NotFound, TransportError, Unauthenticated
from labdock.transport import Connection, Frames, decode, encode
from labdock.wire import ARROW_STREAM, OPTIONS_HEADER, OPTIONS_HEADER_LIMIT, SPOOL_HEADER, FrameOptions

TABLE = pa.table({"x": np.arange(200_000.0), "s": [str(i) for i in range(200_000)]})


class Server(http.server.ThreadingHTTPServer):
    """A real HTTP server that says what it got; over TCP or a Unix socket."""

    daemon_threads = True

    def __init__(self, path: str = "") -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answer: Callable[[Handler, bytes], None] = lambda handler, body: handler.reply(200, body, ARROW_STREAM)
        if path:
            self.address_family = socket.AF_UNIX
            super().__init__(path, Handler, bind_and_activate=False)  # type: ignore[arg-type]
            self.socket.bind(path)
            self.server_name, self.server_port = path, 0
            self.server_activate()
            self.url = f"unix:{path}"
        else:
            super().__init__(("127.0.0.1", 0), Handler)
            self.url = f"http://127.0.0.1:{self.server_port}"

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def address_string(self) -> str:
        return "test"

    def log_message(self, *arguments: object) -> None:
        """Quiet."""

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        self.server.answer(self, body)

    do_GET = do_POST = do_DELETE = do

    def reply(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(path: str = "") -> Iterator[Server]:
    server = Server(path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(params=["tcp", "unix"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        serving(f"{folder}/a.sock" if request.param == "unix" else "") as made,
    ):
        yield made


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    made = Connection(server.url, "the-token")
    yield made
    made.close()


def test_a_frame_goes_out_and_comes_back_over_one_connection(server: Server, connection: Connection) -> None:
    options = FrameOptions("means", "m", ["x", "s"], params={"é": "ü"})
    for _ in range(3):
        table, info = Frames(connection).post("/v1/apply", TABLE, options, key="k-1")
        assert table.equals(TABLE)
        assert info == {}
    assert server.connections == 1
    method, path, headers, body = server.requests[0]
    assert (method, path) == ("POST", "/v1/apply")
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["Idempotency-Key"] == "k-1"
    assert FrameOptions.from_json(headers[OPTIONS_HEADER]) == options
    assert pa.ipc.open_stream(body).read_all().equals(TABLE)


def test_info_is_taken_out_of_the_schema(server: Server, connection: Connection) -> None:
    table = TABLE.replace_schema_metadata({"labdock.info": '{"job": "j"}', "mine": "stays"})
    answer, info = Frames(connection).post("/x", table)
    assert info == {"job": "j"}
    assert answer.schema.metadata == {b"mine": b"stays"}


def test_long_options_travel_inside_and_the_header_keeps_what_is_checked(
    server: Server, connection: Connection
) -> None:
    names = [f"column_{i}" for i in range(5000)]
    options = FrameOptions("means", "m", names, sharing="app", params={"a": 1})
    Frames(connection).post("/x", pa.table({"x": [1]}), options)
    _, _, headers, body = server.requests[0]
    assert len(headers[OPTIONS_HEADER]) < OPTIONS_HEADER_LIMIT
    assert json.loads(headers[OPTIONS_HEADER]) == {"algo": "means", "model": "m", "sharing": "app", "inside": True}
    inside = pa.ipc.open_stream(body).schema.metadata[b"labdock.options"]
    assert FrameOptions.from_json(inside) == options


def test_large_buffers_are_not_copied_on_the_way_out() -> None:
    values = np.arange(100_000.0)
    pieces = encode(pa.table({"x": pa.array(values)}))
    assert any(isinstance(p, pa.Buffer) and p.address == values.ctypes.data for p in pieces)


def test_the_answer_lies_in_the_memory_it_was_read_into(server: Server, connection: Connection) -> None:
    before = pa.total_allocated_bytes()
    table, _ = Frames(connection).post("/x", TABLE)
    size = len(server.requests[0][3])
    assert pa.total_allocated_bytes() - before < size * 1.01 + 1024
    assert table.nbytes > size * 0.9


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=9000), max_size=8), st.sampled_from([None, "lz4", "zstd"]))
def test_any_pieces_arrive_whole(values: list[bytes], compression: str | None) -> None:
    table = pa.table({"b": pa.array(values, pa.binary())})
    assert decode(pa.py_buffer(b"".join(map(bytes, encode(table, compression)))))[0].equals(table)


def test_compression_shrinks_what_is_sent(server: Server, connection: Connection) -> None:
    Frames(connection).post("/x", TABLE)
    Frames(connection, compression="zstd").post("/x", TABLE)
    plain, packed = (len(r[3]) for r in server.requests)
    assert packed < plain / 2


def test_moved_bytes_are_reported(server: Server, connection: Connection) -> None:
    seen: list[tuple[str, int, int]] = []
    Frames(connection, moved=lambda *what: seen.append(what)).post("/x", TABLE)
    for direction in ("sent", "received"):
        steps = [(done, total) for d, done, total in seen if d == direction]
        assert steps[-1][0] == steps[-1][1] == len(server.requests[0][3])
        assert steps == sorted(steps)


def test_a_connection_that_the_server_closed_is_replaced(server: Server, connection: Connection) -> None:
    def once(handler: Handler, body: bytes) -> None:
        handler.reply(200, b"{}", "application/json")
        handler.close_connection = True  # without saying so

    server.answer = once
    for _ in range(3):
        assert connection.call("GET", "/") == {}
    assert server.connections == 3


def test_an_answer_that_is_cut_off_is_a_transport_error(server: Server, connection: Connection) -> None:
    def cut(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", ARROW_STREAM)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    server.answer = cut
    with pytest.raises(TransportError, match="bytes are missing") as caught:
        Frames(connection).post("/x", TABLE)
    assert caught.value.remedy


def test_no_answer_at_all_is_a_transport_error_that_was_sent(server: Server, connection: Connection) -> None:
    def gone(handler: Handler, body: bytes) -> None:
        handler.close_connection = True

    server.answer = gone
    with pytest.raises(TransportError) as caught:
        connection.call("GET", "/")
    assert caught.value.details["sent"] is True


def test_an_early_refusal_is_read_although_the_body_was_not(server: Server, connection: Connection) -> None:
    def refuse(handler: Handler) -> None:
        problem = Unauthenticated("Wrong token.", remedy="Get one.").to_problem()
        handler.reply(401, json.dumps(problem).encode(), "application/problem+json", Connection="close")
        handler.close_connection = True

    big = pa.table({"x": np.zeros(20_000_000)})
    original = Handler.do_POST
    Handler.do_POST = refuse  # type: ignore[assignment,method-assign]
    try:
        with pytest.raises((Unauthenticated, TransportError)):  # the refusal, unless the system dropped it unread
            Frames(connection).post("/x", big)
    finally:
        Handler.do_POST = original  # type: ignore[method-assign]


def test_a_problem_comes_back_as_its_error(server: Server, connection: Connection) -> None:
    problem = NotFound("No module.", remedy="Did you mean x?", kind="module", nearest="x").to_problem()
    server.answer = lambda handler, body: handler.reply(404, json.dumps(problem).encode(), "application/problem+json")
    with pytest.raises(NotFound) as caught:
        connection.call("GET", "/")
    assert caught.value.details["nearest"] == "x"
    with pytest.raises(NotFound):
        connection.call("GET", "/")
    assert server.connections == 1


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthenticated), (502, TransportError), (404, TransportError)])
def test_a_strangers_page_is_no_crash(
    server: Server, connection: Connection, status: int, kind: type[LabdockError]
) -> None:
    server.answer = lambda handler, body: handler.reply(status, b"<html>no</html>", "text/html")
    with pytest.raises(kind) as caught:
        connection.call("GET", "/")
    assert caught.value.remedy


def test_a_page_in_place_of_a_frame_is_a_transport_error(server: Server, connection: Connection) -> None:
    server.answer = lambda handler, body: handler.reply(200, b"<html>hello</html>", "text/html")
    with pytest.raises(TransportError, match="where an Arrow stream was expected"):
        Frames(connection).post("/x", TABLE)
    server.answer = lambda handler, body: handler.reply(200, b"no stream", ARROW_STREAM)
    with pytest.raises(TransportError, match="no Arrow stream"):
        Frames(connection).post("/x", TABLE)


def test_lines_can_be_ended_from_another_thread(server: Server, connection: Connection) -> None:
    release, served = threading.Event(), threading.Event()

    def endless(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(b"data: first\n\n")
        handler.wfile.flush()
        release.wait(20)
        served.set()
        handler.close_connection = True

    server.answer = endless
    response = connection.request("GET", "/events")
    lines = response.lines()
    assert next(lines) == "data: first"
    timer = threading.Timer(0.1, response.abort)
    timer.start()
    with contextlib.suppress(TransportError):
        list(lines)
    timer.join()
    assert not served.is_set()  # the server has not ended it
    release.set()


def test_threads_get_connections_of_their_own(server: Server, connection: Connection) -> None:
    together = threading.Barrier(4)

    def meet(handler: Handler, body: bytes) -> None:
        together.wait(20)
        handler.reply(200, b'"ok"', "application/json")

    server.answer = meet
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(connection.call("GET", "/"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["ok"] * 4
    assert server.connections == 4


def test_a_forked_child_does_not_use_its_parents_connections(server: Server, connection: Connection) -> None:
    server.answer = lambda handler, body: handler.reply(200, b'"ok"', "application/json")
    assert connection.call("GET", "/") == "ok"
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os._exit(0 if connection.call("GET", "/") == "ok" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert server.connections == 2
    assert connection.call("GET", "/") == "ok"
    assert server.connections == 2


@pytest.mark.parametrize("url", ["", "localhost:8420", "ftp://x", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(TransportError, match="not the address"):
        Connection(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "unix:/tmp/no-such.sock", "http://no-such-host.invalid"])
def test_nobody_there_names_the_address_and_the_remedy(url: str) -> None:
    with pytest.raises(TransportError) as caught:
        Connection(url).call("GET", "/")
    assert url in caught.value.message
    assert "labdock up -d" in caught.value.remedy
    assert caught.value.details["sent"] is False


def test_tls_is_checked_and_can_be_told_whom_to_trust(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}"
        for verify in (str(certificate), False):
            connection = Connection(url, verify=verify)
            assert Frames(connection).post("/x", TABLE)[0].equals(TABLE)
            connection.close()
        with pytest.raises(TransportError, match="certificate") as caught:
            Connection(url).call("GET", "/")
        assert "verify=" in caught.value.remedy


# --- the spool of a server on the same machine


@pytest.fixture
def spool() -> Iterator[tuple[Server, Path]]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "spool"
        path.mkdir(mode=0o700)
        with serving(f"{folder}/a.sock") as server:
            yield server, path


def test_a_large_frame_is_left_in_the_spool_and_a_small_one_is_sent(spool: tuple[Server, Path]) -> None:
    server, folder = spool
    taken: list[bytes] = []

    def take(handler: Handler, body: bytes) -> None:
        name = handler.headers.get(SPOOL_HEADER)
        if name:
            status = (folder / name).stat()
            assert (status.st_mode & 0o777, status.st_nlink) == (0o600, 1)
            body = (folder / name).read_bytes()
            (folder / name).unlink()
            taken.append(body)
        handler.reply(200, body, ARROW_STREAM)

    server.answer = take
    connection = Connection(server.url)
    assert Frames(connection).post("/x", TABLE)[0].equals(TABLE)
    assert len(taken) == 1
    assert Frames(connection).post("/x", TABLE.slice(0, 5))[0].num_rows == 5
    assert Frames(connection, spool=False).post("/x", TABLE)[0].equals(TABLE)
    assert len(taken) == 1
    connection.close()


def test_a_frame_that_nobody_took_is_removed(spool: tuple[Server, Path]) -> None:
    server, folder = spool
    server.answer = lambda handler, body: handler.reply(502, b"", "text/plain")
    with pytest.raises(TransportError):
        Frames(Connection(server.url)).post("/x", TABLE)
    assert list(folder.iterdir()) == []


def test_without_a_writable_spool_the_frame_is_sent(spool: tuple[Server, Path]) -> None:
    server, folder = spool
    folder.rmdir()
    folder.write_text("no folder")
    connection = Connection(server.url)
    assert Frames(connection).post("/x", TABLE)[0].equals(TABLE)
    connection.close()
