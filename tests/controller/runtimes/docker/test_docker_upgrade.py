"""`labdock upgrade` on real containers: one after another, an image that does not start ends it, files stay."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from labdock_controller.runtimes.docker import profile
from labdock_controller.runtimes.docker.folders import controller_id

pytestmark = [pytest.mark.docker, pytest.mark.slow]
REPOSITORY, TAG = "labdock/test-upgrade", "latest"
NAMES = ["a", "b", "c", "d"]
BROKEN = "c"
# The newer image: it starts as the old one does, but for one environment.
WRAPPER = f'if [ "$LABDOCK_ENVIRONMENT" = {BROKEN} ]; then echo no such luck >&2; exit 3; fi; exec "$0" "$@"'
SHIPPED = "/notebooks/data/conn_sample.csv"


@pytest.fixture
def upgradable(lab: Any, engine: Any) -> Iterator[Any]:
    """A controller with an image of the test's own, which is minimal-cpu under another name."""
    engine.images.get("labdock/minimal-cpu:latest").tag(REPOSITORY, TAG)
    folder = lab.home / "images" / "upgradable"
    folder.mkdir(parents=True)
    limits = "[limits]\ncpus = 0.5\nmemory_mb = 512\n"
    (folder / "image.toml").write_text(f'reference = "{REPOSITORY}:{TAG}"\n{limits}')
    yield lab
    for name in NAMES:
        lab("DELETE", f"/api/environments/{name}", params={"files": True, "wait": 60})
    engine.images.remove(f"{REPOSITORY}:{TAG}")  # the newer image goes with its name, minimal-cpu keeps its own


def build_newer(engine: Any) -> str:
    """Another image under the same name; gives its id."""
    config = engine.images.get(f"{REPOSITORY}:{TAG}").attrs["Config"]
    command = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
    made = engine.containers.create(f"{REPOSITORY}:{TAG}")
    try:
        changed = {**config, "Entrypoint": ["sh", "-c", WRAPPER], "Cmd": command, "Labels": {"version": "2"}}
        return str(made.commit(REPOSITORY, TAG, conf=changed).id)
    finally:
        made.remove()


def containers(lab: Any, engine: Any) -> dict[str, Any]:
    mine = {"label": f"{profile.CONTROLLER}={controller_id(lab.home)}"}
    found = engine.containers.list(all=True, filters=mine)
    return {one.labels[profile.NAME]: one for one in found}


def inside(container: Any, command: str) -> str:
    code, output = container.exec_run(["sh", "-c", command])
    assert code == 0, output.decode()
    return str(output.decode())


def moment(text: str) -> float:
    """The engine's time, which has nanoseconds."""
    return datetime.fromisoformat(text[:26] + "Z").timestamp()


def upgrade(lab: Any, *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "labdock.cli", "upgrade", "--json", *arguments],
        env={**os.environ, "LABDOCK_URL": lab.url, "LABDOCK_TOKEN": lab.token}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or done.stderr)


def test_an_upgrade_goes_one_by_one_keeps_files_and_ends_at_the_first_that_fails(upgradable: Any, engine: Any) -> None:
    lab = upgradable
    for name in NAMES:
        body = {"name": name, "image": "upgradable", "mode": "prod"}
        assert lab("POST", "/api/environments", body).status_code == 201
    for name in NAMES:
        assert lab("POST", f"/api/environments/{name}/start?wait=120").json()["status"] == "running"
    before = containers(lab, engine)
    shipped = inside(before["a"], "cd /notebooks && find . -name '*.ipynb' | sort | head -n 1").strip()
    inside(before["a"], f"cd /notebooks && echo changed > {shipped} && echo mine > mine.txt && rm -f data/*.json")
    listed = inside(before["a"], "cd /notebooks && find . -type f | sort")
    assert upgrade(lab, "--dry-run") == (0, {"upgraded": [], "outdated": []})

    newer = build_newer(engine)
    assert upgrade(lab, "--dry-run") == (0, {"upgraded": [], "outdated": NAMES})
    assert {name: one.id for name, one in containers(lab, engine).items()} == {n: o.id for n, o in before.items()}

    code, said = upgrade(lab)
    assert code != 0
    assert said["details"]["upgraded"] == ["a", "b"]
    assert (said["details"]["failed"], said["details"]["left"]) == (BROKEN, ["d"])
    assert "labdock upgrade d" in said["remedy"]
    assert BROKEN in said["detail"]
    assert "no such luck" in json.dumps(said)  # the log that says why

    after = containers(lab, engine)
    assert after["d"].id == before["d"].id  # untouched, and works
    assert lab.status("d") == "running"
    assert lab.status(BROKEN) == "failed"
    for name in ("a", "b"):
        assert after[name].attrs["Image"] == newer
        assert lab.status(name) == "running"
    # One after another: b's old container was still there, b's new one not begun, until a answered.
    ready = {one["name"]: one["started"] for one in lab("GET", "/api/environments").json()}
    assert moment(after["b"].attrs["Created"]) >= ready["a"] - 0.5
    assert inside(after["a"], f"cd /notebooks && cat {shipped} mine.txt") == "changed\nmine\n"
    now = inside(after["a"], "cd /notebooks && find . -type f | sort").splitlines()
    assert set(listed.splitlines()) <= set(now)  # what was there is there; what was shipped and missing may come back
