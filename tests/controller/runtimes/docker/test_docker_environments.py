"""Environments of the runtime docker on the real engine: what is inside, what stays, what is gone."""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import wait_for

from labdock_controller.runtimes.base import EnvironmentSpec, Limits, State
from labdock_controller.runtimes.docker import DockerRuntime, profile

pytestmark = [pytest.mark.docker, pytest.mark.slow]
Specs = Callable[..., EnvironmentSpec]
MIB = 2**20


class SocketHTTP(http.client.HTTPConnection):
    def __init__(self, address: str) -> None:
        super().__init__("localhost", timeout=10)
        self.address = address

    def connect(self) -> None:
        if self.address.startswith("unix:"):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(10)
            self.sock.connect(self.address.removeprefix("unix:"))
        else:
            host, port = self.address.removeprefix("http://").split(":")
            self.sock = socket.create_connection((host, int(port)), timeout=10)


def ask(address: str, path: str, token: str = "", scheme: str = "Bearer") -> tuple[int, bytes]:
    connection = SocketHTTP(address)
    try:
        connection.request("GET", path, headers={"Authorization": f"{scheme} {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(address: Any, path: str, *token: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return bool(ask(address, path, *token)[0] == 200)
    return False


def ready(runtime: DockerRuntime, spec: EnvironmentSpec) -> None:
    endpoint = runtime.endpoint(spec.id, spec.token)
    wait_for(lambda: answers(endpoint.api, "/health"), what=lambda: f"healthy; {runtime.logs(spec.id)}")
    if endpoint.jupyter:
        status = f"{spec.base_url}api/status"
        wait_for(lambda: answers(endpoint.jupyter, status, spec.token, "token"), what="JupyterLab answers")


def inside(engine: Any, spec: EnvironmentSpec, code: str) -> Any:
    """What Python code in the container prints as JSON."""
    container = engine.containers.get(profile.container_name(spec.id))
    code_, output = container.exec_run(["python3", "-c", code])
    assert code_ == 0, output.decode()
    return json.loads(output)


def mine(engine: Any, runtime: DockerRuntime) -> dict[str, int]:
    wanted = {"label": f"{profile.CONTROLLER}={runtime.controller}"}
    return {
        "containers": len(engine.containers.list(all=True, filters=wanted, ignore_removed=True)),
        "networks": len(engine.networks.list(filters=wanted)),
        "volumes": len(engine.volumes.list(filters=wanted)),
    }


READ_INSIDE = """
import json, os, socket, pathlib
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def written(path):
    try:
        open(path + "/x", "w").close(); os.unlink(path + "/x"); return "writable"
    except OSError as error:
        return error.strerror
def limit(*paths):
    for path in paths:
        if os.path.exists(path): return open(path).read().strip()
mounts = [line.split() for line in open("/proc/self/mounts")]
sockets = [os.path.join(f, n) for f, _, names in os.walk("/", topdown=True) if not f.startswith(("/proc", "/sys"))
           for n in names if pathlib.Path(f, n).is_socket()]
first = pathlib.Path("/proc/1")
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "first": first.joinpath("comm").read_text().strip(),
    **{key: status[key] for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")},
    "writable": {path: written(path) for path in ("/", "/etc", "/opt/labdock", "/usr/bin", "/tmp", "/home/labdock",
                                                   "/notebooks", "/run/labdock", "/run")},
    "links": {path: os.readlink(path) for path in ("/srv/notebooks", "/srv/app/model")},
    "sockets": sorted(sockets), "interfaces": sorted(os.listdir("/sys/class/net")),
    "memory": limit("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"),
    "pids": limit("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"),
    "files": __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE),
    "root": [m[3].split(",")[0] for m in mounts if m[1] == "/"],
    "devices": sorted(set(os.listdir("/dev")) & {"kmsg", "mem", "sda", "vda", "kvm"}),
    "environ": first.joinpath("environ").read_text(), "argv": first.joinpath("cmdline").read_text(),
    "setuid": [os.path.join(f, n) for f in ("/usr/bin", "/usr/sbin") for n in os.listdir(f)
               if os.stat(os.path.join(f, n)).st_mode & 0o6000],
}))
"""


@pytest.mark.parametrize("mode", ["prod", "dev"])
def test_what_can_be_read_inside(runtime: DockerRuntime, spec: Specs, engine: Any, mode: str) -> None:
    wanted = spec(mode, Limits(cpus=1, memory_mb=900, pids=333, shm_mb=70))
    runtime.start(wanted)
    ready(runtime, wanted)
    found = inside(engine, wanted, READ_INSIDE)
    nothing = "0000000000000000"
    assert (found["uid"], found["gid"], found["groups"]) == (1001, 1001, [1001])
    assert {found[key] for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {nothing}
    assert (found["NoNewPrivs"], found["Seccomp"], found["first"]) == ("1", "2", "tini")
    read_only = "Read-only file system"
    assert found["writable"] == {
        **dict.fromkeys(("/", "/etc", "/opt/labdock", "/usr/bin", "/run"), read_only),
        **dict.fromkeys(("/tmp", "/home/labdock", "/notebooks", "/run/labdock"), "writable"),
    }
    assert found["links"] == {"/srv/notebooks": "/notebooks", "/srv/app/model": "/notebooks"}
    own = ["/run/labdock/api.sock"] + (["/run/labdock/jupyter.sock"] if mode == "dev" else [])
    assert found["sockets"] == own
    assert found["interfaces"] == (["lo"] if mode == "prod" else ["eth0", "lo"])
    assert (found["memory"], found["pids"], found["files"]) == (str(900 * MIB), "333", [8192, 8192])
    assert (found["root"], found["devices"], found["setuid"]) == (["ro"], [], [])
    assert wanted.token not in found["environ"] + found["argv"]
    endpoint = runtime.endpoint(wanted.id, wanted.token)
    assert (endpoint.jupyter is None) == (mode == "prod")
    assert ask(endpoint.api, "/v1/modules", "wrong")[0] == 401
    assert ask(endpoint.api, "/v1/modules", wanted.token)[0] == 200


SEARCH = """
import json, os
token, found = open("/run/labdock/token", "rb").read(), []
for folder, folders, names in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys", "/opt", "/usr")]
    for path in (os.path.join(folder, name) for name in names):
        try:
            if os.path.isfile(path) and token in open(path, "rb").read():
                found.append(path)
        except OSError:
            pass
print(json.dumps(found))
"""


def test_the_token_is_in_its_file_only(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    wanted = spec()
    runtime.start(wanted)
    ready(runtime, wanted)
    endpoint = runtime.endpoint(wanted.id, wanted.token)
    ask(endpoint.jupyter, f"{wanted.base_url}lab?token=wrong")
    container = engine.containers.get(profile.container_name(wanted.id))
    assert wanted.token not in json.dumps(container.attrs)
    assert wanted.token not in runtime.logs(wanted.id, 100_000)
    assert wanted.token not in repr(wanted)
    assert inside(engine, wanted, SEARCH) == ["/run/labdock/token"]
    for pid in engine.api.top(container.id)["Processes"]:
        environ = Path(f"/proc/{pid[1]}/environ").read_bytes()
        assert wanted.token.encode() not in environ + Path(f"/proc/{pid[1]}/cmdline").read_bytes()


CONNECT = """
import json, socket, sys
def reach(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close(); return "open"
    except OSError as error: return type(error).__name__
print(json.dumps({name: reach(*target) for name, target in TARGETS.items()}))
"""


def test_environments_reach_neither_each_other_nor_the_controller(
    runtimes: Callable[[], DockerRuntime], runtime: DockerRuntime, spec: Specs, engine: Any
) -> None:
    one, two = spec(), spec()
    other_runtime = runtimes()
    foreign = spec(id="fedcba987654", run=other_runtime._run / "fedcba987654")
    runtime.start(one)
    runtime.start(two)
    other_runtime.start(foreign)
    with socket.create_server(("127.0.0.1", 0)) as controller, socket.create_server(("0.0.0.0", 0)) as careless:
        (network,) = engine.networks.list(filters={"label": f"{profile.CONTROLLER}={runtime.controller}"})
        gateway = network.attrs["IPAM"]["Config"][0]["Gateway"]
        listen = "import socket, threading; s = socket.create_server(('0.0.0.0', 9000)); s.accept()"
        targets: dict[str, tuple[str, int]] = {}
        for name, peer in (("neighbour", two), ("other controller's", foreign)):
            container = engine.containers.get(profile.container_name(peer.id))
            container.exec_run(["python3", "-c", listen], detach=True)
            container.reload()
            (address,) = (n["IPAddress"] for n in container.attrs["NetworkSettings"]["Networks"].values())
            targets[name] = (address, 9000)
            probe = "import json, socket; socket.create_connection(('127.0.0.1', 9000)).close(); print(json.dumps(1))"
            wait_for(lambda peer=peer, probe=probe: _succeeds(engine, peer, probe), what="the neighbour listens")
        for name, server in (("controller", controller), ("careless", careless)):
            targets[name] = (gateway, server.getsockname()[1])
        targets["loopback"] = ("127.0.0.1", controller.getsockname()[1])
        found = inside(engine, one, CONNECT.replace("TARGETS", repr(targets)))
    # M1: what listens on every address of the host is within reach. docs/docker.md says so, and how to close it.
    assert found.pop("careless") == "open"
    assert set(found) == {"neighbour", "other controller's", "controller", "loopback"}
    assert "open" not in found.values(), found


def _succeeds(engine: Any, spec: EnvironmentSpec, code: str) -> bool:
    container = engine.containers.get(profile.container_name(spec.id))
    return container.exec_run(["python3", "-c", code]).exit_code == 0


def test_files_of_the_user_outlive_the_container_and_are_not_overwritten(
    runtime: DockerRuntime, spec: Specs, engine: Any
) -> None:
    wanted = spec()
    runtime.start(wanted)
    ready(runtime, wanted)
    write = (
        "import json, pathlib; p = pathlib.Path('/srv/notebooks/mine.txt'); p.write_text('mine'); print(json.dumps(1))"
    )
    inside(engine, wanted, write)
    runtime.stop(wanted.id)
    assert mine(engine, runtime) == {"containers": 0, "networks": 0, "volumes": 1}
    assert not wanted.run.exists()
    runtime.start(wanted)
    ready(runtime, wanted)
    read = "import json, pathlib; print(json.dumps(pathlib.Path('/notebooks/mine.txt').read_text()))"
    assert inside(engine, wanted, read) == "mine"
    runtime.stop(wanted.id)
    runtime.remove_files(wanted)
    runtime.remove_files(wanted)
    assert mine(engine, runtime) == {"containers": 0, "networks": 0, "volumes": 0}


def test_pip_installs_to_the_volume_and_leaves_our_packages_alone(
    runtime: DockerRuntime, spec: Specs, engine: Any
) -> None:
    wanted = spec()
    runtime.start(wanted)
    container = engine.containers.get(profile.container_name(wanted.id))
    result = container.exec_run(["pip", "install", "--quiet", "cowsay"])
    assert result.exit_code == 0, result.output.decode()
    where = "import json, cowsay; print(json.dumps(cowsay.__file__))"
    assert inside(engine, wanted, where).startswith("/notebooks/.labdock/python/")
    refused = container.exec_run(["pip", "install", "--quiet", "fastapi==0.115.0"])
    assert refused.exit_code != 0
    runtime.stop(wanted.id)
    runtime.start(wanted)
    assert inside(engine, wanted, where).startswith("/notebooks/.labdock/python/")


def test_logs_are_followed_capped_and_kept(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    wanted = spec("prod")
    runtime.start(wanted)
    lines = runtime.follow(wanted.id)
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(list, lines)
        ready(runtime, wanted)
        assert 0 < len(runtime.logs(wanted.id, 3).splitlines()) <= 3
        container = engine.containers.get(profile.container_name(wanted.id))
        container.exec_run(["sh", "-c", "echo a-line-of-mine >/proc/1/fd/1"])
        runtime.stop(wanted.id)
        assert "a-line-of-mine" in heard.result(timeout=30)
    assert "a-line-of-mine" in runtime.logs(wanted.id, 50)  # the container is gone, its last lines are not
    assert runtime.logs("000000000000") == ""
    assert list(runtime.follow("000000000000")) == []


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_follower_that_is_closed_lets_go(runtime: DockerRuntime, spec: Specs) -> None:
    wanted = spec("prod")
    runtime.start(wanted)
    ready(runtime, wanted)
    counts = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(12):
            lines = runtime.follow(wanted.id)
            heard = pool.submit(list, lines)
            lines.close()
            heard.result(timeout=10)
            counts.append(descriptors())
    assert counts[-1] <= counts[3], counts


def test_twenty_start_at_once_and_leave_nothing(runtime: DockerRuntime, spec: Specs, engine: Any) -> None:
    wanted = [spec("prod" if number % 2 else "dev", Limits(cpus=0.1, memory_mb=256)) for number in range(20)]
    counts = []
    with ThreadPoolExecutor(20) as pool:
        for _ in range(2):
            list(pool.map(runtime.start, wanted))
            seen = {one.id: one.state for one in runtime.observe()}
            assert seen == {one.id: State.RUNNING for one in wanted}
            for one in wanted:
                assert (one.run / "token").exists()
            list(pool.map(lambda one: runtime.stop(one.id, 0), wanted))
            assert runtime.observe() == []
            assert {**mine(engine, runtime), "volumes": 0} == {"containers": 0, "networks": 0, "volumes": 0}
            assert [path.name for path in runtime._run.iterdir()] == ["docker.lock"]  # one file, for all locks
            counts.append(descriptors())
    assert counts[1] <= counts[0] + 2, counts  # the connections to the engine are pooled


def test_two_controllers_on_one_engine_do_not_see_each_other(
    runtimes: Callable[[], DockerRuntime], runtime: DockerRuntime, spec: Specs
) -> None:
    other = runtimes()
    wanted = spec("prod")
    runtime.start(wanted)
    assert other.observe() == []
    other.stop(wanted.id, 0)
    assert [one.id for one in runtime.observe()] == [wanted.id]
    again = runtimes(runtime_settings(runtime))  # the same home: a controller that was started again
    assert [one.id for one in again.observe()] == [wanted.id]
    assert again.endpoint(wanted.id, wanted.token) == runtime.endpoint(wanted.id, wanted.token)


def runtime_settings(runtime: DockerRuntime) -> Any:
    from labdock_controller.settings import Settings

    return Settings(home=runtime._home, run=runtime._run)
