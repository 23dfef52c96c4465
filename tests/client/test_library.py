"""The library against a real controller and a real environment."""

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import labdock
from labdock import FittedModel, Job
from labdock.environment import Environment
from labdock.lab import Lab

FRAME = pd.DataFrame(
    {"a": [1.0, 2.0, 6.0], "b": [4, 5, 6], "who": ["x", "y", None]},
    index=pd.Index(["first", "second", "third"], name="row"),
)


def test_a_fit_gives_a_model_with_what_came_of_it(env: Environment) -> None:
    model = env.fit(FRAME, algo="means", features=["a"], into="app:fitted")
    assert isinstance(model, FittedModel)
    assert model.info == {"mean": 3.0, "rows": 3}
    assert model.metrics == {"mean": 3.0, "rows": 3.0}
    assert model.output == "the mean is 3.0\n"
    assert (model.name, model.sharing, model.features, model.target) == ("fitted", "app", ["a"], [])
    assert model.duration > 0
    assert model.warnings == []
    assert "fitted version" in repr(model)
    pd.testing.assert_frame_equal(model.predictions, pd.DataFrame({"outlier": [-2.0, -1.0, 3.0]}, index=FRAME.index))
    assert model.predictions.attrs["labdock"]["module"] == "means"
    assert model.summary() == {"mean": 3.0}
    again = model.apply(pd.DataFrame({"a": [3.0], "more": ["never sent"]}, index=[7]))
    pd.testing.assert_frame_equal(again, pd.DataFrame({"outlier": [0.0]}, index=[7]))


def test_the_answer_is_of_the_callers_kind(env: Environment, tmp_path: Path) -> None:
    env.fit(FRAME, algo="means", features="a", into="kinds")
    data = {"a": [3.0, 4.0]}
    assert env.apply(pl.DataFrame(data), "kinds").equals(pl.DataFrame({"outlier": [0.0, 1.0]}))
    assert env.apply(pa.table(data), "kinds").equals(pa.table({"outlier": [0.0, 1.0]}))
    assert env.apply(data, "kinds")["outlier"].tolist() == [0.0, 1.0]
    (tmp_path / "t.csv").write_text("a\n3\n4\n")
    from_file = env.apply(tmp_path / "t.csv", "kinds")
    assert isinstance(from_file, pd.DataFrame)
    assert from_file["outlier"].tolist() == [0.0, 1.0]


def test_features_may_be_wildcards_and_leave_the_target_out(env: Environment) -> None:
    frame = pd.DataFrame({"V1": [1.0, 2], "V2": [0.0, 1], "Class": [3.0, 5.0]})
    model = env.fit(frame, algo="linear", features=["V*"], target="Class", into="wild")
    assert (model.features, model.target) == (["V1", "V2"], ["Class"])
    np.testing.assert_allclose(model.predictions["estimate"], frame["Class"])
    rest = env.fit(frame, algo="linear", target="Class", into="rest")
    assert rest.features == ["V1", "V2"]


def test_params_reach_the_module(env: Environment) -> None:
    env.fit(FRAME, algo="means", features="a", into="scaled", params={"scale": 10})
    assert env.apply({"a": [4.0]}, "scaled")["outlier"].tolist() == [10.0]
    assert env.apply({"a": [4.0]}, "scaled", params={"scale": 2})["outlier"].tolist() == [2.0]


def test_five_thousand_features_pass(env: Environment, lab: Lab) -> None:
    wide = pd.DataFrame(np.zeros((2, 5000)), columns=[f"a_rather_long_name_of_a_field_{i}" for i in range(5000)])
    model = env.fit(wide, algo="means", features=list(wide.columns), into="app:wide")
    assert model.features == list(wide.columns)
    record = lab.models.get("app:wide")
    assert record.features == list(wide.columns)
    assert record.sharing == "app"


def test_staging_writes_the_three_files(env: Environment, controller: Any) -> None:
    staged = env.stage(FRAME, into="app:staged", algo="means", features=["b", "a"])
    assert (staged.model, staged.rows) == ("staged", 3)
    assert sorted(staged.files) == ["data/staged.arrow", "data/staged.csv", "data/staged.json"]
    folder = controller.notebooks(env)
    rows = pd.read_csv(folder / "data" / "staged.csv")
    pd.testing.assert_frame_equal(rows, FRAME[["b", "a"]].reset_index(drop=True), check_dtype=False)
    meta = json.loads((folder / "data" / "staged.json").read_text())
    assert meta["options"]["params"]["algo"] == "means"
    assert meta["feature_variables"] == ["b", "a"]


def test_models_are_listed_found_and_removed(env: Environment, lab: Lab) -> None:
    for _ in range(2):
        env.fit(FRAME, algo="means", features="a", into="listed")
    record = lab.models.get("listed")
    assert "listed" in [m.name for m in lab.models]
    assert [v["version"] for v in record.versions] == [2, 1]
    assert record.version["module"] == "means"
    assert record.environment.name == "__dev__"
    assert record.apply({"a": [5.0]})["outlier"].tolist() == [2.0]
    record.delete()
    with pytest.raises(labdock.NotFound):
        lab.models.get("listed")
    with pytest.raises(labdock.NotFound):
        env.apply({"a": [1.0]}, "listed")


def test_a_fit_that_is_not_waited_for_is_a_job(env: Environment, tmp_path: Path) -> None:
    params = {"seconds": 0.3, "trace": str(tmp_path / "trace")}
    job = env.fit(FRAME, algo="slow", into="later", params=params, wait=False)
    assert isinstance(job, Job)
    assert job.record["kind"] == "fit"
    kinds = [event.kind for event in job.events()]
    assert {"log", "progress", "status"} <= set(kinds)
    model = job.result()
    assert model.info == {"slept": 0.3}
    assert list(model.predictions.index) == list(FRAME.index)
    assert job.done
    assert job.error is None
    assert job.id in [j.id for j in env.jobs()]
    found = env.job(job.id)
    assert found.status == "done"
    assert found.result().info == {"slept": 0.3}


def test_a_job_can_be_cancelled(env: Environment, tmp_path: Path) -> None:
    params = {"seconds": 60, "trace": str(tmp_path / "trace")}
    job = env.fit(FRAME, algo="slow", into="never", params=params, wait=False)
    job.cancel()
    assert job.refresh().status == "cancelled"
    with pytest.raises(labdock.LabdockError):
        job.result()


def test_a_failing_module_says_where(env: Environment) -> None:
    with pytest.raises(labdock.ModuleError) as caught:
        env.fit(FRAME, algo="broken", into="broken")
    error = caught.value
    assert "ZeroDivisionError" in str(error)
    assert (error.details["module"], error.details["function"]) == ("broken", "fit")
    assert "1 / 0" in error.details["traceback"]
    job = next(j for j in env.jobs() if j.record["module"] == "broken")
    assert type(job.error) is labdock.ModuleError


def test_a_fit_of_another_client_can_be_fetched(env: Environment) -> None:
    model = env.fit(FRAME, algo="means", features="a", into="other")
    again = env.job(model.job).result()
    assert isinstance(again, FittedModel)
    assert again.info == model.info
    assert again.predictions["outlier"].tolist() == model.predictions["outlier"].tolist()


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda e: e.fit(FRAME, algo="meens"), labdock.NotFound, "Did you mean 'means'?"),
        (lambda e: e.fit(FRAME, algo="means", features=["A"]), labdock.InvalidFrame, "Did you mean 'a'?"),
        (lambda e: e.fit(FRAME, algo="means", features="q*"), labdock.InvalidFrame, "no column 'q*'"),
        (
            lambda e: e.fit(FRAME, algo="linear", features="a", target="a"),
            labdock.InvalidFrame,
            "feature and the target",
        ),
        (lambda e: e.fit(FRAME, algo="means", into="../x"), labdock.InvalidName, "is not a name for a model"),
        (lambda e: e.fit(FRAME, algo=""), labdock.InvalidOptions, "algo"),
        (lambda e: e.fit(FRAME[:0], algo="means", features="a"), labdock.InvalidFrame, "no rows"),
        (lambda e: e.fit(42, algo="means"), labdock.InvalidFrame, "is not a table"),
        (lambda e: e.fit("missing.csv", algo="means"), labdock.NotFound, "no file"),
        (lambda e: e.apply(FRAME, "nope"), labdock.NotFound, "no model named 'nope'"),
        (lambda e: e.summary("nope"), labdock.NotFound, "nope"),
        (lambda e: e.job("nope"), labdock.NotFound, "no job"),
        (lambda e: e.lab.environments.get("__dve__"), labdock.NotFound, "Did you mean '__dev__'?"),
        (lambda e: e.lab.models.get("nope"), labdock.NotFound, "nope"),
        (lambda e: e.lab.environments.start("a/b"), labdock.InvalidName, "environment"),
        (lambda e: e.lab.environments.start("__dev__", mode="prod"), labdock.Conflict, "__dev__"),
    ],
)
def test_mistakes_are_named_with_a_remedy(env: Environment, call: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        call(env)
    assert says in str(caught.value)
    assert caught.value.remedy  # type: ignore[attr-defined]


def test_starting_what_runs_gives_it(lab: Lab, env: Environment) -> None:
    again = lab.environments.start("__dev__")
    assert again.record["id"] == env.record["id"]
    assert again.status == "running"
    assert lab.environments.only().name == "__dev__"
    assert [e.name for e in lab.environments] == ["__dev__"]


def test_an_environment_survives_copies_and_pickles(env: Environment) -> None:
    import copy

    assert copy.deepcopy(env) is env
    assert pickle.loads(pickle.dumps(env)).record["id"] == env.record["id"]


def test_modules_logs_and_links(env: Environment, lab: Lab) -> None:
    modules = {m["name"]: m for m in env.modules()}
    assert {"means", "linear", "slow"} <= modules.keys()
    assert set(modules["means"]["functions"]) == {"init", "fit", "apply", "summary"}
    assert "Started server process" in env.logs(1000)
    assert len(env.logs(1).splitlines()) == 1
    assert env.jupyter_url.startswith("http://127.0.0.1:")
    assert lab.me()["user"] == "admin"


def test_one_lab_serves_many_threads(env: Environment) -> None:
    for i in range(8):
        env.fit({"a": [float(i)]}, algo="means", into=f"thread_{i}")
    failures: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for k in range(10):
                assert env.apply({"a": [float(k)]}, f"thread_{i}")["outlier"].tolist() == [float(k - i)]
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_following_logs_shows_new_lines(env: Environment) -> None:
    env.fit(FRAME, algo="means", features="a", into="followed")
    lines = env.follow(tail=0)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(next(line for line in lines if "model=followed" in line)))
    reader.start()
    while reader.is_alive():  # the reader may have connected after the first of these
        env.apply({"a": [1.0]}, "followed")
        reader.join(0.2)
    lines.close()  # type: ignore[attr-defined]
    assert "means" in seen[0]
