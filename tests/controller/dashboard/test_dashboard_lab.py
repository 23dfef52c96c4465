"""The first page leads from nothing to a fitted model in five clicks, with the real local runtime."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from labdock import controller

pytestmark = [pytest.mark.slow, pytest.mark.browser]


class Real:
    """A controller as `labdock up` starts it."""

    def __init__(self, home: Path) -> None:
        settings = {"LABDOCK_HOME": str(home), "LABDOCK_RUN": str(home / "run"), "LABDOCK_PORT": "0"}
        self.process = controller.launch(home, settings, home / "log.txt")
        address = controller.wait_ready(self.process, home, home / "log.txt")
        self.url = address.url
        self.headers = {"Authorization": f"Bearer {address.token}"}

    def __call__(self, method: str, path: str, json: Any = None, **_: Any) -> requests.Response:
        return requests.request(method, self.url + path, json=json, headers=self.headers, timeout=60)


@pytest.fixture
def real() -> Iterator[Real]:
    home = Path(tempfile.mkdtemp(prefix="labdock-real-", dir="/tmp"))
    it = Real(home)
    yield it
    it("DELETE", "/api/environments/__dev__?files=true&wait=60")
    os.kill(it.process.pid, signal.SIGTERM)
    it.process.wait(60)
    shutil.rmtree(home)


def test_five_clicks_to_a_fitted_model(real: Real, visit: Any) -> None:
    page = visit(real, "/")  # the first click: the link of `labdock dashboard`
    page.wait_for_url("**/lab")
    page.get_by_role("button", name="Make the lab's data").click()
    expect(page.get_by_role("link", name="See the data")).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="Start __dev__").click()
    fit = page.get_by_role("button", name="Fit the model")
    expect(fit).to_be_enabled(timeout=120_000)
    fit.click()
    expect(page.locator("[data-fit-result]")).to_contain_text("Fitted on", timeout=120_000)
    said = page.locator("[data-fit-result]").inner_text().replace("\u202f", "")
    page.get_by_role("link", name="See the model").click()
    page.wait_for_url("**/models/a_threat_hunt_model")
    model = real("GET", "/api/models/a_threat_hunt_model").json()
    assert model["versions"][-1]["rows"] > 40_000
    assert f"Fitted on {model['versions'][-1]['rows']} rows" in said
    assert model["versions"][-1]["module"] == "a_threat_hunting_notebook"
