"""`labdock.register` in Golden CPU: a model of every framework there, from the container to a real controller and back.

The controller runs the environment in a container that cannot reach it; what its notebook would register goes through
the outbox and every check of an upload. The file that comes back is compared with what the original said in there: by
plain onnxruntime, over the inference protocol, and in a search.
"""

import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from conftest import controllers
from docker_labs import labs

from labdock_controller.runtimes.docker import profile

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests" / "frameworks" / "framework_models.py"
pytestmark = [pytest.mark.docker, pytest.mark.slow]
EQUAL = {"rtol": 1e-5, "atol": 1e-5}

_spec = importlib.util.spec_from_file_location("framework_models", PROGRAM)
assert _spec is not None
assert _spec.loader is not None
models = importlib.util.module_from_spec(_spec)
sys.modules["framework_models"] = models
_spec.loader.exec_module(models)
ROWS = models.X.assign(host=[f"h{i % 4}" for i in range(len(models.X))])


@pytest.fixture(scope="module")
def lab() -> Iterator[Any]:
    build = ["bash", str(REPOSITORY / "images/build.sh"), "golden-cpu"]
    subprocess.run(build, check=True, capture_output=True, timeout=900)
    with labs(controllers, "unix:///var/run/docker.sock") as make:
        yield make()


@pytest.fixture(scope="module")
def registered(lab: Any) -> dict[str, Any]:
    """What the program said that registered all models inside the environment."""
    environment = lab.start("__dev__", runtime="docker", image="golden-cpu", wait=90, mode="prod")
    client = docker.from_env()
    try:
        container = client.containers.get(profile.container_name(environment["id"]))
        ended = container.exec_run(["python3", "-W", "ignore", "-c", PROGRAM.read_text()], demux=True)
    finally:
        client.close()
    output, errors = ended.output
    assert ended.exit_code == 0, (errors or b"").decode()[-3000:]
    said: dict[str, Any] = json.loads(output.decode().splitlines()[-1])
    return said


def feed(session: Any) -> dict[str, np.ndarray]:
    given = session.get_inputs()
    if len(given) == 1:
        return {given[0].name: models.X.to_numpy(np.float32)}
    return {i.name: ROWS[[i.name]].to_numpy(None if i.name == "host" else np.float32) for i in given}


def by_arrow(lab: Any, name: str, features: list[str]) -> np.ndarray:
    table = pa.Table.from_pandas(ROWS[features], preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = lab("POST", f"/v2/models/{name}/arrow", data=sink.getvalue())
    assert answer.status_code == 200, answer.text
    found: np.ndarray = pa.ipc.open_stream(answer.content).read_all()["predicted(y)"].to_numpy()
    return found


def by_search(lab: Any, name: str, features: list[str]) -> np.ndarray:
    """The search reads text with all digits: whoever gave an array named its columns feature_0 and so on."""
    names = dict(zip(features, [f for f in ROWS if f in features] or list(models.X), strict=True))
    renamed = " ".join(f'| rename {old} as "{new}"' for new, old in names.items() if new != old)
    search = f"| inputlookup rows.csv {renamed} | apply onnx:{name} | table predicted(y)"
    job = lab("POST", "/api/searches?wait=60", {"search": search}).json()
    assert job["status"] == "done", job
    content = lab("GET", f"/api/searches/{job['id']}/results").content
    found: np.ndarray = pa.ipc.open_stream(content).read_all()["predicted(y)"].to_numpy()
    return found


def test_every_framework_of_the_image_makes_the_round_trip(lab: Any, registered: dict[str, Any]) -> None:
    assert registered["absent"] == ["torch"]  # docs/images.md: not in Golden CPU
    wanted = {f"{f}_{kind}" for f, kinds in models.MODELS.items() if f != "torch" for kind in kinds}
    assert set(registered["models"]) == wanted
    rows = ROWS.astype(dict.fromkeys(models.X, float))
    file = rows.to_csv(index=False).encode()
    assert lab("POST", "/api/lookups?name=rows.csv", data=file).status_code == 201
    for name, said in registered["models"].items():
        assert said["version"] == 1, (name, said.get("refused"))
        assert said["difference"] <= 1e-5, name
        record = lab("GET", f"/api/models/{name}").json()
        version = record["versions"][0]
        described = lab("GET", f"/v2/models/{name}").json()["outputs"]
        assert [o["shape"][0] for o in described] == [-1] * len(described), name
        assert (version["lineage"]["environment"], record["sharing"]) == ("__dev__", "user")
        session = onnxruntime.InferenceSession(lab("GET", f"/api/models/{name}/file").content)
        scores = np.asarray(said["scores"])
        outputs = [o for o in session.run(None, feed(session)) if isinstance(o, np.ndarray) and o.size == scores.size]
        assert any(np.allclose(o.reshape(scores.shape), scores, **EQUAL) for o in outputs), name
        if said["predicted"] is not None:
            features = version["features"]
            if set(features) <= set(ROWS):
                np.testing.assert_allclose(by_arrow(lab, name, features), said["predicted"], **EQUAL, err_msg=name)
            np.testing.assert_allclose(by_search(lab, name, features), said["predicted"], **EQUAL, err_msg=name)
