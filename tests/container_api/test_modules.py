"""Modules follow their notebooks, load by content, and fail in the user's terms."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labdock.errors import InvalidName, ModuleError, ModuleOutOfMemory, NotFound
from labdock_container.modules import Modules, WorkerSignal


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A notebooks folder; loading a module changes the working directory and the import state, put back here."""
    where, path, before = Path.cwd(), list(sys.path), set(sys.modules)
    yield tmp_path
    os.chdir(where)
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "app":
            del sys.modules[name]


def save(path: Path, *cells: str) -> Path:
    """A notebook whose cells are all exported, written as an editor does: a new file under the old name."""
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [
            {"cell_type": "code", "metadata": {"name": f"c{i}"}, "source": textwrap.dedent(c)}
            for i, c in enumerate(cells)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(content))
    new.replace(path)
    return path


def handwritten(folder: Path, name: str, source: str) -> Path:
    (folder / "modules").mkdir(exist_ok=True)
    path = folder / "modules" / f"{name}.py"
    new = path.with_suffix(".new")
    new.write_text(textwrap.dedent(source))
    new.replace(path)
    return path


ANSWER = "def apply(model, df, param):\n    return {}"


def test_a_changed_notebook_is_exported_again_and_the_new_code_runs(folder: Path) -> None:
    modules = Modules(folder)
    for value in range(20):  # same size each time: only time and inode tell the files apart
        save(folder / "m.ipynb", ANSWER.format(10 + value))
        modules.refresh("m")
        assert modules.load("m").call("apply", None, None, None) == 10 + value


def test_a_module_is_executed_once_while_its_file_stays(folder: Path) -> None:
    modules = Modules(folder)
    save(
        folder / "m.ipynb", "import itertools\ncounter = itertools.count()", "def apply(m, d, p): return next(counter)"
    )
    modules.refresh("m")
    assert [modules.load("m").call("apply", 0, 0, 0) for _ in range(3)] == [0, 1, 2]
    before = modules.load("m")
    os.utime(modules.files.path("m"))  # touched, not changed
    assert modules.load("m") is before


def test_a_helper_module_that_changes_reloads_its_users(folder: Path) -> None:
    handwritten(folder, "helper", "VALUE = 1")
    handwritten(
        folder, "user", "from app.model.helper import VALUE\nimport app.model\ndef apply(m, d, p): return VALUE"
    )
    modules = Modules(folder)
    assert modules.load("user").call("apply", 0, 0, 0) == 1
    handwritten(folder, "helper", "VALUE = 22")
    assert modules.load("user").call("apply", 0, 0, 0) == 22
    assert not list(folder.rglob("__pycache__"))


def test_deleted_and_renamed_notebooks_take_their_modules_along_but_no_others(folder: Path) -> None:
    modules = Modules(folder)
    save(folder / "one.ipynb", ANSWER.format(1))
    save(folder / "sub" / "two.ipynb", ANSWER.format(2))
    handwritten(folder, "mine", ANSWER.format(3))
    assert [m["name"] for m in modules.list()] == ["mine", "one", "two"]
    (folder / "one.ipynb").rename(folder / "uno.ipynb")  # while Jupyter was down
    (folder / "sub" / "two.ipynb").unlink()
    assert [m["name"] for m in modules.list()] == ["mine", "uno"]
    assert sorted(p.name for p in (folder / "modules").glob("[!.]*")) == ["mine.py", "uno.map.json", "uno.py"]


def test_refresh_removes_a_module_whose_notebook_is_gone(folder: Path) -> None:
    modules = Modules(folder)
    notebook = save(folder / "m.ipynb", ANSWER.format(1))
    modules.refresh("m")
    notebook.unlink()
    modules.refresh("m")
    with pytest.raises(NotFound):
        modules.load("m")


def test_forget_takes_a_whole_folder(folder: Path) -> None:
    modules = Modules(folder)
    save(folder / "sub" / "one.ipynb", ANSWER.format(1))
    save(folder / "subway.ipynb", ANSWER.format(2))
    modules.list()
    modules.files.forget("sub")
    assert modules.files.names() == ["subway"]


def test_a_notebook_that_loses_its_exported_cells_loses_its_module(folder: Path) -> None:
    modules = Modules(folder)
    path = save(folder / "m.ipynb", ANSWER.format(1))
    modules.refresh("m")
    content = json.loads(path.read_text())
    content["cells"][0]["metadata"] = {}
    path.write_text(json.dumps(content))
    modules.refresh("m")
    assert modules.list() == []


def test_a_half_written_notebook_costs_no_module(folder: Path) -> None:
    modules = Modules(folder)
    path = save(folder / "m.ipynb", ANSWER.format(1))
    modules.refresh("m")
    path.write_text(path.read_text()[:40])
    modules.refresh("m")
    assert modules.load("m").call("apply", 0, 0, 0) == 1


def test_a_handwritten_module_is_kept_beside_the_export(folder: Path) -> None:
    handwritten(folder, "m", "def apply(m, d, p): return 'by hand'")
    modules = Modules(folder)
    save(folder / "m.ipynb", ANSWER.format("'exported'"))
    modules.refresh("m")
    assert modules.load("m").call("apply", 0, 0, 0) == "exported"
    assert "by hand" in (folder / "modules" / "m.py.orig").read_text()
    assert [m["name"] for m in modules.list()] == ["m"]


def test_a_handwritten_module_wins_over_an_older_notebook(folder: Path) -> None:
    old = save(folder / "m.ipynb", ANSWER.format("'exported'"))
    os.utime(old, (1, 1))
    handwritten(folder, "m", "def apply(m, d, p): return 'by hand'")
    modules = Modules(folder)
    modules.refresh("m")
    assert modules.load("m").call("apply", 0, 0, 0) == "by hand"


def test_two_notebooks_of_one_name_the_first_keeps_the_module(folder: Path) -> None:
    modules = Modules(folder)
    save(folder / "m.ipynb", ANSWER.format(1))
    modules.refresh("m")
    save(folder / "sub" / "m.ipynb", ANSWER.format(2))
    [finding] = modules.files.publish("sub/m.ipynb")[:1]
    assert finding.severity == "error"
    assert "m.ipynb" in finding.message
    assert modules.load("m").call("apply", 0, 0, 0) == 1


def test_a_notebook_whose_name_cannot_be_a_module_is_left_alone_and_says_so(folder: Path) -> None:
    modules = Modules(folder)
    save(folder / "two words.ipynb", ANSWER.format(1))
    assert modules.list() == []
    assert "two_words.ipynb" in modules.files.publish("two words.ipynb")[0].remedy


def test_the_list_tells_what_a_module_has_without_running_it(folder: Path) -> None:
    save(folder / "m.ipynb", "'''What it is for.'''\nneeds = {'a': 'number'}\nraise SystemExit", ANSWER.format(1))
    [record] = Modules(folder).list()
    assert record["functions"] == ["apply"]
    assert record["needs"] == {"a": "number"}
    assert record["doc"] == "What it is for."
    assert record["notebook"] == "m.ipynb"
    assert len(record["sha256"]) == 64
    assert record["exported_at"]
    assert [f["severity"] for f in record["findings"]] == ["warning"]


def test_notebooks_are_never_touched(folder: Path) -> None:
    paths = [save(folder / f"n{i}.ipynb", ANSWER.format(i), "%magic") for i in range(3)]
    before = [(p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino) for p in paths]
    modules = Modules(folder)
    modules.list()
    modules.export("n1")
    assert [(p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino) for p in paths] == before


def test_an_unknown_module_names_the_nearest(folder: Path) -> None:
    save(folder / "a_threat_hunt.ipynb", ANSWER.format(1))
    modules = Modules(folder)
    modules.list()
    with pytest.raises(NotFound, match=r"a_threat_hunt") as caught:
        modules.load("A_threat_hunting")
    assert caught.value.details["nearest"] == "a_threat_hunt"


@pytest.mark.parametrize("name", ["../m", "a/b", "", "m\0", "a" * 300, "m\u043edel", "m.py", "-m"])
def test_names_that_are_none_are_refused(folder: Path, name: str) -> None:
    modules = Modules(folder)
    for use in (modules.load, modules.refresh, modules.export):
        with pytest.raises(InvalidName):
            use(name)


def test_a_syntax_error_names_cell_and_line(folder: Path) -> None:
    save(folder / "m.ipynb", "a = 1", "b = 2\ndef fit(:\n    pass")
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(ModuleError, match=r"cell 2 \(c1\), line 2") as caught:
        modules.load("m")
    details = caught.value.details
    assert (details["module"], details["function"], details["cell"], details["line"]) == ("m", "import", 2, 2)


def test_a_failing_import_names_cell_line_and_package(folder: Path) -> None:
    save(folder / "m.ipynb", "import os", "x = 1\nimport no_such_package_at_all")
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(ModuleError, match="no_such_package_at_all") as caught:
        modules.load("m")
    assert (caught.value.details["cell"], caught.value.details["line"]) == (2, 2)
    assert "Install" in caught.value.remedy


FAILURES = {
    "raise ValueError('seven')": ("ValueError: seven.", 2),
    "import sys; sys.exit(3)": ("sys.exit(3)", 2),
    "raise KeyboardInterrupt": ("KeyboardInterrupt.", 2),
    "raise BaseException('base')": ("BaseException: base.", 2),
    "return helper(0)": ("ZeroDivisionError", 1),
    "import pandas; return pandas.DataFrame({'a': [1]})['b']": ("KeyError: 'b'.", 2),
    "class E(Exception):\n        def __str__(self): return 1/0\n    raise E": ("its text could not be read", 4),
    "raise ValueError('x' * 100_000)": ("ValueError: xxx", 2),
    "return apply(model, df, param)": ("RecursionError", 2),
    "raise GeneratorExit": ("GeneratorExit.", 2),
}


@pytest.mark.parametrize("body", FAILURES)
def test_whatever_user_code_raises_is_a_module_error_with_its_place(folder: Path, body: str) -> None:
    text, line = FAILURES[body]
    save(folder / "m.ipynb", f"def apply(model, df, param):\n    {body}", "def helper(x): return 1 / x")
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(ModuleError) as caught:
        modules.load("m").call("apply", None, None, None)
    error = caught.value
    assert text in error.message
    assert error.details["function"] == "apply"
    assert error.details["line"] == line
    assert error.details["cell"] == (2 if "helper" in body else 1)
    assert error.details["notebook"] == "m.ipynb"
    assert "site-packages" not in error.details["traceback"]
    assert "labdock_container" not in error.details["traceback"]
    assert len(error.details["traceback"]) < 20_000
    assert json.dumps(error.to_problem())


def test_causes_are_told_too(folder: Path) -> None:
    save(
        folder / "m.ipynb",
        "def fit(m, d, p):\n    try:\n        {}['a']\n    except KeyError as e:\n        raise ValueError('b') from e",
    )
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(ModuleError) as caught:
        modules.load("m").call("fit", None, None, None)
    text = caught.value.details["traceback"]
    assert "KeyError: 'a'" in text
    assert "ValueError: b" in text
    assert "Cell 1 (c0), line 5, in fit" in text


def test_running_out_of_memory_is_told_apart(folder: Path) -> None:
    save(folder / "m.ipynb", "def fit(m, d, p): raise MemoryError")
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(ModuleOutOfMemory):
        modules.load("m").call("fit", None, None, None)


def test_the_workers_own_signal_passes(folder: Path) -> None:
    class Deadline(WorkerSignal):
        pass

    save(folder / "m.ipynb", "def fit(m, d, p): raise p")
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(Deadline):
        modules.load("m").call("fit", None, None, Deadline())


def test_a_missing_function_is_named_with_those_that_are_there(folder: Path) -> None:
    save(folder / "m.ipynb", ANSWER.format(1))
    modules = Modules(folder)
    modules.refresh("m")
    with pytest.raises(ModuleError, match=r"has no function fit \(it has apply\)"):
        modules.load("m").call("fit", None, None, None)


def test_a_module_of_the_peer_runs_unchanged(folder: Path) -> None:
    """Absolute paths, relative data, its import name, state of its own class through pickle."""
    (folder / "data").mkdir()
    (folder / "data" / "m.csv").write_text("a\n1\n")
    handwritten(
        folder,
        "m",
        """
        import json, pickle
        import pandas as pd
        MODEL_DIRECTORY = "/srv/app/model/data/"
        class Thing:
            pass
        def stage(name):
            with open("data/" + name + ".csv", 'r') as f:
                return pd.read_csv(f), {}
        def save(model, name):
            with open(MODEL_DIRECTORY + name + ".pkl", "wb") as f:
                pickle.dump(Thing(), f)
            with open("/srv/app/model/data/" + name + ".json", "w") as f:
                json.dump(1, f)
        def load(name):
            with open(MODEL_DIRECTORY + name + ".pkl", "rb") as f:
                return pickle.load(f)
        """,
    )
    module = Modules(folder).load("m")
    assert module.namespace.__name__ == "app.model.m"
    assert module.call("stage", "m")[0]["a"].tolist() == [1]
    module.call("save", None, "k")
    assert type(module.call("load", "k")).__module__ == "app.model.m"
    assert sorted(p.name for p in (folder / "modules" / "data").iterdir()) == ["k.json", "k.pkl"]


def test_the_working_directory_is_the_notebooks_folder_whatever_a_module_did(folder: Path) -> None:
    save(folder / "m.ipynb", "import os\ndef fit(m, d, p):\n    here = os.getcwd()\n    os.chdir('/')\n    return here")
    modules = Modules(folder)
    modules.refresh("m")
    assert [modules.load("m").call("fit", 0, 0, 0) for _ in range(2)] == [str(folder)] * 2


def test_a_file_beside_the_notebooks_cannot_stand_in_for_pythons_own(folder: Path) -> None:
    (folder / "colorsys.py").write_text("raise RuntimeError('shadowed')")
    (folder / "beside_me_only.py").write_text("VALUE = 7")
    save(folder / "m.ipynb", "import colorsys\nfrom beside_me_only import VALUE\ndef fit(m, d, p): return VALUE")
    sys.modules.pop("colorsys", None)
    modules = Modules(folder)
    modules.refresh("m")
    assert modules.load("m").call("fit", 0, 0, 0) == 7
    del sys.modules["beside_me_only"]


@pytest.mark.slow
def test_many_processes_saving_and_reading_never_see_half_a_module(folder: Path) -> None:
    """Writers and readers at once, as Jupyter and workers are: source and map always belong together."""
    save(folder / "m.ipynb", "def apply(m, d, p):\n    raise ValueError(0)")
    Modules(folder).refresh("m")
    writer = """
        import sys; sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from test_modules import save
        from labdock_container.modules import Modules
        folder = Path(sys.argv[1])
        for i in range(60):
            save(folder / "m.ipynb", *["# pad"] * (i % 5), f"def apply(m, d, p):\\n    raise ValueError({i % 5})")
            Modules(folder).refresh("m")
    """
    args = [sys.executable, "-c", textwrap.dedent(writer), str(folder), str(Path(__file__).parent)]
    running = [subprocess.Popen(args) for _ in range(2)]
    modules, seen, end = Modules(folder), 0, time.monotonic() + 120
    while any(p.poll() is None for p in running) and time.monotonic() < end:
        with pytest.raises(ModuleError) as caught:
            modules.load("m").call("apply", 0, 0, 0)
        assert caught.value.details["cell"] is not None
        assert caught.value.message.endswith(f"ValueError: {caught.value.details['cell'] - 1}.")
        seen += 1
    assert [p.wait(30) for p in running] == [0, 0]
    assert seen > 20


def test_the_example_of_the_documentation_runs_and_fails_as_it_says(folder: Path) -> None:
    import pandas as pd

    page = (Path(__file__).parents[2] / "docs" / "module.md").read_text()
    handwritten(folder, "far_from_the_mean", page.split("```python\n")[1].split("```")[0])
    module = Modules(folder).load("far_from_the_mean")
    df = pd.DataFrame({"bytes": [1.0] * 20 + [1000.0]})
    param = {"options": {"params": {"limit": '"4"'}}}
    model = module.call("init", df, param)
    assert module.call("fit", model, df, param) == {"rows": 21}
    assert module.call("apply", model, df, param)["outlier"].tolist() == [False] * 20 + [True]
    with pytest.raises(ModuleError, match="KeyError: 'bytes'") as caught:
        module.call("fit", model, df.rename(columns={"bytes": "b"}), param)
    assert 'Correct modules/far_from_the_mean.py: model["mean"]' in caught.value.remedy
