"""Quotas: how much the running environments of one user may take together (`lab.quotas`)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labdock.lab import Lab

Found = list[dict[str, Any]]
RESOURCES = ("environments", "cpus", "memory_mb", "gpus")


class Quotas:
    """Setting them takes the capability `configure`; `mine` anybody may ask."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def mine(self) -> dict[str, Any]:
        """`{"quota": {resource: number or None}, "used": {resource: number}}`."""
        return dict(self._lab.connection.call("GET", "/api/quota"))

    def list(self) -> Found:
        """Every quota that is set: `kind` (`role` or `user`), `name` and the resources."""
        return [*self._lab.connection.call("GET", "/api/quotas")]

    def set(self, kind: str, name: str, **resources: float | None) -> Found:
        """Set the quota of a `role` or `user` anew: `environments, cpus, memory_mb, gpus`. Without any it is removed.

        Raises `NotFound` for an unknown name.
        """
        return [*self._lab.connection.call("PUT", "/api/quotas", {"kind": kind, "name": name, **resources})]
