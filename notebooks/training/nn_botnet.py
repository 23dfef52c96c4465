"""How `data/nn_botnet.onnx` was trained: `python notebooks/training/nn_botnet.py ../shared/data`.

One row is one source address in one minute of TCP flows, with the lab's seven features; the target is whether that
source is an infected device (`max(src_infected)`). Three small networks (16-8, one seed each, their scores averaged) on
clipped, standardised logarithms, weighted so that both classes count alike and large captures less than their size.
The graph holds the scaling and gives integer labels.

One capture is not trained on, but always tested on: a six-hour beacon of one long connection now and then. In these
seven features that is what any healthy device does that reports home; a model that learned it flagged half of the
healthy minutes of such devices, and still missed the beacon when it had not seen it.

The quality is that on malware that was not seen: each malware family is left out in turn. What was reached stands in
`data/nn_botnet.md`, which this script writes. `a_botnet_model.ipynb` goes through it step by step.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from scipy.linalg import block_diag
from sklearn.neural_network import MLPClassifier

FEATURES = ["avgBytes", "avgDuration", "numFlows", "sumBytes", "uniqueDstIp", "uniqueDstPort", "uniqueProtocols"]
THRESHOLD = 0.5  # fixed before any evaluation
SEEDS = (0, 1, 2)
NOT_LEARNED = "unknown-6h-beacon"  # see above
MADE_DAYS = (3, 201, 202, 203, 204)  # seeds of generated days, for testing alone; 3 is the lab's
HERE = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class Scaling:
    """Of log(1 + x): mean and deviation, computed once, in float64; values beyond `high` are cut."""

    mean: np.ndarray
    deviation: np.ndarray
    high: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (np.minimum(np.log1p(np.maximum(x, 0)), self.high) - self.mean) / self.deviation


def minutes(folder: Path) -> pd.DataFrame:
    """The lab's aggregation of the flows: one row a capture, source and minute."""
    flows = pd.concat(pd.read_parquet(folder / f"netflow_{name}.parquet") for name in ("iot23", "stratosphere"))
    return per_minute(flows.assign(family=flows["family"].fillna("none")))


def per_minute(flows: pd.DataFrame) -> pd.DataFrame:
    """What the lab's search makes of the flows, with the truth beside it."""
    flows = flows[flows["transport"] == "tcp"].copy()
    flows["_time"] = flows["_time"] // 60 * 60
    grouped = flows.groupby(["capture", "_time", "src_ip"], sort=True)
    rows = grouped.agg(
        numFlows=("src_ip", "size"),
        avgBytes=("bytes_in", "mean"),
        sumBytes=("bytes_in", "sum"),
        avgDuration=("client_rtt", "mean"),
        uniqueDstIp=("dest_ip", "nunique"),
        uniqueDstPort=("dest_port", "nunique"),
        uniqueProtocols=("protocol_stack", "nunique"),
        infected=("src_infected", "max"),
        family=("family", "first"),
    ).reset_index()
    return rows.fillna({name: 0.0 for name in FEATURES})


Model = tuple[Scaling, list[MLPClassifier]]


def fit(rows: pd.DataFrame) -> Model:
    rows = rows[rows["family"] != NOT_LEARNED]
    logs = np.log1p(rows[FEATURES].to_numpy(np.float64))
    high = np.quantile(logs, 0.999, axis=0)
    cut = np.minimum(logs, high)
    scaling = Scaling(cut.mean(0), cut.std(0) + 1e-9, high)
    weights = 1 / np.sqrt(rows.groupby("capture")["capture"].transform("size").to_numpy())
    for label in (0, 1):
        chosen = rows["infected"].to_numpy() == label
        weights[chosen] /= weights[chosen].sum()
    x, y = scaling(rows[FEATURES].to_numpy(np.float64)), rows["infected"].to_numpy().astype(int)
    networks = []
    for seed in SEEDS:
        network = MLPClassifier((16, 8), alpha=1e-3, learning_rate_init=3e-3, max_iter=300, random_state=seed)
        networks.append(network.fit(x, y, sample_weight=weights * len(rows) / 2))
    return scaling, networks


def predict(model: Model, rows: pd.DataFrame) -> np.ndarray:
    scaling, networks = model
    x = scaling(rows[FEATURES].to_numpy(np.float64))
    return np.mean([n.predict_proba(x)[:, 1] for n in networks], axis=0) >= THRESHOLD


def leave_family_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Each malware family's captures predicted by a model that saw none of them; benign captures in turn too."""
    groups = rows["family"].where(rows["capture"].map(rows.groupby("capture")["infected"].max()) > 0, rows["capture"])
    predicted = np.zeros(len(rows), bool)
    for group in groups.unique():
        held = (groups == group).to_numpy()
        predicted[held] = predict(fit(rows[~held]), rows[held])
    return rows.assign(predicted=predicted, group=groups)


def figures(result: pd.DataFrame) -> dict[str, float]:
    true, said = result["infected"] == 1, result["predicted"]
    captures = result[true].groupby("capture")["predicted"].mean()
    return {
        "precision": float((true & said).sum() / max(said.sum(), 1)),
        "recall": float((true & said).sum() / true.sum()),
        "capture_recall": float(captures.mean()),
        "false_positives": float((~true & said).sum() / (~true).sum()),
    }


def beside(networks: list[MLPClassifier]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The networks as one: their first layers side by side, the others on the diagonal."""
    layers = []
    for i in range(len(networks[0].coefs_)):
        weights = [n.coefs_[i] for n in networks]
        joined = np.hstack(weights) if i == 0 else block_diag(*weights)
        layers.append((joined, np.concatenate([n.intercepts_[i] for n in networks])))
    return layers


def to_onnx(model: Model, path: Path) -> None:
    """Scaling, networks and threshold as one graph, opset 13: `[N, 7]` floats in, `[N]` int64 labels out."""
    scaling, networks = model
    layers = beside(networks)
    constants = {
        "zero": np.zeros(1),
        "one": np.ones(1),
        "high": scaling.high,
        "mean": scaling.mean,
        "deviation": scaling.deviation,
        "threshold": np.array([THRESHOLD]),
    }
    nodes = [
        helper.make_node("Max", ["features", "zero"], ["positive"]),
        helper.make_node("Add", ["positive", "one"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["logs"]),
        helper.make_node("Min", ["logs", "high"], ["cut"]),
        helper.make_node("Sub", ["cut", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["layer0"]),
    ]
    last = len(layers)
    for i, (weights, bias) in enumerate(layers, 1):
        constants |= {f"w{i}": weights, f"b{i}": bias}
        nodes.append(helper.make_node("Gemm", [f"layer{i - 1}", f"w{i}", f"b{i}"], [f"sum{i}"]))
        nodes.append(helper.make_node("Sigmoid" if i == last else "Relu", [f"sum{i}"], [f"layer{i}"]))
    nodes += [
        helper.make_node("ReduceMean", [f"layer{last}"], ["score"], axes=[1], keepdims=0),
        helper.make_node("GreaterOrEqual", ["score", "threshold"], ["above"]),
        helper.make_node("Cast", ["above"], ["botnet"], to=TensorProto.INT64),
    ]
    arrays = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
    graph = helper.make_graph(
        nodes,
        "nn_botnet",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(FEATURES)])],
        [helper.make_tensor_value_info("botnet", TensorProto.INT64, [None])],
        arrays,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="labdock")
    helper.set_model_props(made, {"feature_names": ",".join(FEATURES), "target": "botnet"})
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)


def card(rows: pd.DataFrame, result: pd.DataFrame, reached: dict[str, float], model: Model) -> str:
    """The model card, with the figures of this run."""
    table = result.groupby(["capture", "family"]).agg(
        minutes=("infected", "size"), infected=("infected", "sum"), flagged=("predicted", "sum")
    )
    lines = [f"| {c} | {f} | {r.minutes} | {r.infected} | {r.flagged} |" for (c, f), r in table.iterrows()]
    learned = rows[rows["family"] != NOT_LEARNED]
    made = [f"| {seed} | {found:.1%} | {false:.1%} |" for seed, found, false in made_days(model)]
    counts = {"rows": len(learned), "captures": learned["capture"].nunique()}
    return CARD.format(table="\n".join(lines), made="\n".join(made), **counts, **reached)


def made_day(seed: int) -> pd.DataFrame:
    """A generated day as source-minutes; one of its cameras is infected for some hours."""
    from labdock.samples import network_flows

    flows = network_flows.generate(seed)
    return per_minute(flows.assign(capture=f"day {seed}", family="made", src_infected=flows["botnet"]))


def made_days(model: Model) -> list[tuple[int, float, float]]:
    """For each generated day: seed, share of infected minutes found, share of healthy minutes flagged."""
    found = []
    for seed in MADE_DAYS:
        day = made_day(seed)
        true, said = day["infected"].to_numpy() == 1, predict(model, day)
        found.append((seed, float(said[true].mean()), float(said[~true].mean())))
    return found


def main(folder: Path) -> None:
    rows = minutes(folder)
    result = leave_family_out(rows)
    reached = figures(result)
    print(reached)
    model = fit(rows)
    to_onnx(model, HERE / "nn_botnet.onnx")
    (HERE / "nn_botnet.md").write_text(card(rows, result, reached, model))


CARD = """# nn_botnet

Says for one source address in one minute whether it behaves like an infected device: `1` or `0`, from the seven
features of the lab's per-minute search. Made by `notebooks/training/nn_botnet.py`.

- **Trained on** {rows:,} source-minutes of TCP flows in {captures} captures: Aposemat IoT-23 (Garcia, Parmisano, Erquiaga
  2020, doi 10.5281/zenodo.4743746) and captures of the Stratosphere Laboratory's Malware Capture Facility Project. The
  data itself is not shipped.
- **Target** `max(src_infected)`: the source is an infected device. Threshold 0.5, fixed before any evaluation.
- **On malware that training did not see** (each family, and each benign capture, left out in turn): precision
  {precision:.3f}, recall {recall:.3f}, mean recall of a malicious capture {capture_recall:.3f}, and
  {false_positives:.1%} of benign minutes flagged.

| capture | family | minutes | infected | flagged |
| --- | --- | --- | --- | --- |
{table}

**What it misses.** The six-hour beacon of Botnet-207-1, all of it: one connection now and then looks like anybody's. Its
minutes are not trained on, though always tested on: in these seven features they are those of a healthy device that
reports home. A first version learned them, flagged 53 % of the healthy minutes of the lab's generated day, and still
missed the beacon when it was left out; leaving it out of training was decided after seeing that, so the figures above
are a little optimistic. Precision and recall are pooled, and Hakai and Mirai make up most of the infected minutes; look
at the table. There is one infected device in each capture. False alarms come mostly from one PC's day and one Amazon
Echo.

**Made-up data**, never trained on: generated days (`labdock.samples.network_flows`) of people, servers, and devices that
report once a minute, one of which is infected for some hours. Seed 3 is the day of `labdock lab`. While the choice above was
made, seeds 103 to 105 were looked at; of those below only 3 had been.

| seed | infected minutes found | healthy minutes flagged |
| --- | --- | --- |
{made}

**Units.** `avgDuration` was trained on the mean duration of flows in microseconds, since the captures have no round trip
time; a search that sends `client_rtt` sends something smaller.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
