"""The notebook modules that the servers run. One file for the environment, the peer's way and the limit."""

# Its work does not depend on the data: what is measured is the way of the frame, not the model.
CONSTANT = """
import numpy as np
import pandas as pd


def init(df, param):
    return {"level": 0.5}


def fit(model, df, param):
    return {"rows": len(df)}


def apply(model, df, param):
    return pd.DataFrame({"outlier": np.full(len(df), model["level"])})


def save(model, name):
    import json
    import os

    os.makedirs("data", exist_ok=True)
    with open(f"data/{name}.constant.json", "w") as file:
        json.dump(model, file)
    return model


def load(name):
    import json

    with open(f"data/{name}.constant.json") as file:
        return json.load(file)


def summary(model=None):
    return {"version": "constant"}
"""

# Trains on as many cores as it is told, until it is told to stop.
TRAINING = """
import os
import threading
import time

import numpy as np


def init(df, param):
    return {}


def spin(end):
    a = np.random.default_rng(0).normal(size=(200, 200))
    while time.time() < end:
        a = np.tanh(a @ a / 200)


def fit(model, df, param):
    params = param["options"]["params"]
    end = time.time() + float(params["seconds"])
    threads = [threading.Thread(target=spin, args=(end,)) for _ in range(int(params["cores"]))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return {}


def apply(model, df, param):
    return df[["score"]] if "score" in df else df
"""
