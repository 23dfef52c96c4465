"""What the shipped models and notebooks promise, on the recorded data where it is present."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from labdock.samples import network_flows

SHIPPED = Path(__file__).parents[2] / "notebooks"
DATA = SHIPPED / "data"
FRAUD_THRESHOLD = 0.2516  # of its card


def session(name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(DATA / f"{name}.onnx", providers=["CPUExecutionProvider"])


def scores(name: str, rows: pd.DataFrame) -> Any:
    of = session(name)
    names = of.get_modelmeta().custom_metadata_map["feature_names"].split(",")
    values = rows[names].to_numpy("float32")
    given = of.get_inputs()[0].name
    parts = [of.run(None, {given: values[i : i + 4096]})[0].ravel() for i in range(0, len(values), 4096)]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", sorted(p.stem for p in DATA.glob("*.onnx")))
def test_every_shipped_model_is_valid_of_opset_13_and_has_a_card(name: str) -> None:
    model = onnx.load(DATA / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}} == {13}
    card = (DATA / f"{name}.md").read_text()
    for word in ("Trained on", "threshold", "recall"):
        assert word.lower() in card.lower()


def test_the_cards_of_both_say_what_they_miss() -> None:
    assert "Botnet-207-1" in (DATA / "nn_botnet.md").read_text().split("**What it misses.**")[1]
    assert "uncertain" in (DATA / "credit_card_fraud.md").read_text()


@pytest.mark.parametrize("seed", [3, 301, 302])
def test_the_botnet_model_finds_the_camera_of_a_made_up_day_and_leaves_healthy_devices_alone(seed: int) -> None:
    flows = network_flows.generate(seed)
    tcp = flows[flows["transport"] == "tcp"].assign(minute=flows["_time"] // 60)
    rows = tcp.groupby(["minute", "src_ip"]).agg(
        numFlows=("src_ip", "size"),
        avgBytes=("bytes_in", "mean"),
        sumBytes=("bytes_in", "sum"),
        avgDuration=("client_rtt", "mean"),
        uniqueDstIp=("dest_ip", "nunique"),
        uniqueDstPort=("dest_port", "nunique"),
        uniqueProtocols=("protocol_stack", "nunique"),
        infected=("botnet", "max"),
    )
    said, infected = scores("nn_botnet", rows), rows["infected"].to_numpy() == 1
    assert said[infected].mean() > 0.9
    assert said[~infected].mean() < 0.09
    per_device = pd.Series(said, rows.index.get_level_values("src_ip"))
    assert per_device.groupby(level=0).sum().idxmax() == network_flows.CAMERA


@pytest.mark.data
@pytest.mark.slow
def test_the_fraud_model_keeps_its_floors_on_the_later_part(shared_data: Path) -> None:
    cards = pd.read_parquet(shared_data / "creditcard.parquet").sort_values("Time", kind="stable")
    later = cards.iloc[int(0.75 * len(cards)) :]
    found, fraud = scores("credit_card_fraud", later), later["Class"].to_numpy() == 1
    said = found > FRAUD_THRESHOLD
    assert said[fraud].mean() >= 0.80
    assert said[~fraud].mean() <= 0.007
    assert average_precision(fraud, found) >= 0.78


def average_precision(true: Any, found: Any) -> float:
    """The mean precision at each true one, from the highest score down: its definition, without ties."""
    hits = true[np.argsort(-found, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


@pytest.mark.data
@pytest.mark.slow
def test_the_network_notebook_tells_the_known_beacon_apart(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own cells, those that need no more than scikit-learn, on the recorded flows."""
    from sklearn.metrics import roc_auc_score

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABDOCK_LAB_DATA", str(shared_data))
    cells = json.loads((SHIPPED / "a_network_analysis.ipynb").read_text())["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    known: dict[str, Any] = {}
    for text in code[:4]:
        if "matplotlib" not in text:
            exec(compile(text, "a_network_analysis", "exec"), known)
    assert "decision_function" in code[3]
    assert known["bad"].sum() == 665
    assert roc_auc_score(known["bad"], -known["scores"]) >= 0.93
