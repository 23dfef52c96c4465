"""A socket in an environment's folder is connected to; a link to somebody else's is not."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from labdock.errors import TransportError
from labdock_controller.door.upstream import new_session
from labdock_controller.probe import get
from labdock_controller.sockets import pinned

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def listener(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_a_socket_is_reached_even_when_its_name_is_taken_over_meanwhile(folder: Path) -> None:
    own, other = folder / "api.sock", folder / "engine.sock"
    with listener(own) as server, listener(other), socket.socket(socket.AF_UNIX) as client, pinned(str(own)) as path:
        own.unlink()
        own.symlink_to(other)
        client.connect(path)
        server.settimeout(5)
        server.accept()[0].close()


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_what_is_no_socket_is_refused(folder: Path, kind: str) -> None:
    path, other = folder / "api.sock", folder / "engine.sock"
    with listener(other):
        if kind == "link":
            path.symlink_to(other)
        elif kind == "file":
            path.write_text("")
        else:
            path.mkdir()
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(ConnectionRefusedError, match="not a socket"), pinned(str(path)):
            pass
        assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_the_door_reaches_a_socket_and_follows_no_link(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    own, link = folder / "api.sock", folder / "jupyter.sock"
    link.symlink_to(own)
    async with await asyncio.start_unix_server(serve, own):
        async with new_session(f"unix:{own}") as session, session.get("http://localhost/") as answer:
            assert await answer.text() == "ok"
        async with new_session(f"unix:{link}") as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://localhost/")
        with pytest.raises(TransportError, match="not a socket"):
            await asyncio.to_thread(get, f"unix:{link}", "/health")
        status, body = await asyncio.to_thread(get, f"unix:{own}", "/health")
        assert (status, body) == (200, b"ok")
