"""fit, apply, summary, listmodels, deletemodel."""

import pyarrow as pa
import pytest

from labdock.errors import LimitExceeded, NotFound, SearchError

DATA = '| makeresults format=csv data="host,count,x1,x2\na,1,10,1\nb,3,20,\nc,8,30,3"'
FIT = f"{DATA} | fit MLTKContainer algo=far_from_mean count into app:m"


def test_fit_adds_predicted_columns(lab):
    assert lab.rows(f"{FIT} | table host predicted_outlier") == [
        {"host": "a", "predicted_outlier": 3.0},
        {"host": "b", "predicted_outlier": 1.0},
        {"host": "c", "predicted_outlier": -4.0},
    ]


def test_as_names_the_columns(lab):
    assert list(lab.rows(f"{FIT} as score")[0])[-1] == "score_outlier"


@pytest.mark.parametrize(
    "arguments",
    [
        'MLTKContainer algo=far_from_mean epochs=5 name="x y" host from count x* into app:m',
        'MLTKContainer host from count x* into app:m algo=far_from_mean epochs=5 name="x y"',
        'MLTKContainer epochs=5 host from algo=far_from_mean count, x1, x2 name="x y" into app:m',
    ],
)
def test_options_anywhere_wildcards_and_target(lab, arguments):
    lab.rows(f"{DATA} | fit {arguments}")
    sent = lab.environments.options[0]
    assert (sent.algo, sent.model) == ("far_from_mean", "m")
    assert (sent.features, sent.target) == (["count", "x1", "x2"], ["host"])
    assert sent.params == {"epochs": "5", "name": '"x y"'}


def test_only_stage_stages(lab):
    found = lab.rows(f"{DATA} | fit MLTKContainer mode=stage algo=far_from_mean count x1 into app:m")
    assert list(found[0]) == ["host", "count", "x1", "x2"]
    assert lab.environments.staged["m"].column_names == ["count", "x1"]
    assert not lab.environments.fitted
    messages = lab.messages(f"{DATA} | fit MLTKContainer mode=stage algo=far_from_mean count")
    assert messages == ["3 rows staged: data/default.csv."]


def test_unknown_modes_are_errors(lab):
    with pytest.raises(SearchError, match="Unknown mode 'staeg'") as caught:
        lab.rows(f"{DATA} | fit MLTKContainer mode=staeg algo=far_from_mean count")
    assert caught.value.details["nearest"] == "stage"
    assert not lab.environments.staged


def test_predictions_after_staging_alone_say_what_to_run(lab):
    stage = f"{DATA} | fit MLTKContainer mode=stage algo=far_from_mean count into app:m"
    with pytest.raises(SearchError) as caught:
        lab.rows(f"{stage} | where predicted_outlier<0")
    assert "fit MLTKContainer algo=far_from_mean" in caught.value.remedy
    assert caught.value.details["command"] == "where"
    lab.rows(FIT)
    assert lab.column(f"{stage} | where predicted_outlier<0", "host") == ["c"]


def test_mode_apply_does_not_train(lab):
    lab.rows(FIT)
    lab.environments.options.clear()
    found = lab.rows("| makeresults | eval count=14 | fit MLTKContainer mode=apply algo=far_from_mean count into app:m")
    assert found[0]["predicted_outlier"] == -10.0
    assert not lab.environments.options


def test_apply_a_module(lab):
    lab.rows(FIT)
    assert lab.column("| makeresults | eval count=5 | apply app:m as far", "far_outlier") == [-1.0]


def test_missing_features_name_the_nearest_field(lab):
    with pytest.raises(SearchError, match="'cuont'") as caught:
        lab.rows(f"{DATA} | fit MLTKContainer algo=far_from_mean cuont")
    assert caught.value.details["nearest"] == "count"
    lab.models.add_sum("s", ["x1", "hosts", "counts"], "t")
    with pytest.raises(SearchError, match="'hosts', 'counts' are missing") as caught:
        lab.rows(f"{DATA} | apply onnx:s")
    assert caught.value.details["nearest"] == "host"
    assert caught.value.details["missing"] == ["hosts", "counts"]


def test_unknown_models_and_modules(lab):
    lab.models.add_sum("nn_botnet", ["x1"], "t")
    with pytest.raises(NotFound) as caught:
        lab.rows(f"{DATA} | apply onnx:nn_botnte")
    assert caught.value.details["nearest"] == "nn_botnet"
    assert caught.value.details["position"] == len(f"{DATA} | apply ")
    with pytest.raises(NotFound):
        lab.rows(f"{DATA} | fit MLTKContainer algo=nosuch count")
    with pytest.raises(SearchError, match="not a name"):
        lab.rows(f"{DATA} | apply ../x")


def test_onnx_predictions_and_null_features(lab):
    lab.models.add_sum("s", ["x1", "x2"], "t")
    assert lab.rows(f"{DATA} | apply onnx:s | table host predicted(t)") == [
        {"host": "a", "predicted(t)": 11.0},
        {"host": "b", "predicted(t)": None},
        {"host": "c", "predicted(t)": 33.0},
    ]
    assert lab.messages(f"{DATA} | apply onnx:s") == ["1 rows lack a feature of 's' and have no prediction."]
    assert lab.rows(f"{DATA} | apply onnx:s as y | stats sum(y)") == [{"sum(y)": 44.0}]


def test_onnx_on_texts_and_many_batches(lab):
    lab.models.add_sum("s", ["n", "m"], "t")
    found = lab.rows(
        '| makeresults count=200000 | streamstats count as n | eval m="0.5" | apply onnx:s'
        " | stats sum(predicted(t)) as t count"
    )
    assert found == [{"t": pytest.approx(200_000 * 200_001 / 2 + 100_000), "count": 200_000}]


def test_onnx_before_commands_that_look_twice(lab):
    lab.models.add_sum("s", ["count", "x1"], "t")
    made = f"{DATA} | apply onnx:s"
    assert lab.rows(f"{made} | chart sum(predicted(t)) as p over host by x1")[0] == {
        "host": "a",
        "10": 11.0,
        "20": None,
        "30": None,
    }
    assert len(lab.rows(f"{made} | append [| makeresults] | eventstats count as n")) == 4


def test_app_models_only_with_app(lab):
    lab.models.add_sum("mine", ["x1"], "t", owner="anna")
    lab.models.add_sum("ours", ["x1"], "t", owner="anna", sharing="app")
    assert len(lab.rows(f"{DATA} | apply onnx:mine")) == 3
    assert len(lab.rows(f"{DATA} | apply app:onnx:ours", user="bert")) == 3
    for model, user in (("app:onnx:mine", "anna"), ("onnx:mine", "bert")):
        with pytest.raises(NotFound):
            lab.rows(f"{DATA} | apply {model}", user=user)


def test_listing_summary_and_deletion(lab):
    lab.models.add_sum("s", ["x1"], "t")
    lab.rows(FIT)
    assert lab.column("| listmodels", "name") == ["m", "s"]
    facts = {r["name"]: r["value"] for r in lab.rows("| summary app:m")}
    assert facts["features"] == '["count"]'
    assert facts["summary.algo"] == "far_from_mean"
    lab.rows("| deletemodel onnx:s")
    assert lab.column("| listmodels", "name") == ["m"]
    with pytest.raises(NotFound):
        lab.rows("| deletemodel onnx:s")


def test_limits_are_named(make_lab):
    lab = make_lab(max_inputs=2)
    with pytest.raises(LimitExceeded) as caught:
        lab.rows(FIT)
    assert caught.value.details["setting"] == "max_inputs"


def test_fields_keep_their_values_on_the_way(lab):
    table = pa.table({"count": [1, 2], "big": [2**60, -1], "s": ["007", 'a "b",\n–'], "n": [1.5, None]})
    lab.lookups.tables["t"] = table
    found = lab.table("| inputlookup t | fit MLTKContainer algo=far_from_mean count s")
    assert found.select(table.column_names).equals(table)
    assert lab.environments.options[0].features == ["count", "s"]
