"""HTTPS with a given certificate: the cookie is bound to the host, links say https, a bad certificate is named."""

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import requests

import labdock
from labdock.home import ControllerAddress


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_https(make_controller: Any, certificate: tuple[Path, Path]) -> None:
    controller = make_controller(tls_certificate=certificate[0], tls_key=certificate[1])
    assert controller.url.startswith("https://127.0.0.1:")
    controller.http.verify = str(certificate[0])
    controller.http.trust_env = False  # REQUESTS_CA_BUNDLE would win
    link = controller("POST", "/api/tickets").json()["url"]
    assert link.startswith("https://")
    with requests.Session() as browser:
        browser.verify, browser.trust_env = str(certificate[0]), False
        landing = browser.get(link, allow_redirects=False, timeout=30)
        cookie = landing.headers["Set-Cookie"]
        assert cookie.startswith("__Host-labdock_session=")
        assert "; secure" in cookie.lower()
        assert "domain" not in cookie.lower()
        assert browser.get(f"{controller.url}/api/me", timeout=30).json()["via"] == "session"
        origin = {"Origin": controller.url}
        assert browser.post(f"{controller.url}/api/tickets", headers=origin, timeout=30).status_code == 201
        plain = {"Origin": controller.url.replace("https", "http")}
        assert browser.post(f"{controller.url}/api/tickets", headers=plain, timeout=30).status_code == 403


def test_a_certificate_that_cannot_be_read_is_named(make_controller: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("not a certificate")
    for path in (tmp_path / "bad.pem", tmp_path / "none.pem"):
        controller = make_controller(ready=False, tls_certificate=path, tls_key=path)
        assert controller.process.wait(120) == 1
        assert path.name in controller.text()
        assert "LABDOCK_TLS_CERTIFICATE" in controller.text()
        assert "Traceback" not in controller.text()


def test_a_certificate_of_its_own(make_controller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept over restarts; clients of this user trust it by controller.json, others do not; OpenSSL agrees."""
    controller = make_controller(tls="true", hosts='["lab.example.org"]')
    assert controller.url.startswith("https://127.0.0.1:")
    certificate = controller.home / "tls-certificate.pem"
    key = controller.home / "tls-key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    port = controller.url.rsplit(":", 1)[1]
    for name in ("lab.example.org", "localhost"):
        said = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-verify_hostname", name,
             "-CAfile", certificate, "-verify_return_error"],
            input="", capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert "Verify return code: 0" in said.stdout, said
    monkeypatch.setenv("LABDOCK_HOME", str(controller.home))
    address = ControllerAddress.read(controller.home)
    assert address is not None
    assert address.certificate == str(certificate)
    (Path(address.socket)).rename(f"{address.socket}.away")  # so that the client comes by TCP
    with labdock.connect() as lab:
        assert lab.me()["user"] == "admin"
        assert lab.connection.socket_folder is None
    with pytest.raises(labdock.TransportError, match="certificate"):
        labdock.connect(controller.url + "/", address.token)  # named by hand: nothing of ours is trusted
    first = certificate.read_bytes()
    Path(f"{address.socket}.away").rename(address.socket)
    controller.end()
    again = make_controller(controller, tls="true", hosts='["lab.example.org"]')
    assert again.url.startswith("https:")
    assert certificate.read_bytes() == first


def test_up_with_tls(tmp_path: Path) -> None:
    """The command line, whole: the fingerprint that is printed is the server's."""
    home = Path(tempfile.mkdtemp(prefix="labdock-tls-", dir="/tmp"))
    environment = {**os.environ, "LABDOCK_HOME": str(home), "LABDOCK_RUN": str(home / "run")}

    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "labdock.cli", *arguments],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    try:
        alone = command("up", "-d", "--tls-cert", str(tmp_path / "c.pem"))
        assert (alone.returncode, "--tls-key" in alone.stderr) == (2, True)
        up = command("up", "-d", "--tls", "--port", "0", "--json")
        assert up.returncode == 0, up.stderr
        shown = json.loads(up.stdout)
        port = int(shown["url"].rsplit(":", 1)[1])
        seen = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
        assert shown["fingerprint"] == hashlib.sha256(seen).digest().hex(":").upper()
        assert shown["link"].startswith("https://")
        assert command("ps").returncode == 0
    finally:
        assert command("down").returncode == 0
        shutil.rmtree(home)
