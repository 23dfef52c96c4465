"""No space left: in the run folder, in the notebooks folder. Needs the right to mount a small tmpfs."""

import os
import subprocess

import numpy as np
import pyarrow as pa
import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small tmpfs")

MODULE = """
    import numpy as np
    def init(df, param): return {}
    def fit(model, df, param): model["weights"] = np.random.default_rng(0).random(int(df["size"].iloc[0]))
    def apply(model, df, param): return {"n": [len(model["weights"])] * len(df)}
"""


@pytest.fixture
def mounted():
    """Mounts a tmpfs of so many MB on a folder; unmounted afterwards."""
    folders = []

    def mount(folder, megabytes):
        result = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if result.returncode:
            pytest.skip(f"mount: {result.stderr.decode().strip()}")
        folders.append(folder)

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def table(size=10, rows=1):
    return pa.table({"size": np.full(rows, size)})


def test_a_full_run_folder(start_api, mounted):
    api = start_api(prepare=lambda api: (api.module("sized", MODULE), mounted(api.run / "spool", 1)))
    for _ in range(2):
        reply = api.frame("fit", table(rows=300_000), algo="sized", model="m")
        assert (reply.status, reply.json["code"]) == (507, "disk-full")
        assert "no space left" in reply.json["detail"]
        assert reply.json["remedy"]
        assert api.frame("fit", table(), algo="sized", model="m").status == 200, "its space is free again"


def test_a_full_notebooks_folder(start_api, mounted):
    def prepare(api):
        (api.notebooks / "modules").rmdir()
        mounted(api.notebooks, 2)
        (api.notebooks / "modules").mkdir()
        api.module("sized", MODULE)

    api = start_api(prepare=prepare)
    assert api.frame("fit", table(10), algo="sized", model="m").info["version"] == 1
    assert api.frame("stage", table(1), model="m").status == 200
    before = {p.name: p.read_bytes() for p in (api.notebooks / "data").iterdir()}
    for _ in range(2):
        reply = api.frame("fit", table(1_000_000), algo="sized", model="m")
        assert (reply.status, reply.json["code"]) == (507, "disk-full")
        reply = api.frame("stage", table(1, rows=400_000), model="m")
        assert (reply.status, reply.json["code"]) == (507, "disk-full")
    assert api.frame("apply", table(1), model="m").table["n"].to_pylist() == [10], "the old model is whole"
    assert {p.name: p.read_bytes() for p in (api.notebooks / "data").iterdir()} == before
    assert [p.name for p in (api.notebooks / "models" / "m").iterdir() if p.name.startswith(".")] == []
    assert api.frame("fit", table(20), algo="sized", model="m").info["version"] == 2
