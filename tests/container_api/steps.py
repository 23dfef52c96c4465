"""A module that counts its runs and waits at gates, and how tests of jobs fit it."""

import numpy as np
import pyarrow as pa

STEPS = """
    import pathlib, time
    import pandas as pd

    def init(df, param):
        return {}

    def fit(model, df, param):
        with open("runs", "a") as file:
            file.write("x")
        print("line one", flush=True)
        gate = param["options"]["params"].get("gate")
        while gate and not pathlib.Path(gate).exists():
            time.sleep(0.005)
        print("line two")
        model["rows"] = len(df)
        return {"rows": len(df)}

    def apply(model, df, param):
        gate = param["options"]["params"].get("apply_gate")
        if gate:
            pathlib.Path(gate + ".begun").touch()
        while gate and not pathlib.Path(gate).exists():
            time.sleep(0.005)
        return pd.DataFrame({"rows": [model["rows"]] * len(df)})
"""


def table(n=3):
    return pa.table({"x": np.arange(n, dtype=float)})


def fit(api, rows=None, key=None, model="m", headers=None, **params):
    fields = {**({"Idempotency-Key": key} if key else {}), **(headers or {})}
    return api.frame("fit", rows if rows is not None else table(), fields, algo="steps", model=model, params=params)


def runs(api):
    path = api.notebooks / "runs"
    return len(path.read_text()) if path.exists() else 0


def status(api, job):
    return api.request("GET", f"/v1/jobs/{job}").json["status"]
