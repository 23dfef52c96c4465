"""The Docker Engine: one connection, made on first use and again after it broke, and what the engine said of itself."""

import contextlib
import math
import os
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from labdock.errors import RuntimeUnavailable
from labdock_controller.runtimes.docker import sdk as docker
from labdock_controller.runtimes.docker.errors import translated
from labdock_controller.runtimes.docker.settings import DockerSettings

TIMEOUT = 60
CHECK_TIMEOUT = 5
LOWEST_API = (1, 41)  # Engine 20.10
LOCAL = ("unix://", "http+unix://", "npipe://")


@dataclass(frozen=True)
class Facts:
    """What the engine said of itself."""

    version: str
    cpus: float
    memory: int
    root: str  # its data folder
    security: tuple[str, ...]
    components: dict[str, str]  # versions of containerd, runc
    live_restore: bool

    @property
    def maps_users(self) -> bool:
        """Users inside are other users outside, so files cannot be shared with them."""
        return any(option.startswith(("name=rootless", "name=userns")) for option in self.security)


class Engine:
    """Made without an engine; every use may raise `RuntimeUnavailable`. Used from several threads."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._api: Any = None
        self._facts: Facts | None = None

    @property
    def address(self) -> str:
        """Where the engine listens: the setting, else DOCKER_HOST, else this machine's socket."""
        return self._settings.host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    @property
    def is_local(self) -> bool:
        return self.address.startswith(LOCAL)

    @property
    def host(self) -> str:
        """The machine that published ports are reached on."""
        return "127.0.0.1" if self.is_local else urlsplit(self.address).hostname or "127.0.0.1"

    @property
    def api(self) -> Any:
        """docker-py's low-level client."""
        with self._lock:
            if self._api is None:
                with translated():
                    self._api = self._connect(TIMEOUT)
            return self._api

    def check(self) -> Facts:
        """Ask the engine anew, with little patience. Raises `RuntimeUnavailable`."""
        with translated():
            client = self._connect(CHECK_TIMEOUT)
            with contextlib.closing(client):
                found = _facts(client.info(), client.version())
                if tuple(int(part) for part in client.api_version.split(".")) < LOWEST_API:
                    raise RuntimeUnavailable(
                        f"The Docker Engine {found.version} is too old.", remedy="Labdock needs Engine 20.10 or newer."
                    )
        self._facts = found
        return found

    @property
    def known_cpus(self) -> float:
        """The CPUs of its machine, if they are known by now."""
        return self._facts.cpus if self._facts else math.inf

    @property
    def facts(self) -> Facts:
        return self._facts or self.check()

    @property
    def shares_folders(self) -> bool:
        """Whether a folder of this machine can be a container's run folder."""
        if self._settings.sockets != "auto":
            return self._settings.sockets == "yes"
        return self.is_local and not self.facts.maps_users

    def close(self) -> None:
        with self._lock:
            client, self._api = self._api, None
        if client is not None:
            client.close()

    def _connect(self, timeout: int) -> Any:
        environment = {**os.environ, "DOCKER_HOST": self.address}
        options = docker.utils.kwargs_from_env(environment=environment)
        options.setdefault("base_url", self.address)
        return docker.APIClient(version="auto", timeout=timeout, max_pool_size=32, **options)


def _facts(info: dict[str, Any], version: dict[str, Any]) -> Facts:
    if info.get("OSType", "linux") != "linux":
        raise RuntimeUnavailable("The Docker Engine runs Windows containers.", remedy="Switch it to Linux containers.")
    return Facts(
        version=str(info.get("ServerVersion", "")),
        cpus=float(info.get("NCPU") or 1),
        memory=int(info.get("MemTotal") or 0),
        root=str(info.get("DockerRootDir", "")),
        security=tuple(info.get("SecurityOptions") or ()),
        components={part["Name"]: part["Version"] for part in version.get("Components") or ()},
        live_restore=bool(info.get("LiveRestoreEnabled")),
    )
