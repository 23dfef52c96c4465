"""What a container may do: one fixed profile, made of plain values and compared as a dictionary in the tests.

Nothing here comes from a client but names, numbers and the mode: no option of a request reaches the engine.
"""

import re
from dataclasses import dataclass
from typing import Any

from labdock_controller.images import Image
from labdock_controller.runtimes.base import EnvironmentSpec, Limits
from labdock_controller.runtimes.docker.settings import DockerSettings

ID = re.compile(r"[0-9a-f]{12}")
PREFIX = "dev.labdock."
CONTROLLER, ENVIRONMENT, OWNER = PREFIX + "controller", PREFIX + "environment", PREFIX + "owner"
NAME, MODE, IMAGE, MEMORY = PREFIX + "name", PREFIX + "mode", PREFIX + "image", PREFIX + "memory-mb"

USER = 1001  # of the images
NOTEBOOKS, RUN, HOME = "/notebooks", "/run/labdock", "/home/labdock"
API_PORT, JUPYTER_PORT = 8421, 8422  # inside a container, where sockets cannot be shared
RUN_MB = 2048  # the run folder of such a container: frames pass through it
MIB = 2**20
# A worker gives up in words (ModuleOutOfMemory) before the kernel kills something of the container.
WORKER_SHARE = 0.8
LOWEST_WORKER_MB = 64  # what an environment's settings take


@dataclass(frozen=True)
class Place:
    """Where a container runs: what the engine said of itself, and whose it is."""

    controller: str  # id of the controller, from its home
    cpus: float  # of the engine's machine
    user: str = f"{USER}:{USER}"
    network: str = "none"
    publish: str | None = None  # address to publish ports on; None: sockets are shared


def container_name(environment: str) -> str:
    return f"labdock-{environment}"


def volume_name(environment: str) -> str:
    return f"labdock-{environment}"


def network_name(controller: str) -> str:
    return f"labdock-{controller}"


def labels(spec: EnvironmentSpec, image: Image, controller: str, limits: Limits) -> dict[str, str]:
    """Whose the container is and what it was made of. No secrets: everybody with the engine reads them."""
    return {
        CONTROLLER: controller,
        ENVIRONMENT: spec.id,
        OWNER: spec.owner,
        NAME: spec.name,
        MODE: spec.mode,
        IMAGE: image.name,
        MEMORY: str(limits.memory_mb),
    }


def effective_limits(asked: Limits, image: Image, settings: DockerSettings, cpus: float) -> Limits:
    """What was asked for, else the image's, else the settings'. Defaults never exceed the machine's CPUs."""

    def pick(name: str) -> Any:
        value = getattr(asked, name)
        if value is None:
            value = getattr(image.limits, name)
        return getattr(settings, name) if value is None else value

    return Limits(
        cpus=asked.cpus if asked.cpus is not None else min(pick("cpus"), cpus),
        memory_mb=pick("memory_mb"),
        pids=pick("pids"),
        shm_mb=pick("shm_mb"),
        gpus=asked.gpus or image.limits.gpus or int(image.gpu),
    )


def variables(spec: EnvironmentSpec, limits: Limits, place: Place) -> dict[str, str]:
    """The container's variables. The token is not among them: it is a file."""
    threads = str(max(1, int(limits.cpus or 1)))
    found = {
        "OMP_NUM_THREADS": threads,
        "LABDOCK_WORKERS": threads,
        "LABDOCK_WORKER_MEMORY_MB": str(max(LOWEST_WORKER_MB, int((limits.memory_mb or 4096) * WORKER_SHARE))),
        **spec.variables,
        "LABDOCK_MODE": spec.mode,
        "LABDOCK_ENVIRONMENT": spec.name,
        "LABDOCK_ENVIRONMENT_ID": spec.id,
        "LABDOCK_BASE_URL": spec.base_url,
    }
    if place.publish is not None:
        found["LABDOCK_API_LISTEN"] = f"0.0.0.0:{API_PORT}"
        found["LABDOCK_JUPYTER_LISTEN"] = f"0.0.0.0:{JUPYTER_PORT}"
        found["LABDOCK_WAIT_FOR_TOKEN"] = "1"  # noqa: S105 - no secret, a switch
    return found


def host_config(spec: EnvironmentSpec, limits: Limits, place: Place, settings: DockerSettings) -> dict[str, Any]:
    """The engine's HostConfig. The default seccomp profile (and AppArmor's, where there is one) stays on."""
    memory = (limits.memory_mb or settings.memory_mb) * MIB
    own = ",".join(f"{key}={number}" for key, number in zip(("uid", "gid"), place.user.split(":"), strict=True))
    own += ",mode=0700"
    tmpfs = {"/tmp": _tmpfs(settings.tmp_mb, "mode=1777"), HOME: _tmpfs(settings.home_mb, own)}  # noqa: S108 - the container's own
    mounts = [{"Type": "volume", "Source": volume_name(spec.id), "Target": NOTEBOOKS,
               "VolumeOptions": {"Labels": {CONTROLLER: place.controller, ENVIRONMENT: spec.id}}}]  # fmt: skip
    if place.publish is None:
        mounts.append(
            {"Type": "bind", "Source": str(spec.run), "Target": RUN, "BindOptions": {"Propagation": "rprivate"}}
        )
    else:
        tmpfs[RUN] = _tmpfs(RUN_MB, own)
    found: dict[str, Any] = {
        "ReadonlyRootfs": True,
        "Tmpfs": tmpfs,
        "Mounts": mounts,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Privileged": False,
        "IpcMode": "private",
        "NetworkMode": place.network,
        "NanoCpus": int((limits.cpus or settings.cpus) * 1e9),
        "Memory": memory,
        "MemorySwap": memory,  # the sum of both: no swap
        "PidsLimit": limits.pids,
        "ShmSize": (limits.shm_mb or settings.shm_mb) * MIB,
        "Ulimits": [
            {"Name": "nofile", "Soft": settings.open_files, "Hard": settings.open_files},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "LogConfig": {"Type": "local", "Config": {"max-size": f"{settings.log_mb}m", "max-file": "3"}},
        "RestartPolicy": {"Name": "no"},  # the launcher restarts, so that causes are seen
        "AutoRemove": False,
    }
    if limits.gpus:
        found["DeviceRequests"] = [{"Driver": "", "Count": limits.gpus, "DeviceIDs": None, "Capabilities": [["gpu"]]}]
    if place.publish is not None:
        ports = [API_PORT, JUPYTER_PORT] if spec.mode == "dev" else [API_PORT]
        found["PortBindings"] = {f"{port}/tcp": [{"HostIp": place.publish, "HostPort": ""}] for port in ports}
    return found


def container_config(
    spec: EnvironmentSpec, image: Image, image_id: str, place: Place, settings: DockerSettings
) -> dict[str, Any]:
    """The body of the engine's `POST /containers/create`. `image_id` is a digest: tags move."""
    limits = effective_limits(spec.limits, image, settings, place.cpus)
    host = host_config(spec, limits, place, settings)
    return {
        "Image": image_id,
        "User": place.user,
        "Hostname": f"labdock-{spec.id}",
        "Env": [f"{key}={value}" for key, value in sorted(variables(spec, limits, place).items())],
        "Labels": labels(spec, image, place.controller, limits),
        "ExposedPorts": {port: {} for port in host.get("PortBindings", {})},
        "HostConfig": host,
    }


def _tmpfs(size_mb: int, rights: str) -> str:
    # exec: pip builds and just-in-time compilers write what they run; nothing there outlives the container.
    return f"rw,exec,nosuid,nodev,{rights},size={size_mb}m"


def is_id(text: str) -> bool:
    """Whether `text` is an environment's id, the only kind of name that becomes a path here."""
    return ID.fullmatch(text) is not None
