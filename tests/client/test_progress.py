"""Progress is shown where somebody looks: a line in a terminal, a bar in a notebook, nothing in a pipe."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import nbclient
import nbformat
import pytest
from tests.client.conftest import Controller

from labdock.progress import Activity

FIT = """
import labdock
env = labdock.connect().environments.get("__dev__")
model = env.fit({{"a": [1.0]}}, algo="slow", into="shown", params={{"seconds": {seconds}, "trace": "/dev/null"}})
print("slept", model.info["slept"])
"""


def in_a_terminal(program: str, home: Path) -> str:
    """What a person sees: the program's output on a pseudo-terminal."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**os.environ, "LABDOCK_HOME": str(home), "TERM": "xterm", "COLUMNS": "100"},
        close_fds=True,
    )
    os.close(inner)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([outer], [], [], 0.1)[0]:
            try:
                seen += os.read(outer, 65536)
            except OSError:  # the other end is closed
                break
    os.close(outer)
    assert process.wait(10) == 0, seen.decode()
    return seen.decode()


@pytest.mark.slow
def test_a_terminal_shows_what_long_work_does_and_prints(controller: Controller) -> None:
    seen = in_a_terminal(FIT.format(seconds=3), controller.home)
    assert "Fitting slow" in seen
    assert "still at it" in seen
    assert re.search(r"0:00:0[12]", seen)
    assert "\x1b[2K" in seen  # the line is taken away again
    assert seen.rstrip().endswith("slept 3")


@pytest.mark.slow
def test_short_work_shows_nothing(controller: Controller) -> None:
    assert "Fitting" not in in_a_terminal(FIT.format(seconds=0), controller.home)


@pytest.mark.slow
def test_a_pipe_shows_nothing(controller: Controller) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIT.format(seconds=1.5)],
        env={**os.environ, "LABDOCK_HOME": str(controller.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("slept 1.5\n", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_shows_a_bar(controller: Controller, tmp_path: Path) -> None:
    home = f"import os\nos.environ['LABDOCK_HOME'] = {str(controller.home)!r}\n"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(home + FIT.format(seconds=3))])
    nbclient.NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(o.get("text", "") for o in notebook.cells[0].outputs)
    shown = text + str(notebook.cells[0].outputs)
    assert "Fitting slow" in shown
    assert "slept 3" in text


def test_it_can_be_asked_for_and_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    with Activity("Quiet work", enabled=False) as quiet:
        assert not quiet.enabled
    with Activity("Loud work", enabled=True) as loud:
        loud.moved("sent", 50_000_000, 100_000_000)
        shown = ""
        deadline = time.monotonic() + 20
        while "sending 100 MB" not in shown and time.monotonic() < deadline:
            shown += capsys.readouterr().err
    assert "Loud work" in shown
    assert "sending 100 MB" in shown
    assert "Quiet work" not in shown
