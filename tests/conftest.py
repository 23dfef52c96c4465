"""What every test may rely on, and what happens where a service that a test needs is missing.

A test marked `browser`, `docker`, `postgresql`, `kubernetes` or `data` is skipped with a reason where its service is
missing, and fails instead where `LABDOCK_REQUIRE` (comma-separated, set by .ci/run) names it: a required suite is
never skipped unseen.
"""

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import PATIENCE

REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--force-color-profile=srgb", "--font-render-hinting=none"),
)


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


SERVICES = {
    "browser": lambda: Path(CHROMIUM).exists(),
    "docker": lambda: _answers("docker", "info"),
    "postgresql": lambda: bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))),
    "kubernetes": lambda: bool(shutil.which("kubectl")) and _answers("kubectl", "get", "nodes"),
    "data": (SHARED_DATA / "README.md").exists,
}


# docker-py and testcontainers leave their connections to the engine to the garbage collector.
ENGINE_CONNECTIONS = r"ignore:unclosed <socket\.socket fd=\d+, family=[12],:ResourceWarning"


@cache
def available(service: str) -> bool:
    return SERVICES[service]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = os.environ.get("LABDOCK_REQUIRE", "").split(",")
    for service in SERVICES:
        if item.get_closest_marker(service) and not available(service):
            if service in required:
                pytest.fail(f"this test needs {service}, which LABDOCK_REQUIRE names and this machine lacks")
            pytest.skip(f"needs {service}, which this machine lacks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.filterwarnings(ENGINE_CONNECTIONS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """What is forgiven in tests of the engine is collected in them, and nothing is forgiven elsewhere."""
    yield
    if item.get_closest_marker("docker") and not (nextitem and nextitem.get_closest_marker("docker")):
        gc.collect()


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own home, nor finds a controller that the user runs."""
    monkeypatch.setenv("LABDOCK_HOME", str(tmp_path_factory.getbasetemp() / "no-home"))
    for name in ("LABDOCK_URL", "LABDOCK_TOKEN", "LABDOCK_RUN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One chromium (`playwright.sync_api.Browser`) for all tests: there can be one Playwright in a process at a time.

    A context or page of it is the test's own, and closed by it.
    """
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        it = playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS, *more_flags()])
        yield it
        it.close()


def more_flags() -> list[str]:
    return os.environ.get("LABDOCK_CHROMIUM_FLAGS", "").split()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that use it carry the marker `data`."""
    return SHARED_DATA
