"""Environments: list them, find one, start one."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labdock.connection import segment
from labdock.environment import Environment
from labdock.errors import Conflict, NotFound
from labdock.names import check_name

if TYPE_CHECKING:
    from labdock.lab import Lab


class Environments:
    """`lab.environments`."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def list(self) -> list[Environment]:
        """Every environment that the caller may see."""
        return [Environment(self._lab, record) for record in self._lab.connection.call("GET", "/api/environments")]

    def outdated(self) -> tuple[str, ...]:
        """Names of running environments that a restart would give a newer image."""
        return tuple(self._lab.connection.call("GET", "/api/outdated"))

    def get(self, name: str) -> Environment:
        """Raises `NotFound` that names the nearest."""
        return Environment(self._lab, self._lab.connection.call("GET", f"/api/environments/{segment(name)}"))

    def only(self) -> Environment:
        """The single environment there is, or the single one that runs. Raises `NotFound` or `Conflict`."""
        known = self.list()
        running = [e for e in known if e.status in ("running", "starting")]
        choice = known if len(known) == 1 else running
        if not known:
            raise NotFound(
                "There is no environment yet.", remedy="Start one: labdock start __dev__", kind="environment"
            )
        if len(choice) != 1:
            there = ", ".join(sorted(e.name for e in known))
            raise Conflict(f"There are several environments: {there}.", remedy="Name the one that you mean.")
        return choice[0]

    def start(
        self,
        name: str = "__dev__",
        *,
        image: str | None = None,
        mode: str | None = None,
        runtime: str | None = None,
        limits: Mapping[str, Any] | None = None,
        wait: bool = True,
        progress: bool | None = None,
    ) -> Environment:
        """Start an environment, or give the one of that name that runs already.

        Raises `Conflict` where that one differs from what is asked for, and a `LaunchError` with the last log lines
        where it does not come up.
        """
        check_name(name, "environment")
        asked = {"image": image, "mode": mode, "runtime": runtime, "limits": dict(limits) if limits else None}
        asked = {k: v for k, v in asked.items() if v is not None}
        try:
            record = self._lab.connection.call("POST", "/api/environments", {"name": name, **asked})
        except Conflict:
            record = self.get(name).record
            if any(record.get(k) != v for k, v in asked.items() if k != "limits"):
                raise
        environment = Environment(self._lab, record)
        return environment.wait(progress=progress) if wait else environment

    def __iter__(self) -> Iterator[Environment]:
        return iter(self.list())
