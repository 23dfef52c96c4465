"""The tables that are sent: 8 mixed columns as the lab's events have them, and 30 floats as the card data has."""

import numpy as np
import pandas as pd

SHAPES = ("mixed8", "float30")


def make(shape: str, rows: int, seed: int = 1) -> pd.DataFrame:
    """A table of the named shape."""
    rng = np.random.default_rng(seed)
    if shape == "float30":
        return pd.DataFrame({f"V{i}": rng.normal(size=rows) for i in range(30)})
    hosts = np.array([f"workstation-{i:04d}.lab" for i in range(2000)])
    users = np.array([f"user_{i:05d}" for i in range(9000)])
    return pd.DataFrame(
        {
            "_time": 1.7e9 + np.sort(rng.integers(0, 86_400_000, rows)) / 1000,
            "ComputerName": pd.array(hosts[rng.integers(0, len(hosts), rows)], dtype="str"),
            "Account_Name": pd.array(users[rng.integers(0, len(users), rows)], dtype="str"),
            "EventCode": rng.integers(4600, 5200, rows),
            "src_ip": pd.array(addresses(rng, rows), dtype="str"),
            "bytes_out": rng.lognormal(8, 2, rows).astype("int64"),
            "score": rng.normal(size=rows),
            "success": rng.random(rows) < 0.9,
        }
    )


def addresses(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Some 60,000 different addresses."""
    known = np.array([f"10.{a}.{b}.{(a * b) % 254 + 1}" for a in range(240) for b in range(250)])
    return known[rng.integers(0, len(known), rows)]
