"""Issue 5, Shows 3: a real browser opens JupyterLab in a container through the door, edits, saves and runs the threat
hunting notebook, and `apply` uses what was saved."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.jupyterlab_page import wait_for_kernel
from tests.waiting import wait_for

import labdock
from labdock.samples import windows_events
from labdock_controller.runtimes.docker import profile

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
NOTEBOOK = "a_threat_hunting_notebook"
FIELDS = ["_time", "ComputerName", "Account_Name", "EventCode", "count"]
SECONDS = 180_000


def outputs(path: Path) -> str:
    """What the saved notebook's cells have put out, as text."""
    text = path.read_text()  # empty in the moment in which JupyterLab writes it
    cells = json.loads(text)["cells"] if text else []
    return json.dumps([cell.get("outputs") for cell in cells])


def test_the_threat_hunting_notebook_is_edited_and_run_in_a_container(
    lab: Any, image: str, engine: Any, chromium: Any
) -> None:
    rows = windows_events.hourly(windows_events.generate(7))
    with labdock.connect(lab.url, lab.token, progress=False) as connected:
        environment = connected.environments.start("hunt", image=image, progress=False)
        volume = engine.volumes.get(profile.volume_name(environment.record["id"])).attrs["Mountpoint"]
        notebook = Path(volume) / f"{NOTEBOOK}.ipynb"
        environment.stage(rows, into="app:a_threat_hunt_model", algo=NOTEBOOK, features=FIELDS)
        model = environment.fit(rows, algo=NOTEBOOK, features=FIELDS, into="app:a_threat_hunt_model")
        assert list(model.apply(rows).columns) == ["outlier"]
        link = connected.sign_in_link(f"/environments/hunt/jupyter/lab/tree/{NOTEBOOK}.ipynb?reset")
        page = chromium.new_page()
        refused: list[str] = []
        page.on("response", lambda r: refused.append(f"{r.status} {r.url}") if r.status in {401, 403} else None)
        page.goto(link)
        page.locator(".jp-NotebookPanel").wait_for(timeout=SECONDS)
        wait_for_kernel(page)
        status = page.locator(".jp-Notebook-ExecutionIndicator")
        # The cell of `apply`, found as a person does: it may be far down.
        cell = page.locator(".jp-CodeCell", has_text="def apply(model, df, param)").first.locator(".cm-content")
        cell.scroll_into_view_if_needed(timeout=SECONDS)
        cell.click()
        page.keyboard.press("Control+End")
        page.keyboard.type(".assign(seen=7.0)")
        page.keyboard.press("Control+s")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        expect(status).to_have_attribute("data-status", "busy", timeout=SECONDS)
        expect(status).to_have_attribute("data-status", "idle", timeout=SECONDS)
        page.keyboard.press("Control+s")
        wait_for(lambda: "rows flagged" in outputs(notebook))
        assert refused == []
        page.close()
        scored = model.apply(rows)
        assert scored["seen"].eq(7.0).all()
        assert '"ename"' not in outputs(notebook)
        environment.delete(files=True)
