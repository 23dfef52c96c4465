"""Whole controllers whose environments are containers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker

from labdock_controller.runtimes.docker import profile
from labdock_controller.runtimes.docker.folders import controller_id


@contextmanager
def labs(controllers: Callable[[], Any], address: str) -> Iterator[Callable[..., Any]]:
    """Makes whole controllers whose environments run on the engine at `address`; nothing of them is left afterwards."""
    homes: list[Path] = []
    variables = {"LABDOCK_DOCKER_HOST": address}

    def make(home_of: Any = None, **settings: Any) -> Any:
        values = {"runtime": "docker", "stop_grace": 1, **settings}
        made = start(home_of, env=variables, command=["-m", "labdock_controller", "serve"], **values)
        homes.append(made.home)
        return made

    with controllers() as start:
        try:
            yield make
        finally:
            client = docker.DockerClient(base_url=address)
            for home in set(homes):
                remove_all(client, controller_id(home))
            client.close()


def remove_all(client: Any, controller: str) -> None:
    """Every container, volume and network of a controller that runs no more."""
    mine = {"label": f"{profile.CONTROLLER}={controller}"}
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        with suppress(docker.errors.NotFound):
            container.remove(force=True)
    for volume in client.volumes.list(filters=mine):
        volume.remove()
    for network in client.networks.list(filters=mine):
        network.remove()
