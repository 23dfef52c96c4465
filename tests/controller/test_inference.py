"""ONNX models over the Open Inference Protocol v2: the specification's words, a real client, and equal scores."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Controller, controllers

_spec = spec_from_file_location("onnx_files", Path(__file__).with_name("onnx_files.py"))
assert _spec is not None
assert _spec.loader is not None
onnx_files = module_from_spec(_spec)
_spec.loader.exec_module(onnx_files)

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(5000, 4)).astype(np.float32)
FEATURES = ["a", "b", "c", "d"]

# As a user of Triton's client would write it; a process of its own, since that client brings gevent.
CLIENT = """
import io, json, sys
import numpy as np
import tritonclient.http as http

url, token, viewer, kind = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
client = http.InferenceServerClient(url)
x = np.load(io.BytesIO(sys.stdin.buffer.read()))
said = {
    "live": client.is_server_live(headers=headers),
    "ready": client.is_server_ready(headers=headers),
    "model": client.is_model_ready("net", headers=headers),
    "version": client.is_model_ready("net", "1", headers=headers),
    "absent": client.is_model_ready("absent", headers=headers),
    "server": client.get_server_metadata(headers=headers),
    "metadata": client.get_model_metadata("net", headers=headers),
}
binary = kind == "binary"
tensor = http.InferInput("x", list(x.shape), "FP32")
tensor.set_data_from_numpy(x, binary_data=binary)
asked = [http.InferRequestedOutput(name, binary_data=binary) for name in ("score", "predicted(y)")]
answer = client.infer("net", [tensor], outputs=asked, request_id="r1", headers=headers)
said["score"] = answer.as_numpy("score").tolist()
said["predicted"] = answer.as_numpy("predicted(y)").tolist()
said["id"] = answer.get_response()["id"]
bare = client.infer("net", [tensor], headers=headers)
said["bare"] = bare.as_numpy("score").tolist()
words = http.InferInput("word", [3, 1], "BYTES")
words.set_data_from_numpy(np.array([["yes"], ["no"], ["yes"]], dtype=np.object_), binary_data=binary)
said["words"] = client.infer("words", [words], headers=headers).as_numpy("label").reshape(-1).tolist()
try:
    client.infer("net", [http.InferInput("z", [1, 4], "FP32").set_data_from_numpy(x[:1])], headers=headers)
except http.InferenceServerException as error:
    said["error"] = str(error)
for who, credential in (("nobody", {}), ("viewer", {"Authorization": f"Bearer {viewer}"})):
    try:
        client.get_model_metadata("net", headers=credential)
    except http.InferenceServerException as error:
        said[who] = [error.status(), error.message()]
try:
    client.infer("absent", [tensor], headers=headers)
except http.InferenceServerException as error:
    said["gone"] = [error.status(), error.message()]
client.close()
print(json.dumps(said, default=lambda v: v.decode()))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A controller with a network of two layers, one of texts, and a lookup of the same rows."""
    folder = tmp_path_factory.mktemp("models")
    with controllers() as make:
        controller = make()
        upload(controller, onnx_files.network(4, 8, folder / "net.onnx"), "net", ",".join(FEATURES))
        upload(controller, onnx_files.words({"yes": 1, "no": 0}, folder / "words.onnx"), "words", "word")
        file = io.BytesIO()
        pd.DataFrame(X, columns=FEATURES).astype(float).to_csv(file, index=False)
        assert controller("POST", "/api/lookups?name=rows.csv", data=file.getvalue()).status_code == 201
        yield controller


def upload(controller: Controller, path: Path, name: str, features: str, **more: Any) -> dict[str, Any]:
    form = {"name": name, "features": features, "target": "y", **more}
    answer = controller("POST", "/api/models/onnx", data=path.read_bytes(), params=form)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def plain(controller: Controller) -> np.ndarray:
    session = ort.InferenceSession(controller("GET", "/api/models/net/file").content)
    scores: np.ndarray = session.run(["score"], {"x": X})[0]
    return scores


def ask(controller: Controller, body: Any, path: str = "net") -> Any:
    return controller("POST", f"/v2/models/{path}/infer", body)


def test_scores_are_equal_in_searches_over_v2_over_arrow_and_with_plain_onnxruntime(served: Controller) -> None:
    wanted = plain(served)
    search = served("POST", "/api/searches?wait=60", {"search": "| inputlookup rows.csv | apply onnx:net"}).json()
    assert search["status"] == "done", search
    content = served("GET", f"/api/searches/{search['id']}/results").content
    searched = pa.ipc.open_stream(content).read_all()["predicted(y)"].to_numpy()
    tensor = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "data": X.ravel().tolist()}
    outputs = {o["name"]: o for o in ask(served, {"inputs": [tensor]}).json()["outputs"]}
    columns = [
        {"name": f, "shape": [len(X)], "datatype": "FP32", "data": X[:, i].tolist()} for i, f in enumerate(FEATURES)
    ]
    named = ask(served, {"inputs": columns}).json()["outputs"]
    body = arrow_of(**{f: X[:, i] for i, f in enumerate(FEATURES)})
    answer = served("POST", "/v2/models/net/arrow", data=body)
    assert answer.status_code == 200, answer.text
    arrow = pa.ipc.open_stream(answer.content).read_all()["predicted(y)"].to_numpy()
    assert outputs["score"]["shape"] == [len(X), 1]
    assert [o["name"] for o in named] == ["predicted(y)"]
    for found in (searched, outputs["score"]["data"], outputs["predicted(y)"]["data"], named[0]["data"], arrow):
        np.testing.assert_allclose(found, wanted[:, 0], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def viewer(served: Controller) -> dict[str, str]:
    """Who may look at lists and apply nothing."""
    return served.user("viewer", "viewer")


@pytest.mark.parametrize("kind", ["binary", "json"])
def test_tritons_client_is_understood(served: Controller, viewer: dict[str, str], kind: str) -> None:
    file = io.BytesIO()
    np.save(file, X[:7])
    tokens = (served.token, viewer["Authorization"].removeprefix("Bearer "))
    arguments = [sys.executable, "-c", CLIENT, served.url.removeprefix("http://"), *tokens, kind]
    done = subprocess.run(arguments, check=False, input=file.getvalue(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert [said[k] for k in ("live", "ready", "model", "version", "absent")] == [True, True, True, True, False]
    assert said["server"]["extensions"] == ["binary_tensor_data"]
    np.testing.assert_allclose(said["score"], plain(served)[:7], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(said["predicted"], plain(served)[:7, 0], rtol=1e-5, atol=1e-6)
    assert said["bare"] == said["score"]
    assert said["id"] == "r1"
    assert said["words"] == [1, 0, 1]
    assert "does not take the inputs 'z'" in said["error"]
    # The client takes `error` for its message; it shows the whole body where there is none.
    assert {who: said[who][0] for who in ("nobody", "viewer", "gone")} == {
        "nobody": "401",
        "viewer": "403",
        "gone": "404",
    }
    assert not [said[who] for who in ("nobody", "viewer", "gone") if said[who][1].startswith("{")]
    assert "'absent'" in said["gone"][1]


def test_metadata_is_what_the_specification_says(served: Controller) -> None:
    """`$metadata_model_response`: name, versions, platform, and tensors of name, datatype, shape."""
    found = served("GET", "/v2/models/net").json()
    assert (found["name"], found["versions"], found["platform"]) == ("net", ["1"], "onnxruntime_onnx")
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert found["outputs"] == [
        {"name": "score", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "predicted(y)", "datatype": "FP32", "shape": [-1]},
    ]
    assert served("GET", "/v2/models/net/versions/1").json() == found
    assert served("GET", "/v2/models/net/versions/1/ready").json() == {"name": "net", "ready": True}
    texts = served("GET", "/v2/models/words").json()
    assert (texts["inputs"][0]["datatype"], texts["outputs"][0]["datatype"]) == ("BYTES", "INT64")
    server = served("GET", "/v2").json()
    assert set(server) == {"name", "version", "extensions"}


def test_data_may_be_nested_and_outputs_chosen(served: Controller) -> None:
    nested = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": X[:2].tolist()}
    answer = ask(served, {"id": "7", "inputs": [nested], "outputs": [{"name": "score"}]}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("net", "1", "7")
    assert [o["name"] for o in answer["outputs"]] == ["score"]
    np.testing.assert_allclose(answer["outputs"][0]["data"], plain(served)[:2, 0], rtol=1e-5)


GOOD = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "no inputs"),
        ([], "no inputs"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": ["x"]}, "no name"),
        ({"inputs": [GOOD, GOOD]}, "the same as another"),
        ({"inputs": [{**GOOD, "datatype": "FP8"}]}, "FP8"),
        ({"inputs": [{**GOOD, "datatype": "FP64"}]}, "takes FP32"),
        ({"inputs": [{**GOOD, "shape": [1, 5]}]}, "takes 5"),
        ({"inputs": [{**GOOD, "shape": [1, 3], "data": [1, 2, 3]}]}, "refuses the tensors"),
        ({"inputs": [{**GOOD, "shape": [-1, 4]}]}, "shape"),
        ({"inputs": [{**GOOD, "shape": [0, 4], "data": []}]}, "no rows"),
        ({"inputs": [{**GOOD, "shape": [2**62, 4]}]}, "takes"),
        ({"inputs": [{**GOOD, "data": ["1", "2", "3", "4"]}]}, "'1'"),
        ({"inputs": [{**GOOD, "data": [None, 2, 3, 4]}]}, "None"),
        ({"inputs": [{**GOOD, "data": [True, 2, 3, 4]}]}, "True"),
        ({"inputs": [{**GOOD, "name": "y"}]}, "does not take"),
        ({"inputs": [{"name": f, "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} for f in FEATURES]}, "several"),
        ({"inputs": [GOOD], "outputs": [{"name": "other"}]}, "no output 'other'"),
        ({"inputs": [GOOD], "outputs": "score"}, "no list"),
        ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 16}, "data": []}]}, "16 bytes"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(served: Controller, body: Any, says: str) -> None:
    answer = ask(served, body)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("head", "body"),
    [("5", b"{}"), ("-1", b"{}"), ("2", b"{}rest"), ("x", b"{}"), (None, b"\x80nonsense"), (None, b"[" * 100_000)],
)
def test_broken_bodies_are_refused(served: Controller, head: str | None, body: bytes) -> None:
    headers = {} if head is None else {"Inference-Header-Content-Length": head}
    answer = served("POST", "/v2/models/net/infer", data=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_an_unknown_model_or_version_is_not_found(served: Controller) -> None:
    for path in ("netz", "net/versions/9", "net/versions/champion"):
        assert ask(served, {"inputs": [GOOD]}, path).status_code == 404
        assert served("GET", f"/v2/models/{path}").json()["error"]


def arrow_of(**columns: Any) -> bytes:
    sink, table = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


ERRORS = [
    ("GET", "/v2", "nobody", 401),
    ("GET", "/v2/models/net", "forged", 401),
    ("POST", "/v2/models/net/infer", "nobody", 401),
    ("POST", "/v2/models/net/arrow", "nobody", 401),
    ("GET", "/v2/models/net", "viewer", 403),
    ("POST", "/v2/models/net/infer", "viewer", 403),
    ("GET", "/v2/health/live", "rebound", 403),
    ("GET", "/v2/models/absent/ready", "owner", 404),
    ("GET", "/v2/models/net/versions/9", "owner", 404),
    ("POST", "/v2/models/absent/infer", "owner", 404),
    ("POST", "/v2/models/absent/arrow", "owner", 404),
    ("GET", "/v2/nothing", "owner", 404),
    ("GET", "/v2/models/net/infer", "owner", 405),
    ("POST", "/v2/models/net/arrow?details=perhaps", "owner", 422),
    ("POST", "/v2/models/net/arrow", "owner", 422),
    ("POST", "/v2/models/net/infer", "owner", 400),
]


@pytest.mark.parametrize(("method", "path", "who", "status"), ERRORS)
def test_every_error_has_the_protocols_own_words(
    served: Controller, viewer: dict[str, str], method: str, path: str, who: str, status: int
) -> None:
    """`$inference_error_response = {"error": $string}`, in JSON, whatever refuses; ours stay beside it."""
    asked = {
        "owner": {},
        "viewer": viewer,
        "nobody": {"Authorization": ""},
        "forged": {"Authorization": "Bearer ldk_forged"},
        "rebound": {"Host": "evil.example"},
    }[who]
    answer = served(method, path, headers=asked)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    said = answer.json()
    assert isinstance(said["error"], str)
    assert said["error"].startswith(said["detail"])
    assert (said["status"], bool(said["code"])) == (status, True)
    assert "error" not in served("GET", "/api/models/absent").json()


def test_health_is_open_and_nothing_else(served: Controller) -> None:
    nobody = {"Authorization": ""}
    assert served("GET", "/v2/health/live", headers=nobody).json() == {"live": True}
    assert served("GET", "/v2/health/ready", headers=nobody).json() == {"ready": True}
    for method, path in (("GET", "/v2"), ("GET", "/v2/models/net"), ("POST", "/v2/models/net/infer")):
        assert served(method, path, headers=nobody).status_code == 401


def test_arrow_rows_that_lack_a_feature_have_no_prediction(served: Controller) -> None:
    body = arrow_of(**{f: [0.5, None if f == "b" else 1.0] for f in FEATURES})
    answer = served("POST", "/v2/models/net/versions/1/arrow?details=true", data=body)
    found = pa.ipc.open_stream(answer.content).read_all()
    assert [v is None for v in found["predicted(y)"].to_pylist()] == [False, True]
    for broken in (b"", b"nonsense", body[:-100]):
        assert served("POST", "/v2/models/net/arrow", data=broken).status_code == 422
    missing = arrow_of(**{f: [0.5] for f in FEATURES if f != "c"})
    assert "'c'" in served("POST", "/v2/models/net/arrow", data=missing).json()["detail"]
