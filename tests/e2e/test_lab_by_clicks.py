"""The lab guide's use cases in a browser, by clicks and typing alone, with no way out of the controller.

The same code does them with the environment on this machine and with Golden CPU in Docker, each where it says most in
the time that CI has: UC1 in both; UC2 in Docker with the training (here the shipped file is taken);
UC3 and UC4 here, UC4 without its UMAP map. With LABDOCK_PICTURES=1 Docker does them all, each step is a picture, and
`docs/lab/README.md` is written from them. Each step is printed.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.clicks import REPOSITORY, Lab, columns, go, opened, save_as_alert, search, shown_at_last, upload, values
from tests.e2e.jupyter_clicks import download, item, jupyter, open_notebook, run_through, save, top_folder
from tests.search.lab_guide import CARDS, EVENTS, FIT, HOURLY, REPORT, UC1

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
SHIPPED = REPOSITORY / "notebooks" / "data"
FEATURES = "avgBytes,avgDuration,numFlows,sumBytes,uniqueDstIp,uniqueDstPort,uniqueProtocols"
NETWORK = (  # as the notebook has it
    'index=botsv3 sourcetype="stream:tcp" | eval logBytesIn=ln(1+bytes_in), logBytesOut=ln(1+bytes_out), '
    "logPacketsIn=ln(1+packets_in), logPacketsOut=ln(1+packets_out), logDuration=ln(1+1000*duration) "
    "| apply onnx:network_outliers"
)


@pytest.fixture(scope="module", params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def lab(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Lab]:
    if request.param == "docker":
        build = ["bash", str(REPOSITORY / "images/build.sh"), "golden-cpu"]
        subprocess.run(build, check=True, capture_output=True, timeout=900)
    with opened(chromium, request.param) as made:
        yield made


def on_this_machine(lab: Lab) -> None:
    if lab.runtime != "local" and not lab.guide.pictures:
        pytest.skip("done on this machine; in Docker for the pictures (LABDOCK_PICTURES=1)")


@pytest.fixture(scope="module")
def page(lab: Lab) -> Page:
    """The tab of the dashboard; the tests go on with it in the guide's order."""
    page = lab.context.new_page()
    page.goto(lab.link)
    return page


def test_before_you_begin(lab: Lab, page: Page) -> None:
    lab.guide.part(
        "Before you begin",
        "`labdock up` prints a link that signs the browser in. The first page leads through the lab.",
    )
    page.goto(f"{lab.url}/lab")
    lab.guide.step(page, "The page *Lab*: from nothing to a model that finds an intruder.")
    page.get_by_role("button", name="Make the lab's data").click()
    expect(page.get_by_role("link", name="See the data")).to_be_visible(timeout=240_000)
    start(lab, page)
    go(page, "Data")
    expect(page.get_by_text("botsv3").first).to_be_visible()
    lab.guide.step(page, "*Data* lists the index `botsv3` and the lookups.")
    search(page, CARDS)
    assert {"Time", "V1"} <= set(columns(page))
    expect(page.locator(".tabulator-row").first).to_be_visible()
    lab.guide.step(page, f"*Search*: `{CARDS}` shows the payments.")
    go(page, "Administration")
    page.get_by_role("link", name="Users").click()
    expect(page.locator("tr", has_text="admin").first).to_contain_text("mltk_model_admin")
    lab.guide.step(page, "*Administration, Users*: the role `mltk_model_admin` allows uploading models.")


def start(lab: Lab, page: Page) -> None:
    """The environment `__dev__`, by the form of the Environments page."""
    go(page, "Environments")
    page.get_by_role("button", name="New environment").click()
    dialog = page.get_by_role("dialog", name="New environment")
    dialog.get_by_label("Name").fill("__dev__")
    dialog.get_by_label("Runtime").select_option(lab.runtime)
    if lab.golden:
        dialog.get_by_label("Image").select_option("golden-cpu")
    lab.guide.step(
        page, "*Make the lab's data*. *Environments, New environment*: choose the image *Golden CPU*, *Start*."
    )
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url("**/environments/__dev__", wait_until="commit")
    shown_at_last(page, page.get_by_role("link", name="JupyterLab").first)
    lab.guide.step(page, "`__dev__` runs: what it uses of its limits, its log, and the button that opens JupyterLab.")


def test_use_case_1_botnet(lab: Lab, page: Page) -> None:
    lab.guide.part(
        "Use case 1: botnet activity with a trained model", "A network trained elsewhere judges network flows."
    )
    notebooks = jupyter(lab, page)
    item(notebooks, "data").dblclick()
    expect(item(notebooks, "nn_botnet.onnx")).to_be_visible()
    file = download(lab, notebooks, "nn_botnet.onnx")
    lab.guide.step(notebooks, "JupyterLab, folder `data`: download `nn_botnet.onnx` (right click).")
    notebooks.close()
    upload(page, lab.guide, file, "nn botnet.onnx", "botnet", FEATURES)
    expect(page.get_by_role("link", name="nn_botnet", exact=True)).to_be_visible()
    lab.guide.step(page, "The file has been uploaded successfully; the list shows the model at once.")
    search(page, UC1)
    assert set(FEATURES.split(",")) <= set(columns(page))
    lab.guide.step(page, "Flows per minute and source, with the fields that the model takes.")
    search(page, f"{UC1} | apply onnx:nn_botnet")
    assert "predicted(botnet)" in columns(page)
    lab.guide.step(page, "`| apply onnx:nn_botnet` adds `predicted(botnet)`.")
    search(page, f"{UC1} | apply onnx:nn_botnet | where 'predicted(botnet)'>=1")
    assert set(values(page, "predicted(botnet)")) == {"1"}
    lab.guide.step(page, "`| where 'predicted(botnet)'>=1`: only predicted botnet traffic.")
    said = "*Save as, Alert*: `botnet_traffic`, notable events with risk for `src_ip`."
    save_as_alert(page, lab.guide, "botnet_traffic", "src_ip", said)
    lab.guide.step(page, "*Alerts, botnet_traffic, Run now*: it has fired; from now on it runs by itself.")
    go(page, "Alerts")
    page.get_by_role("link", name="Notable events").click()
    expect(page.locator("#notables")).to_contain_text("botnet_traffic")
    lab.guide.step(page, "*Notable events*: what it found, and the risk of each source.")


def test_use_case_2_fraud(lab: Lab, page: Page) -> None:
    lab.guide.part(
        "Use case 2: predicting fraud",
        "The notebook trains a network in Keras and saves it as `data/credit_card_fraud.onnx`.",
    )
    file = train(lab, jupyter(lab, page))
    assert (file.read_bytes() != (SHIPPED / file.name).read_bytes()) == lab.golden
    upload(page, lab.guide, file, "credit_card_fraud", "Class")
    search(page, f"{CARDS} | apply onnx:credit_card_fraud | table V* predicted(Class)")
    assert columns(page)[0] == "V1"
    lab.guide.step(
        page, "`| apply onnx:credit_card_fraud | table V* predicted(Class)`: each payment with its prediction."
    )
    go(page, "Models")
    page.get_by_role("button", name="Permissions of credit_card_fraud").click()
    dialog = page.get_by_role("dialog", name="Edit permissions")
    dialog.get_by_role("radio", name=re.compile("^App")).check()
    lab.guide.step(page, "Models, column *Sharing*: *Edit permissions*, display for *App* instead of *Owner*.")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    search(page, f"{CARDS} | apply app:onnx:credit_card_fraud | table predicted(Class) V*")
    assert all(0 <= float(score) <= 1 for score in values(page, "predicted(Class)"))
    lab.guide.step(page, "In any app it is `app:onnx:credit_card_fraud`.")


def train(lab: Lab, notebooks: Page) -> Path:
    """Work through the fraud notebook, as far as its packages are there, and download its ONNX file."""
    open_notebook(notebooks, "a_MLTK_ONNX_Workshop")
    if lab.golden:
        run_through(notebooks, "df.head()", "2,500 transactions, 100 frauds")
        lab.guide.step(
            notebooks, "Open `a_MLTK_ONNX_Workshop.ipynb` and run it cell by cell (Shift+Enter): the payments."
        )
        run_through(notebooks, "model.summary()", "Total params")
        lab.guide.step(notebooks, "*Model creation and configuration*: what `model.summary()` shows.")
        run_through(notebooks, "history = model.fit(", "Epoch 2/50")
        run_through(notebooks, "validation_scores = model.predict(", "false positive rate")
        lab.guide.step(notebooks, "*Model Training* and *Model Evaluation*: the recall and the false alarms.")
        run_through(notebooks, "tf2onnx.convert.from_keras(", "features: Time,V1,V2")
        lab.guide.step(
            notebooks, "*Saving the model*: `data/credit_card_fraud.onnx`, opset 13, with the features' names."
        )
        run_through(notebooks, "figures = {", "'average_precision'")
        save(notebooks, "a_MLTK_ONNX_Workshop")
    item(notebooks, "data").dblclick()
    file = download(lab, notebooks, "credit_card_fraud.onnx")
    lab.guide.step(notebooks, "Download `data/credit_card_fraud.onnx`.")
    notebooks.close()
    return file


def test_use_case_3_hunting(lab: Lab, page: Page) -> None:
    on_this_machine(lab)
    lab.guide.part(
        "Use case 3: threat hunting through Windows event logs",
        "Counts of events go into a notebook; its model ranks computers.",
    )
    search(page, EVENTS)
    lab.guide.step(page, f"`{EVENTS}`: the security events.")
    search(page, HOURLY)
    assert {"ComputerName", "Account_Name", "EventCode", "count"} <= set(columns(page))
    lab.guide.step(page, "Counted by hour, computer, account and event code.")
    search(page, f"{HOURLY} | {FIT.format(mode='mode=stage ')}", 120)
    lab.guide.step(
        page,
        "`| fit MLTKContainer mode=stage algo=a_threat_hunting_notebook … into app:a_threat_hunt_model` "
        "sends them to the environment.",
    )
    suspect = hunt(lab, jupyter(lab, page))
    search(page, f"{HOURLY} | {FIT.format(mode='')} | {REPORT}", 180)
    scores = [float(text.replace(",", "")) for text in values(page, "anomaly_score")]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 2 * scores[1]  # the planted intrusion stands out
    assert values(page, "ComputerName")[0] == suspect  # whom the notebook accused of the same rows
    lab.guide.step(
        page, "Without `mode=stage` the model is fitted, and the computers are ranked by their anomalous logins."
    )
    said = "*Save as, Alert*: `anomalous_logins`, with risk for `ComputerName`."
    save_as_alert(page, lab.guide, "anomalous_logins", "ComputerName", said)
    go(page, "Modules")
    expect(page.locator("#module-a_threat_hunting_notebook")).to_contain_text("a_threat_hunt_model")
    lab.guide.step(page, "*Modules* shows the notebook's functions, its fit with metrics, and the jobs.")


def hunt(lab: Lab, notebooks: Page) -> str:
    """Work through the threat hunting notebook on the staged rows; the computer that it says to look at first."""
    item(notebooks, "data").dblclick()
    item(notebooks, "a_threat_hunt_model.csv").dblclick()
    expect(notebooks.locator(".jp-CSVViewer:visible")).to_be_visible()
    lab.guide.step(notebooks, "JupyterLab: `data/a_threat_hunt_model.csv` holds the same rows (double click).")
    top_folder(notebooks)
    open_notebook(notebooks, "a_threat_hunting_notebook")
    run_through(notebooks, 'stage("a_threat_hunt_model")', "rows,")
    lab.guide.step(notebooks, "Open `a_threat_hunting_notebook.ipynb` and follow it: the staged rows.")
    run_through(notebooks, 'print("look first at", suspect)', "look first at")
    shown = notebooks.locator(".jp-OutputArea-output", has_text="look first at").last.inner_text()
    lab.guide.step(notebooks, "The computers by their anomaly score, and which one to look at first.")
    run_through(notebooks, "summary(model)", "habits known")
    save(notebooks, "a_threat_hunting_notebook")
    notebooks.close()
    return shown.removeprefix("look first at").strip()


def test_use_case_4_network(lab: Lab, page: Page) -> None:
    on_this_machine(lab)
    lab.guide.part("Use case 4: network traffic", "A scikit-learn pipeline in a notebook, saved as ONNX.")
    notebooks = jupyter(lab, page)
    open_notebook(notebooks, "a_network_analysis")
    run_through(notebooks, "flows.head()", "TCP flows")
    run_through(notebooks, "pipeline.fit(X.to_numpy())", "flows are outliers")
    lab.guide.step(notebooks, "JupyterLab: open `a_network_analysis.ipynb` and run it: a pipeline that finds outliers.")
    run_through(notebooks, "made = convert_sklearn(", "data/network_outliers.onnx: ")
    lab.guide.step(notebooks, "*Save it as ONNX*: `data/network_outliers.onnx`, with the features' names.")
    run_through(notebooks, 'show(near, "t-SNE", axis)')
    if lab.golden:
        run_through(notebooks, 'show(both, "UMAP", axis)')
        lab.guide.step(notebooks, "PCA, t-SNE and UMAP: the outliers lie apart.")
        run_through(notebooks, "auc = roc_auc_score(bad, -scores)", "ROC AUC 0.9")
        save(notebooks, "a_network_analysis")
    item(notebooks, "data").dblclick()
    file = download(lab, notebooks, "network_outliers.onnx")
    notebooks.close()
    upload(page, lab.guide, file, "network_outliers", "outlier")
    with page.expect_navigation():  # its scripts are there afterwards
        page.get_by_role("link", name="network_outliers", exact=True).click()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("output [data-value]").first).to_be_visible()
    lab.guide.step(page, "The model's page: what it takes and gives, how it is called, and a row to try it on.")
    search(page, f"{NETWORK} | stats count by predicted(outlier)")
    assert set(values(page, "predicted(outlier)")) == {"-1", "1"}
    lab.guide.step(page, "`| apply onnx:network_outliers | stats count by predicted(outlier)`: -1 is an outlier.")


def test_nothing_else_was_asked(lab: Lab) -> None:
    assert lab.outside == []
    assert lab.guide.number >= (15 if lab.golden else 20)
