"""`labdock doctor` on machines where something is wrong: each fault is real, found, and has a remedy."""

import datetime as dt
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labdock_controller import certificate
from labdock_controller.doctor import CHECKS, examine, files, network, programs
from labdock_controller.finding import Finding, Health
from labdock_controller.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Settings(home=home, run=Path("/dev/shm"), port=0)


def only(found: Any) -> Finding:
    (one,) = found
    return one


def test_all_is_well_and_every_remedy_belongs_to_a_fault(settings: Settings) -> None:
    found = examine(settings, {})
    assert [one for one in found if one.state is Health.ERROR] == []
    assert len({one.check for one in found}) == len(found) >= len(CHECKS)
    assert all(bool(one.remedy) == (one.state in (Health.WARNING, Health.ERROR)) for one in found)


def test_a_check_that_fails_hides_no_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "run_folder", property(lambda self: self.no_such))
    found = {one.check: one for one in examine(settings, {})}
    assert found["run_folder"].state is Health.SKIPPED
    assert found["home"].state is Health.OK


def test_a_home_that_others_may_enter(settings: Settings) -> None:
    settings.home.chmod(0o755)
    found = only(files.home(settings))
    assert (found.state, found.remedy) == (Health.WARNING, f"chmod 700 {settings.home}")
    subprocess.run(found.remedy.split(), check=True)  # the remedy is what helps
    assert only(files.home(settings)).state is Health.OK


def test_a_token_that_others_may_read(settings: Settings) -> None:
    (settings.home / "owner.token").write_text("secret")
    (settings.home / "owner.token").chmod(0o644)
    found = only(files.private_files(settings))
    assert found.state is Health.ERROR
    assert "secret" not in found.found
    subprocess.run(found.remedy.split(), check=True)
    assert only(files.private_files(settings)).state is Health.OK


def test_a_run_folder_that_is_too_long_for_sockets(settings: Settings, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60) / ("y" * 60)
    found = only(files.run_folder(Settings(home=settings.home, run=long)))
    assert (found.state, "LABDOCK_RUN" in found.remedy) == (Health.ERROR, True)
    # As the kernel says, to the byte.
    just = Path("/tmp") / ("z" * (107 - len("/tmp//0123456789ab/jupyter.sock")))
    assert only(files.run_folder(Settings(home=settings.home, run=just))).state is not Health.ERROR
    assert only(files.run_folder(Settings(home=settings.home, run=Path(f"{just}z")))).state is Health.ERROR


def test_a_store_that_is_broken(settings: Settings) -> None:
    path = settings.home / "labdock.sqlite3"
    import sqlite3

    database = sqlite3.connect(path)
    database.executescript("create table t(a); create index i on t(a);")
    database.executemany("insert into t values (?)", [(f"{n:0100}",) for n in range(2000)])
    database.commit()
    database.close()
    assert only(files.store(settings)).found.endswith("ok")
    content = bytearray(path.read_bytes())
    content[40_000:60_000] = os.urandom(20_000)
    path.write_bytes(content)
    assert only(files.store(settings)).state is Health.ERROR
    path.write_bytes(b"no database at all" * 100)
    assert only(files.store(settings)).state is Health.ERROR


def test_a_taken_port(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        found = only(network.port(Settings(home=settings.home, port=number)))
        assert (found.state, str(number) in found.found) == (Health.ERROR, True)
    assert only(network.port(Settings(home=settings.home, port=number))).state is Health.OK


def test_the_port_of_the_controller_itself_is_no_fault(shared_controller: Any) -> None:
    report = shared_controller("GET", "/api/doctor").json()
    found = {one["check"]: one for one in report["findings"]}
    assert found["port"]["state"] == "ok"
    assert shared_controller.url in found["port"]["found"]
    assert shared_controller.token not in json.dumps(report)
    assert report["ok"] == all(one["state"] != "error" for one in report["findings"])
    assert found["quick"]["state"] == "ok"  # each runtime is heard


def test_certificates(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, key = certificate.ensure(tmp_path, [])
    given = {"home": settings.home, "tls_certificate": path, "tls_key": key}
    assert only(network.certificate(Settings(**given))).state is Health.OK
    other = tmp_path / "other"
    other.mkdir()
    wrong = {**given, "tls_key": certificate.ensure(other, [])[1]}
    assert only(network.certificate(Settings(**wrong))).state is Health.ERROR
    for days, state in ((10, Health.WARNING), (-1 / 1440, Health.ERROR)):  # a minute ago
        monkeypatch.setattr(certificate, "VALID_DAYS", days)
        monkeypatch.setattr(certificate, "RENEW_DAYS", 400)  # made anew each time
        certificate.ensure(tmp_path, [])
        assert only(network.certificate(Settings(**given))).state is state
    assert only(network.certificate(Settings(home=settings.home, host="0.0.0.0"))).state is Health.WARNING


def test_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for name in network.BUNDLES:
        monkeypatch.delenv(name, raising=False)
    bundle = tmp_path / "ca.pem"
    monkeypatch.setenv("LABDOCK_CA_BUNDLE", str(bundle))
    found = only(network.authorities(settings))
    assert (found.state, "LABDOCK_CA_BUNDLE" in found.remedy) == (Health.ERROR, True)
    bundle.write_text("nothing to see")
    assert only(network.authorities(settings)).state is Health.ERROR
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site",
         "-keyout", tmp_path / "k.pem", "-out", bundle], check=True, capture_output=True,
    )  # fmt: skip
    found = only(network.authorities(settings))
    assert (found.state, "1 authorities" in found.found) == (Health.OK, True)


@contextmanager
def registry(status: int) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v2/"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_registries(settings: Settings) -> None:
    def define(host: str) -> None:
        folder = settings.home / "images" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "image.toml").write_text(f'reference = "{host}/mine:1"\n')

    assert only(network.registries(settings)).state is Health.SKIPPED
    for status, state in ((200, Health.OK), (401, Health.OK), (404, Health.WARNING)):
        with registry(status) as host:
            define(host)
            assert only(network.registries(settings)).state is state
    assert "does not answer" in only(network.registries(settings)).found  # it is gone now


def test_a_clock_that_went_back(settings: Settings) -> None:
    assert only(programs.clock(settings)).state is Health.OK
    later = time.time() + 3600
    (settings.home / "labdock.toml").touch()
    os.utime(settings.home / "labdock.toml", (later, later))
    assert only(programs.clock(settings)).state is Health.WARNING


def test_missing_browser_assets(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(programs.browser_assets(settings)).state is Health.OK
    monkeypatch.setattr(programs, "ASSETS", tmp_path)
    found = only(programs.browser_assets(settings))
    assert (found.state, "htmx" in found.found) == (Health.ERROR, True)


@pytest.fixture
def command(settings: Settings) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        given = {"LABDOCK_HOME": str(settings.home), "LABDOCK_RUN": "/dev/shm", "LABDOCK_PORT": "0", **variables}
        return subprocess.run(
            [sys.executable, "-m", "labdock.cli", "doctor", *arguments],
            env={**os.environ, **given}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_the_exit_code_says_whether_something_is_wrong(command: Any, settings: Settings) -> None:
    well = command("--json")
    assert (well.returncode, json.loads(well.stdout)["ok"]) == (0, True)
    engine = {"LABDOCK_DOCKER_HOST": "unix:///nowhere/docker.sock"}
    ill = command("--runtime", "docker", "--json", **engine)
    report = json.loads(ill.stdout)
    assert (ill.returncode, report["ok"]) == (1, False)
    (found,) = [one for one in report["findings"] if one["check"] == "docker-engine"]
    assert found["state"] == "error"
    assert "LABDOCK_DOCKER_HOST" in found["remedy"]
    text = command("--runtime", "docker", **engine)
    assert text.returncode == 1
    assert "✗ Docker Engine" in text.stdout
    assert text.stdout.rstrip().endswith("Wrong: Docker Engine.")


def test_a_wrong_setting_is_an_error_not_a_traceback(command: Any) -> None:
    ended = command(LABDOCK_RECONCILE_INTERVAL="never")
    assert ended.returncode == 7
    assert "reconcile_interval" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_certificate_is_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, key = certificate.ensure(tmp_path, ["lab.example.org", "10.1.2.3"])
    first = path.read_bytes()
    assert certificate.names_of(path) >= {"lab.example.org", "10.1.2.3", "localhost", "127.0.0.1", "::1"}
    assert (path.stat().st_mode | key.stat().st_mode) & 0o077 == 0
    certificate.ensure(tmp_path, ["lab.example.org"])
    assert path.read_bytes() == first  # kept while it serves
    certificate.ensure(tmp_path, ["other.example.org"])
    assert path.read_bytes() != first
    second = path.read_bytes()
    monkeypatch.setattr(certificate, "RENEW_DAYS", certificate.VALID_DAYS + 1)
    certificate.ensure(tmp_path, [])
    assert path.read_bytes() != second
    assert certificate.days_left(path) == pytest.approx(certificate.VALID_DAYS, abs=0.1)
    said = subprocess.run(
        ["openssl", "x509", "-in", path, "-noout", "-enddate", "-ext", "subjectAltName,extendedKeyUsage"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(dt.datetime.now(dt.UTC).year + 1) in said
    assert "TLS Web Server Authentication" in said
