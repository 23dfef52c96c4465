"""Every search of the lab guide as printed, typed into the shell on the lab's data, against pandas and onnxruntime."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from tests.search.lab_guide import HOURLY, REPORT, SEARCHES, UC1, per_minute

from labdock.cli.app import run
from labdock.connection import Connection
from labdock.home import ControllerAddress, run_folder
from labdock.lab import Lab

pytestmark = pytest.mark.slow
DATA = Path(__file__).parents[2] / "notebooks" / "data"
LAB_MD = Path(__file__).parents[3] / "shared" / "design" / "lab.md"
CARD_FIELDS = [f"V{i}" for i in range(1, 29)]
HOMES: list[Path] = []  # of the module's controller
Shell = Callable[..., str]


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """`labdock …` in this process against a controller of its own, with the lab prepared."""
    home = Path(tempfile.mkdtemp(prefix="labdock-test-", dir="/tmp"))
    HOMES[:] = [home]

    def labdock(*arguments: str) -> str:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        err = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setenv("LABDOCK_HOME", str(home))  # each test has another one by itself
            code = run(arguments)
        assert code == 0, err.getvalue()
        assert isinstance(out.buffer, io.BytesIO)
        return out.buffer.getvalue().decode()

    try:
        apart(home, "up", "-d", "--port", "0")
        labdock("lab", "--json")
        yield labdock
    finally:
        apart(home, "down")
        shutil.rmtree(run_folder(home), ignore_errors=True)
        shutil.rmtree(home)


def apart(home: Path, *arguments: str) -> None:
    """In a process of its own: what `up` leaves running is nobody's child."""
    command = [sys.executable, "-m", "labdock.cli", *arguments]
    more = {"LABDOCK_HOME": str(home), "LABDOCK_WEBHOOK_HOSTS": '["127.0.0.1"]'}
    subprocess.run(command, env={**os.environ, **more}, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def results(shell: Shell) -> dict[str, pd.DataFrame]:
    """The rows of every search, in the guide's order."""
    return {name: frame(shell("search", text, "--format", "csv")) for name, text in SEARCHES.items()}


def frame(csv: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(csv), keep_default_na=False, na_values=[""], low_memory=False)


def minutes(events: pd.DataFrame) -> pd.DataFrame:
    return per_minute(events[events["sourcetype"] == "stream:tcp"])


@pytest.mark.data
def test_the_list_is_the_designs() -> None:
    block = re.findall(r"```\n(.*?)```", LAB_MD.read_text(), re.DOTALL)[0].strip().splitlines()
    printed = [line.removeprefix("… ") for line in block]
    for line in printed[:-1]:
        assert any(text.endswith(line) for text in SEARCHES.values()), line
    assert printed[-1] == f"| fit MLTKContainer … | {REPORT}"
    assert len(SEARCHES) == len(printed) + 1, "the last one with and without mode=stage"


def test_uc1_is_what_pandas_finds(results: dict[str, pd.DataFrame]) -> None:
    wanted = minutes(results["all"])
    assert len(wanted) > 1000
    found = results["uc1"]
    assert found["src_ip"].tolist() == wanted["src_ip"].tolist()
    for name in wanted.columns.drop("src_ip"):
        np.testing.assert_allclose(found[name].astype(float), wanted[name].astype(float), rtol=1e-9, err_msg=name)


def test_uc1_applies_the_shipped_model(results: dict[str, pd.DataFrame]) -> None:
    """The same file in onnxruntime, on pandas' numbers, its features in the order that the file says."""
    wanted = minutes(results["all"])
    labels = predictions("nn_botnet", wanted)
    found = results["uc1 apply"]
    np.testing.assert_array_equal(found["predicted(botnet)"].astype(float), labels)
    botnet = found[found["predicted(botnet)"] >= 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(results["uc1 where"], botnet, check_dtype=False)
    assert 0 < len(botnet) < len(found)


def test_uc2_scores_are_the_shipped_models(results: dict[str, pd.DataFrame]) -> None:
    cards = pd.read_csv(DATA / "credit_card_fraud.csv")
    pd.testing.assert_frame_equal(results["cards"], cards, check_dtype=False)
    scores = predictions("credit_card_fraud", cards)
    for name in ("uc2", "uc2 app"):
        assert results[name].columns.tolist() == [*CARD_FIELDS, "predicted(Class)"]
        np.testing.assert_allclose(results[name]["predicted(Class)"], scores, atol=1e-5)
    assert scores[cards["Class"] == 1].mean() > 0.5 > scores[cards["Class"] == 0].mean()


def predictions(name: str, rows: pd.DataFrame) -> Any:
    """What a shipped model says of rows by onnxruntime alone; nothing for a row that lacks a feature."""
    file = DATA / f"{name}.onnx"
    names = next(p.value for p in onnx.load(file).metadata_props if p.key == "feature_names").split(",")
    session = onnxruntime.InferenceSession(file.read_bytes())
    found = np.full(len(rows), np.nan)
    complete = rows[names].notna().all(axis=1).to_numpy()
    matrix = rows.loc[complete, names].to_numpy(np.float32)
    found[complete] = np.asarray(session.run(None, {session.get_inputs()[0].name: matrix})[0]).reshape(-1)
    return found


def test_uc3_counts_hours_and_stages_them(results: dict[str, pd.DataFrame]) -> None:
    events = results["all"]
    events = events[events["source"].str.endswith("WinEventLog:Security", na=False)]
    assert len(results["uc3 events"]) == len(events) > 10_000
    keys = ["_time", "ComputerName", "Account_Name", "EventCode"]
    hours = events.assign(
        _time=np.floor(events["_time"] / 3600) * 3600, Account_Name=events["Account_Name"].fillna("unknown")
    )
    wanted = hours.groupby(keys).size().rename("count").reset_index().sort_values(keys).reset_index(drop=True)
    found = results["uc3 hourly"].sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    pd.testing.assert_frame_equal(results["uc3 stage"], results["uc3 hourly"])


def test_uc3_ranks_the_planted_victim_first_with_and_without_stage(results: dict[str, pd.DataFrame]) -> None:
    report = results["uc3 report"]
    assert report.columns.tolist() == ["ComputerName", "anomaly_score"]
    assert report["anomaly_score"].is_monotonic_decreasing
    assert report["anomaly_score"].iloc[0] > 2 * report["anomaly_score"].iloc[1]
    assert set(report["ComputerName"]) <= set(results["uc3 hourly"]["ComputerName"])
    staged = results["uc3 report staged"]
    assert staged["ComputerName"].tolist() == report["ComputerName"].tolist()
    np.testing.assert_allclose(staged["anomaly_score"], report["anomaly_score"])


def test_what_was_staged_lies_in_the_environment(shell: Shell, results: dict[str, pd.DataFrame]) -> None:
    record = json.loads(shell("ps", "--json"))[0]
    folder = HOMES[0] / "environments" / record["id"] / "notebooks" / "data"
    staged = pd.read_csv(folder / "a_threat_hunt_model.csv", keep_default_na=False)
    names = ["_time", "ComputerName", "Account_Name", "EventCode", "count"]
    pd.testing.assert_frame_equal(staged[names], results["uc3 hourly"][names], check_dtype=False)
    meta = json.loads((folder / "a_threat_hunt_model.json").read_text())
    assert meta["feature_variables"] == names


def test_explain_shows_one_statement_before_apply_and_names_what_is_pruned(shell: Shell) -> None:
    text = shell("search", SEARCHES["uc1 where"], "--explain")
    before, *after = re.findall(r"^Statement \d+(, before apply)?:$", text, re.MULTILINE)
    assert before == ", before apply"
    assert len(after) == 1, "and one for what follows it"
    sql = text.split("before apply:\n")[1].split("\n\nStatement")[0]
    assert sql.count("SELECT") >= 1
    assert ";" not in sql
    read = re.findall(r"^  read +(\S+)", text, re.MULTILINE)
    skipped = re.findall(r"^  skipped +(\S+)", text, re.MULTILINE)
    assert read
    assert skipped, "the files of other sourcetypes"
    assert all(label.startswith("botsv3/") for label in (*read, *skipped))
    assert not set(read) & set(skipped)
    narrowed = shell("search", HOURLY, "--explain", "--latest", "1", "--earliest", "0")
    assert "Files: 0 read (0 rows)" in narrowed, "no partition of that time"
    assert "/tmp/" not in text, "labels, no paths"
    assert UC1 not in text


class Receiver(BaseHTTPRequestHandler):
    """Keeps what webhooks send."""

    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_an_alert_from_uc1_fires_once_and_keeps_its_results(shell: Shell, results: dict[str, pd.DataFrame]) -> None:
    """On its schedule, with throttling: the receiver hears of the botnet's minutes once, though it runs on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            shell(
                *("alerts", "botnet", "--save", SEARCHES["uc1 where"], "--schedule", "10s"),
                *("--throttle", "3600", "--webhook", url),
            )

            def history() -> list[dict[str, Any]]:
                found: list[dict[str, Any]] = json.loads(shell("alerts", "botnet", "--history", "--json"))
                return found

            deadline = time.monotonic() + 120
            while len(runs := history()) < 2:
                assert time.monotonic() < deadline, runs
                time.sleep(0.2)
            shell("alerts", "botnet", "--pause")
        finally:
            server.shutdown()
            thread.join()
    statuses = [run["status"] for run in reversed(runs)]
    assert statuses[:2] == ["fired", "throttled"]
    assert len(Receiver.bodies) == 1
    wanted = results["uc1 where"]
    (body,) = Receiver.bodies
    assert (body["alert"], body["rows"]) == ("botnet", len(wanted))
    assert [row["src_ip"] for row in body["results"]] == wanted["src_ip"].tolist()[: len(body["results"])]
    address = ControllerAddress.read(HOMES[0])
    assert address is not None
    with Lab(Connection(address.url, address.token), progress=False) as lab:
        kept = lab.searches.get(runs[-1]["job"]).pandas()
    assert kept["src_ip"].tolist() == wanted["src_ip"].tolist()
