"""The modules' page: what the exporter found, where; jobs; and what environments say stays text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import Controller, controllers
from playwright.sync_api import expect

from labdock_container.modules import Modules

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        controller = make()
        controller.start("one")
        yield controller


def says(lab: Controller, **answers: list[dict[str, Any]]) -> None:
    """Let the environment answer with this."""
    for folder in (lab.home / "environments").glob("*/notebooks"):
        for name, answer in answers.items():
            (folder / f"{name}.json").write_text(json.dumps(answer))


def exported(folder: Path) -> list[dict[str, Any]]:
    """What an environment's exporter says of a notebook with a slip in its third cell, and of one without."""
    good = nbformat.v4.new_code_cell("def init(df, param):\n    return {}", metadata={"name": "mltkc_init"})
    bad = nbformat.v4.new_code_cell("def fit(model, df, param):\n    retrun {}", metadata={"name": "mltkc_fit"})
    title = nbformat.v4.new_markdown_cell("# One that fails")
    for name, cells in (("with_a_slip", [title, good, bad]), ("without", [title, good])):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return Modules(folder).list()


def test_a_syntax_error_is_shown_with_its_cell_and_line(lab: Controller, visit: Any, tmp_path: Path) -> None:
    says(lab, modules=exported(tmp_path), jobs=[])
    page = visit(lab, "/modules")
    module = page.locator("#module-with_a_slip")
    expect(module.get_by_text("Cell 3, line 2")).to_be_visible()
    expect(module.get_by_text("cannot run")).to_be_visible()
    expect(module.get_by_role("link", name="Notebook")).to_have_attribute(
        "href", "/environments/one/jupyter/lab/tree/with_a_slip.ipynb"
    )
    expect(page.locator("#module-without")).not_to_contain_text("cannot run")


def test_jobs_are_looked_at_again_and_cancelled(lab: Controller, visit: Any) -> None:
    job = {"id": "j1", "kind": "fit", "status": "running", "module": "m", "model": "x", "started": 1.8e9, "rows": 5}
    says(lab, jobs=[{**job, "duration": None, "error": None}])
    page = visit(lab, "/modules/one")
    with page.expect_request(lambda r: r.method == "DELETE" and r.url.endswith("/api/environments/one/jobs/j1")):
        page.get_by_role("button", name="Cancel fit of m").click()
    failed = {"message": "Module 'm' failed in fit at cell 2.", "remedy": "Correct m.ipynb."}
    says(lab, jobs=[{**job, "status": "failed", "duration": 1.5, "error": failed}])
    expect(page.get_by_text("Module 'm' failed in fit at cell 2.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel fit of m")).to_have_count(0)


def test_what_an_environment_says_stays_text(lab: Controller, visit: Any, xss: list[str]) -> None:
    finding = {"severity": "error", "cell": 1, "line": 1}
    modules = [
        {
            "name": text,
            "doc": text,
            "functions": [text],
            "needs": {text: text},
            "notebook": f"{text}.ipynb",
            "sha256": text,
            "exported_at": text,
            "findings": [{**finding, "message": text, "remedy": text}],
        }
        for text in xss
    ]
    jobs = [
        {"id": text, "kind": text, "status": text, "module": text, "model": text, "error": {"message": text}}
        for text in xss[:30]
    ]
    says(lab, modules=modules, jobs=jobs)
    page = visit(lab, "/modules/one")
    expect(page.locator(".module")).to_have_count(len(xss))
    assert page.locator(".module h2").first.inner_text().startswith(xss[0])
    page.mouse.move(300, 300)
    page.locator(".module").last.hover()


def test_a_stopped_environment_says_so_and_an_unknown_one_is_not_found(lab: Controller, visit: Any) -> None:
    visit.expects("404")
    assert lab("POST", "/api/environments/one/stop?wait=30").status_code == 200
    page = visit(lab, "/modules/one")
    expect(page.get_by_text("one is stopped")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    page.goto(f"{lab.url}/modules/two")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
