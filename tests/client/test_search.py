"""Searches as people run them: the library's forms, `labdock search` and `labdock shell` in a real terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.waiting import wait_for

from labdock.cli import app
from labdock.lab import Lab

SEARCH = "index=shelf | stats count sum(bytes) as bytes by src | sort -bytes"
SLOW = '| makeresults count=1500000 | eval x=md5(tostring(random())) | stats dc(x) as kinds | eval told="ended"'
KEYS = {"tab": b"\t", "up": b"\x1b[A", "end": b"\x04", "break": b"\x03", "enter": b"\r"}


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    rows = 3_000
    named = [f"10.0.0.{i % 7}" for i in range(rows)]
    return pd.DataFrame({"_time": [1_600_000_000.0 + i for i in range(rows)], "src": named, "bytes": range(rows)})


@pytest.fixture
def shelf(lab: Lab, events: pd.DataFrame, tmp_path: Path) -> Lab:
    """An index of the events; made once for the session's controller."""
    if "shelf" not in [index["name"] for index in lab.connection.call("GET", "/api/indexes")]:
        events.to_parquet(tmp_path / "events.parquet")
        lab.indexes.ingest(tmp_path / "events.parquet", "shelf", sourcetype="flow")
    return lab


def wanted(events: pd.DataFrame) -> pd.DataFrame:
    """What `SEARCH` finds, by pandas."""
    found = events.groupby("src")["bytes"].agg(["size", "sum"]).reset_index()
    found.columns = pd.Index(["src", "count", "bytes"])
    return found.sort_values("bytes", ascending=False, ignore_index=True)


def test_rows_come_in_every_form(shelf: Lab, events: pd.DataFrame, tmp_path: Path) -> None:
    known = wanted(events)
    found = shelf.search(SEARCH)
    pd.testing.assert_frame_equal(found.pandas(), known, check_dtype=False)
    assert isinstance(found.polars(), pl.DataFrame)
    assert found.polars().to_dicts() == known.to_dict("records")
    assert isinstance(found.table(), pa.Table)
    assert found.rows() == known.to_dict("records")
    assert found.page(count=2, sort="src", filter="bytes > 0") == sorted(found.rows(), key=lambda r: r["src"])[:2]
    assert (found.status, found.refresh().record["scanned"]) == ("done", len(events))
    assert pq.read_table(found.export(tmp_path / "f.parquet")).to_pylist() == known.to_dict("records")
    assert pd.read_csv(found.export(tmp_path / "f.csv")).equals(known)
    lines = found.export(tmp_path / "f.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == known.to_dict("records")
    with pa.ipc.open_stream(found.export(tmp_path / "f.arrow")) as stream:
        assert stream.read_all().to_pylist() == known.to_dict("records")


def test_a_spreadsheet_runs_nothing_and_csv_is_exact(shelf: Lab, tmp_path: Path) -> None:
    found = shelf.search('| makeresults | eval a="=1+1", b="-2" | table a b')
    exact = pd.read_csv(found.export(tmp_path / "exact.csv"), dtype=str)
    safe = pd.read_csv(found.export(tmp_path / "safe.csv", "spreadsheet"), dtype=str)
    assert exact.to_dict("records") == [{"a": "=1+1", "b": "-2"}]
    assert safe.to_dict("records") == [{"a": "'=1+1", "b": "'-2"}]


def test_times_beyond_calendars_and_numbers_that_are_none_are_shown(
    shelf: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["search", "| makeresults | eval _time=1e300, a=exp(1e5), b=sqrt(-1) | table _time a b"]) == 0
    assert "1e+300" in capsys.readouterr().out
    line = ["search", "| makeresults | eval _time=1534770000 | table _time", "--timezone", "Europe/Zurich"]
    assert app.run(line) == 0
    assert "2018-08-20 15:00:00" in capsys.readouterr().out


def test_damaged_files_among_good_ones_are_named_and_the_others_served(
    shelf: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.csv").write_text("_time,a\n1600000000,1\n")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + os.urandom(500))
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "lines.csv").write_text('_time,a\n1600000001,2\n1600000002,"open\n1600000003,4\n')
    (tmp_path / "last.csv").write_text("_time,a\n1600000009,9\n")
    names = ["one.csv", "cut.parquet", "noise.csv", "lines.csv", "last.csv"]
    code = app.run(["ingest", *(str(tmp_path / name) for name in names), "--index", "mixed"])
    shown = capsys.readouterr()
    assert code == 8, shown.err
    for name in ("cut.parquet: cut.parquet is damaged", "noise.csv: noise.csv is neither", "2 files could not be read"):
        assert name in shown.err
    assert "1 bad line left out" in shown.out
    found = shelf.search("index=mixed | sort _time | table a").rows()
    assert [row["a"] for row in found] == [1, 2, 4, 9]


class Terminal:
    """A process in a terminal of its own, as a person sees it."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "LABDOCK_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        command = [sys.executable, "-m", "labdock.cli", *arguments]
        # The session's leader has the terminal: when that hangs up, the kernel tells its processes.
        leader = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", leader, *command],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = ""
        self._told = 0

    def type(self, text: str, *keys: str) -> None:
        os.write(self.master, text.encode() + b"".join(KEYS[key] for key in keys))

    def see(self, pattern: str, seconds: float = 30) -> str:
        """Wait for something new on the screen, colours aside."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if match := re.search(pattern, self.shown[self._told :], re.DOTALL):
                self._told += match.end()
                return match.group()
            if select.select([self.master], [], [], 0.05)[0]:
                with suppress(OSError):
                    self.shown += re.sub(
                        r"\x1b[\[(][0-9;?]*[a-zA-Z]", "", os.read(self.master, 65_536).decode("utf-8", "replace")
                    )
        raise AssertionError(f"{pattern} was not seen:\n{self.shown[-3000:]}")

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self.master)
        self.master = -1


@contextmanager
def terminal(home: Path, *arguments: str) -> Iterator[Terminal]:
    made = Terminal(home, *arguments)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait(10)
        if made.master >= 0:
            os.close(made.master)


def test_a_shell_completes_remembers_and_goes_on(shelf: Lab, controller: Any) -> None:
    with terminal(controller.home, "shell") as shell:
        shell.see("search>")
        shell.type("index=shelf | sta")
        shell.see("stats +Aggregates over all rows")
        shell.type("", "tab")
        shell.type(" count as told", "enter")
        shell.see(r"told\s.*3000.*1 row, 3,000 read")
        shell.see("search>")
        shell.type("index=shelf |", "enter")
        shell.see(">")
        shell.type("statz count", "enter")
        shell.see(r"statz count\s+\^\^\^\^\^.*stats")
        shell.see("search>")
        shell.type("nothing of this", "break")
        shell.see("search>")
        shell.type("", "up", "up", "up", "enter")
        shell.see(r"told\s.*3000.*1 row, 3,000 read")
        shell.see("search>")
        shell.type("", "end")
        assert shell.process.wait(30) == 0
    with terminal(controller.home, "shell") as again:
        again.see("search>")
        again.type("", "up")
        again.see(r"index=shelf \| stats count as told")
        again.type("", "break")
        again.see("search>")
        again.type("quit", "enter")
        assert again.process.wait(30) == 0
    kept = controller.home / "search_history"
    assert "index=shelf | stats count as told" in kept.read_text()


def test_a_shell_colours_commands_and_texts(shelf: Lab, controller: Any) -> None:
    from prompt_toolkit.document import Document

    from labdock.cli.prompt import SearchLexer

    styled = SearchLexer().lex_document(Document('index=a | stats count by src | eval x="|" ```note```'))(0)
    by_style = {style: [text for s, text, *_ in styled if s == style] for style in {s for s, *_ in styled}}
    assert by_style["class:command"] == ["stats", "eval"]
    assert by_style["class:string"] == ['"|"']
    assert by_style["class:keyword"] == ["by"]
    assert by_style["class:comment"] == ["```note```"]
    assert "".join(text for _, text, *_ in styled) == 'index=a | stats count by src | eval x="|" ```note```'


def test_a_search_survives_the_end_of_its_terminal(
    shelf: Lab, controller: Any, labdock_command: Callable[..., Any]
) -> None:
    before = {search.id for search in shelf.searches.list()}
    with terminal(controller.home, "search", SLOW) as window:
        started = until_new(shelf, before)
        window.hang_up()
        # The kernel's signal ends it, or what it was writing fails first.
        assert window.process.wait(30) in (-signal.SIGHUP, 1)
    listed = json.loads(labdock_command("jobs", "--searches", "--json").stdout)
    assert started in [job["id"] for job in listed]
    found = shelf.searches.get(started).refresh(120)
    assert (found.status, [row["told"] for row in found.rows()]) == ("done", ["ended"])
    shown = json.loads(labdock_command("jobs", started, "--searches", "--json").stdout)
    assert shown["rows"] == 1


def until_new(lab: Lab, before: set[str]) -> str:
    """The search that began since."""

    def begun() -> list[str]:
        return [s.id for s in lab.searches.list() if s.id not in before and s.status == "running"]

    found: list[str] = wait_for(begun, what="the search's start")
    return found[0]


def test_a_stopped_environment_starts_for_a_search_and_says_so(lab: Lab) -> None:
    environment = lab.environments.get("__dev__")
    environment.stop()
    found = lab.search(
        "| makeresults count=3 | eval a=4 | fit MLTKContainer algo=means a into on_demand | table predicted_outlier"
    )
    assert found.rows() == [{"predicted_outlier": 0.0}] * 3
    assert "The environment __dev__ was started." in found.refresh().messages
    assert lab.environments.get("__dev__").status == "running"
