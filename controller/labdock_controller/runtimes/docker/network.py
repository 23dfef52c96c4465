"""The one network of a controller's environments in `dev` mode: egress, but not to one another.

Containers on it may reach other hosts (pip) and cannot reach each other (`enable_icc=false`) nor those of other
networks. They can reach whatever listens on all addresses of the engine's machine, through the gateway: that is how
bridges work, so the controller listens on the loopback only (docs/docker.md says how to close the rest).
"""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from labdock.errors import LabdockError
from labdock_controller.runtimes.docker import sdk as docker
from labdock_controller.runtimes.docker.engine import Engine
from labdock_controller.runtimes.docker.errors import translated
from labdock_controller.runtimes.docker.locks import Locks
from labdock_controller.runtimes.docker.profile import CONTROLLER, network_name

OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}


class Network:
    """Made for the first container that wants it, removed after the last."""

    def __init__(self, engine: Engine, controller: str, locks: Locks) -> None:
        self._engine = engine
        self._controller = controller
        self._locks = locks

    @contextlib.contextmanager
    def held(self) -> Iterator[str]:
        """The network's name; it exists and stays while the block runs."""
        with self._locks.using_network():
            with self._locks.making_network():
                name = self._ensure()
            yield name

    @contextlib.contextmanager
    def tidied(self) -> Iterator[None]:
        """Leave no network behind where the block fails."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(LabdockError):
                self.remove_if_unused()
            raise

    def remove_if_unused(self) -> None:
        """Remove it unless something is attached or about to be."""
        with self._locks.removing_network() as alone, translated():
            for network in self._found() if alone else []:
                if not network["Containers"]:
                    with contextlib.suppress(docker.errors.APIError):  # gone, or a stopped container still has it
                        self._engine.api.remove_network(network["Id"])

    def _ensure(self) -> str:
        """A name that nothing else has: what a killed controller asked for may turn up late as a second network, and
        the engine starts no container on a name that two have. The second is removed with the last container.
        """
        with translated():
            if found := self._found():
                return str(found[0]["Name"])
            name = f"{network_name(self._controller)}-{secrets.token_hex(3)}"
            self._engine.api.create_network(
                name, driver="bridge", options=OPTIONS, labels={CONTROLLER: self._controller}
            )
            return name

    def _found(self) -> list[dict[str, Any]]:
        """All of this controller's, in the same order for everybody."""
        mine = {"label": f"{CONTROLLER}={self._controller}"}
        found = []
        for identity in sorted(one["Id"] for one in self._engine.api.networks(filters=mine)):
            with contextlib.suppress(docker.errors.NotFound):  # removed between the list and the look
                found.append(self._engine.api.inspect_network(identity))
        return found
