"""Made-up flows: the same from the same seed, odd only where they say so, and what a model of real flows expects."""

import pandas as pd
import pytest

from labdock.samples.network_flows import CAMERA, generate


def per_minute(flows: pd.DataFrame) -> pd.DataFrame:
    tcp = flows[flows["transport"] == "tcp"].assign(minute=flows["_time"] // 60)
    return tcp.groupby(["minute", "src_ip"]).agg(
        flows=("src_ip", "size"), targets=("dest_ip", "nunique"), bytes=("bytes_in", "mean"), botnet=("botnet", "max")
    )


def test_the_same_seed_gives_the_same_flows_and_another_gives_others() -> None:
    first, again, other = generate(1), generate(1), generate(2)
    pd.testing.assert_frame_equal(first, again)
    assert first.attrs == again.attrs
    assert not first.equals(other)


def test_flows_are_in_order_whole_and_plausible() -> None:
    flows = generate(4, workstations=3, hours=26)
    assert flows["_time"].is_monotonic_increasing
    assert set(flows.columns[flows.isna().any()]) <= {"app"}
    assert (flows[["bytes_in", "bytes_out", "duration", "time_taken"]] >= 0).all().all()
    assert (flows["client_rtt"] == (flows["duration"] * 1e6).round()).all()
    assert set(flows["transport"]) == {"tcp", "udp"}
    assert flows["src_port"].between(1, 65_535).all()
    outside = flows[~flows["dest_ip"].str.startswith("10.20.")]["dest_ip"]
    assert outside.str.match(r"(198\.51\.100|203\.0\.113|192\.0\.2|198\.1[89])\.").all(), "no real address"


def test_the_infected_camera_and_nobody_else_is_marked() -> None:
    flows = generate(5)
    truth = flows.attrs["infection"]
    bad = flows[flows["botnet"] == 1]
    assert set(bad["src_ip"]) == {truth["device"]} == {CAMERA}
    assert bad["_time"].between(truth["start"], truth["end"] + 600).all()
    minutes = per_minute(flows)
    assert minutes[minutes["botnet"] == 1]["flows"].median() > 4 * minutes[minutes["botnet"] == 0]["flows"].median()
    assert minutes[minutes["botnet"] == 1]["targets"].max() > 100
    assert minutes[minutes["botnet"] == 0]["targets"].max() < 30


def test_without_an_attack_the_day_is_the_same_but_for_the_camera() -> None:
    with_, without = generate(6), generate(6, attack=False)
    assert without.attrs["infection"] is None
    assert without["botnet"].sum() == 0
    others = [f[f["src_ip"] != CAMERA].reset_index(drop=True) for f in (with_, without)]
    pd.testing.assert_frame_equal(*others)


def test_nothing_is_refused() -> None:
    for arguments in ({"workstations": 0}, {"hours": 0}):
        with pytest.raises(ValueError, match="at least"):
            generate(1, **arguments)


@pytest.mark.data
@pytest.mark.slow
def test_a_model_of_real_flows_finds_the_infection(shared_data) -> None:  # type: ignore[no-untyped-def]
    """Trained on real captures only, never on these flows: how it does here says how lifelike they are."""
    from sklearn.ensemble import RandomForestClassifier

    names = ["src_ip", "dest_ip", "bytes_in", "client_rtt", "dest_port", "protocol_stack", "transport", "_time"]
    parts = []
    for name in ("netflow_iot23", "netflow_stratosphere"):
        real = pd.read_parquet(shared_data / f"{name}.parquet", columns=[*names, "capture", "src_infected"])
        parts.append(features(real.rename(columns={"src_infected": "botnet"}), ["capture"]))
    train = pd.concat(parts).fillna(0)
    model = RandomForestClassifier(100, class_weight="balanced", min_samples_leaf=3, random_state=0)
    model.fit(train.drop(columns="botnet").to_numpy(), train["botnet"])
    made = features(generate(7), []).fillna(0)
    found = model.predict(made.drop(columns="botnet").to_numpy())
    assert found[made["botnet"] == 1].mean() > 0.9
    assert found[made["botnet"] == 0].mean() < 0.05


def features(flows: pd.DataFrame, more: list[str]) -> pd.DataFrame:
    tcp = flows[flows["transport"] == "tcp"].assign(minute=flows["_time"] // 60)
    return tcp.groupby(["minute", "src_ip", *more]).agg(
        flows=("src_ip", "size"),
        mean=("bytes_in", "mean"),
        total=("bytes_in", "sum"),
        time=("client_rtt", "mean"),
        targets=("dest_ip", "nunique"),
        ports=("dest_port", "nunique"),
        protocols=("protocol_stack", "nunique"),
        botnet=("botnet", "max"),
    )
