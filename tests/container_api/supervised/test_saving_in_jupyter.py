"""Editing notebooks through JupyterLab's own REST API: the module follows, and the API runs the new code."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]

INIT = ("mltkc_init", "def init(df, param):\n    return {}")
FIT = ("mltkc_fit", "def fit(model, df, param):\n    return {}")


def apply_of(value: int) -> tuple[str, str]:
    return (
        "mltkc_apply",
        f"import pandas as pd\ndef apply(model, df, param):\n    return pd.DataFrame({{'r': [{value}] * len(df)}})",
    )


def fit(environment: Any, algo: str) -> tuple[int, Any]:
    options = json.dumps({"algo": algo, "model": "m"})
    headers = {"Content-Type": "text/csv", "Accept": "text/csv", "Labdock-Options": options}
    status, answer = environment.request("api", "POST", "/v1/fit", b"a\n1\n2\n", headers)
    return status, answer.replace('"', "") if status == 200 else answer


def test_a_notebooks_life(environment: Any) -> None:
    """One environment for the whole story, since starting one takes seconds."""
    environment.start()
    modules = environment.notebooks / "modules"

    # Saved: the module is there when the save's answer comes, and runs.
    status, saved = environment.jupyter("PUT", "api/contents/story.ipynb", environment.notebook(INIT, FIT, apply_of(1)))
    assert status == 201, saved
    assert "[1]" in (modules / "story.py").read_text()
    assert fit(environment, "story") == (200, "r\n1\n1\n")

    # Edited and saved: the new code runs.
    environment.jupyter("PUT", "api/contents/story.ipynb", environment.notebook(INIT, FIT, apply_of(2)))
    assert fit(environment, "story") == (200, "r\n2\n2\n")

    # A syntax error: Jupyter shows it, the list shows it, and fit names the cell.
    broken = environment.notebook(
        (None, "1/0"), INIT, ("mltkc_fit", "def fit(model, df, param):\n    return {"), apply_of(2)
    )
    environment.jupyter("PUT", "api/contents/story.ipynb", broken)
    status, answer = environment.jupyter("GET", "labdock/findings?path=story.ipynb")
    assert status == 200
    assert [(f["severity"], f["cell"], f["line"]) for f in answer["findings"]] == [("error", 3, 2)]
    status, records = environment.request("api", "GET", "/v1/modules")
    assert [f["cell"] for m in records if m["name"] == "story" for f in m["findings"]] == [3]
    status, problem = fit(environment, "story")
    assert status == 422
    assert problem["code"] == "module-error"
    assert problem["details"]["cell"] == 3
    assert "cell 3" in problem["detail"]

    # Repaired.
    environment.jupyter("PUT", "api/contents/story.ipynb", environment.notebook(INIT, FIT, apply_of(3)))
    assert environment.jupyter("GET", "labdock/findings?path=story.ipynb")[1]["findings"] == []
    assert fit(environment, "story") == (200, "r\n3\n3\n")

    # Renamed, with its folder too; copied; deleted.
    environment.jupyter("PATCH", "api/contents/story.ipynb", {"path": "tale.ipynb"})
    assert (modules / "tale.py").exists()
    assert not (modules / "story.py").exists()
    status, problem = fit(environment, "story")
    assert status == 404
    environment.jupyter("PUT", "api/contents/shelf", {"type": "directory"})
    environment.jupyter("PATCH", "api/contents/tale.ipynb", {"path": "shelf/tale.ipynb"})
    environment.jupyter("PATCH", "api/contents/shelf", {"path": "board"})
    assert json.loads((modules / "tale.map.json").read_text())["notebook"] == "board/tale.ipynb"
    status, copied = environment.jupyter("POST", "api/contents/", {"copy_from": "board/tale.ipynb"})
    assert status == 201
    assert "Give one of the two notebooks another name" in str(
        environment.jupyter("GET", f"labdock/findings?path={copied['path']}")[1]
    )
    environment.jupyter("DELETE", "api/contents/board/tale.ipynb")
    assert not (modules / "tale.py").exists()
    assert fit(environment, "tale") == (200, "r\n3\n3\n")  # the copy's turn
    environment.jupyter("DELETE", f"api/contents/{copied['path']}")
    assert fit(environment, "tale")[0] == 404

    # Checkpoints lie out of the way, and can be restored.
    environment.jupyter("PUT", "api/contents/kept.ipynb", environment.notebook(INIT, FIT, apply_of(4)))
    status, checkpoint = environment.jupyter("POST", "api/contents/kept.ipynb/checkpoints")
    assert status == 201
    assert not list(environment.notebooks.rglob(".ipynb_checkpoints"))
    environment.jupyter("PUT", "api/contents/kept.ipynb", environment.notebook(INIT, FIT, apply_of(5)))
    assert environment.jupyter("POST", f"api/contents/kept.ipynb/checkpoints/{checkpoint['id']}")[0] == 204
    assert fit(environment, "kept") == (200, "r\n4\n4\n")  # restoring runs no hook: the fit looks itself

    # Written by another editor: the next fit looks.
    path = environment.notebooks / "kept.ipynb"
    path.write_text(path.read_text().replace("[4]", "[6]"))
    assert fit(environment, "kept") == (200, "r\n6\n6\n")


def test_edits_survive_restarts_and_what_vanished_meanwhile_is_caught_up(environment: Any) -> None:
    environment.start()
    shipped = sorted(p.name for p in (REPOSITORY / "notebooks").glob("*.ipynb"))
    assert sorted(p.name for p in environment.notebooks.glob("*.ipynb")) == shipped
    name = "barebone_template.ipynb"
    _, model = environment.jupyter("GET", f"api/contents/{name}")
    model["content"]["cells"].append(environment.notebook(("extra", "EDITED = 42"))["content"]["cells"][0])
    environment.jupyter("PUT", f"api/contents/{name}", {k: model[k] for k in ("type", "format", "content")})
    environment.jupyter("PUT", "api/contents/gone.ipynb", environment.notebook(INIT, FIT, apply_of(1)))
    assert environment.stop() == 0
    edited = (environment.notebooks / name).read_bytes()
    (environment.notebooks / "gone.ipynb").unlink()
    (environment.notebooks / shipped[0]).unlink()

    environment.start()
    assert (environment.notebooks / name).read_bytes() == edited
    assert (environment.notebooks / shipped[0]).read_bytes() == (REPOSITORY / "notebooks" / shipped[0]).read_bytes()
    assert "EDITED = 42" in (environment.notebooks / "modules" / "barebone_template.py").read_text()
    _, records = environment.request("api", "GET", "/v1/modules")
    names = [m["name"] for m in records]
    assert "gone" not in names
    assert {"barebone_template", "a_threat_hunting_notebook"} <= set(names)
    assert not (environment.notebooks / "modules" / "gone.py").exists()


def test_saving_stays_fast_and_never_fails_because_of_the_module(environment: Any) -> None:
    environment.start()
    body = environment.notebook(*[(f"c{i}", f"x{i} = {i}\n" * 50) for i in range(60)])
    environment.jupyter("PUT", "api/contents/big.ipynb", body)
    plain = {**body, "content": {**body["content"], "cells": [{**c, "metadata": {}} for c in body["content"]["cells"]]}}

    def seconds(name: str, what: dict[str, Any]) -> float:
        times = []
        for _ in range(9):
            began = time.perf_counter()
            assert environment.jupyter("PUT", f"api/contents/{name}", what)[0] in (200, 201)
            times.append(time.perf_counter() - began)
        return sorted(times)[len(times) // 2]

    assert seconds("big.ipynb", body) < 5 * seconds("plain.ipynb", plain) + 0.2

    # The module cannot be written: the notebook is saved all the same, and the finding says why.
    (environment.notebooks / "modules" / "dir.py").mkdir()
    status, _ = environment.jupyter("PUT", "api/contents/dir.ipynb", environment.notebook(INIT, FIT, apply_of(1)))
    assert status == 201
    [finding] = environment.jupyter("GET", "labdock/findings?path=dir.ipynb")[1]["findings"]
    assert "could not be written" in finding["message"]


def test_findings_need_the_token_and_stay_inside(environment: Any) -> None:
    environment.start()
    url = environment.base_url + "labdock/findings?path="
    assert (
        environment.request("jupyter", "GET", url + "barebone_template.ipynb", headers={"Authorization": ""})[0] == 403
    )
    for path in ("../x.ipynb", "no.ipynb", ".labdock/x.ipynb", "data", "%00.ipynb", "/etc/passwd.ipynb"):
        assert environment.jupyter("GET", "labdock/findings?path=" + path)[0] == 404, path
