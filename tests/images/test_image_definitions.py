"""images/*: definitions, locks and scripts agree with one another and with pyproject.toml."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from labdock.errors import InvalidOptions
from labdock_controller.images import known_images, read_image
from labdock_controller.runtimes.base import Limits

REPOSITORY = Path(__file__).parents[2]
IMAGES = REPOSITORY / "images"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LOCKS = sorted(IMAGES.glob("*/requirements.lock"))
ENVIRONMENTS = [lock for lock in LOCKS if (lock.parent / "image.toml").exists()]


def locked(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def extra(name: str) -> list[Requirement]:
    """What an extra asks for, those of other extras that it names included."""
    found = []
    for line in PROJECT["project"]["optional-dependencies"][name]:
        requirement = Requirement(line)
        own = canonicalize_name(requirement.name) == PROJECT["project"]["name"]
        found += [deeper for other in requirement.extras for deeper in extra(other)] if own else [requirement]
    return found


def wanted(folder: Path) -> list[Requirement]:
    extras = ["container", "jupyter"] if (folder / "image.toml").exists() else ["controller", "docker", "search"]
    lines = list(PROJECT["project"]["dependencies"])
    own = (line.partition("#")[0].strip() for line in (folder / "requirements.in").read_text().splitlines())
    lines += [line for line in own if line]
    return [Requirement(line) for line in lines] + [one for name in extras for one in extra(name)]


def test_shipped_images() -> None:
    found = known_images()
    assert list(found) == ["golden-cpu", "golden-gpu", "minimal-cpu"]
    golden = found["golden-cpu"]
    assert (golden.title, golden.reference, golden.gpu) == ("Golden CPU", "labdock/golden-cpu:latest", False)
    assert golden.limits == Limits(cpus=2.0, memory_mb=8192, pids=1024, shm_mb=512)
    assert found["golden-gpu"].gpu


def test_the_wheel_carries_every_definition() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for path in IMAGES.glob("*/image.toml"):
        name = path.parent.name
        target = f"labdock_controller/image_definitions/{name}/image.toml"
        assert included.get(f"images/{name}/image.toml") == target


def test_a_site_adds_and_replaces_images(tmp_path: Path) -> None:
    for name, title in (("golden-cpu", "1. Golden Show CPU"), ("mine", "Mine")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "image.toml").write_text(f'title = "{title}"\n[limits]\nmemory_mb = 100\n')
    found = known_images([tmp_path])
    assert list(found) == ["golden-cpu", "golden-gpu", "mine", "minimal-cpu"]
    assert found["golden-cpu"].title == "1. Golden Show CPU"
    assert (found["mine"].reference, found["mine"].limits) == ("labdock/mine:latest", Limits(memory_mb=100))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('titel = "x"', "did you mean 'title'"),
        ('name = "../x"', "not a name"),
        ("[limits]\nmemory = 3", "memory"),
        ("= broken", "Invalid"),
    ],
)
def test_a_wrong_definition_names_its_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "image.toml"
    path.write_text(text)
    with pytest.raises(InvalidOptions) as caught:
        read_image(path)
    assert str(path) in caught.value.message
    assert words in caught.value.message


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_a_lock_satisfies_what_it_was_made_from(lock: Path) -> None:
    """Else: bash images/lock.sh."""
    found = locked(lock)
    for requirement in wanted(lock.parent):
        if requirement.marker and not requirement.marker.evaluate({"python_version": "3.11", "sys_platform": "linux"}):
            continue
        name = canonicalize_name(requirement.name)
        assert name in found, f"{lock} lacks {requirement}"
        assert requirement.specifier.contains(found[name]), f"{lock}: {requirement} against {found[name]}"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_a_lock_has_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip())


def test_golden_cpu_keeps_protobuf_below_7() -> None:
    assert int(locked(IMAGES / "golden-cpu/requirements.lock")["protobuf"].split(".")[0]) < 7


@pytest.mark.parametrize("script", [*sorted(IMAGES.glob("*.sh")), REPOSITORY / "tools/docker.sh"], ids=lambda p: p.name)
def test_scripts_parse(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_the_builder_names_what_there_is() -> None:
    done = subprocess.run(["bash", IMAGES / "build.sh", "golden"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "golden-cpu golden-gpu minimal-cpu" in done.stderr
    shown = subprocess.run(["bash", IMAGES / "build.sh", "--help"], capture_output=True, text=True, check=True).stdout
    assert "LABDOCK_BASE_IMAGE" in shown
    assert "#" not in shown
