"""What becomes of a fit when the connection, the environment's API or the controller is lost on the way."""

import contextlib
import os
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from tests.client.conftest import Controller, processes_of, write_modules
from tests.waiting import wait_for

import labdock
from labdock import actions
from labdock.environment import Environment
from labdock.lab import Lab

FRAME = pd.DataFrame({"a": [1.0, 2.0]}, index=["x", "y"])


class Proxy:
    """A TCP way to the controller that can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            with self._lock:
                self.connections += 1
                self._open += [client, server]
            thread = threading.Thread(target=self._carry, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (server if ready is client else client).sendall(data)

    def cut(self) -> None:
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open = []

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def proxy(controller: Controller) -> Iterator[Proxy]:
    host, _, port = controller.address.url.removeprefix("http://").partition(":")
    made = Proxy(host, int(port))
    yield made
    made.close()


class Fit:
    """A fit in a thread, so that the test can break things meanwhile."""

    def __init__(self, environment: Environment, trace: Path, seconds: float, **more: Any) -> None:
        self.trace = trace
        self.outcome: Any = None
        params = {"seconds": seconds, "trace": str(trace)}

        def run() -> None:
            try:
                self.outcome = environment.fit(FRAME, algo="slow", into="lost", params=params, **more)
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.outcome = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        wait_for(trace.exists, what="the fit's start")

    def result(self, seconds: float = 60) -> Any:
        self.thread.join(seconds)
        assert not self.thread.is_alive()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    @property
    def starts(self) -> int:
        return len(self.trace.read_text().splitlines())


def test_a_cut_connection_is_made_again_and_the_result_fetched(
    controller: Controller, proxy: Proxy, tmp_path: Path
) -> None:
    with labdock.connect(proxy.url, controller.address.token, progress=False) as lab:
        fit = Fit(lab.environments.get("__dev__"), tmp_path / "trace", 1.0)
        before = proxy.connections
        proxy.cut()
        model = fit.result()
    assert model.info == {"slept": 1.0}
    assert list(model.predictions.index) == ["x", "y"]
    assert proxy.connections > before
    assert fit.starts == 1


def test_a_result_that_was_lost_on_its_way_back_is_not_computed_again(
    controller: Controller, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The request arrives, the answer does not: sending again under the same key must give the first fit's result.
    with labdock.connect(proxy.url, controller.address.token, progress=False) as lab:
        env = lab.environments.get("__dev__")
        prepared = actions.prepare(FRAME)
        options = actions.shared(
            labdock.wire.FrameOptions("slow", params={"seconds": 0, "trace": str(tmp_path / "trace")}), "twice"
        )
        from labdock.transport import Frames

        frame = Frames(lab.connection)
        first, info = frame.post(env.path("fit"), prepared.table, options, key="the-same-key")
        second, again = frame.post(env.path("fit"), prepared.table, options, key="the-same-key")
        assert first.equals(second)
        assert info == again
        assert len((tmp_path / "trace").read_text().splitlines()) == 1
        other = actions.shared(labdock.wire.FrameOptions("means"), "other")
        with pytest.raises(labdock.Conflict):
            frame.post(env.path("fit"), prepared.table, other, key="the-same-key")


def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    from labdock.connection import Connection

    env = Environment(Lab(Connection("http://127.0.0.1:9")), {"name": "x"})
    with pytest.raises(labdock.TransportError, match="Nothing answers"):
        env.fit(FRAME, algo="means")


@pytest.fixture
def own_controller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    """A controller that this test may kill."""
    made = Controller(Path(tempfile.mkdtemp(prefix="labdock-test-", dir="/tmp")))
    monkeypatch.setenv("LABDOCK_HOME", str(made.home))
    try:
        made.start()
        with made.lab() as lab:
            write_modules(made.notebooks(lab.environments.start("__dev__", mode="prod")))
        yield made
    finally:
        made.end()


@pytest.mark.slow
def test_a_fit_outlives_a_killed_controller_and_a_killed_api(own_controller: Controller, tmp_path: Path) -> None:
    with labdock.connect(progress=False) as lab:
        env = lab.environments.get("__dev__")
        fit = Fit(env, tmp_path / "trace", 4.0)
        own_controller.kill()
        own_controller.start()
        assert fit.result().info == {"slept": 4.0}
        assert fit.starts == 1
        assert env.apply(FRAME, "lost")["n"].tolist() == [0, 1]

        fit = Fit(env, tmp_path / "second", 2.0)
        os.kill(api_process(own_controller.home).pid, signal.SIGKILL)
        # The environment starts its API again, finds the fit unfinished and says so: user code is not run twice.
        with pytest.raises(labdock.ModuleCrashed) as caught:
            fit.result()
        assert caught.value.remedy
        assert fit.starts == 1
        assert env.apply(FRAME, "lost")["n"].tolist() == [0, 1]


def api_process(home: Path) -> psutil.Process:
    """The server process of the environment's API: the one whose parent is the supervisor."""
    candidates = [p for p in processes_of(home) if "serve" in p.cmdline() and "labdock_container" in p.cmdline()]
    pids = {p.pid for p in candidates}
    return next(p for p in candidates if p.ppid() not in pids)
