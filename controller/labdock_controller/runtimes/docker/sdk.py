"""docker-py, imported when the engine is first asked for something: a controller starts without it.

`from labdock_controller.runtimes.docker import sdk as docker`, then `docker.errors.APIError` as ever.
"""

import importlib.util
from typing import Any

if importlib.util.find_spec("docker") is None:
    raise ImportError("No module named 'docker'")


def __getattr__(name: str) -> Any:
    import docker.errors  # noqa: PLC0415 - the point of this module
    import docker.utils  # noqa: PLC0415

    return getattr(docker, name)
