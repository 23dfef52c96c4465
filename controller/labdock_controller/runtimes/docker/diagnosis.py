"""What `labdock doctor` says of an engine: does it answer, how well is it set up, is there room, are images there."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from labdock.errors import LabdockError
from labdock_controller.finding import Finding, Health
from labdock_controller.images import Image
from labdock_controller.runtimes.docker import pull
from labdock_controller.runtimes.docker.engine import Engine, Facts
from labdock_controller.runtimes.docker.errors import translated
from labdock_controller.runtimes.docker.look import epoch

SAFE_RUNC = (1, 2, 8)  # CVE-2025-31133
SKEW_SECONDS = 30.0
LITTLE_MB, TOO_LITTLE_MB = 10_240, 1024
MIB = 2**20


def examine(engine: Engine, known: dict[str, Image]) -> list[Finding]:
    """Every finding; one where the engine does not answer."""
    title = "Docker Engine"
    try:
        facts = engine.check()
    except LabdockError as error:
        return [Finding("docker-engine", title, Health.ERROR, f"{engine.address}: {error.message}", error.remedy)]
    said = f"{facts.version} at {engine.address}, {facts.cpus:g} CPUs, {facts.memory // MIB:,} MiB"
    found = [Finding("docker-engine", title, Health.OK, said)]
    found += [*_settings(engine, facts), *_space(engine, facts), *_clock(engine), *_images(engine, known)]
    return found


def _settings(engine: Engine, facts: Facts) -> Iterator[Finding]:
    runc = facts.components.get("runc", "")
    old = bool(runc) and _numbers(runc) < SAFE_RUNC
    wanted = ".".join(map(str, SAFE_RUNC))
    remedy = f"Install runc {wanted} or newer (CVE-2025-31133)." if old else ""
    yield Finding("docker-runc", "runc", Health.WARNING if old else Health.OK, runc or "of unknown version", remedy)
    kept = facts.live_restore
    said = "on: environments outlive the engine" if kept else "off: a restart of the engine ends all environments"
    remedy = "" if kept else 'Put "live-restore": true into daemon.json.'
    yield Finding("docker-live-restore", "Live restore", Health.OK if kept else Health.WARNING, said, remedy)
    filtered = any(option.startswith("name=seccomp") and "unconfined" not in option for option in facts.security)
    remedy = "" if filtered else "Run an engine with its default seccomp profile."
    said = ", ".join(option.removeprefix("name=") for option in facts.security) or "none"
    state = Health.OK if filtered else Health.WARNING
    yield Finding("docker-security", "Security options", state, said, remedy)
    shared = "Unix sockets in a shared folder" if engine.shares_folders else "published ports and a token"
    yield Finding("docker-sockets", "Reaching environments", Health.OK, f"by {shared}")


def _space(engine: Engine, facts: Facts) -> Iterator[Finding]:
    root, title = Path(facts.root), "Space for images and notebooks"
    if not engine.is_local or not facts.root or not root.exists():
        yield Finding("docker-space", title, Health.SKIPPED, "the engine's disk cannot be seen from here")
        return
    free = shutil.disk_usage(root).free // MIB
    state = Health.ERROR if free < TOO_LITTLE_MB else Health.WARNING if free < LITTLE_MB else Health.OK
    remedy = "" if state is Health.OK else "`docker system df`, then `docker image prune`."
    yield Finding("docker-space", title, state, f"{free:,} MiB free in {root}", remedy)


def _clock(engine: Engine) -> Iterator[Finding]:
    before = time.time()
    with translated():
        there = epoch(engine.api.info().get("SystemTime"))
    if there is None:
        return
    ahead = there - before
    apart = max(0.0, abs(ahead) - (time.time() - before))
    state = Health.WARNING if apart > SKEW_SECONDS else Health.OK
    remedy = "Set both machines' clocks (timedatectl set-ntp true)." if state is Health.WARNING else ""
    yield Finding("docker-clock", "The engine's clock", state, f"{apart:.0f} s from ours", remedy)


def _images(engine: Engine, known: dict[str, Image]) -> Iterator[Finding]:
    there: list[str] = []
    missing: list[str] = []
    for name, image in known.items():
        (there if pull.image_id(engine, image) else missing).append(name)
    state = Health.OK if there else Health.WARNING
    said = f"on the engine: {', '.join(there) or 'none'}" + (f"; not there: {', '.join(missing)}" if missing else "")
    remedy = "" if there else "Build one: labdock images build golden-cpu."
    yield Finding("docker-images", "Images", state, said, remedy)


def _numbers(version: str) -> tuple[int, ...]:
    """`1.1.5+ds1` as (1, 1, 5)."""
    found = re.match(r"[\d.]*\d", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
