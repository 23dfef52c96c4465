"""The peer's endpoints, byte for byte: what its clients send and read."""

import json

import pandas as pd
import pyarrow.ipc
import pytest

THREAT = """
import json
import pandas as pd
from sklearn.ensemble import IsolationForest

MODEL_DIRECTORY = "/srv/app/model/data/"

def stage(name):
    with open("data/" + name + ".csv", "r") as f:
        df = pd.read_csv(f)
    with open("data/" + name + ".json", "r") as f:
        param = json.load(f)
    return df, param

def init(df, param):
    return {"offset": 0}

def fit(model, df, param):
    model["offset"] = int(df[param["feature_variables"][0]].iloc[0])
    return {"message": "model trained"}

def apply(model, df, param):
    return pd.DataFrame({"outlier": df["count"] - model["offset"], "half": df["count"] / 2, "text": 'say "a,b"'})

def save(model, name):
    with open(MODEL_DIRECTORY + name + ".json", "w") as file:
        json.dump(model, file)
    return model

def load(name):
    with open(MODEL_DIRECTORY + name + ".json", "r") as file:
        return json.load(file)

def summary(model=None):
    return {"version": "1.0", "summary": str(model)}
"""

DATA = 'count,name\n3,"a,b"\n5,\n'


@pytest.fixture(scope="module")
def peer(start_api):
    return start_api(prepare=lambda api: api.module("threat", THREAT))


def meta(model="m", mode=None, algo='"threat"', **more):
    params = {"algo": algo, **({"mode": mode} if mode else {})}
    options = {
        "params": params,
        "args": ["count"],
        "feature_variables": ["count"],
        "model_name": model,
        "algo_name": "MLTKContainer",
        "mlspl_limits": {},
        "kfold_cv": None,
    }
    return {"options": options, "feature_variables": ["count"], **more}


def post(api, path, data=DATA, **how):
    body = json.dumps({"data": data, "meta": meta(**how)}).encode()
    return api.request("POST", path, body, {"Content-Type": "application/json"})


def test_fit(peer):
    reply = post(peer, "/fit")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == (
        rb'{"status":"success","message":"/fit done successfully",'
        rb'"results":"outlier,half,text\n0,1.5,\"say \"\"a,b\"\"\"\n2,2.5,\"say \"\"a,b\"\"\"\n"}'
    )
    assert (peer.notebooks / "modules" / "data" / "threat_m.json").read_text() == '{"offset": 3}'


def test_apply(peer):
    post(peer, "/fit")
    reply = post(peer, "/apply", data="name,count\nx,10\n")
    assert reply.body == (
        rb'{"status":"success","message":"/apply done successfully",'
        rb'"results":"outlier,half,text\n7,5.0,\"say \"\"a,b\"\"\"\n"}'
    )


def test_a_model_fitted_by_the_peer_applies_natively_and_the_other_way_round(peer):
    import pyarrow as pa

    post(peer, "/fit", model="both")
    native = peer.frame("apply", pa.table({"count": [4]}), model="both")
    assert native.table["outlier"].to_pylist() == [1]
    peer.frame("fit", pa.table({"count": [100]}), algo="threat", model="both")
    assert json.loads(post(peer, "/apply", model="both").body)["results"].splitlines()[1].startswith("-97,")


def test_stage(peer):
    reply = post(peer, "/fit", model="app:staged", mode='"stage"')
    assert reply.body == (
        b'{"status":"staged","message":"Model data staged successfully in /srv/notebooks/data/staged.csv'
        b' - no model was built yet."}'
    )
    data = peer.notebooks / "data"
    assert (data / "staged.csv").read_bytes() == b'count,name\n3,"a,b"\n5,\n'
    assert json.loads((data / "staged.json").read_bytes()) == meta(model="app:staged", mode='"stage"')
    staged = pyarrow.ipc.open_file(data / "staged.arrow").read_all()
    assert staged.to_pydict() == {"count": [3, 5], "name": ["a,b", None]}


def test_without_a_model_name_it_is_default(peer):
    what = meta(mode="stage")
    del what["options"]["model_name"]
    body = json.dumps({"data": DATA, "meta": what}).encode()
    assert b"/srv/notebooks/data/default.csv" in peer.request("POST", "/fit", body).body
    assert (peer.notebooks / "data" / "default.csv").exists()


def test_numbers_and_text_are_pandas_own(peer):
    """Whatever pandas writes, in its own words: floats, booleans, missing values, Unicode that stays Unicode."""
    peer.module(
        "echo",
        "def init(df, param): return 0\ndef fit(m, df, p): pass\ndef apply(m, df, p): return df\n",
    )
    data = "a,b,c,d\n0.1,True,\u00e9\u4e2d,1\n1e-7,False,,\n1e300,True,x,3\n"
    expected = pd.read_csv(__import__("io").StringIO(data)).to_csv(index=False)
    reply = post(peer, "/fit", data=data, algo="echo", model="echo")
    assert json.loads(reply.body)["results"] == expected
    assert "\u00e9\u4e2d".encode() in reply.body


@pytest.mark.parametrize("path", ["/fit", "/apply"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": "a\\n1\\n"}', b'{"meta": {}}', b"\xff"])
def test_what_is_no_request_is_answered_in_the_peers_words(peer, path, body):
    reply = peer.request("POST", path, body, {"Content-Type": "application/json"})
    assert reply.status == 200
    assert reply.json["status"] == "error"
    assert reply.json["message"].startswith(f"{path}: ERROR: ")
    assert list(reply.json) == ["status", "message"]
    if body:
        assert "unable to parse json from POST data. Provide a JSON object with structure" in reply.json["message"]


def failing(api, function, line="raise RuntimeError('boom')"):
    source = THREAT.replace("def summary", "def unused_summary")
    begin = source.index(f"def {function}(")
    end = source.index(":\n", begin) + 2
    api.module("failing", source[:end] + f"    {line}\n" + source[end:])


@pytest.mark.parametrize(
    ("function", "step"),
    [
        ("init", "unable to initialize module. "),
        ("fit", "unable to fit model. "),
        ("save", "unable to save model. "),
        ("apply", "unable to apply model. "),
    ],
)
def test_each_step_of_fit_that_fails_is_named_as_the_peer_does(peer, function, step):
    failing(peer, function)
    reply = post(peer, "/fit", algo="failing", model="failing")
    assert (reply.status, reply.json["status"]) == (200, "error")
    assert reply.json["message"].startswith(f"/fit: ERROR: {step}Ended with exception: ")
    assert "boom" in reply.json["message"]


def test_each_step_of_apply_that_fails_is_named_as_the_peer_does(peer):
    failing(peer, "load")
    reply = post(peer, "/apply", algo="failing", model="absent")
    assert reply.json["message"].startswith("/apply: ERROR: unable to initialize module. Ended with exception: ")
    reply = post(peer, "/apply", algo="nowhere")
    assert reply.json["message"].startswith("/apply: ERROR: unable to initialize module. Ended with exception: ")
    reply = post(peer, "/fit", algo="nowhere")
    assert reply.json["message"].startswith("/fit: ERROR: unable to load algo code from module. Ended with exception: ")
    post(peer, "/fit", algo="threat", model="applied")
    failing(peer, "apply")
    peer.module("threat_apply", THREAT)
    post(peer, "/fit", algo="threat_apply", model="x")
    peer.module(
        "threat_apply", THREAT.replace("def apply(model, df, param):", "def apply(model, df, param):\n    1 / 0")
    )
    reply = post(peer, "/apply", algo="threat_apply", model="x")
    assert reply.json["message"].startswith("/apply: ERROR: unable to apply model. Ended with exception: ")


@pytest.mark.parametrize("line", ["import os; os._exit(1)", "raise SystemExit(2)"])
def test_a_crash_is_an_answer_too(peer, line):
    failing(peer, "fit", line)
    reply = post(peer, "/fit", algo="failing", model="failing")
    assert reply.status == 200
    assert reply.json["message"].startswith("/fit: ERROR: ")


@pytest.mark.parametrize("name", ["../x", "a/b", "a\0", "x" * 300])
def test_hostile_names(peer, name):
    for mode in (None, "stage"):
        assert post(peer, "/fit", model=name, mode=mode).json["status"] == "error"
        assert post(peer, "/fit", algo=name, mode=mode if mode is None else None).json["status"] == "error"
    assert not (peer.notebooks / "x.csv").exists()


@pytest.mark.parametrize("path", ["/", "/summary"])
def test_summary_is_a_json_string_of_json(start_api, path):
    fresh = start_api(prepare=lambda api: api.module("threat", THREAT))
    reply = fresh.request("GET", path)
    assert reply.headers["content-type"] == "application/json"
    text = json.loads(reply.body)
    assert isinstance(text, str)
    assert json.loads(text) == {"app": "Labdock", "version": "0.1.0", "model": "no model exists", "token": "valid"}
    post(fresh, "/fit", model="summed")
    answer = json.loads(json.loads(fresh.request("GET", path).body))
    assert answer["model"] == "{'offset': 3}"
    assert answer["model_summary"] == {"version": "1.0", "summary": "{'offset': 3}"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/fit"), ("POST", "/apply"), ("GET", "/"), ("GET", "/summary"), ("GET", "/graphics/a")],
)
def test_the_token_is_compared_whole(peer, method, path):
    for token, detail in [
        (None, b"No header with token"),
        ("wrong", b"Invalid token"),
        (f"x{peer.token}", b"Invalid token"),
        (peer.token + peer.token, b"Invalid token"),
    ]:
        reply = peer.request(method, path, token=token)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.body == b'{"detail":"' + detail + b'"}'


def test_graphics(peer):
    folder = peer.notebooks / "graphics"
    (folder / "deep").mkdir(parents=True)
    (folder / "plot.png").write_bytes(b"\x89PNG")
    (folder / "deep" / "page.html").write_text("<script>1</script>")
    (folder / "link.png").symlink_to(peer.run / "token")
    (folder / "out").symlink_to(peer.run)
    reply = peer.request("GET", "/graphics/plot.png")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"\x89PNG", "image/png")
    page = peer.request("GET", "/graphics/deep/page.html")
    assert page.headers["content-security-policy"] == "sandbox"
    for path in ("link.png", "out/token", "../notebooks/x", "%2e%2e/%2e%2e/run/token", "deep", "absent", "", "a//b"):
        assert peer.request("GET", f"/graphics/{path}").status == 404, path
