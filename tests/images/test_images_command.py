"""`labdock images` on the real engine, with a small image that carries Labdock's label."""

import contextlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from labdock.cli.app import run

pytestmark = [pytest.mark.docker, pytest.mark.slow]
NAME = "labdock-test-tiny"
TAG = f"labdock/{NAME}:latest"


@pytest.fixture
def engine() -> Iterator[Any]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def tiny(engine: Any) -> Iterator[str]:
    """An image of one file; its content is read back below."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 3_000_000
        tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    engine.api.import_image_from_data(
        layer.getvalue(), repository=f"labdock/{NAME}", tag="latest", changes=[f"LABEL dev.labdock.image={NAME}"]
    )
    yield NAME
    with contextlib.suppress(docker.errors.ImageNotFound):
        engine.images.remove(TAG, force=True)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_an_image_travels_in_a_file(
    tiny: str, engine: Any, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"image{suffix}"
    assert run(["images", "save", tiny, "--file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"saved": [tiny]}
    with tarfile.open(file) as tar:  # read by somebody else than docker
        assert "manifest.json" in tar.getnames()
    assert (file.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    digest = engine.images.get(TAG).id
    engine.images.remove(TAG)
    assert run(["images", "load", "--file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"loaded": [TAG]}
    assert engine.images.get(TAG).id == digest


def test_what_is_wrong_is_said(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["images", "save", "nope", "--file", str(tmp_path / "x.tar")]) == 7
    assert tiny in capsys.readouterr().err
    assert run(["images", "save", tiny]) == 2
    assert "--file" in capsys.readouterr().err
    assert run(["images", "save", tiny, "--file", str(tmp_path / "none" / "x.tar")]) == 8
    assert run(["images", "load", "--file", str(tmp_path / "none.tar")]) == 8
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no archive")
    assert run(["images", "load", "--file", str(broken)]) == 7
    assert list(tmp_path.iterdir()) == [broken]
    assert run(["images", "build", "no-such-image"]) == 7
    error = capsys.readouterr().err
    assert "minimal-cpu" in error
    assert "golden-cpu" in error


def test_without_a_checkout_nothing_can_be_built(tmp_path: Path) -> None:
    """As an installed wheel: the module lies elsewhere, and so does the shell."""
    script = (
        "import sys, pathlib, labdock.cli.images as i\n"
        f"i.__file__ = {str(tmp_path / 'a/b/c/images.py')!r}\n"
        "from labdock.cli.app import run\n"
        "sys.exit(run(['images', 'build']))"
    )
    python = Path(__file__).parents[2] / ".venv/bin/python"
    done = subprocess.run([python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "labdock images load" in done.stderr
