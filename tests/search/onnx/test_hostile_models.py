"""Every hostile or broken model file is refused by a named check, soon, and costs the controller nothing.

All of them by the checks themselves under the limits of the throwaway process; one of each kind by the whole way in, a
real controller's upload (all of them with LABDOCK_HOSTILE=all).
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from labdock.errors import ModelRefused
from labdock_search.onnx import check, check_model


def _module(path: Path) -> Any:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
hostile = _module(HERE / "hostile_models.py")
ANY = {"*"}  # whatever; what is still a model may be taken
SECONDS = 2.0  # of CPU time, so that a busy machine fails nothing
STUCK = 30.0  # of wall time: a check that takes so long is killed, and the test fails


@pytest.fixture(scope="module")
def cases() -> list[tuple[str, bytes, set[str]]]:
    return list(hostile.cases())


@pytest.fixture(scope="module")
def outcomes(cases: list[Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the checks said of each file. A check that dies is the file's outcome; the rest goes on in a new process."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, (_, content, _) in enumerate(cases):
        (folder / f"{number:04}").write_bytes(content)
    found: dict[str, dict[str, Any]] = {}
    while any(folder.iterdir()):
        for name, outcome in _checked(folder):
            found[cases[int(name)][0]] = outcome
            (folder / name).unlink(missing_ok=True)
    return found


def _checked(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    arguments = [sys.executable, str(HERE / "checking.py"), str(folder)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        current, stage = "", "start"
        timer = threading.Timer(STUCK, process.kill)
        timer.start()
        for line in process.stdout:
            if not line.startswith(b"{"):
                continue
            said = json.loads(line)
            timer.cancel()
            timer = threading.Timer(STUCK, process.kill)
            timer.start()
            if "file" in said:
                current, stage = said["file"], "start"
            elif "seconds" in said:
                yield current, said
                current = ""
            else:
                stage = said["check"]
        timer.cancel()
        process.wait()
        if current:
            yield current, {"check": stage, "found": f"died ({process.returncode})", "remedy": "-", "seconds": 0.0}
        else:
            assert process.returncode == 0


def test_there_are_enough_and_each_differs(cases: list[Any]) -> None:
    assert len(cases) >= 150
    assert len({name for name, _, _ in cases}) == len(cases)
    assert len({content for _, content, _ in cases}) >= len(cases) - 2


def test_each_is_refused_by_the_check_that_its_fault_belongs_to(cases: list[Any], outcomes: dict[str, Any]) -> None:
    wrong = {}
    for name, _, expected in cases:
        outcome = outcomes[name]
        refused_rightly = outcome.get("check") in expected and outcome["found"] and outcome["remedy"]
        if not refused_rightly and expected != ANY:
            wrong[name] = outcome
    assert not wrong


def test_no_check_dies_or_is_stuck(outcomes: dict[str, Any]) -> None:
    assert {name: o for name, o in outcomes.items() if str(o.get("found", "")).startswith("died")} == {}


def test_each_is_refused_within_two_seconds(outcomes: dict[str, Any]) -> None:
    assert {name: o["seconds"] for name, o in outcomes.items() if o["seconds"] > SECONDS} == {}


def test_good_models_pass(tmp_path: Path) -> None:
    """What the bad ones are made from is accepted, functions and opsets of each age included."""
    function = hostile.model([onnx.helper.make_node("F", ["x"], ["y"], domain="d")])
    function.opset_import.append(onnx.helper.make_opsetid("d", 1))
    body = [onnx.helper.make_node("Relu", ["a"], ["b"])]
    function.functions.append(
        onnx.helper.make_function("d", "F", ["a"], ["b"], body, [onnx.helper.make_opsetid("", 13)])
    )
    weights = [hostile.constant("w", [1, 2], np.float32)]
    twice = hostile.model()  # as skl2onnx writes its scikit-learn models
    twice.opset_import.append(onnx.helper.make_opsetid("", 13))
    added = hostile.model(hostile.ADD, initializers=weights)
    for made in (hostile.model(), hostile.model(opset=8), added, function, twice):
        path = tmp_path / "m.onnx"
        onnx.save(made, path)
        assert check_model(path).width == 2


def test_the_producer_is_named_without_what_it_did_not_know_of_itself() -> None:
    shipped = Path(__file__).parents[3] / "notebooks/data/credit_card_fraud.onnx"
    assert onnx.load(shipped).producer_version == "1.17.0 None"
    assert check_model(shipped).producer == "tf2onnx 1.17.0"


@pytest.mark.parametrize("zeros", [0, 1])
def test_an_encoder_that_fails_on_new_texts_is_refused_with_the_option_that_helps(tmp_path: Path, zeros: int) -> None:
    """What skl2onnx makes of OneHotEncoder: `zeros` is 0 by default, 1 with handle_unknown='ignore'."""
    helper, kinds = onnx.helper, onnx.TensorProto
    node = helper.make_node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_strings=["a", "b"], zeros=zeros)
    given = helper.make_tensor_value_info("x", kinds.STRING, [None, 1])
    made = helper.make_tensor_value_info("y", kinds.FLOAT, [None, 1, 2])
    flat = helper.make_node("Flatten", ["y"], ["z"])
    out = helper.make_tensor_value_info("z", kinds.FLOAT, [None, 2])
    graph = helper.make_graph([node, flat], "texts", [given], [out], value_info=[made])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    if zeros:
        assert check_model(path, ["x"]).width == 1
        return
    with pytest.raises(ModelRefused, match="trial run") as refused:
        check_model(path, ["x"])
    assert "handle_unknown='ignore'" in refused.value.remedy


@pytest.mark.parametrize("names", [",".join(f"n{i}" for i in range(2_000_000)), "a," + "n" * 10_000_000])
def test_names_of_features_that_cannot_be_right_stay_in_the_process_that_reads_them(tmp_path: Path, names: str) -> None:
    model = hostile.model()
    onnx.helper.set_model_props(model, {"feature_names": names})
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelRefused, match="features") as refused:
        check_model(path)
    assert len(refused.value.message) < 1000
    assert check_model(path, ["a", "b"]).features == []


@pytest.mark.parametrize(
    ("code", "ends"), [("while True: print('x' * 65536)", b""), ("print('{}', end='')", b"{}"), ("input()", None)]
)
def test_of_a_process_that_a_file_took_over_no_more_is_read_than_a_schema_has(code: str, ends: bytes | None) -> None:
    arguments = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(arguments, **pipes) as process:
        if ends is None:
            with pytest.raises(subprocess.TimeoutExpired):
                check._said(process, 0.2)
        else:
            assert check._said(process, 60) == ends
        process.kill()


@pytest.mark.parametrize("link", ["symlink", "hardlink"])
def test_weights_behind_links_are_not_read(tmp_path: Path, link: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 8)
    beside = tmp_path / "weights.bin"
    beside.symlink_to(secret) if link == "symlink" else beside.hardlink_to(secret)
    path = tmp_path / "m.onnx"
    path.write_bytes(hostile.data(hostile.model(hostile.ADD, initializers=[hostile.pointing("weights.bin")])))
    with pytest.raises(ModelRefused, match="external data"):
        check_model(path)
    (tmp_path / "link.onnx").symlink_to(path)
    with pytest.raises(OSError, match=r"symbolic|Too many"):
        check_model(tmp_path / "link.onnx")


def _sent() -> list[tuple[str, bytes, set[str]]]:
    """One of each family and check that may refuse it; with LABDOCK_HOSTILE=all every file, about three minutes."""
    if os.environ.get("LABDOCK_HOSTILE") == "all":
        return list(hostile.cases())
    chosen = {(family, *sorted(case[2])): case for family, made in hostile.families().items() for case in made}
    return list(chosen.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_over_the_whole_way_in_each_is_refused_soon_and_costs_the_controller_no_memory(cases: list[Any]) -> None:
    """A real controller's upload: within two seconds, the process that checks included, with the check's name."""
    controllers = _module(HERE.parents[1] / "controller" / "conftest.py").controllers
    with controllers() as make:
        controller = make()
        process = psutil.Process(controller.process.pid)
        form = {"name": "m", "features": "a,b", "target": "y"}

        def send(content: bytes) -> Any:
            return controller("POST", "/api/models/onnx", data=content, params=form)

        controller.warm()
        # Threads, buffers.
        assert controller("POST", "/api/searches?wait=60", {"search": "| makeresults"}).json()["status"] == "done"
        largest = max(cases, key=lambda case: len(case[1]))
        for name, content, _ in (cases[0], largest, cases[-1]):
            assert send(content).status_code == 422, name
        before, most, slowest = process.memory_info().rss, 0, (0.0, 0.0, "")
        wrong: dict[str, Any] = {}
        for name, content, expected in _sent():
            begun, wall = _cpu(process), time.monotonic()
            answer = send(content)
            wall = time.monotonic() - wall
            slowest = max(slowest, (_cpu(process) - begun, wall, name))
            most = max(most, process.memory_info().rss - before)
            if expected == ANY and answer.status_code == 201:
                continue
            problem = answer.json()
            by = problem.get("details", {}).get("check", "")
            named = by and by in problem["detail"] and (expected == ANY or by in expected)
            if (answer.status_code, problem["code"]) != (422, "model-refused") or not named:
                wrong[name] = problem
        print(f"most memory {most / 2**20:.1f} MB, slowest {slowest}")
        assert not wrong
        assert slowest[0] <= SECONDS, slowest  # of CPU, so that a busy machine fails nothing
        assert most <= 10 * 2**20
        assert not list((controller.home / "uploads").iterdir())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
