"""The real controller, its real environment, and the door between: signed in by its link, in a real browser."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from playwright.sync_api import expect
from tests.jupyterlab_page import run_cell, wait_for_kernel
from tests.waiting import wait_for

import labdock
from labdock.home import ControllerAddress

NAMED = {"name": "mltkc_code"}
CODE = """
import pandas as pd


def init(df, param):
    return {}


def fit(model, df, param):
    return {}


def apply(model, df, param):
    return pd.DataFrame({"y": df["x"] * FACTOR})
"""
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def lab() -> Iterator[tuple[labdock.Lab, Path]]:
    """A controller of its own with an environment `__dev__`; gives the library's way in and the home."""
    folder = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    home = folder / "home"
    variables = {**os.environ, "LABDOCK_HOME": str(home), "LABDOCK_RUN": str(folder / "run"), "LABDOCK_PORT": "0"}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "labdock_controller", "serve"]
        controller = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:

        def address() -> ControllerAddress | None:
            assert controller.poll() is None, (folder / "log").read_text()
            return ControllerAddress.read(home)

        found = wait_for(address)
        with contextlib.closing(labdock.connect(found.url, found.token)) as connected:
            environment = connected.environments.start("__dev__", progress=False)
            yield connected, home
            environment.stop()
    finally:
        controller.terminate()
        controller.wait(30)
        shutil.rmtree(folder)


def test_a_cell_edited_in_the_browser_is_what_apply_uses(lab: tuple[labdock.Lab, Path], chromium: Any) -> None:
    connected, home = lab
    environment = connected.environments.get("__dev__")
    notebooks = home / "environments" / environment.record["id"] / "notebooks"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell("FACTOR = 2", metadata=NAMED), nbformat.v4.new_code_cell(CODE, metadata=NAMED)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), notebooks / "times.ipynb")
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    environment.fit(frame, algo="times", into="times_model")
    assert [m.name for m in connected.models.list()] == ["times_model"]  # listed as soon as the fit is answered
    assert environment.apply(frame, "times_model")["y"].tolist() == [2.0, 4.0]
    link = connected.sign_in_link("/environments/__dev__/jupyter/lab/tree/times.ipynb?reset")
    page = chromium.new_page()
    refused: list[str] = []
    page.on("response", lambda r: refused.append(f"{r.status} {r.url}") if r.status in {401, 403} else None)
    page.goto(link)
    cell = page.locator(".jp-CodeCell").first
    cell.wait_for(timeout=60_000)
    wait_for_kernel(page)
    cell.locator(".cm-content").click()  # JupyterLab may have taken the focus meanwhile
    page.keyboard.press("Control+a")
    page.keyboard.type("FACTOR = 10; print('run in the browser', FACTOR)")
    run_cell(page, cell)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("run in the browser 10", timeout=60_000)
    page.keyboard.press("Control+s")
    wait_for(lambda: "FACTOR = 10" in (notebooks / "modules" / "times.py").read_text())
    assert refused == []
    page.close()
    assert environment.apply(frame, "times_model")["y"].tolist() == [10.0, 20.0]
