"""Long answers take the short way from socket to socket: byte for byte, and with the same ends as on the usual way."""

import contextlib
import dataclasses
import http.client
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.waiting import wait_for

from labdock_controller.door.pump import WORTH_PUMPING, Pump

APPLY = "/api/environments/__dev__/apply"
HEAD = f"POST {APPLY} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice-token\r\nContent-Length: 7\r\n\r\n"
ANSWER = random.Random(1).randbytes(9_000_000)


@pytest.fixture
def pumped(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each long answer, whether it took the short way."""
    taken: list[bool] = []
    real = Pump.of

    async def watched(response: Any, outlet: Any) -> Pump | None:
        pump = await real(response, outlet)
        if response.content_length >= WORTH_PUMPING:
            taken.append(pump is not None)
        return pump

    monkeypatch.setattr(Pump, "of", watched)
    return taken


@contextlib.contextmanager
def asking(door: Any, *, tcp: bool = False) -> Iterator[socket.socket]:
    """A connection that has asked and reads nothing yet; it has little room for what comes."""
    kind, place = (socket.AF_INET, ("127.0.0.1", door.served.port)) if tcp else (socket.AF_UNIX, str(door.served.path))
    with contextlib.closing(socket.socket(kind)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.settimeout(20)
        connection.connect(place)
        connection.sendall(HEAD.encode() + b"a frame")
        yield connection


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("parts", [1, 700])
def test_it_arrives_as_it_was_sent(door: Any, environment: Any, pumped: list[bool], tcp: bool, parts: int) -> None:
    size = -(-len(ANSWER) // parts)
    environment.answer = (200, [], [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)])
    status, headers, body = door.ask("POST", APPLY, b"a frame", tcp=tcp)
    assert (status, headers["content-length"], body == ANSWER) == (200, str(len(ANSWER)), True)
    assert pumped == [True]


def test_it_arrives_whole_where_much_of_it_was_there_before(door: Any, environment: Any, pumped: list[bool]) -> None:
    # The door asks for the job and its model first; meanwhile the answer fills what it may fill.
    environment.answer = (200, [(b"labdock-job", b"j1")], [ANSWER])
    assert door.ask("POST", APPLY.replace("apply", "fit"), b"a frame")[2] == ANSWER
    assert pumped == [True]
    assert len(door.host.records) == 1


@pytest.mark.parametrize("tcp", [False, True])
def test_it_waits_for_a_client_that_reads_slowly(door: Any, environment: Any, pumped: list[bool], tcp: bool) -> None:
    environment.answer = (200, [], [ANSWER])
    with asking(door, tcp=tcp) as connection:
        wait_for(lambda: pumped)
        response = http.client.HTTPResponse(connection)
        response.begin()
        got = bytearray()
        while piece := response.read(10_007):
            got += piece
        assert got == ANSWER


def test_the_clients_connection_stays_good(door: Any, environment: Any, pumped: list[bool]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.served.port, timeout=20)
    with contextlib.closing(connection):
        for answer in (ANSWER, b"short", ANSWER[:WORTH_PUMPING], ANSWER[: WORTH_PUMPING - 1], ANSWER):
            environment.answer = (200, [], [answer])
            connection.request("POST", APPLY, b"a frame", {"Authorization": "Bearer alice-token"})
            assert connection.getresponse().read() == answer
    assert pumped[0]
    assert pumped[-1]


def test_the_environments_connection_is_used_again(door: Any, environment: Any, pumped: list[bool]) -> None:
    seen = []
    for answer in (ANSWER, b"short", ANSWER):
        environment.answer = (200, [], [answer])
        assert door.ask("POST", APPLY, b"a frame")[2] == answer
        (lease,) = door.door.upstreams._leases.values()
        wait_for(lambda lease=lease: sum(map(len, lease.session.connector._conns.values())) == 1)
        seen += [protocol for idle in lease.session.connector._conns.values() for protocol, _ in idle]
    assert len(set(seen)) == 1
    assert pumped == [True, True]


def test_more_than_was_announced_is_nobodys_answer(door: Any, environment: Any, pumped: list[bool]) -> None:
    path = environment.run / "liar.sock"
    _, known = door.host.environments["__dev__"]
    door.host.environments["__dev__"] = ("alice", dataclasses.replace(known, api=f"unix:{path}"))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\n\r\n".encode()
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmore!"

    def lies(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(head + ANSWER + more)
                connection.recv(65536)

    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=lies, args=(listener,))
        thread.start()
        for _ in range(2):
            assert door.ask("POST", APPLY, b"a frame")[2] == ANSWER
        thread.join(20)
    assert pumped == [True, True]


def test_one_that_is_cut_off_is_cut_off_for_the_client(door: Any, environment: Any, pumped: list[bool]) -> None:
    async def ends_early(scope: Any, receive: Any, send: Any) -> None:
        length = [(b"content-length", str(len(ANSWER)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": ANSWER[:5_000_000], "more_body": True})

    environment.behave = ends_early
    with pytest.raises(http.client.IncompleteRead) as caught:
        door.ask("POST", APPLY, b"a frame")
    assert ANSWER.startswith(caught.value.partial)
    assert pumped == [True]


def test_a_client_that_leaves_leaves_nothing(door: Any, environment: Any, pumped: list[bool]) -> None:
    environment.answer = (200, [], [b"warm up"])
    door.ask("POST", APPLY, b"a frame")
    before = door.descriptors()
    environment.answer = (200, [], [ANSWER])
    for number in range(1, 4):
        with asking(door) as connection:
            wait_for(lambda number=number: len(pumped) == number)
            connection.recv(100_000)
    assert pumped == [True] * 3
    wait_for(lambda: door.descriptors() <= before)


@pytest.mark.parametrize("door", ["httptools"], indirect=True)
def test_without_an_outlet_it_takes_the_usual_way(door: Any, environment: Any, pumped: list[bool]) -> None:
    environment.answer = (200, [], [ANSWER])
    assert door.ask("POST", APPLY, b"a frame")[2] == ANSWER
    assert pumped == [False]
