"""Pulling with progress by layer, from a real registry on the loopback."""

import io
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from labdock.errors import ImageMissing
from labdock_controller.runtimes.docker import DockerRuntime
from labdock_controller.runtimes.docker.pull import _split, layer_event
from labdock_controller.settings import Settings


def test_lines_of_the_stream() -> None:
    layers: dict[str, bool] = {}
    lines = [
        {"status": "Pulling from labdock/x", "id": "1"},
        {"status": "Pulling fs layer", "id": "aa", "progressDetail": {}},
        {"status": "Already exists", "id": "bb", "progressDetail": {}},
        {"status": "Downloading", "id": "aa", "progressDetail": {"current": 5, "total": 10}},
        {"status": "Pull complete", "id": "aa", "progressDetail": {}},
        {"status": "Digest: sha256:00"},
    ]
    found = [event for line in lines if (event := layer_event(line, layers))]
    assert [(e["layer"], e["status"], e["current"], e["total"], e["layers"], e["layers_done"]) for e in found] == [
        ("aa", "Pulling fs layer", None, None, 1, 0),
        ("bb", "Already exists", None, None, 2, 1),
        ("aa", "Downloading", 5, 10, 2, 1),
        ("aa", "Pull complete", None, None, 2, 2),
    ]


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("labdock/golden-cpu", ("labdock/golden-cpu", "latest")),
        ("labdock/golden-cpu:1.2", ("labdock/golden-cpu", "1.2")),
        ("localhost:5000/golden-cpu", ("localhost:5000/golden-cpu", "latest")),
        ("localhost:5000/golden-cpu:1", ("localhost:5000/golden-cpu", "1")),
        ("lab/x@sha256:abc", ("lab/x", "sha256:abc")),
    ],
)
def test_references(reference: str, parts: tuple[str, str]) -> None:
    assert _split(reference) == parts


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    if not shutil.which("docker-registry"):
        if "docker" in os.environ.get("LABDOCK_REQUIRE", ""):
            pytest.fail("docker-registry is not here: bash tools/docker.sh installs it")
        pytest.skip("docker-registry is not here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while True:
        try:
            if requests.get(f"http://{address}/v2/", timeout=5).ok:
                break
        except requests.ConnectionError:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
    yield address
    process.kill()
    process.wait()
    log.close()


def layer(megabytes: int) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size = megabytes << 20
        tar.addfile(entry, io.BytesIO(secrets.token_bytes(entry.size)))  # random: it does not compress
    return content.getvalue()


@pytest.mark.docker
@pytest.mark.slow
def test_a_pull_tells_of_each_layer(
    registry: str, engine: Any, runtimes: Callable[..., DockerRuntime], places: Callable[[], Settings]
) -> None:
    settings = places()
    reference = f"{registry}/lab/small:1"
    folder = settings.home / "images" / "small"
    folder.mkdir(parents=True)
    (folder / "image.toml").write_text(f'name = "small"\nreference = "{reference}"\n')
    engine.api.import_image_from_data(layer(20), repository=f"{registry}/lab/small", tag="1")
    digest = engine.images.get(reference).id
    engine.images.push(f"{registry}/lab/small", tag="1")
    engine.images.remove(reference)

    runtime = runtimes(settings)
    heard: list[dict[str, Any]] = []
    try:
        runtime.prepare("small", heard.append)
        assert engine.images.get(reference).id == digest
        pulling = [event for event in heard if event["phase"] == "pulling"]
        assert {event["image"] for event in pulling} == {"small"}
        assert len({event["layer"] for event in pulling}) == 1
        downloaded = [event for event in pulling if event["status"] == "Downloading"]
        assert downloaded
        assert all(0 <= event["current"] <= event["total"] for event in downloaded)
        assert pulling[-1]["layers_done"] == pulling[-1]["layers"] == 1
        assert heard[-1]["phase"] == "ready"
        runtime.prepare("small", heard.append)
        assert heard[-1] == {"phase": "ready", "image": "small"}
    finally:
        engine.images.remove(reference, force=True)

    (folder / "image.toml").write_text(f'name = "small"\nreference = "{registry}/lab/other:1"\n')
    with pytest.raises(ImageMissing, match="lab/other"):
        runtime.prepare("small", heard.append)
