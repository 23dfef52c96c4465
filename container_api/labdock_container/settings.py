"""What the environment variables of `docs/interfaces.md` section 2 say, checked once at the start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labdock.errors import InvalidOptions


@dataclass(frozen=True)
class Settings:
    """Folders are absolute. `listen` is `host:port`, or empty for the Unix socket in the run folder."""

    notebooks: Path
    run: Path
    mode: str
    environment: str
    listen: str
    workers: int
    worker_memory_mb: int
    max_fit_time: float
    max_score_time: float
    max_inputs: int
    max_body_mb: int
    model_versions: int
    body_silence: float

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Settings":
        """Raises `InvalidOptions` that names the variable."""
        run = Path(variables.get("LABDOCK_RUN_FOLDER") or "/run/labdock").absolute()
        return cls(
            notebooks=Path(variables.get("LABDOCK_NOTEBOOKS") or "/notebooks").absolute(),
            run=run,
            mode=variables.get("LABDOCK_MODE") or "dev",
            environment=variables.get("LABDOCK_ENVIRONMENT") or "__dev__",
            listen=variables.get("LABDOCK_API_LISTEN") or "",
            workers=int(_number(variables, "LABDOCK_WORKERS", _cpus(), least=1)),
            worker_memory_mb=int(_number(variables, "LABDOCK_WORKER_MEMORY_MB", 4000, least=64)),
            max_fit_time=_number(variables, "LABDOCK_MAX_FIT_TIME", 600),
            max_score_time=_number(variables, "LABDOCK_MAX_SCORE_TIME", 600),
            max_inputs=int(_number(variables, "LABDOCK_MAX_INPUTS", 10_000_000, least=1)),
            max_body_mb=int(_number(variables, "LABDOCK_MAX_BODY_MB", 8192, least=1)),
            model_versions=int(_number(variables, "LABDOCK_MODEL_VERSIONS", 5, least=1)),
            body_silence=_number(variables, "LABDOCK_BODY_SILENCE", 30),
        )

    @property
    def socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def spool(self) -> Path:
        return self.run / "spool"

    @property
    def jobs(self) -> Path:
        return self.run / "jobs"

    @property
    def data(self) -> Path:
        return self.notebooks / "data"

    @property
    def models(self) -> Path:
        return self.notebooks / "models"


def _cpus() -> int:
    """The cores that this process may use: its affinity, and the container's quota where there is one."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return max(count, 1)


def _number(variables: Mapping[str, str], name: str, default: float, least: float = 0.001) -> float:
    text = variables.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value >= least or value == float("inf"):
        raise InvalidOptions(f"{name} is {text!r}.", remedy=f"Set it to a number of at least {least:g}.", option=name)
    return value
