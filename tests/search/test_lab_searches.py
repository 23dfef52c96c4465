"""The lab guide's searches as printed, on the lab's real data where it is present."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.search.lab_guide import HOURLY, UC1, per_minute

pytestmark = pytest.mark.data

FEATURES = ["avgBytes", "avgDuration", "numFlows", "sumBytes", "uniqueDstIp", "uniqueDstPort", "uniqueProtocols"]


@pytest.fixture
def botsv3(lab, shared_data):
    flows = pq.read_table(shared_data / "netflow_iot23.parquet")
    flows = flows.append_column("sourcetype", pa.array(["stream:" + t for t in flows["transport"].to_pylist()]))
    lab.indexes.add("botsv3", flows, pq.read_table(shared_data / "windows_security_events.parquet"))
    return flows.to_pandas()


def test_all_events(lab, botsv3, shared_data):
    windows = pq.read_metadata(shared_data / "windows_security_events.parquet").num_rows
    assert lab.table("index=botsv3").num_rows == len(botsv3) + windows


def test_per_minute_aggregation(lab, botsv3):
    found = lab.table(UC1).to_pandas()
    assert list(found.columns[2:]) == ["numFlows", "avgBytes", "sumBytes", "avgDuration", *FEATURES[4:]]
    wanted = per_minute(botsv3[botsv3["transport"] == "tcp"])
    assert found["src_ip"].tolist() == wanted["src_ip"].tolist()
    for name in wanted.columns.drop("src_ip"):
        np.testing.assert_allclose(found[name].astype(float), wanted[name].astype(float), rtol=1e-9, err_msg=name)


def test_apply_onnx_and_filter(lab, botsv3):
    lab.models.add_sum("nn_botnet", FEATURES, "botnet")
    plain = lab.table(UC1).to_pandas()
    found = lab.table(f"{UC1}\n| apply onnx:nn_botnet").to_pandas()
    complete = plain[FEATURES].notna().all(axis=1)
    wanted = plain[FEATURES].astype(np.float32).sum(axis=1).where(complete)
    np.testing.assert_allclose(found["predicted(botnet)"].astype(float), wanted, rtol=1e-5)
    filtered = lab.table(f"{UC1}\n| apply onnx:nn_botnet\n| where 'predicted(botnet)'>=1")
    assert filtered.num_rows == int((found["predicted(botnet)"] >= 1).sum())


def test_credit_card_searches(lab, shared_data):
    table = pa.Table.from_pandas(pd.read_csv(shared_data / "samples" / "creditcard_sample.csv"))
    lab.lookups.tables["credit_card_test.csv"] = table
    features = [n for n in table.column_names if n != "Class"]
    lab.models.add_sum("credit_card_fraud", features, "Class", sharing="app")
    assert lab.table("| inputlookup credit_card_test.csv").equals(table.replace_schema_metadata())
    for model, user in (("onnx:credit_card_fraud", "anna"), ("app:onnx:credit_card_fraud", "bert")):
        found = lab.table(f"| inputlookup credit_card_test.csv | apply {model} | table V* predicted(Class)", user=user)
        assert found.column_names == [*[f"V{i}" for i in range(1, 29)], "predicted(Class)"]
        wanted = table.to_pandas()[features].astype(np.float32).sum(axis=1)
        np.testing.assert_allclose(found["predicted(Class)"].to_numpy(), wanted, rtol=1e-3, atol=0.05)


def test_hourly_counts_equal_the_labs_sample(lab, botsv3, shared_data):
    found = lab.table(HOURLY).to_pandas()
    wanted = pd.read_csv(shared_data / "samples" / "windows_security_hourly_sample.csv", keep_default_na=False)
    if not pd.api.types.is_numeric_dtype(wanted["_time"]):
        wanted["_time"] = pd.to_datetime(wanted["_time"], utc=True).map(lambda t: t.timestamp())
    order = ["_time", "ComputerName", "Account_Name", "EventCode"]
    wanted = wanted[found.columns].sort_values(order).reset_index(drop=True)
    found = found.sort_values(order).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)


def test_threat_hunt_with_and_without_stage(lab, botsv3):
    fields = "_time ComputerName Account_Name EventCode count"
    fit = f"fit MLTKContainer {{}}algo=far_from_mean {fields} into app:a_threat_hunt_model"
    last = (
        "| where predicted_outlier<0 | eval predicted_outlier = abs(predicted_outlier) "
        "| stats sum(predicted_outlier) as anomaly_score by ComputerName | sort -anomaly_score"
    )
    hourly = lab.table(HOURLY).to_pandas()
    staged = lab.table(f"{HOURLY} | {fit.format('mode=stage ')}")
    pd.testing.assert_frame_equal(staged.to_pandas(), hourly)
    assert lab.environments.staged["a_threat_hunt_model"].num_rows == len(hourly)

    outlier = hourly["count"].mean() - hourly["count"]
    scores = (-outlier[outlier < 0]).groupby(hourly["ComputerName"]).sum().sort_values(ascending=False)
    for mode in ("", "mode=stage "):
        found = lab.rows(f"{HOURLY} | {fit.format(mode)} {last}")
        assert [r["ComputerName"] for r in found] == scores.index.tolist()
        assert [r["anomaly_score"] for r in found] == pytest.approx(scores.tolist())
