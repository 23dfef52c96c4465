"""The lab's notebooks, run from top to bottom in the Golden CPU image as JupyterLab there would: on what ships alone,
without a network. Their pictures are kept in `build/notebooks/`."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Controller, controllers

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "build" / "notebooks"
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Done:
    """A notebook that ran, and the folder that it ran in."""

    cells: list[Any]
    folder: Path

    @property
    def outputs(self) -> list[Any]:
        return [o for cell in self.cells if cell.cell_type == "code" for o in cell.outputs]

    @property
    def printed(self) -> str:
        return "".join(o.text for o in self.outputs if o.output_type == "stream")

    @property
    def pictures(self) -> list[bytes]:
        return [base64.b64decode(o.data["image/png"]) for o in self.outputs if "image/png" in o.get("data", {})]

    def figures(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / "data" / f"{name}.figures.json").read_text()))

    def session(self, name: str) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(self.folder / "data" / name, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def image() -> str:
    build = ["bash", str(REPOSITORY / "images/build.sh"), "golden-cpu"]
    subprocess.run(build, check=True, capture_output=True, timeout=900)
    return "labdock/golden-cpu:latest"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="labdock-notebooks-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def run(image: str, folder: Path, name: str, last: str = "", **variables: str) -> Done:
    """Fill `folder` as an environment does and execute the notebook there, with one more cell, `last`."""
    shutil.copytree(REPOSITORY / "notebooks", folder, dirs_exist_ok=True)
    if last:
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
        notebook.cells.append(nbformat.v4.new_code_cell(last))  # type: ignore[no-untyped-call]
        nbformat.write(notebook, folder / f"{name}.ipynb")  # type: ignore[no-untyped-call]
    settings = {"OMP_NUM_THREADS": "2", "HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "NUMBA_CACHE_DIR": "/tmp", **variables}
    execute = ["nbconvert", "--to", "notebook", "--execute", "--inplace", f"{name}.ipynb"]
    execute.append("--ExecutePreprocessor.timeout=300")
    given = [part for k, v in settings.items() for part in ("--env", f"{k}={v}")]
    place = ["--network", "none", "--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{folder}:/notebooks"]
    started = ["docker", "run", "--rm", *place, *given, "--entrypoint", "jupyter", image, *execute]
    ended = subprocess.run(started, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    done = Done(nbformat.read(folder / f"{name}.ipynb", as_version=4).cells, folder)  # type: ignore[no-untyped-call]
    assert not any(o.output_type == "error" for o in done.outputs)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for n, picture in enumerate(done.pictures, 1):
        (PICTURES / f"{name}-{n}.png").write_bytes(picture)
    return done


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        yield make()


def said_everywhere(lab: Controller, done: Done, file: str, target: str) -> dict[str, np.ndarray]:
    """What the model says of the rows that the notebook's last cell left: by each way that there is."""
    rows = pd.read_parquet(done.folder / "rows.parquet")
    features = [name for name in rows if not name.startswith("notebook_")]
    name, given = Path(file).stem, rows[features].to_numpy("float32")
    form = {"name": name, "target": target, "features": ",".join(features)}
    content = (done.folder / "data" / file).read_bytes()
    assert lab("POST", "/api/models/onnx", data=content, params=form).status_code == 201
    csv = rows[features].astype("float64").to_csv(index=False).encode()
    assert lab("POST", f"/api/lookups?name={name}.csv", data=csv).status_code == 201
    search = f"| inputlookup {name}.csv | apply onnx:{name} | table predicted({target})"
    job = lab("POST", "/api/searches?wait=60", {"search": search}).json()
    assert job["status"] == "done", job
    table = pa.ipc.open_stream(lab("GET", f"/api/searches/{job['id']}/results").content).read_all()
    session = done.session(file)
    outputs = session.get_outputs()
    plain = session.run(None, {session.get_inputs()[0].name: given})
    tensor = {"name": session.get_inputs()[0].name, "shape": given.shape, "datatype": "FP32"}
    answer = lab("POST", f"/v2/models/{name}/infer", {"inputs": [{**tensor, "data": given.ravel().tolist()}]})
    assert answer.status_code == 200, answer.text
    said = {c.removeprefix("notebook_"): rows[c].to_numpy() for c in rows if c.startswith("notebook_")}
    said["search"] = table[f"predicted({target})"].to_numpy()
    said |= {f"v2 {o['name']}": np.array(o["data"]) for o in answer.json()["outputs"]}
    return said | {f"plain {o.name}": value.ravel() for o, value in zip(outputs, plain, strict=True)}


def left(features: str, **columns: str) -> str:
    """A cell that leaves rows, and what the notebook says of them."""
    said = ", ".join(f"notebook_{name}={value}" for name, value in columns.items())
    return f"({features}).reset_index(drop=True).assign({said}).dropna()[:3000].to_parquet('rows.parquet')"


def equal(said: dict[str, np.ndarray], *names: str) -> None:
    first, *others = names
    for name in others:
        np.testing.assert_allclose(said[name], said[first], rtol=1e-5, atol=1e-5, err_msg=name)


FRAUD = left("df[features].astype('float32').iloc[cut:]", scores="scores")
NETWORK = left("X", scores="scores", labels="labels")
BOTNET = left("rows[nn_botnet.FEATURES].astype('float32')", labels="expected")


def test_the_fraud_notebook_trains_and_its_file_scores_alike(image: str, folder: Path, lab: Controller) -> None:
    done = run(image, folder, "a_MLTK_ONNX_Workshop", FRAUD)
    said = said_everywhere(lab, done, "credit_card_fraud.onnx", "Class")
    assert len(said["scores"]) > 500
    equal(said, "scores", "search", "v2 Class", "v2 predicted(Class)", "plain Class")
    assert len(done.pictures) == 3
    figures = done.figures("credit_card_fraud")
    assert figures["data"] == "credit_card_fraud.csv"
    assert figures["difference"] < 1e-5
    session = done.session("credit_card_fraud.onnx")
    model = session.get_modelmeta().custom_metadata_map
    names = model["feature_names"].split(",")
    later = pd.read_csv(folder / "data" / "credit_card_test_part.csv")
    (scores,) = session.run(None, {session.get_inputs()[0].name: later[names].to_numpy("float32")})
    said = scores[:, 0] > float(model["threshold_hint"])
    frauds = later["Class"].to_numpy() == 1
    assert said[frauds].mean() == pytest.approx(figures["recall"])
    assert said[frauds].mean() > 0.6
    assert said[~frauds].mean() < 0.03
    earlier = pd.read_csv(folder / "data" / "credit_card_train_part.csv")
    assert earlier["Time"].max() <= later["Time"].min()


def test_the_network_notebook_maps_outliers_and_its_file_agrees(image: str, folder: Path, lab: Controller) -> None:
    done = run(image, folder, "a_network_analysis", NETWORK, LABDOCK_LAB_SAMPLE="300")
    said = said_everywhere(lab, done, "network_outliers.onnx", "outlier")
    assert set(said["labels"]) == {-1, 1}
    equal(said, "labels", "search", "v2 label", "v2 predicted(outlier)", "plain label")
    equal(said, "scores", "v2 scores", "plain scores")
    assert len(done.pictures) == 6
    figures = done.figures("network_outliers")
    assert figures["labels_agree"] >= 0.9999
    assert figures["difference"] < 1e-5
    assert figures["roc_auc"] > 0.85
    assert [o.name for o in done.session("network_outliers.onnx").get_outputs()] == ["label", "scores"]


def test_the_botnet_notebook_trains_apart_by_capture(image: str, folder: Path, lab: Controller) -> None:
    done = run(image, folder, "a_botnet_model", BOTNET)
    said = said_everywhere(lab, done, "my_botnet.onnx", "infected")
    assert set(said["labels"]) == {0, 1}
    equal(said, "labels", "search", "v2 predicted(infected)", "v2 botnet", "plain botnet")
    assert len(done.pictures) == 2
    figures = done.figures("my_botnet")
    assert figures["recorded"] is False
    assert figures["precision"] > 0.8
    assert figures["recall"] > 0.8
    made = done.session("my_botnet.onnx")
    idle = made.run(None, {"features": np.array([[900, 5.5e7, 1, 900, 1, 1, 1]], "float32")})[0]
    assert idle.dtype == np.int64
    assert idle.tolist() == [0]  # a device that reports home


def test_the_threat_hunting_notebook_runs_in_the_image_too(image: str, folder: Path) -> None:
    done = run(image, folder, "a_threat_hunting_notebook")
    assert len(done.pictures) >= 5
    assert "look first at" in done.printed
