"""Every command, run for real against a controller, with its JSON, its exit code and its documentation."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from labdock.cli import app, output
from labdock.environment import Environment

REPOSITORY = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
CSV = "a,b,who\n1,4,x\n2,5,y\n6,6,\n"


@pytest.fixture
def cli(lab: object, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`labdock …` in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = app.run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return str(path)


def answer(run: Any, *arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_fit_apply_and_models(cli: Any, table: str, tmp_path: Path) -> None:
    code, out, _ = cli("fit", table, "--algo", "means", "--into", "app:cli", "--fields", "a,b", "--param", "scale=2")
    assert code == 0
    assert "Fitted app:cli version 1 on 3 rows" in out
    assert re.search(r"mean +3\n", out)
    assert re.search(r"outlier\n-4\n", out)
    code, out, err = cli("apply", "app:cli", table)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["a", "b", "who", "outlier"]
    assert out.splitlines()[1].split() == ["1", "4", "x", "-4"]
    target = tmp_path / "out.parquet"
    code, out, err = cli("apply", "app:cli", table, "--out", str(target))
    assert (code, out) == (0, "")
    assert "3 rows" in err
    assert pq.read_table(target).to_pydict() == {
        "a": [1, 2, 6],
        "b": [4, 5, 6],
        "who": ["x", "y", None],
        "outlier": [-4.0, -2.0, 6.0],
    }
    shown = answer(cli, "apply", "app:cli", table, "--only", "--param", "scale=1")
    assert shown["records"] == [{"outlier": -2.0}, {"outlier": -1.0}, {"outlier": 3.0}]
    listed = {m["name"]: m for m in answer(cli, "models")}
    assert listed["cli"]["sharing"] == "app"
    assert "app:cli" in cli("models")[1]
    one = answer(cli, "models", "app:cli")
    assert one["versions"][0]["features"] == ["a", "b"]
    assert "version 1" in cli("models", "cli")[1]
    assert answer(cli, "models", "cli", "--delete") == {"name": "cli", "removed": True}
    assert cli("models", "cli")[0] == 3


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow", "jsonl"])
def test_fit_writes_every_format(cli: Any, table: str, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"predictions.{suffix}"
    shown = answer(cli, "fit", table, "--algo", "means", "--into", "formats", "--fields", "a", "--out", str(target))
    assert shown["out"] == str(target)
    assert shown["info"] == {"mean": 3.0, "rows": 3}
    read = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "arrow": pd.read_feather,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    assert read[suffix](target)["outlier"].tolist() == [-2, -1, 3]


def test_standard_input_and_output(labdock_command: Command) -> None:
    fitted = labdock_command("fit", "-", "--algo", "means", "--into", "piped", "--fields", "a", "--json", stdin=CSV)
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["rows"] == 3
    applied = labdock_command("apply", "piped", "-", "--out", "-", stdin='{"a": 4}\n{"a": 5}\n')
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout == '"a","outlier"\n4,1\n5,2\n'


def test_stage(cli: Any, table: str) -> None:
    code, out, _ = cli("stage", table, "--into", "app:cli_staged", "--algo", "means", "--fields", "b,a")
    assert code == 0
    assert "Staged 3 rows in __dev__" in out
    assert "data/cli_staged.csv" in out
    assert answer(cli, "stage", table, "--into", "cli_staged", "--env", "__dev__")["rows"] == 3


def test_jobs(cli: Any, table: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    arguments = ("fit", table, "--algo", "slow", "--into", "cli_job", "--param", f"trace={trace}")
    code, out, err = cli(*arguments, "--param", "seconds=0.2", "--no-wait")
    assert code == 0
    assert "Follow it: labdock jobs" in err
    job = out.strip()
    code, out, _ = cli("jobs", job, "--follow")
    assert code == 0
    assert "still at it" in out
    assert re.search(r"status +done", out)
    assert job in [j["id"] for j in answer(cli, "jobs")]
    assert job in cli("jobs")[1]
    endless = answer(cli, *arguments, "--param", "seconds=60", "--no-wait")["id"]
    assert answer(cli, "jobs", endless, "--cancel")["status"] == "cancelled"
    assert cli("jobs", "no-such-job")[0] == 3


def test_modules(cli: Any) -> None:
    assert "linear" in [m["name"] for m in answer(cli, "modules")]
    out = cli("modules")[1]
    assert re.search(r"means +init, fit, apply, summary +Distance from the mean", out)


def test_ps_logs_open_and_start(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [e["name"] for e in answer(cli, "ps")] == ["__dev__"]
    assert re.search(r"__dev__ +running +local +dev", cli("ps")[1])
    assert "Started server process" in cli("logs", "__dev__", "--tail", "1000")[1]
    assert len(answer(cli, "logs", "--tail", "2")["lines"]) == 2
    link = answer(cli, "open", "--no-browser")["url"]
    assert link.startswith("http://127.0.0.1:")
    assert "/environments/__dev__/jupyter" in link
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert cli("open")[0] == 0
    assert cli("start")[1].startswith("__dev__ is running.")
    assert answer(cli, "start", "__dev__")["status"] == "running"


@pytest.mark.slow
def test_quotas(cli: Any) -> None:
    try:
        (found,) = answer(cli, "quotas", "--role", "viewer", "--cpus", "2.5", "--memory", "4000")
        assert (found["kind"], found["name"], found["cpus"], found["memory_mb"]) == ("role", "viewer", 2.5, 4000)
        assert (found["environments"], found["gpus"]) == (None, None)
        assert re.search(r"role +viewer +2.5 +4000", cli("quotas")[1])
    finally:
        assert answer(cli, "quotas", "--role", "viewer", "--remove") == []
    assert answer(cli, "quotas", "--mine")["quota"]["cpus"] is None  # an administrator's
    assert "gpus" in cli("quotas", "--mine")[1]
    for wrong in (("--cpus", "1"), ("--remove",), ("--role", "viewer"), ("--role", "a", "--user", "b", "--cpus", "1")):
        code, _, err = cli("quotas", *wrong)
        assert code == 2, wrong
        assert "--role or --user" in err
    assert cli("quotas", "--user", "nobody-here", "--gpus", "1")[0] == 3


def test_an_environment_from_start_to_rm(cli: Any, controller: Any, lab: Any) -> None:
    assert answer(cli, "start", "second", "--mode", "prod", "--runtime", "local")["mode"] == "prod"
    notebooks = controller.notebooks(lab.environments.get("second"))
    code, _, err = cli("modules")
    assert code == 4
    assert "several environments: __dev__, second" in err
    assert cli("restart", "second")[1] == "second is running.\n"
    assert cli("stop", "second")[1] == "second is stopped.\n"
    code, _, err = cli("apply", "whatever", os.devnull, "--env", "second")
    assert code != 0
    assert answer(cli, "ps")[1]["status"] == "stopped"
    assert notebooks.exists()
    assert answer(cli, "rm", "second", "--files", "--yes")["removed"] is True
    assert not notebooks.exists()
    assert cli("rm", "second", "--yes")[0] == 3


@pytest.mark.slow
def test_following_a_log(controller: Any, env: Environment) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "labdock.cli", "logs", "-f", "--tail", "1"],
        env={**os.environ, "LABDOCK_HOME": str(controller.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip()  # it is connected
        env.fit({"a": [1.0]}, algo="means", into="in_the_log")
        line = next(line for line in process.stdout if "in_the_log" in line)
        assert "fit" in line
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == output.INTERRUPTED


@pytest.mark.slow
def test_ctrl_c_cancels_the_job_and_says_so(controller: Any, env: Environment, table: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "labdock.cli", "fit", table, "--algo", "slow", "--into", "interrupted"),
            *("--param", "seconds=60", "--param", f"trace={trace}"),
        ],
        env={**os.environ, "LABDOCK_HOME": str(controller.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not trace.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == output.INTERRUPTED
    found = re.search(r"Cancelled job (\S+) in __dev__", err)
    assert found, err
    assert env.job(found[1]).status == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["fit", "TABLE", "--algo", "meens"], 3, "Did you mean 'means'?"),
        (["fit", "TABLE", "--algo", "broken"], 1, "1 / 0"),
        (["fit", "TABLE", "--algo", "means", "--fields", "q"], 2, "no column 'q'"),
        (["fit", "TABLE", "--algo", "means", "--param", "oops"], 2, "--param key=value"),
        (["fit", "TABLE", "--algo", "means", "--into", "a/b"], 2, "is not a name for a model"),
        (["fit", "nowhere.csv", "--algo", "means"], 3, "no file 'nowhere.csv'"),
        (["fit", "TABLE"], 2, "--algo"),
        (["fit", "TABLE", "--agol", "x"], 2, "--agol"),
        (["apply", "nope", "TABLE"], 3, "no model named 'nope'"),
        (["logs", "__dve__"], 3, "Did you mean '__dev__'?"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes_end_with_their_code_and_a_remedy(
    cli: Any, table: str, arguments: list[str], code: int, says: str
) -> None:
    found, out, err = cli(*[table if a == "TABLE" else a for a in arguments])
    assert found == code, err
    assert says in err
    assert "Traceback (most recent call last)" not in err or "broken" in err
    assert out == ""


def test_errors_are_json_where_the_answer_would_be(cli: Any) -> None:
    code, out, err = cli("models", "nope", "--json")
    assert (code, out) == (3, "")
    problem = json.loads(err)
    assert (problem["code"], problem["details"]["kind"]) == ("not-found", "model")
    assert problem["remedy"]


def test_debug_shows_where_an_error_came_from(cli: Any) -> None:
    assert "Traceback" not in cli("models", "nope")[2]
    assert "Traceback (most recent call last)" in cli("models", "nope", "--debug")[2]


def test_without_a_controller_the_remedy_is_up(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABDOCK_HOME", str(tmp_path))
    code, _, err = cli("ps")
    assert code == 9
    assert "labdock up -d" in err
    monkeypatch.setenv("LABDOCK_URL", "http://127.0.0.1:9")
    code, _, err = cli("ps")
    assert code == 9
    assert "Nothing answers at http://127.0.0.1:9" in err


def test_a_wrong_token_is_named(cli: Any, controller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABDOCK_URL", controller.address.url)
    monkeypatch.setenv("LABDOCK_TOKEN", "wrong")
    code, _, err = cli("ps")
    assert code == 5
    assert "token" in err.lower()


def test_version(cli: Any) -> None:
    import labdock

    found = answer(cli, "version")
    assert found["labdock"] == found["controller"] == labdock.__version__
    assert f"labdock {labdock.__version__}" in cli("version")[1]
    assert cli("--version") == (0, f"labdock {labdock.__version__}\n", "")


def test_completion_knows_names(labdock_command: Command) -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        done = labdock_command(_LABDOCK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
        return done.stdout.split()

    assert "__dev__" in complete("labdock logs ")
    assert complete("labdock fit x.csv --algo mea") == ["means"]
    assert {"stage", "start", "stop"} <= set(complete("labdock st"))


# --- what is documented


def options_of(command: Any) -> set[str]:
    return {o for p in command.params for o in p.opts if o.startswith("--")} - {"--help"}


def test_every_command_has_an_example_json_and_a_place_in_the_page() -> None:
    import typer.main

    page = (REPOSITORY / "docs" / "cli.md").read_text()
    group: Any = typer.main.get_command(app.build())
    assert set(group.commands) == set(app.COMMANDS)
    for name, command in group.commands.items():
        assert f"\n## labdock {name}\n" in page, f"docs/cli.md has no section on labdock {name}"
        section = page.split(f"\n## labdock {name}\n")[1].split("\n## ")[0]
        assert "--json" in options_of(command) or name == "shell", name  # a shell talks to people
        assert f"Example: labdock {name}" in command.help
        for option in options_of(command):
            assert f"`{option}" in section, f"docs/cli.md: labdock {name} does not explain {option}"


def test_every_exit_code_is_documented_and_every_error_has_one() -> None:
    from labdock.errors import LabdockError

    page = (REPOSITORY / "docs" / "cli.md").read_text()
    for code in {0, 2, output.INTERNAL, output.INTERRUPTED, *output.EXIT_CODES.values()}:
        assert re.search(rf"^\| {code} \|", page, re.MULTILINE), f"exit code {code} is not in docs/cli.md"

    def below(cls: type[LabdockError]) -> list[type[LabdockError]]:
        return [cls, *(d for child in cls.__subclasses__() for d in below(child))]

    for cls in below(LabdockError):
        if cls.__module__ != "labdock.errors":
            continue  # a room's own refinement of one of the tree's classes
        assert output.exit_code(cls("x")) in range(1, 10)


@pytest.mark.parametrize("name", sorted(app.COMMANDS))
def test_help_is_quick_and_needs_no_pandas(name: str) -> None:
    program = (
        "import sys, labdock.cli.app as a\n"
        f"code = a.run([{name!r}, '--help'])\n"
        "heavy = {'pandas', 'numpy', 'pyarrow', 'fastapi', 'uvicorn', 'sqlalchemy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example:" in done.stdout
