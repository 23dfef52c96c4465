"""The contract of a runtime: how environments are started, seen and removed, wherever they run.

A runtime is found by entry point (group `labdock.runtimes`), constructed once with the controller's settings and
called from worker threads; every method may block and must be safe to call again after a crash at any point.
It owns no intent: the launcher's store says what should be, `observe` says what is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self

from labdock.errors import LabdockError
from labdock_controller.finding import Finding, Health


class State(StrEnum):
    """What a runtime sees of one environment. The launcher derives the user's `Status` from it and the intent."""

    STARTING = "starting"  # its object exists; nothing was seen of it yet
    RUNNING = "running"
    EXITED = "exited"  # the object still exists (log, exit code), its processes do not


@dataclass(frozen=True)
class Limits:
    """None means the runtime's default."""

    cpus: float | None = None
    memory_mb: int | None = None
    pids: int | None = None
    shm_mb: int | None = None
    gpus: int = 0

    @classmethod
    def stored(cls, value: Mapping[str, Any]) -> Self:
        """As the store has them: what is no limit of this version, or no figure, is as if it were not there."""
        known = {f.name for f in fields(cls)}
        figures: dict[str, Any] = {k: v for k, v in value.items() if k in known and isinstance(v, int | float)}
        return cls(**figures)


@dataclass(frozen=True)
class EnvironmentSpec:
    """Everything a runtime needs to start one environment. Made by the launcher, never from a client's raw body."""

    id: str  # 12 hex digits; what the runtime names and labels its object after
    name: str
    owner: str
    mode: str  # "dev" or "prod"
    image: str  # name from images/*/image.toml; ignored by `local`
    notebooks: (
        Path  # the environment's persistent folder (a volume's name is derived from `id` where there are volumes)
    )
    logs: Path
    run: Path  # sockets, token, spool
    token: str = field(repr=False)
    base_url: str
    limits: Limits = Limits()
    variables: dict[str, str] = field(default_factory=dict)  # further LABDOCK_* settings


@dataclass(frozen=True)
class Endpoint:
    """Where an environment's API and JupyterLab answer: `unix:/path` or `http://host:port`."""

    api: str
    jupyter: str | None
    token: str = field(repr=False)


@dataclass(frozen=True)
class Observed:
    """One of this controller's environments as the runtime sees it now."""

    id: str
    state: State
    started: float | None = None  # epoch seconds
    exit_code: int | None = None
    cause: str = ""  # in words, with figures: "memory limit 512 MiB reached"
    remedy: str = ""


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    memory_bytes: int
    memory_limit_bytes: int | None = None


Progress = Callable[[dict[str, Any]], None]


class Runtime(ABC):
    """Subclass it, set `name`, and register the class as an entry point of `labdock.runtimes`.

    Vendor errors are translated to `LaunchError`s in one place of the subclass; a test fails on an unmapped one.
    """

    name: ClassVar[str]
    uses_images: ClassVar[bool] = True  # False: the machine is the image

    @abstractmethod
    def check(self) -> None:
        """Raise `RuntimeUnavailable` with a remedy unless environments can be started now."""

    @abstractmethod
    def prepare(self, image: str, progress: Progress) -> None:
        """Make `image` present (pull it). Raises `ImageMissing` that names what there is."""

    @abstractmethod
    def start(self, spec: EnvironmentSpec) -> None:
        """Start `spec`; return when its object exists, not when it is ready.

        Restartable: a leftover object of the same id that is not running is replaced; a running one is left alone.
        """

    @abstractmethod
    def stop(self, environment: str, grace: float = 10.0) -> None:
        """End every process of the environment with this id and remove its object; notebooks stay.

        Returns when nothing is left. An unknown id is no error.
        """

    @abstractmethod
    def observe(self) -> list[Observed]:
        """Every environment of this controller, from a full look at the runtime, never from remembered events."""

    @abstractmethod
    def endpoint(self, environment: str, token: str) -> Endpoint:
        """Where the environment answers. Raises `NotFound` for an unknown id."""

    @abstractmethod
    def logs(self, environment: str, tail: int = 200) -> str:
        """The last `tail` lines, also after it exited; empty for an unknown id."""

    @abstractmethod
    def follow(self, environment: str) -> Iterator[str]:
        """New log lines until the environment ends or the iterator is closed."""

    @abstractmethod
    def usage(self, environment: str) -> Usage | None:
        """CPU and memory now, or None where it does not run."""

    def usages(self, environments: Iterable[str]) -> dict[str, Usage]:
        """`usage` of each that runs; for runtimes that can look at many at once."""
        found = {one: self.usage(one) for one in environments}
        return {one: usage for one, usage in found.items() if usage is not None}

    @abstractmethod
    def remove_files(self, spec: EnvironmentSpec) -> None:
        """Remove the environment's notebooks (folder or volume). It does not run."""

    def images(self) -> list[dict[str, Any]]:
        """What environments can be started from: `{name, title, …}`. Nothing where the machine is the image."""
        return []

    def given(self, image: str, asked: Limits) -> Limits:  # noqa: ARG002 - for runtimes that give images limits
        """What a start with these limits would be given, as far as it is known. Asks nobody: it is fast."""
        return asked

    def outdated(self) -> list[str]:
        """Ids of environments that run from an older image than a new start would take."""
        return []

    def examine(self) -> list[Finding]:
        """What `labdock doctor` says of this runtime: whether it works, and how well it is set up."""
        try:
            self.check()
        except LabdockError as error:
            return [Finding(self.name, f"Runtime {self.name}", Health.ERROR, error.message, error.remedy)]
        return [Finding(self.name, f"Runtime {self.name}", Health.OK, "environments can be started")]

    def close(self) -> None:  # noqa: B027 - most runtimes hold nothing
        """Release connections. Environments go on."""
