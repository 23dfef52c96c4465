"""The built images themselves, by testcontainers and the engine: who runs in them, what is in them, what they say."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.docker, pytest.mark.slow]
TOKEN = "canary-token"


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def minimal(engine: Any) -> Any:
    subprocess.run(
        ["bash", REPOSITORY / "images/build.sh", "minimal-cpu"], check=True, capture_output=True, timeout=900
    )
    return engine.images.get("labdock/minimal-cpu:latest")


def test_what_the_image_says_of_itself(minimal: Any) -> None:
    config = minimal.attrs["Config"]
    assert config["User"] == "1001:1001"
    assert config["Entrypoint"] == ["tini", "--", "labdock-entry"]
    assert config["Cmd"] == ["python", "-m", "labdock_container", "supervise"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    labels = config["Labels"]
    assert labels["dev.labdock.image"] == "minimal-cpu"
    assert labels["org.opencontainers.image.title"] == "Minimal CPU"
    for name in ("description", "version", "revision", "licenses", "vendor", "base.name"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert "TOKEN" not in json.dumps(config["Env"])


def test_a_bare_run_becomes_healthy_and_ends_on_sigterm(minimal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user runs it by hand; testcontainers' reaper would pull an image."""
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    run = Path(tempfile.mkdtemp(prefix="labdock-bare-", dir="/dev/shm"))
    run.chmod(0o777)
    (run / "token").write_text(TOKEN)
    (run / "token").chmod(0o644)
    made = DockerContainer("labdock/minimal-cpu:latest").with_volume_mapping(str(run), "/run/labdock", "rw")
    try:
        with made as container:
            wrapped = container.get_wrapped_container()
            deadline = time.monotonic() + 120
            while wrapped.attrs["State"].get("Health", {}).get("Status") != "healthy":
                assert time.monotonic() < deadline, wrapped.attrs["State"]
                time.sleep(0.5)
                wrapped.reload()
            assert wrapped.exec_run(["sh", "-c", "ls /notebooks/*.ipynb"]).exit_code == 0
            began = time.monotonic()
            wrapped.stop(timeout=60)
            wrapped.reload()
            assert time.monotonic() - began < 30
            assert wrapped.attrs["State"]["ExitCode"] in {0, 143}
    finally:
        shutil.rmtree(run)


def test_our_wheel_is_the_last_large_thing(minimal: Any) -> None:
    """Layers above the packages are small, so a change of our code is built and carried in seconds."""
    history = minimal.history()
    ours = next(i for i, step in enumerate(history) if "requirements.lock" in step["CreatedBy"])
    assert sum(step["Size"] for step in history[: ours - 1]) < 30_000_000


GOLDEN = """
import json, os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np, onnxruntime as ort
x = np.random.default_rng(0).normal(size=(400, 4)).astype("float32")
y = (x[:, 0] + x[:, 1] > 0).astype("int64")
differ = {}
import skl2onnx
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
for name, model in (("hist", HistGradientBoostingClassifier(max_iter=5)), ("forest", IsolationForest(random_state=0))):
    model.fit(x, y)
    text = skl2onnx.to_onnx(model, x[:1], target_opset={"": 18, "ai.onnx.ml": 3}).SerializeToString()
    session = ort.InferenceSession(text)
    label = session.run(None, {session.get_inputs()[0].name: x})[0].ravel()
    differ[name] = int((label != model.predict(x)).sum())
import keras, tf2onnx
network = keras.Sequential([keras.Input((4,)), keras.layers.Normalization(mean=[0.] * 4, variance=[1.] * 4),
                            keras.layers.Dense(1, activation="sigmoid")])
text = tf2onnx.convert.from_keras(keras.Model(network.inputs, network.outputs), opset=13)[0].SerializeToString()
session = ort.InferenceSession(text)
found = session.run(None, {session.get_inputs()[0].name: x})[0]
differ["keras"] = float(abs(found - network.predict(x, verbose=0)).max())
import google.protobuf, matplotlib, onnx, onnxmltools, pandas, pyarrow, seaborn, statsmodels.api, umap, xgboost
differ["protobuf"] = google.protobuf.__version__
print(json.dumps(differ))
"""


def test_golden_cpu_trains_and_exports(engine: Any) -> None:
    """Scores in the exported model are the trained one's. Only where Golden CPU was built: that takes minutes."""
    try:
        engine.images.get("labdock/golden-cpu:latest")
    except docker.errors.ImageNotFound:
        pytest.skip("golden-cpu is not built here: bash images/build.sh golden-cpu")
    output = engine.containers.run(
        "labdock/golden-cpu:latest", ["python", "-c", GOLDEN], remove=True, network_mode="none", read_only=True,
        cap_drop=["ALL"], stderr=False, tmpfs={"/tmp": "mode=1777", "/home/labdock": "uid=1001,mode=0700"},
    )  # fmt: skip
    found = json.loads(output.decode().strip().splitlines()[-1])
    assert (found["hist"], found["forest"]) == (0, 0)
    assert found["keras"] < 1e-5
    assert int(found["protobuf"].split(".")[0]) < 7


def test_nothing_is_left_of_these_tests(engine: Any) -> None:
    left = [
        c.name
        for c in engine.containers.list(all=True, ignore_removed=True)
        if "labdock-bare" in json.dumps(c.attrs["Mounts"])
    ]
    assert left == []
    assert not [p for p in os.listdir("/dev/shm") if p.startswith("labdock-bare-")]  # noqa: PTH208
