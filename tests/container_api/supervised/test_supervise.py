"""An environment's processes: kept running, ended whole, recognisable, and without secrets in view."""

import json
import signal
import time
from typing import Any

import psutil
import pytest
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


def busy_kernel(environment: Any) -> psutil.Process:
    """A kernel that computes for ever and ignores polite signals."""
    return environment.kernel("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass")


def transports(environment: Any) -> list[str]:
    """How its kernels are reached, by their connection files."""
    return [json.loads(p.read_text())["transport"] for p in (environment.run / "jupyter").glob("kernel-*.json")]


def test_both_programs_answer_and_every_process_is_marked_and_holds_no_token(environment: Any) -> None:
    environment.start()
    kernel = busy_kernel(environment)
    assert transports(environment) == ["ipc"]
    listening = [c for c in kernel.net_connections("inet") if c.status == "LISTEN"]
    assert len(listening) <= 1, "ipykernel's own pipe for the output of subprocesses, and nothing else"
    assert environment.process
    tree = [psutil.Process(environment.process.pid), *psutil.Process(environment.process.pid).children(recursive=True)]
    assert {p.pid for p in tree} <= {p.pid for p in environment.processes()}
    for process in environment.processes():
        assert environment.token not in " ".join(process.cmdline())
        assert environment.token not in " ".join(f"{k}={v}" for k, v in process.environ().items())
    for log in environment.logs.iterdir():
        assert environment.token not in log.read_text()
    for path in environment.notebooks.rglob("*"):
        assert not path.is_file() or environment.token.encode() not in path.read_bytes()


@pytest.mark.parametrize(("word", "probe"), [("labdock_container", "api_is_up"), ("jupyterlab", "jupyter_is_up")])
def test_a_killed_program_comes_back(environment: Any, word: str, probe: str) -> None:
    environment.start()
    kernel = busy_kernel(environment)
    killed = environment.program(word)
    killed.kill()
    wait_for(lambda: environment.program(word, but=killed.pid), 30, "another process")
    wait_for(getattr(environment, probe), 60, f"{word} again")
    assert environment.process
    assert environment.process.poll() is None
    if word == "jupyterlab":
        wait_for(lambda: not kernel.is_running() or kernel.status() == "zombie", 10, "the end of the orphaned kernel")


def test_sigterm_ends_everything_in_time(environment: Any) -> None:
    environment.start()
    busy_kernel(environment)
    began = time.monotonic()
    assert environment.stop() == 0
    assert time.monotonic() - began < 12
    assert environment.processes() == []
    assert not list(environment.run.glob("*.sock"))


def test_nothing_outlives_a_killed_supervisor(environment: Any) -> None:
    environment.start()
    busy_kernel(environment)
    assert environment.process
    environment.process.send_signal(signal.SIGKILL)
    environment.process.wait()
    wait_for(lambda: not environment.processes(), 15, f"the end of {environment.processes()}")


def test_prod_runs_the_api_alone(environment: Any) -> None:
    environment.variables["LABDOCK_MODE"] = "prod"
    environment.start(jupyter=False)
    assert not any("jupyterlab" in p.cmdline() for p in environment.processes())
    assert environment.stop() == 0


def test_an_environment_whose_api_cannot_start_ends_with_an_error(environment: Any) -> None:
    process = environment.launch(token="")
    assert process.wait(60) == 1
    assert "token" in environment.log("api")
    assert environment.processes() == []


def test_an_unknown_mode_is_refused_at_once(environment: Any) -> None:
    environment.variables["LABDOCK_MODE"] = "test"
    assert environment.launch().wait(30) == 2
    assert "Set it to dev or prod" in (environment.folder / "out").read_text()


def test_nothing_of_the_machines_user_is_read_or_written(environment: Any) -> None:
    home = environment.folder / "home"
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text("raise SystemExit('read')")
    environment.variables |= {"HOME": str(home)}
    environment.start()
    busy_kernel(environment)
    environment.stop()
    assert [p.name for p in home.rglob("*")] == [".jupyter", "jupyter_server_config.py"]


def test_sockets_left_by_a_killed_environment_do_not_stop_the_next(environment: Any) -> None:
    environment.start()
    assert environment.process
    environment.process.kill()
    environment.process.wait()
    wait_for(lambda: not environment.processes(), 15, "the end")
    assert list(environment.run.glob("*.sock"))
    environment.start()


def test_a_long_run_folder_still_has_kernels(environment: Any) -> None:
    """Unix socket paths end at 107 bytes: kernels then use TCP."""
    environment.folder = environment.folder / ("d" * 50)
    environment.folder.mkdir()
    environment.start()
    busy_kernel(environment)
    assert transports(environment) == ["tcp"]


def test_without_a_log_folder_everything_goes_to_standard_output(environment: Any) -> None:
    environment.variables["LABDOCK_LOG_FOLDER"] = ""
    environment.start()
    environment.stop()
    output = (environment.folder / "out").read_text()
    assert "uvicorn" in output
    assert "Jupyter Server" in output
    assert environment.token not in output
