"""Many clients with models and modules of their own at once: every answer is recomputed here and must be right."""

import json
import os
import threading
import time

import numpy as np
import psutil
import pyarrow as pa
import pytest

# A model is what its module and its latest fit make of it; an answer that is older, or another model's, shows.
MODULE = """
    import pandas as pd
    CODE = {code}
    def init(df, param): return {{}}
    def fit(model, df, param):
        model["sum"] = float(df["x"].sum())
        return {{"sum": model["sum"]}}
    def apply(model, df, param):
        return pd.DataFrame({{"y": df["x"] * CODE + model["sum"]}})
"""


def client(api, number, until, errors, counts):
    rng = np.random.default_rng(number)
    name, code, fitted = f"many_{number}", number + 1, None
    try:
        api.module(name, MODULE.format(code=code))
        while time.monotonic() < until or counts[number] < 6:
            rows = int(rng.integers(1, 400))
            x = rng.integers(-1000, 1000, rows).astype(float)
            table = pa.table({"x": x, "text": [f"{number}-{i}" for i in range(rows)]})
            action = "fit" if fitted is None or rng.random() < 0.3 else "apply"
            if rng.random() < 0.1:
                code += 100
                api.module(name, MODULE.format(code=code))
            options = {"algo": name, "model": name, "features": ["x"]} if action == "fit" else {"model": name}
            reply = api.frame(action, table, timeout=120, **options)
            assert reply.status == 200, reply.body
            if action == "fit":
                fitted = float(x.sum())
                assert reply.info["info"] == {"sum": fitted}
            y = reply.table.column("y").to_numpy()
            assert np.array_equal(y, x * code + fitted), (action, number)
            counts[number] += 1
    except Exception as error:  # noqa: BLE001 - shown by the test
        errors.append(f"client {number}: {error!r}"[:2000])


def run(api, clients, seconds):
    errors, counts = [], [0] * clients
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client, args=(api, n, until, errors, counts)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[:3]
    assert min(counts) >= 6
    manifests = {m["model"]: m for m in api.request("GET", "/v1/models").json}
    assert set(manifests) >= {f"many_{n}" for n in range(clients)}
    return sum(counts)


def test_eight_clients_for_a_moment(api):
    run(api, 8, 2)


@pytest.mark.slow
def test_32_clients_with_32_models(start_api):
    seconds = float(os.environ.get("LABDOCK_TEST_MANY_SECONDS", "15"))
    api = start_api()
    run(api, 32, seconds)
    left = list((api.run / "spool").iterdir())
    assert not left


@pytest.mark.slow
def test_a_thousand_requests_leak_nothing(start_api):
    api = start_api()
    api.module("leak", MODULE.format(code=1))
    table = pa.table({"x": np.arange(1000.0)})
    api.frame("fit", table, algo="leak", model="leak")

    def measure():
        processes = api.processes()
        return (
            sum(p.memory_info().rss for p in processes),
            sum(p.num_fds() for p in processes),
            sum(p.num_threads() for p in processes),
        )

    def apply(times):
        for _ in range(times):
            assert api.frame("apply", table, model="leak").status == 200
        for _ in range(5):
            api.frame("apply", table, model="absent")

    apply(150)
    rss, fds, threads = measure()
    apply(1000)
    after = measure()
    assert after[0] < rss * 1.05 + (8 << 20)
    assert abs(after[1] - fds) <= 2
    assert abs(after[2] - threads) <= 2


def test_workers_draw_different_random_numbers(start_api):
    """Forks of one process would draw the same ones."""
    api = start_api(LABDOCK_WORKERS="3")
    api.module(
        "random_numbers",
        """
        import random, time
        import numpy as np
        def init(df, param): return 0
        def fit(model, df, param): time.sleep(0.2)
        def apply(model, df, param): return {"n": [np.random.randint(2**40)], "p": [random.getrandbits(40)]}
        """,
    )
    drawn = []

    def draw(n):
        drawn.append(api.frame("fit", pa.table({"x": [1]}), algo="random_numbers", model=f"r{n}").table.to_pydict())

    threads = [threading.Thread(target=draw, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({json.dumps(d) for d in drawn}) == 3
    assert len({d["n"][0] for d in drawn}) == 3


def test_more_models_than_a_worker_keeps(start_api):
    api = start_api(LABDOCK_WORKERS="1")
    api.module("kept", MODULE.format(code=1))
    for n in range(40):
        api.frame("fit", pa.table({"x": [float(n)]}), algo="kept", model=f"kept_{n}")
    for n in range(40):
        answer = api.frame("apply", pa.table({"x": [0.0]}), model=f"kept_{n}")
        assert answer.table["y"].to_pylist() == [float(n)]
    assert len([p for p in api.workers() if p.status() != psutil.STATUS_ZOMBIE]) == 1
