"""The lab guide from the shell, step by step: `labdock lab`, then use cases 1 to 4, each printed result computed again.

The other side is pandas on the same made-up data and plain ONNX Runtime on the shipped files; none of it is ours. Run
with `-s` to see what a user sees.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import requests
from tests.search.lab_guide import FIT, HOURLY, UC1
from tests.search.lab_guide import REPORT as TAIL

from labdock.home import ControllerAddress, run_folder
from labdock.lab import Lab, connect
from labdock.samples import network_flows, windows_events

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "notebooks" / "data"
SEED = 3  # of the lab's generated day and week
FEATURES = ["avgBytes", "avgDuration", "numFlows", "sumBytes", "uniqueDstIp", "uniqueDstPort", "uniqueProtocols"]
STAGE = f"{HOURLY}\n| {FIT.format(mode='mode=stage ')}"
REPORT = f"{STAGE}\n| {TAIL}"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Shell:
    """A user's shell: where the home is, and which runtime has the environment `__dev__`."""

    place: Path
    runtime: str

    def __call__(self, *arguments: str, ends: int = 0) -> str:
        """What `labdock ARGUMENTS` printed; fails where it does not end with `ends`."""
        variables = {**os.environ, "LABDOCK_HOME": str(self.place / "home"), "LABDOCK_PORT": "0", "COLUMNS": "160"}
        done = subprocess.run(
            [sys.executable, "-m", "labdock.cli", *arguments],
            env=variables,
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        print(f"$ labdock {' '.join(arguments)}", *(done.stdout + done.stderr).splitlines()[:12], sep="\n")
        assert done.returncode == ends, done.stdout + done.stderr
        return done.stdout if ends == 0 else done.stderr

    def table(self, search: str) -> pd.DataFrame:
        return pd.read_csv(StringIO(self("search", search, "--format", "csv")), keep_default_na=False, na_values=[""])

    def download(self, name: str) -> Path:
        """A file of the environment's notebooks folder, as JupyterLab would give it."""
        copy = self.place / Path(name).name
        if self.runtime == "docker":
            copy.write_bytes(self.inside("cat", f"/notebooks/{name}"))
        else:
            (folder,) = (self.place / "home" / "environments").glob("*/notebooks")
            shutil.copyfile(folder / name, copy)
        return copy

    def inside(self, *command: str, given: bytes = b"") -> bytes:
        """What a command in the environment's container printed."""
        (record,) = json.loads(self("ps", "--json"))
        listed = ["docker", "ps", "--filter", f"name={record['id']}", "--format", "{{.Names}}"]
        (name,) = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
        done = subprocess.run(["docker", "exec", "-i", name, *command], input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout


@pytest.fixture(scope="module", params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def lab(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """`labdock up -d`, an environment, `labdock lab`; nothing is left of it."""
    place = Path(tempfile.mkdtemp(prefix="ld-lab-", dir="/tmp"))
    place.chmod(0o755)
    shell = Shell(place, request.param)
    image = []
    if shell.runtime == "docker":
        image = ["--image", "golden-cpu"]
        build = ["bash", str(REPOSITORY / "images/build.sh"), "golden-cpu"]
        subprocess.run(build, check=True, capture_output=True, timeout=900)
    try:
        shell("up", "-d")
        try:
            shell("start", "__dev__", "--runtime", shell.runtime, *image)
            said = shell("lab")
            assert "credit_card_test.csv" in said
            assert "__dev__" in said
            yield shell
        finally:
            if (place / "home" / "controller.json").exists():
                shell("rm", "__dev__", "--files", "--yes")
                shell("down")
    finally:
        shutil.rmtree(run_folder(place / "home"), ignore_errors=True)
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def flows() -> pd.DataFrame:
    """The TCP flows that `labdock lab` put into `botsv3`, from their sources."""
    parts = [pd.read_csv(SHIPPED / "zeek_conn_sample.csv"), network_flows.generate(SEED)]
    both = pd.concat(parts, ignore_index=True)
    return both[both["transport"] == "tcp"]


def per_minute(flows: pd.DataFrame) -> pd.DataFrame:
    grouped = flows.assign(_time=np.floor(flows["_time"] / 60) * 60).groupby(["_time", "src_ip"])
    found = grouped.agg(
        avgBytes=("bytes_in", "mean"),
        avgDuration=("client_rtt", "mean"),
        numFlows=("src_ip", "size"),
        sumBytes=("bytes_in", "sum"),
        uniqueDstIp=("dest_ip", "nunique"),
        uniqueDstPort=("dest_port", "nunique"),
        uniqueProtocols=("protocol_stack", "nunique"),
        infected=("botnet", "max"),
    )
    return found.reset_index()


def plain_scores(file: Path, rows: pd.DataFrame) -> np.ndarray:
    """By ONNX Runtime alone, in the order of the file's own feature names."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = session.get_modelmeta().custom_metadata_map["feature_names"].split(",")
    given = {session.get_inputs()[0].name: rows[names].to_numpy(dtype="float32")}
    return np.asarray(session.run(None, given)[0]).ravel()


def by_key(frame: pd.DataFrame, *key: str) -> pd.DataFrame:
    return frame.sort_values(list(key)).reset_index(drop=True)


def test_before_you_begin(lab: Shell, flows: pd.DataFrame) -> None:
    assert {"credit_card_test.csv", "credit_card_fraud.csv"} <= set(re.findall(r"[\w.]+", lab("lookups")))
    assert "botsv3" in lab("indexes")
    again = json.loads(lab("lab", "--json"))  # safe to repeat
    assert (again["added"], again["models"], again["users"]) == (0, [], [])
    everything = int(lab.table("index=botsv3 | stats count").loc[0, "count"])
    assert everything > len(flows) + len(windows_events.generate(SEED))
    assert len(lab.table("| inputlookup credit_card_test.csv")) == 2500
    for name in ("a_MLTK_ONNX_Workshop", "a_threat_hunting_notebook", "a_network_analysis"):
        assert lab.download(f"{name}.ipynb").read_bytes() == (SHIPPED.parent / f"{name}.ipynb").read_bytes()
    for name in ("credit_card_fraud.csv", "nn_botnet.onnx"):
        assert lab.download(f"data/{name}").read_bytes() == (SHIPPED / name).read_bytes()


def test_use_case_1_botnet(lab: Shell, flows: pd.DataFrame) -> None:
    """Aggregate, upload, apply, filter, alert; the infected camera is found and the healthy devices are left alone."""
    wanted = by_key(per_minute(flows), "_time", "src_ip")
    found = by_key(lab.table(UC1), "_time", "src_ip")
    assert found["src_ip"].tolist() == wanted["src_ip"].tolist()
    for name in FEATURES:
        np.testing.assert_allclose(found[name].astype(float), wanted[name].astype(float), rtol=1e-9, err_msg=name)

    assert "Botnet-207-1" in lab("models", "card", "app:onnx:nn_botnet")
    file = lab.download("data/nn_botnet.onnx")
    lab("models", "nn botnet.onnx", "--upload", str(file), "--features", ",".join(FEATURES), "--target", "botnet")
    labels = plain_scores(SHIPPED / "nn_botnet.onnx", wanted)
    applied = by_key(lab.table(f"{UC1}\n| apply onnx:nn_botnet"), "_time", "src_ip")
    complete = wanted[FEATURES].notna().all(axis=1).to_numpy()
    assert applied["predicted(botnet)"].isna().tolist() == (~complete).tolist()
    assert applied["predicted(botnet)"][complete].astype(int).tolist() == labels[complete].tolist()

    flagged = lab.table(f"{UC1}\n| apply onnx:nn_botnet\n| where 'predicted(botnet)'>=1")
    assert len(flagged) == int((labels[complete] >= 1).sum())
    infected = (wanted["infected"] == 1).to_numpy()
    assert labels[infected].mean() > 0.9
    assert labels[complete & ~infected].mean() <= 0.07
    assert flagged["src_ip"].value_counts().index[0] == network_flows.CAMERA

    search = f"{UC1}\n| apply onnx:nn_botnet\n| where 'predicted(botnet)'>=1"
    lab("alerts", "botnet", "--save", search, "--schedule", "1h", "--notable", "src_ip:20")
    lab("alerts", "botnet", "--run")
    runs = json.loads(lab("alerts", "botnet", "--history", "--json"))
    assert runs[0]["status"] == "fired"
    risks = lab.table("index=notable | stats count by risk_object | sort -count")
    assert network_flows.CAMERA in risks["risk_object"].tolist()


def test_use_case_2_fraud(lab: Shell) -> None:
    cards = pd.read_csv(SHIPPED / "credit_card_fraud.csv")
    scores = plain_scores(SHIPPED / "credit_card_fraud.onnx", cards)
    lab("models", "credit_card_fraud", "--upload", str(SHIPPED / "credit_card_fraud.onnx"), "--target", "Class")
    lab("models", "onnx:credit_card_fraud", "--share", "app")
    for model in ("onnx:credit_card_fraud", "app:onnx:credit_card_fraud"):
        found = lab.table(f"| inputlookup credit_card_test.csv\n| apply {model}\n| table V* predicted(Class)")
        assert list(found.columns) == [*(f"V{n}" for n in range(1, 29)), "predicted(Class)"]
        np.testing.assert_allclose(found["predicted(Class)"].to_numpy(float), scores, atol=1e-5)
    assert scores[cards["Class"] == 1].mean() > 0.8 > 0.05 > scores[cards["Class"] == 0].mean()
    told = other_user(lab, "lab_analyst").search(
        "| inputlookup credit_card_test.csv | apply app:onnx:credit_card_fraud"
    )
    np.testing.assert_allclose(told.pandas()["predicted(Class)"].to_numpy(float), scores, atol=1e-5)
    # The guide prints it without its pipes: the error says what is missing.
    assert "| inputlookup" in lab("search", "inputlookup credit_card_test.csv\napply onnx:credit_card_fraud", ends=2)


def test_use_case_3_threat_hunt(lab: Shell) -> None:
    events = windows_events.generate(SEED)
    key = ["_time", "ComputerName", "Account_Name", "EventCode"]
    wanted = by_key(windows_events.hourly(events), *key)
    assert len(lab.table('index=botsv3 source="*WinEventLog:Security" | table _time')) == len(events)
    counts = by_key(lab.table(HOURLY)[[*key, "count"]], *key)
    pd.testing.assert_frame_equal(counts, wanted, check_dtype=False)

    lab("search", STAGE, "--out", "staged.csv")
    staged = pd.read_csv(lab.download("data/a_threat_hunt_model.csv"), keep_default_na=False)
    pd.testing.assert_frame_equal(by_key(staged[[*key, "count"]], *key), wanted, check_dtype=False)
    assert json.loads(lab.download("data/a_threat_hunt_model.json").read_text())["feature_variables"]

    fitted = lab.table(STAGE.replace("mode=stage ", ""))
    outlier = fitted["predicted_outlier"]
    ranked = outlier[outlier < 0].abs().groupby(fitted["ComputerName"]).sum().sort_values(ascending=False)
    report = lab.table(REPORT)
    assert report["ComputerName"].tolist() == ranked.index.tolist()
    np.testing.assert_allclose(report["anomaly_score"], ranked, rtol=1e-9)
    assert report["ComputerName"][0] == events.attrs["intrusion"]["victim"]
    lab("alerts", "threat_hunt", "--save", REPORT, "--schedule", "1d")


def other_user(lab: Shell, name: str) -> Lab:
    """Somebody else, who signs in by the link that an administrator hands over and takes a token for the library."""
    address = ControllerAddress.read(lab.place / "home")
    assert address is not None
    own = {"Authorization": f"Bearer {address.token}"}
    link = requests.post(f"{address.url}/api/users/{name}/tickets", headers=own, timeout=30).json()["url"]
    with requests.Session() as browser:
        browser.get(link, timeout=30).raise_for_status()
        asked = {"name": "lab", "capabilities": ["search"]}
        made = browser.post(f"{address.url}/api/tokens", json=asked, headers={"Origin": address.url}, timeout=30)
    return connect(address.url, made.json()["token"], progress=False)


LOGS = "logBytesIn=ln(1+bytes_in), logBytesOut=ln(1+bytes_out), logPacketsIn=ln(1+packets_in)"
UC4 = f"""index=botsv3 sourcetype="stream:tcp"
| eval {LOGS}, logPacketsOut=ln(1+packets_out), logDuration=ln(1+1000*duration)"""


def test_use_case_4_network(lab: Shell, flows: pd.DataFrame) -> None:
    """The features that the search computes; with Golden CPU also the notebook's model, made there, on them."""
    names = {f"log{a}{b}": f"{a.lower()}_{b.lower()}" for a in ("Bytes", "Packets") for b in ("In", "Out")}
    wanted = pd.DataFrame({k: np.log1p(flows[v].astype(float)) for k, v in names.items()})
    wanted["logDuration"] = np.log1p(1000 * flows["duration"])
    columns = " ".join(wanted.columns)
    found = lab.table(f"{UC4}\n| table {columns}")
    for name in wanted.columns:
        np.testing.assert_allclose(np.sort(found[name].dropna()), np.sort(wanted[name].dropna()), rtol=1e-12)
    if lab.runtime != "docker":
        return
    make_the_network_model(lab)
    made = lab.download("data/network_outliers.onnx")
    lab("models", "network_outliers", "--upload", str(made), "--target", "outlier")
    applied = lab.table(f"{UC4}\n| apply onnx:network_outliers\n| table {columns} *outlier*")
    predicted = applied[next(c for c in applied.columns if c.startswith("predicted(outlier"))]
    complete = applied[wanted.columns].notna().all(axis=1)
    labels = plain_scores(made, applied[complete])
    assert set(labels) == {-1, 1}
    assert (predicted[complete].astype(int).to_numpy() == labels).mean() >= 0.9999


def make_the_network_model(lab: Shell) -> None:
    """The notebook's cells up to its ONNX file, in the environment's own container; the maps after it take longer."""
    notebook = json.loads((SHIPPED.parent / "a_network_analysis.ipynb").read_text())
    ends = next(n for n, cell in enumerate(notebook["cells"]) if "Is it working?" in "".join(cell["source"]))
    notebook["cells"] = notebook["cells"][:ends]
    lab.inside("sh", "-c", "cat > /notebooks/first_part.ipynb", given=json.dumps(notebook).encode())
    lab.inside("jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", "/notebooks/first_part.ipynb")
