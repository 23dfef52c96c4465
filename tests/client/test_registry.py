"""Models with aliases, cards and versions, from the library and the command line; `register` in an environment."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

import labdock
from labdock.environment import Environment
from labdock.errors import InvalidOptions, NotFound
from labdock.lab import Lab

X = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, None]})


def line(weights: list[float], path: Path, **metadata: str) -> Path:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["score"])],
        "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.array(weights, np.float32).reshape(-1, 1), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def predicted(lab: Lab, reference: str) -> list[float]:
    search = f"| makeresults | eval a=1, b=1 | apply {reference} | table predicted(y)"
    return list(lab.search(search).pandas()["predicted(y)"])


def test_aliases_rollback_and_versions_in_searches_and_the_library(lab: Lab, tmp_path: Path) -> None:
    for weights in ([1.0, 0.0], [2.0, 0.0], [3.0, 0.0]):
        model = lab.models.upload(line(weights, tmp_path / "m.onnx"), "steps", target="y", features=["a", "b"])
    assert predicted(lab, "onnx:steps") == [3.0]
    assert model.alias("champion", 2).aliases == {"champion": 2}
    assert predicted(lab, "onnx:steps@champion") == [2.0]
    assert predicted(lab, "onnx:steps@1") == [1.0]
    model.use(1)
    assert predicted(lab, "onnx:steps") == [1.0]
    model.alias("candidate").alias("champion", "candidate")
    assert model.aliases == {"candidate": 1, "champion": 1}
    assert predicted(lab, "onnx:steps@champion") == [1.0]
    assert lab.models.get("onnx:steps@3").version["version"] == 3
    assert lab.models.get("onnx:steps@3").apply(X)["predicted(y)"].tolist()[:2] == [3.0, 6.0]
    assert np.isnan(lab.models.get("onnx:steps").apply(X)["predicted(y)"][2])
    for wanted in ("onnx:steps@9", "onnx:steps@absent"):
        with pytest.raises(NotFound, match=wanted.removeprefix("onnx:")):
            lab.models.get(wanted)
        with pytest.raises(NotFound):
            predicted(lab, wanted)
    assert "champion" not in model.remove_alias("champion").aliases
    with pytest.raises(NotFound):
        model.remove_alias("champion")
    with pytest.raises(InvalidOptions, match="whole"):
        lab.models.delete("onnx:steps@1")
    model.delete()
    with pytest.raises(NotFound):
        lab.models.get("onnx:steps")


def test_a_card_comes_from_the_file_from_a_person_or_from_the_record(lab: Lab, tmp_path: Path) -> None:
    written = lab.models.upload(
        line([1.0], tmp_path / "m.onnx", model_card="# From the file"), "carded", target="y", features=["a"]
    )
    assert written.card() == "# From the file"
    card = tmp_path / "card.md"
    card.write_text("# By hand\n\nIt misses the beacon.")
    second = lab.models.upload(
        line([2.0], tmp_path / "m.onnx"),
        "carded",
        target="y",
        features=["a"],
        card=card,
        metrics={"recall": 0.9},
        lineage={"notebook": "n.ipynb"},
    )
    assert second.card() == card.read_text()
    assert second.card(1) == "# From the file"
    second.write_card("")
    assert "| recall | 0.9 |" in second.card()
    assert "| notebook | n.ipynb |" in second.card()
    assert "Intended use" in second.describe("Finds | frauds.").card()
    assert "Finds | frauds." in second.card()
    assert second.version["lineage"]["notebook"] == "n.ipynb"
    second.delete()


def test_lists_are_paged_by_name(lab: Lab, tmp_path: Path) -> None:
    names = [f"paged_{i}" for i in range(3)]
    made = [lab.models.upload(line([1.0], tmp_path / "m.onnx"), n, target="y", features=["a"]) for n in names]
    response = lab.connection.request("GET", "/api/models", count=2, offset=1, contains="PAGED_")
    assert [m["name"] for m in json.loads(response.read())] == names[1:]
    assert response.headers["Labdock-Total"] == "3"
    assert [m.name for m in lab.models.list(contains="paged_")] == names
    for model in made:
        model.delete()


def test_a_download_an_apply_and_the_inference_protocol_are_uses(lab: Lab, env: Environment, tmp_path: Path) -> None:
    def last_use(name: str) -> float:
        answer = lab.connection.request("GET", f"/api/models/{name}")
        return float(json.loads(answer.read())["last_used"] or 0)

    uploaded = lab.models.upload(line([1.0], tmp_path / "m.onnx"), "used_model", target="y", features=["a"])
    fitted = env.fit(pd.DataFrame({"x": [1.0, 2.0]}), algo="means", into="used_fit")
    ways = {
        "used_model": [
            lambda: uploaded.download(tmp_path / "d.onnx"),
            lambda: uploaded.apply(pd.DataFrame({"a": [1.0]})),
        ],
        "used_fit": [lambda: fitted.apply(pd.DataFrame({"x": [3.0]}))],
    }
    for name, uses in ways.items():
        before = last_use(name)
        assert before == 0
        for use in uses:
            use()
            after = last_use(name)
            assert after > before, name
            before = after
    uploaded.delete()
    fitted.delete()


def test_a_fit_records_its_lineage(lab: Lab, env: Environment) -> None:
    model = env.fit(pd.DataFrame({"x": [1.0, 2.0]}), algo="means", into="lineage_model")
    lineage = lab.models.get("lineage_model").version["lineage"]
    assert lineage["environment"] == "__dev__"
    assert lineage["notebook"].endswith(".ipynb")
    assert len(lineage["module_sha256"]) == 64
    model.delete()


def test_the_command_line_does_the_same(
    labdock_command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = labdock_command("models", *words)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    first, second = (str(line([w, 0.0], tmp_path / f"{n}.onnx")) for n, w in (("one", 1.0), ("two", 2.0)))
    form = ("--target", "y", "--features", "a,b", "--description", "A line.")
    assert "version 1" in run("upload", first, "by_hand", *form)
    assert "version 2" in run("by_hand", "--upload", second, *form)
    run("alias", "onnx:by_hand", "champion", "1")
    assert "champion" in run("versions", "onnx:by_hand")
    assert json.loads(run("rollback", "onnx:by_hand", "--json"))["current_version"] == 1
    assert "no version before 1" in run("rollback", "onnx:by_hand", code=2)
    card = tmp_path / "card.md"
    card.write_text("# A card")
    run("onnx:by_hand", "--card", str(card))
    assert "# A card" in run("card", "onnx:by_hand")
    run("download", "onnx:by_hand@2", str(tmp_path / "down.onnx"))
    assert (tmp_path / "down.onnx").read_bytes() == Path(second).read_bytes()
    assert json.loads(run("share", "onnx:by_hand", "app", "--json"))["sharing"] == "app"
    run("alias", "onnx:by_hand", "champion", "--remove")
    run("alias", "onnx:by_hand", code=2)
    assert "by_hand" in run("list")
    run("delete", "onnx:by_hand")


def test_register_in_an_environment_uploads_in_its_owners_name(
    lab: Lab, env: Environment, controller: Any, tmp_path: Path
) -> None:
    """As a notebook's cell: a process that knows the environment's variables, and no controller."""
    path = line([1.0, 2.0], tmp_path / "m.onnx")
    code = (
        "import sys, json, pandas as pd, labdock\n"
        "made = labdock.register(sys.argv[1], sys.argv[2], pd.DataFrame({'a': [1.0], 'b': [2.0]}), target='y',\n"
        "    card='# Registered', sharing='app', metrics={'recall': 0.5})\n"
        "print(json.dumps([made.reference, made.version, made.notices, made.file]))"
    )
    variables = {k: v for k, v in os.environ.items() if not k.startswith("LABDOCK_")}
    variables |= {
        "LABDOCK_ENVIRONMENT_ID": env.record["id"],
        "LABDOCK_ENVIRONMENT": "__dev__",
        "LABDOCK_NOTEBOOKS": str(controller.notebooks(env)),
        "JPY_SESSION_NAME": "train.ipynb",
    }

    def run(name: str, file: Path = path) -> "subprocess.CompletedProcess[str]":
        arguments = [sys.executable, "-c", code, str(file), name]
        return subprocess.run(arguments, env=variables, capture_output=True, text=True, timeout=120, check=False)

    done = run("from_a_notebook")
    assert done.returncode == 0, done.stderr
    reference, version, notices, file = json.loads(done.stdout)
    assert (reference, version, file) == ("onnx:from_a_notebook", 1, None)
    assert "share it" in notices[-1]
    model = lab.models.get(reference)
    assert (model.features, model.target, model.sharing, model.card()) == (["a", "b"], ["y"], "user", "# Registered")
    assert model.version["lineage"]["notebook"] == "train.ipynb"
    assert model.version["lineage"]["environment"] == "__dev__"
    assert model.metrics == {"recall": 0.5}
    refused = run("no name")
    assert refused.returncode == 0, refused.stderr
    assert "Spaces" in json.loads(refused.stdout)[2][0]
    wrong = run("1st")
    assert "InvalidName" in wrong.stderr
    outbox = controller.notebooks(env) / "models" / ".outbox"
    assert list(outbox.iterdir()) == []
    for name in ("from_a_notebook", "no_name"):
        lab.models.get(f"onnx:{name}").delete()


def test_register_uploads_directly_where_a_controller_is_known(lab: Lab, tmp_path: Path) -> None:
    made = labdock.register(line([1.0, 2.0], tmp_path / "m.onnx"), "direct", X.dropna(), target="y", lab=lab)
    assert (made.version, made.file, made.rows) == (1, None, 2)
    assert made.model is not None
    assert made.model.features == ["a", "b"]
    made.model.delete()
