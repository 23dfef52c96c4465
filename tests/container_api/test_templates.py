"""Each template runs in a real kernel, its test cell included, and is a module once it is exported."""

from pathlib import Path

import nbclient
import nbformat
import pytest

from labdock import templates
from labdock.errors import Conflict, InvalidName, NotFound
from labdock_container.module_files import ModuleFiles


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", templates.TEMPLATES)
def test_a_template_runs_and_is_a_module(kind: str, tmp_path: Path) -> None:
    path = templates.write(tmp_path, "mine", kind)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "The module works" in printed
    (tmp_path / "modules").mkdir()
    findings = ModuleFiles(tmp_path).publish("mine.ipynb")
    assert [f for f in findings if f.severity == "error"] == []
    module = (tmp_path / "modules" / "mine.py").read_text()
    assert "def fit(" in module
    assert "The module works" not in module


def test_nothing_is_overwritten_and_kinds_are_named(tmp_path: Path) -> None:
    templates.write(tmp_path, "mine", "text")
    with pytest.raises(Conflict):
        templates.write(tmp_path, "mine", "text")
    with pytest.raises(NotFound, match="clasifier"):
        templates.write(tmp_path, "other", "clasifier")
    with pytest.raises(InvalidName):
        templates.write(tmp_path, "../other", "text")
