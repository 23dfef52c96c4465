"""The runtime `docker`: environments are containers of a Docker Engine, this machine's or another's.

Read `profile.py` for what a container may do, `folders.py` for how its sockets are shared, `engine.py` for the
engine, `errors.py` for what its errors mean.
"""

from labdock_controller.runtimes.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
