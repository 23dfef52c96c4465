"""The shipped notebooks: run from top to bottom by a real kernel, exported, and put where a user finds them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from labdock_container import notebooks_folder
from labdock_container.export import export
from labdock_container.modules import Modules

SHIPPED = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in SHIPPED.glob("*.ipynb"))
LAB = {"barebone_template", "a_threat_hunting_notebook"}


def test_the_labs_notebooks_ship() -> None:
    assert set(NAMES) >= LAB


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_notebook_is_valid_clean_and_complete(name: str) -> None:
    content = (SHIPPED / f"{name}.ipynb").read_bytes()
    notebook = nbformat.reads(content.decode(), as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "outputs are not committed"
    names = [cell.metadata["name"] for cell in code if "name" in cell.metadata]
    if name in LAB:
        words = ("import", "stage", "init", "fit", "apply", "save", "load", "summary")
        assert [n for n in names if n in {f"mltkc_{w}" for w in words}] == [f"mltkc_{w}" for w in words]
    result = export(content, f"{name}.ipynb")
    assert result.findings == []
    assert any("Get data from Splunk" in cell.source for cell in notebook.cells if cell.cell_type == "markdown") or (
        name not in LAB
    )


def run(name: str, folder: Path) -> Any:
    """Execute every cell in `folder`, as JupyterLab would; the notebook with its outputs."""
    notebook = nbformat.read(SHIPPED / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    own = {
        "IPYTHONDIR": str(folder / ".ipython"),
        "MPLCONFIGDIR": str(folder / ".mpl"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".run"),
    }
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    before = {key: os.environ.get(key) for key in own}
    os.environ.update(own)
    try:
        client.execute()
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
    return notebook


def pictures(notebook: Any) -> int:
    return sum("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", []))


def printed(notebook: Any) -> str:
    return "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_barebone_template_runs_and_its_module_does_the_same(tmp_path: Path) -> None:
    notebooks_folder.fill(tmp_path)
    done = run("barebone_template", tmp_path)
    assert not any(o.output_type == "error" for c in done.cells for o in c.get("outputs", []))
    modules = Modules(tmp_path)
    modules.refresh("barebone_template")
    module = modules.load("barebone_template")
    assert module.functions == {"init", "fit", "apply", "save", "load", "summary", "stage"}
    assert module.needs == {"value": "number"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_threat_hunting_notebook_runs_on_staged_data_shows_plots_and_finds_the_victim(tmp_path: Path) -> None:
    from labdock.samples.windows_events import generate, hourly

    notebooks_folder.fill(tmp_path)
    events = generate(seed=5, hosts=12)
    hourly(events).to_csv(tmp_path / "data" / "a_threat_hunt_model.csv", index=False)
    (tmp_path / "data" / "a_threat_hunt_model.json").write_text(json.dumps({"options": {"params": {}}}))
    done = run("a_threat_hunting_notebook", tmp_path)
    assert pictures(done) >= 5
    text = printed(done)
    assert f"look first at {events.attrs['intrusion']['victim']}" in text
    assert "flagged as outliers: 0 of" in text
    assert not list((tmp_path / "modules" / "data").glob("try_*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_threat_hunting_notebook_runs_by_itself_before_anything_is_staged(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "a_threat_hunting_notebook.ipynb", tmp_path)
    assert "look first at" in printed(run("a_threat_hunting_notebook", tmp_path))


def test_filling_copies_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "n"
    copied = notebooks_folder.fill(folder)
    assert {f"{name}.ipynb" for name in NAMES} <= set(copied)
    assert all((folder / f).is_dir() for f in ("data", "modules", "models"))
    mine, deleted = folder / f"{NAMES[0]}.ipynb", folder / f"{NAMES[1]}.ipynb"
    mine.write_text("mine")
    deleted.unlink()
    assert notebooks_folder.fill(folder) == [deleted.name]
    assert mine.read_text() == "mine"
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]


def test_a_link_in_the_users_folder_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "n", tmp_path / "elsewhere"
    folder.mkdir()
    (folder / f"{NAMES[0]}.ipynb").symlink_to(elsewhere)
    notebooks_folder.fill(folder)
    assert not elsewhere.exists()
