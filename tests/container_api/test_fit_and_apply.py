"""The main job over HTTP: fit, apply, stage, summary, models; what modules get and give."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.ipc
import pytest

from labdock.fingerprint import fingerprint

ARROW = "application/vnd.apache.arrow.stream"

MEAN = """
    import numpy as np
    import pandas as pd

    def init(df, param):
        return {"offset": 0.0}

    def fit(model, df, param):
        model["offset"] = float(df["x"].mean())
        print("mean", model["offset"])
        return {"mean": np.float64(model["offset"]), "n": len(df), "odd": object}

    def apply(model, df, param):
        return pd.DataFrame({"distance": df["x"] - model["offset"]})

    def summary(model=None):
        return {"offset": None if model is None else model["offset"]}
"""


@pytest.fixture(scope="module")
def mean(api):
    api.module("mean", MEAN)
    return api


def arrow_bytes(rows):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def table(n=4):
    return pa.table({"x": np.arange(n, dtype=float), "name": [f"h{i}" for i in range(n)]})


def test_fit_answers_the_result_of_apply_on_the_same_rows(mean):
    reply = mean.frame("fit", table(), algo="mean", model="first")
    assert reply.table.column("distance").to_pylist() == [-1.5, -0.5, 0.5, 1.5]
    info = reply.info
    assert (info["module"], info["model"], info["version"], info["rows"]) == ("mean", "first", 1, 4)
    assert info["info"]["mean"] == 1.5
    assert info["metrics"] == {"mean": 1.5, "n": 4.0}
    assert info["output"] == "mean 1.5\n"
    assert info["job"] == reply.headers["labdock-job"]


def test_apply_uses_what_fit_learnt_on_other_rows(mean):
    mean.frame("fit", table(4), algo="mean", model="applied")
    reply = mean.frame("apply", table(2), model="applied")
    assert reply.table.column("distance").to_pylist() == [-1.5, -0.5]
    assert reply.info["version"] == 1


def test_apply_selects_the_features_of_the_fit(mean):
    mean.module(
        "columns",
        """
        import pandas as pd
        def init(df, param): return param["feature_variables"]
        def fit(model, df, param): return {"seen": list(df.columns), "target": param.get("target_variables")}
        def apply(model, df, param): return pd.DataFrame({"seen": [",".join(df.columns)] * len(df)})
        """,
    )
    rows = pa.table({"a": [1], "b": [2], "c": [3], "d": [4]})
    fitted = mean.frame("fit", rows, algo="columns", model="columns", features=["c", "a"], target=["d"])
    assert fitted.info["info"] == {"seen": ["c", "a", "d"], "target": ["d"]}
    shuffled = rows.select(["d", "b", "a", "c"])
    assert mean.frame("apply", shuffled, model="columns").table.column("seen").to_pylist() == ["c,a,d"]
    without_target = rows.select(["a", "c"])
    assert mean.frame("apply", without_target, model="columns").table.column("seen").to_pylist() == ["c,a"]


def test_param_is_the_peers_meta(mean):
    mean.module(
        "echo_param",
        """
        import json
        def init(df, param): return 0
        def fit(model, df, param): return {"param": json.dumps(param)}
        def apply(model, df, param): return {"param": [json.dumps(param)] * len(df)}
        """,
    )
    options = {"algo": "echo_param", "model": "echoed", "features": ["x"], "target": ["name"]}
    reply = mean.frame("fit", table(1), **options, params={"depth": '"3"', "k": 2})
    param = json.loads(reply.info["info"]["param"])
    assert param == {
        "options": {
            "params": {"mode": "fit", "algo": "echo_param", "depth": '"3"', "k": 2},
            "args": ["x"],
            "feature_variables": ["x"],
            "target_variable": ["name"],
            "model_name": "echoed",
            "algo_name": "MLTKContainer",
            "mlspl_limits": {},
            "kfold_cv": None,
        },
        "feature_variables": ["x"],
        "target_variables": ["name"],
    }
    applied = json.loads(mean.frame("apply", table(1), model="echoed", params={"k": 5}).table["param"][0].as_py())
    assert applied["options"]["params"] == {"mode": "apply", "algo": "echo_param", "depth": '"3"', "k": 5}
    assert applied["target_variables"] == ["name"]


def test_long_options_travel_in_the_schema(mean):
    names = [f"feature_with_a_long_name_{i:05}" for i in range(5000)]
    rows = pa.table({name: [float(i)] for i, name in enumerate(reversed(names))})
    options = {"algo": "columns", "model": "wide", "features": names}
    rows = rows.replace_schema_metadata({"labdock.options": json.dumps(options)})
    headers = {"Content-Type": ARROW}
    reply = mean.request("POST", "/v1/fit", arrow_bytes(rows), headers)
    assert reply.table["seen"][0].as_py() == ",".join(names)


def test_stage_writes_what_the_notebook_reads(mean):
    rows = pa.table(
        {
            "_time": [1700000000.0, 1700003600.0, 1700007200.0],
            "ComputerName": ["a,b", 'say "x"', None],
            "EventCode": [4624, 4625, 4688],
            "big": [2**60, None, 1],
        }
    )
    features = ["EventCode", "_time", "ComputerName", "big"]
    reply = mean.frame("stage", rows, algo="mean", model="staged", features=features, params={"q": "1"})
    assert reply.status == 200, reply.body
    assert reply.json == {"model": "staged", "rows": 3, "files": [f"data/staged.{k}" for k in ("csv", "arrow", "json")]}
    data = mean.notebooks / "data"
    df = pd.read_csv(data / "staged.csv", dtype={"big": "Int64"})
    assert list(df.columns) == features
    assert df["ComputerName"].tolist()[:2] == ["a,b", 'say "x"']
    assert pd.isna(df["ComputerName"][2])
    assert df["big"].tolist() == [2**60, pd.NA, 1]
    assert df["_time"].tolist() == [1700000000.0, 1700003600.0, 1700007200.0]
    assert pyarrow.ipc.open_file(data / "staged.arrow").read_all().equals(rows.select(features))
    meta = json.loads((data / "staged.json").read_text())
    assert meta["feature_variables"] == features
    assert meta["options"]["params"] == {"mode": "stage", "algo": "mean", "q": "1"}
    assert sorted(p.name for p in data.glob("*staged*")) == ["staged.arrow", "staged.csv", "staged.json"]


def test_a_long_stage_is_written_in_halves_that_meet(mean):
    n = 50_001
    rows = pa.table({"i": np.arange(n), "s": [f"v{i}" for i in range(n)]})
    assert mean.frame("stage", rows, model="halves").status == 200
    assert pacsv.read_csv(mean.notebooks / "data" / "halves.csv").equals(rows)


def test_manifest_says_what_the_model_was_made_from(mean):
    mean.frame("fit", table(3), algo="mean", model="described", features=["x"], params={"p": "v"})
    (listed,) = [m for m in mean.request("GET", "/v1/models").json if m["model"] == "described"]
    versions = mean.request("GET", "/v1/models/described").json
    assert versions == {"name": "described", "versions": [listed]}
    assert listed["features"] == ["x"]
    assert listed["params"] == {"p": "v"}
    assert listed["rows"] == 3
    assert listed["schema"] == [{"name": "x", "type": "double", "kind": "number"}]
    assert listed["libraries"]["pandas"] == pd.__version__
    (module,) = [m for m in mean.request("GET", "/v1/modules").json if m["name"] == "mean"]
    assert listed["module_sha256"] == module["sha256"]
    assert listed["metrics"]["mean"] == 1.0


def test_an_earlier_version_is_applied_by_its_number(mean):
    for rows in (2, 4, 6):
        mean.frame("fit", table(rows), algo="mean", model="versioned")
    offsets = {}
    for version in (0, 1, 2, 3, 1):
        reply = mean.frame("apply", table(1), model="versioned", version=version)
        offsets[version] = -reply.table["distance"][0].as_py()
        assert reply.info["version"] == (version or 3)
    assert offsets == {0: 2.5, 1: 0.5, 2: 1.5, 3: 2.5}
    refused = mean.frame("apply", table(1), model="versioned", version=9)
    assert (refused.status, refused.json["code"]) == (404, "not-found")
    assert "versioned@3" in refused.json["remedy"]


def test_a_manifest_holds_the_hash_of_the_data(mean):
    sent = table(5)
    mean.frame("fit", sent, algo="mean", model="hashed")
    manifest = mean.request("GET", "/v1/models/hashed").json["versions"][0]
    assert manifest["data_sha256"] == fingerprint(sent)
    assert {"python", "pandas", "scikit-learn"} <= set(manifest["libraries"])
    assert mean.frame("apply", table(1), model="hashed").info["version"] == manifest["version"] == 1


def test_the_last_versions_are_kept_and_deletion_starts_again(mean):
    for _ in range(7):
        mean.frame("fit", table(2), algo="mean", model="many")
    versions = [m["version"] for m in mean.request("GET", "/v1/models/many").json["versions"]]
    assert versions == [7, 6, 5, 4, 3]
    assert mean.request("DELETE", "/v1/models/many").status == 204
    assert mean.request("GET", "/v1/models/many").status == 404
    assert mean.frame("apply", table(2), model="many").json["code"] == "not-found"
    assert mean.frame("fit", table(2), algo="mean", model="many").info["version"] == 1
    assert not [p for p in (mean.notebooks / "models").rglob(".*") if p.name != ".lock"]


def test_summary(mean):
    mean.frame("fit", table(3), algo="mean", model="summed")
    reply = mean.request("POST", "/v1/summary", b"", {"Labdock-Options": '{"model": "summed"}'})
    assert reply.json == {"model": "summed", "module": "mean", "summary": {"offset": 1.0}}
    reply = mean.request("POST", "/v1/summary", b"", {"Labdock-Options": '{"algo": "mean"}'})
    assert reply.json == {"model": None, "module": "mean", "summary": {"offset": None}}


@pytest.mark.parametrize(
    ("returned", "columns"),
    [
        ("pd.Series(range(n))", {"result": [0, 1, 2]}),
        ("pd.Series(range(n), name='rank')", {"rank": [0, 1, 2]}),
        ("np.arange(n)", {"result": [0, 1, 2]}),
        ("np.arange(2 * n).reshape(n, 2)", {"result_0": [0, 2, 4], "result_1": [1, 3, 5]}),
        ("{'a': [1, 2, 3], 'b': np.ones(3)}", {"a": [1, 2, 3], "b": [1.0, 1.0, 1.0]}),
        ("[1, 2, 3]", {"result": [1, 2, 3]}),
        ("pd.DataFrame(np.arange(n))", {"0": [0, 1, 2]}),
        ("pd.DataFrame({'a': [1, 2, 3]}, index=[9, 7, 5])", {"a": [1, 2, 3]}),
        ("pd.DataFrame({'s': pd.Categorical(['x', 'y', 'x'])})", {"s": ["x", "y", "x"]}),
        ("pd.DataFrame({'a': [1]})", {"a": [1]}),
    ],
)
def test_every_kind_of_result(mean, returned, columns):
    mean.module(
        "kinds",
        f"""
        import numpy as np, pandas as pd
        def init(df, param): return 0
        def fit(model, df, param): pass
        def apply(model, df, param):
            n = len(df)
            return {returned}
        """,
    )
    reply = mean.frame("fit", table(3), algo="kinds", model="kinds")
    assert reply.table.to_pydict() == columns
    rows = len(next(iter(columns.values())))
    assert reply.info["warnings"] == ([] if rows == 3 else [f"apply returned {rows} rows for 3."])


def test_csv_in_and_out(mean):
    mean.frame("fit", table(4), algo="mean", model="csv")
    body = b'name,x\n"a,b",1.5\n,2\n'
    reply = mean.frame("apply", body=body, content_type="text/csv", headers={"Accept": "text/csv"}, model="csv")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/csv")
    assert reply.body == b'"distance"\n0\n0.5\n'
    assert json.loads(reply.headers["labdock-info"])["version"] == 1


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_frames(mean, codec):
    rows = table(1000)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(rows)
    reply = mean.frame("fit", body=sink.getvalue().to_pybytes(), algo="mean", model="compressed")
    assert reply.info["info"]["n"] == 1000


def test_a_spooled_frame_is_taken_and_its_name_is_gone(mean):
    path = mean.run / "spool" / "left-by-the-door"
    path.write_bytes(arrow_bytes(table(3)))
    reply = mean.frame("fit", headers={"Labdock-Spool": path.name}, algo="mean", model="spooled")
    assert reply.info["info"]["n"] == 3
    assert not path.exists()


def test_an_empty_frame_is_refused_by_fit_and_passes_apply(mean):
    reply = mean.frame("fit", table(0), algo="mean", model="empty")
    assert (reply.status, reply.json["code"]) == (422, "invalid-frame")
    mean.frame("fit", table(2), algo="mean", model="empty")
    assert mean.frame("apply", table(0), model="empty").table.num_rows == 0


def test_an_all_null_column_passes(mean):
    rows = pa.table({"x": [1.0, 2.0], "nothing": pa.nulls(2), "no_text": pa.nulls(2, pa.string())})
    assert mean.frame("fit", rows, algo="mean", model="nulls").info["info"]["n"] == 2


def test_apply_with_a_modules_own_load_and_no_manifest(mean):
    """What a notebook saved by itself, before any fit came through the API."""
    mean.module(
        "own",
        """
        import json
        import pandas as pd
        MODEL_DIRECTORY = "/srv/app/model/data/"
        def init(df, param): return {"k": 0}
        def fit(model, df, param): model["k"] = int(df["x"].sum())
        def save(model, name):
            with open(MODEL_DIRECTORY + name + ".json", "w") as file:
                json.dump(model, file)
            return model
        def load(name):
            with open(MODEL_DIRECTORY + name + ".json") as file:
                return json.load(file)
        def apply(model, df, param): return pd.DataFrame({"k": [model["k"]] * len(df)})
        """,
    )
    folder = mean.notebooks / "modules" / "data"
    folder.mkdir(exist_ok=True)
    saved = folder / "own_by_hand.json"
    saved.write_text('{"k": 41}')
    assert mean.frame("apply", table(1), algo="own", model="by_hand").table["k"].to_pylist() == [41]
    saved.write_text('{"k": 421}')
    assert mean.frame("apply", table(1), algo="own", model="by_hand").table["k"].to_pylist() == [421]
    fitted = mean.frame("fit", table(4), algo="own", model="by_hand")
    assert fitted.table["k"].to_pylist() == [6] * 4
    assert json.loads(saved.read_text()) == {"k": 6}
    saved.write_text('{"k": 7777}')  # saved again from the notebook
    assert mean.frame("apply", table(1), model="by_hand").table["k"].to_pylist() == [7777]


def test_needs_are_checked_before_training(mean):
    mean.module(
        "needy",
        """
        import pathlib
        needs = {"bytes": "number", "host": "text", "when": "time", "flag": "boolean"}
        def init(df, param): pathlib.Path("trained").touch()
        def fit(model, df, param): pass
        def apply(model, df, param): return df
        """,
    )
    wrong = pa.table({"bytes": ["1"], "hosts": ["a"], "when": [1.5], "flag": [True]})
    reply = mean.frame("fit", wrong, algo="needy", model="needy")
    assert (reply.status, reply.json["code"]) == (422, "invalid-frame")
    assert "'bytes' is text, not number" in reply.json["detail"]
    assert "'host' is missing (did you mean 'hosts'?)" in reply.json["detail"]
    assert "when" not in reply.json["detail"]
    assert not (mean.notebooks / "trained").exists()


def test_repeated_apply_never_loads_again(mean):
    mean.module(
        "counted",
        """
        import pathlib
        class Model:
            def __setstate__(self, state):
                with open("loads", "a") as file: file.write("x")
        def init(df, param): return Model()
        def fit(model, df, param): pass
        def apply(model, df, param): return df
        """,
    )
    mean.frame("fit", table(1), algo="counted", model="counted")
    for _ in range(20):
        mean.frame("apply", table(1), model="counted")
    loads = mean.notebooks / "loads"
    assert not loads.exists() or len(loads.read_text()) <= 1
    loads.unlink(missing_ok=True)


def test_a_saved_module_is_used_by_the_next_apply(mean):
    """Both workers have the old code warm; neither may answer with it."""
    for value in range(12):
        mean.module(
            "edited",
            f"""
            import pandas as pd
            def init(df, param): return 0
            def fit(model, df, param): pass
            def apply(model, df, param): return pd.DataFrame({{"v": [{value}] * len(df)}})
            """,
        )
        if value == 0:
            mean.frame("fit", table(1), algo="edited", model="edited")
        for _ in range(4):
            assert mean.frame("apply", table(1), model="edited").table["v"].to_pylist() == [value]


def test_health_needs_no_token_and_everything_else_does(mean):
    assert mean.request("GET", "/health", token=None).json["status"] == "ok"
    for method, path in [
        ("POST", "/v1/fit"),
        ("POST", "/v1/apply"),
        ("POST", "/v1/stage"),
        ("POST", "/v1/summary"),
        ("GET", "/v1/modules"),
        ("POST", "/v1/modules/mean/export"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/first"),
        ("DELETE", "/v1/models/first"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/x"),
        ("GET", "/v1/jobs/x/result"),
        ("GET", "/v1/jobs/x/events"),
        ("DELETE", "/v1/jobs/x"),
        ("GET", "/v1/activity"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
    ]:
        for token in (None, "wrong", mean.token[:-1], mean.token + "x", f"x{mean.token}"):
            reply = mean.request(method, path, token=token)
            assert (reply.status, reply.json["code"]) == (401, "unauthenticated"), (method, path, token)
            assert reply.headers["www-authenticate"] == "Bearer"
        assert mean.request(method, path).status != 401


def test_metrics_count_tasks(mean):
    before = mean.request("GET", "/metrics").body.decode()
    mean.frame("fit", table(1), algo="mean", model="measured")
    after = mean.request("GET", "/metrics").body.decode()

    def done(text):
        line = next(
            (x for x in text.splitlines() if x.startswith('labdock_tasks_total{kind="fit",status="done"}')), "0"
        )
        return float(line.split()[-1])

    assert done(after) == done(before) + 1
    assert "labdock_workers 2.0" in after


def test_activity(mean):
    mean.frame("fit", table(1), algo="mean", model="active")
    first = mean.request("GET", "/v1/activity").json
    assert first["kernels"] == 0
    assert first["last_kernel_activity"] is None
    assert mean.request("GET", "/v1/activity").json["last_request"] == first["last_request"]


def test_the_socket_and_the_spool_are_private(mean):
    assert mean.socket.stat().st_mode & 0o777 == 0o600
    assert (mean.run / "spool").stat().st_mode & 0o777 == 0o700
    assert list((mean.run / "spool").iterdir()) == []
    assert Path(f"/proc/{mean.process.pid}/fd").exists()
