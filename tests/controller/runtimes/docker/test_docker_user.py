"""A controller that is not root: its environments run under its own uid, and all they share works."""

import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labdock_controller import probe
from labdock_controller.door.spool import Spool
from labdock_controller.runtimes.base import EnvironmentSpec, Limits
from labdock_controller.runtimes.docker import DockerRuntime, profile
from labdock_controller.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.slow]
UID = 12_345
CODE = "import os; print(os.getuid(), os.getgid(), os.access('/notebooks', os.W_OK), os.environ['HOME'])"


def life(home: Path, run: Path, image: str) -> str:
    """Start an environment as this process's user, leave it a frame, stop it; what went wrong, or nothing."""
    runtime = DockerRuntime(Settings(home=home, run=run))
    identity = "1d0000000001"
    spec = EnvironmentSpec(
        id=identity, name="e", owner="me", mode="dev", image=image, notebooks=home / "n", logs=home / "l",
        run=run / identity, token="canary", base_url="/environments/e/jupyter/", limits=Limits(cpus=1, memory_mb=1024),
    )  # fmt: skip
    runtime.start(spec)
    try:
        deadline = time.monotonic() + 90
        while missing := probe.ready(runtime.endpoint(identity, spec.token), spec.base_url):
            if time.monotonic() > deadline:
                return f"{missing}: {runtime.logs(identity)}"
            time.sleep(0.1)
        exec_id = runtime.engine.api.exec_create(profile.container_name(identity), ["python3", "-c", CODE])
        inside = runtime.engine.api.exec_start(exec_id).decode().strip()
        if inside != "12345 1001 True /home/labdock":
            return inside
        with Spool(spec.run) as spool:
            frame = spool.new()
            frame.write(b"x")
            spool.publish(frame)
            name = frame.name
            frame.close()
        read = ["sh", "-c", f"cat /run/labdock/spool/{name} && rm /run/labdock/spool/{name}"]
        exec_id = runtime.engine.api.exec_create(profile.container_name(identity), read)
        if (seen := runtime.engine.api.exec_start(exec_id)) != b"x":
            return seen.decode()
    finally:
        runtime.stop(identity, 1)
        runtime.remove_files(spec)
        runtime.close()
    return f"left: {list(run.iterdir())}" if (run / identity).exists() else ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user; any other is one already")
def test_a_controller_that_is_not_root(image: str, engine: Any, runtimes: Callable[..., Any]) -> None:
    home, run = (Path(tempfile.mkdtemp(prefix="labdock-u-", dir=place)) for place in ("/tmp", "/dev/shm"))
    report = home / "report"
    for folder in (home, run):
        os.chown(folder, UID, UID)
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([Path("/var/run/docker.sock").stat().st_gid])
            os.setgid(UID)
            os.setuid(UID)
            said = life(home, run, image)
        except BaseException:  # noqa: BLE001 - this process ends here, and its parent reads why
            said = traceback.format_exc()
        finally:
            report.write_text(said)
            os._exit(0)
    os.waitpid(pid, 0)
    try:
        assert report.read_text() == ""
    finally:
        for folder in (home, run):
            shutil.rmtree(folder)
        for container in engine.containers.list(
            all=True, filters={"label": f"{profile.ENVIRONMENT}=1d0000000001"}, ignore_removed=True
        ):
            container.remove(force=True, v=True)
