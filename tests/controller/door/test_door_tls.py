"""Frames and WebSockets through the door over TLS: the short way into the spool works on decrypted bytes too."""

import contextlib
import datetime as dt
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

APPLY = "/api/environments/__dev__/apply"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, secret = tmp_path / "certificate.pem", tmp_path / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return file, secret


@pytest.fixture
def tls(door: Any, certificate: tuple[Path, Path]) -> Iterator[int]:
    """The port of a TLS listener for the same application, beside the plain ones."""
    import asyncio

    import uvicorn

    file, secret = certificate
    known = door.served.server.config
    config = uvicorn.Config(
        known.app, http=known.http, log_config=None, lifespan="off", ssl_certfile=file, ssl_keyfile=secret
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    # In the same loop as the plain listeners: the door's connections to environments belong to one loop.
    config.load()
    running = asyncio.run_coroutine_threadsafe(server._serve([listener]), door.served.loop)
    deadline = threading.Event()
    for _ in range(500):
        if server.started or deadline.wait(0.02):
            break
    assert server.started
    yield listener.getsockname()[1]
    server.should_exit = server.force_exit = True
    running.result(10)


def test_a_frame_passes_over_tls(door: Any, environment: Any, tls: int, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    frame = os.urandom(3_000_001)
    for _ in range(3):
        with contextlib.closing(http.client.HTTPSConnection("localhost", tls, context=context, timeout=20)) as client:
            for _ in range(2):  # the second on the same connection
                client.request("POST", APPLY, frame, {"Authorization": "Bearer alice-token"})
                assert client.getresponse().read() == b"an answer"
                assert environment.requests[-1]["frame"] == frame
    client = http.client.HTTPSConnection("localhost", tls, context=context, timeout=20)
    with contextlib.closing(client):
        headers = {"Authorization": "Bearer alice-token", "Labdock-Spool": "0123456789abcdef"}
        client.request("POST", APPLY, None, headers)
        assert client.getresponse().status == 400
