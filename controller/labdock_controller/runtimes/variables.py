"""The variables of a local environment's processes (`docs/interfaces.md`, section 2)."""

import os

from labdock_controller.runtimes.base import EnvironmentSpec

MARK = "LABDOCK_RUN_FOLDER"  # every process of an environment carries it; by it they are found again


def variables_of(spec: EnvironmentSpec) -> dict[str, str]:
    """The process's variables: this process's without any of Labdock's own (they may be secrets), and the spec's."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LABDOCK_", "JUPYTER_"))}
    limits = {}
    if spec.limits.cpus is not None:
        limits["LABDOCK_WORKERS"] = str(max(1, int(spec.limits.cpus)))
    if spec.limits.memory_mb is not None:
        limits["LABDOCK_WORKER_MEMORY_MB"] = str(spec.limits.memory_mb)
    return {
        **inherited,
        **limits,
        **spec.variables,
        "LABDOCK_NOTEBOOKS": str(spec.notebooks),
        MARK: str(spec.run),
        "LABDOCK_LOG_FOLDER": str(spec.logs),
        "LABDOCK_MODE": spec.mode,
        "LABDOCK_ENVIRONMENT": spec.name,
        "LABDOCK_ENVIRONMENT_ID": spec.id,
        "LABDOCK_BASE_URL": spec.base_url,
    }
