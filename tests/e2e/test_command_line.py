"""The main job from the shell, on real events and on a million rows: up, start, stage, fit, apply, down."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labdock.home import run_folder

pytestmark = pytest.mark.slow

FIELDS = "_time,ComputerName,Account_Name,EventCode,count"
ALGO = "a_threat_hunting_notebook"
MODEL = "app:a_threat_hunt_model"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="labdock-test-", dir="/tmp"))
    try:
        labdock(made, "up", "-d", "--port", "0")
        labdock(made, "start", "__dev__")
        yield made
    finally:
        labdock(made, "down")
        shutil.rmtree(run_folder(made), ignore_errors=True)
        shutil.rmtree(made)


def labdock(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "labdock.cli", *arguments],
        env={**os.environ, "LABDOCK_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def main_job(home: Path, file: Path, out: Path) -> pa.Table:
    staged = json.loads(
        labdock(home, "stage", str(file), "--into", MODEL, "--algo", ALGO, "--fields", FIELDS, "--json")
    )
    fitted = json.loads(labdock(home, "fit", str(file), "--into", MODEL, "--algo", ALGO, "--fields", FIELDS, "--json"))
    labdock(home, "apply", MODEL, str(file), "--out", str(out))
    table = pq.read_table(out)
    assert staged["rows"] == fitted["rows"] == table.num_rows
    assert table.column_names == [*FIELDS.split(","), "outlier"]
    return table


@pytest.mark.data
def test_on_real_events(home: Path, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "samples" / "windows_security_hourly_sample.csv"
    expected = pd.read_csv(source)
    out = main_job(home, source, tmp_path / "out.parquet").to_pandas()
    assert len(out) == len(expected) == 2861
    for name in ("ComputerName", "EventCode", "count"):
        assert out[name].tolist() == expected[name].tolist()
    assert out["outlier"].notna().all()
    assert 0 < (out["outlier"] < 0).sum() < len(out) / 5  # some are unusual, most are not
    folder = next((home / "environments").iterdir()) / "notebooks" / "data"
    staged = pd.read_csv(folder / "a_threat_hunt_model.csv")
    assert list(staged.columns) == FIELDS.split(",")
    assert staged["count"].tolist() == expected["count"].tolist()


def test_on_a_million_rows(home: Path, tmp_path: Path) -> None:
    from labdock.samples import windows_events

    hours = windows_events.hourly(windows_events.generate(3))
    rows = 1_000_000
    many = hours.iloc[np.resize(np.arange(len(hours)), rows)].reset_index(drop=True)
    file = tmp_path / "many.parquet"
    pq.write_table(pa.Table.from_pandas(many, preserve_index=False), file)
    begun = time.monotonic()
    out = main_job(home, file, tmp_path / "out.parquet")
    assert out.num_rows == rows
    assert out.column("count").equals(pq.read_table(file).column("count"))
    assert time.monotonic() - begun < 200
