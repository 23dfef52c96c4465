"""A real controller of this test session, with one environment of the local runtime and a few modules in it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from labdock import controller as processes
from labdock.environment import Environment
from labdock.home import ControllerAddress, run_folder
from labdock.lab import Lab

MODULES = {
    "means": '''
        """Distance from the mean: a module that only needs pandas."""
        import pandas as pd

        def init(df, param):
            return {}

        def fit(model, df, param):
            first = param["feature_variables"][0]
            model["mean"] = float(df[first].mean()) if len(df) else 0.0
            print("the mean is", model["mean"])
            return {"mean": model["mean"], "rows": len(df)}

        def apply(model, df, param):
            first = param["feature_variables"][0]
            scale = float(param["options"]["params"].get("scale", 1))
            return pd.DataFrame({"outlier": (df[first] - model["mean"]) * scale})

        def summary(model=None):
            return {"mean": (model or {}).get("mean")}
    ''',
    "linear": '''
        """Least squares with numpy, as an estimator would do it."""
        import numpy as np
        import pandas as pd

        def init(df, param):
            return {}

        def fit(model, df, param):
            x = np.nan_to_num(df[param["feature_variables"]].to_numpy(float))
            y = df[param["target_variables"][0]].to_numpy(float)
            alpha = float(param["options"]["params"].get("alpha", 0))
            mean = x.mean(axis=0)
            centred = x - mean
            model["w"] = np.linalg.pinv(centred.T @ centred + alpha * np.eye(x.shape[1])) @ centred.T @ (y - y.mean())
            model["b"] = y.mean() - mean @ model["w"]
            return {"alpha": alpha}

        def apply(model, df, param):
            x = np.nan_to_num(df[param["feature_variables"]].to_numpy(float))
            return pd.Series(x @ model["w"] + model["b"], name="estimate")
    ''',
    "nearest": '''
        """The label of the nearest training row: a classifier."""
        import numpy as np
        import pandas as pd

        def init(df, param):
            return {}

        def fit(model, df, param):
            model["x"] = np.nan_to_num(df[param["feature_variables"]].to_numpy(float))
            model["y"] = df[param["target_variables"][0]].to_numpy()
            return {}

        def apply(model, df, param):
            x = np.nan_to_num(df[param["feature_variables"]].to_numpy(float))
            distances = ((x[:, None, :] - model["x"][None, :, :]) ** 2).sum(axis=2)
            return pd.Series(model["y"][distances.argmin(axis=1)], name="label")
    ''',
    "several": '''
        """Two columns at once."""
        import pandas as pd

        def init(df, param):
            return {}

        def fit(model, df, param):
            return {}

        def apply(model, df, param):
            first = df[param["feature_variables"][0]]
            return pd.DataFrame({"low": first - 1, "high": first + 1})
    ''',
    "slow": '''
        """Takes as long as it is told, and leaves a line in a file for each start."""
        import time
        import pandas as pd

        def init(df, param):
            return {}

        def fit(model, df, param):
            options = param["options"]["params"]
            with open(options["trace"], "a") as file:
                file.write("started\\n")
            end = time.monotonic() + float(options["seconds"])
            while time.monotonic() < end:
                print("still at it", flush=True)
                time.sleep(0.1)
            return {"slept": options["seconds"]}

        def apply(model, df, param):
            return pd.DataFrame({"n": range(len(df))})
    ''',
    "broken": '''
        """Fails in fit."""

        def init(df, param):
            return {}

        def fit(model, df, param):
            print("about to fail")
            return 1 / 0

        def apply(model, df, param):
            return df
    ''',
}


class Controller:
    """A controller as a process of its own, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def address(self) -> ControllerAddress:
        found = ControllerAddress.read(self.home)
        assert found is not None
        return found

    @property
    def log(self) -> Path:
        return self.home / "logs" / "controller.log"

    def start(self) -> "Controller":
        variables = {"LABDOCK_PORT": str(self.port), "LABDOCK_RUNTIME": "local", "LABDOCK_WORKERS": "2"}
        self.process = processes.launch(self.home, variables, self.log)
        processes.wait_ready(self.process, self.home, self.log)
        self.port = int(self.address.url.rpartition(":")[2])  # the same one after a restart
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def lab(self) -> Lab:
        return Lab(processes.connect_to(self.address), progress=False)

    def notebooks(self, environment: Environment) -> Path:
        return self.home / "environments" / environment.record["id"] / "notebooks"

    def end(self) -> None:
        """Stop everything; whatever belongs to this home and still runs afterwards is an error."""
        if self.process is not None and self.process.poll() is None:
            with self.lab() as lab:
                for environment in lab.environments.list():
                    environment.stop()
            assert processes.stop(self.address)
            self.process.wait(10)
        left = processes_of(self.home)
        for process in left:
            process.kill()
        shutil.rmtree(run_folder(self.home), ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)
        assert not left, f"left running: {left}"


def processes_of(home: Path) -> list[psutil.Process]:
    """Processes that were started for this home, by their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
        except (psutil.Error, OSError):
            continue
        if any(str(home) in value for value in variables.values()):
            found.append(process)
    return [p for p in found if p.pid != os.getpid() and p.is_running()]


def write_modules(notebooks: Path) -> None:
    for name, text in MODULES.items():
        (notebooks / "modules" / f"{name}.py").write_text(textwrap.dedent(text).lstrip())


@pytest.fixture(scope="session")
def controller() -> Iterator[Controller]:
    """One controller for the session, with the environment `__dev__`."""
    made = Controller(Path(tempfile.mkdtemp(prefix="labdock-test-", dir="/tmp")))
    try:
        made.start()
        with made.lab() as lab:
            write_modules(made.notebooks(lab.environments.start("__dev__")))
        yield made
    finally:
        made.end()


@pytest.fixture
def lab(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab that is found as a user's is: by LABDOCK_HOME."""
    import labdock

    monkeypatch.setenv("LABDOCK_HOME", str(controller.home))
    with labdock.connect(progress=False) as connected:
        yield connected


@pytest.fixture
def env(lab: Lab) -> Environment:
    return lab.environments.get("__dev__")


@pytest.fixture
def labdock_command(controller: Controller) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `labdock …` as a process of its own against the session's controller."""

    def run(*arguments: str, stdin: str | bytes | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "LABDOCK_HOME": str(controller.home), **variables}
        content = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "labdock.cli", *arguments],
            input=content,
            capture_output=True,
            env=environment,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
