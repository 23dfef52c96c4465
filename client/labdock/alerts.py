"""Saved searches and alerts: `lab.alerts.save("botnet", search, schedule="5m", actions=[…])`."""

from typing import TYPE_CHECKING, Any

from labdock.connection import segment

if TYPE_CHECKING:
    from labdock.lab import Lab


Runs = list[dict[str, Any]]


class Alerts:
    """A saved search is a report; with a `schedule` (`5m`, `0 6 * * *`) it is an alert."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def list(self) -> list[dict[str, Any]]:
        """One's own and those that are shared."""
        return list(self._lab.connection.call("GET", "/api/saved-searches"))

    def get(self, name: str) -> dict[str, Any]:
        return dict(self._lab.connection.call("GET", _path(name)))

    def save(self, name: str, search: str, *, replace: bool = False, **definition: Any) -> dict[str, Any]:
        """Save a search. `definition`: `schedule, earliest, latest, timezone, app, sharing, description`,
        `condition` (`{"rows": ">", "value": 0}` or `{"search": "where count > 5"}`), `throttle`
        (`{"seconds": 3600, "fields": ["src_ip"]}`), `actions` (`{"type": "webhook", "url": …}`, `email`, `index`,
        `script`). Raises `InvalidOptions`, `SearchError`, `Conflict`.
        """
        body = {"search": search, **{k: v for k, v in definition.items() if v not in (None, "")}}
        return dict(self._lab.connection.call("PUT", _path(name), body, replace=replace))

    def runs(self, name: str, limit: int = 100) -> Runs:
        """The history, newest first: `started, duration, status, rows, job, error, actions`."""
        return [*self._lab.connection.call("GET", f"{_path(name)}/runs", limit=limit)]

    def run(self, name: str) -> dict[str, Any]:
        """Run it now, actions included."""
        return dict(self._lab.connection.call("POST", f"{_path(name)}/run", {}))

    def pause(self, name: str) -> dict[str, Any]:
        return dict(self._lab.connection.call("POST", f"{_path(name)}/pause", {}))

    def resume(self, name: str) -> dict[str, Any]:
        return dict(self._lab.connection.call("POST", f"{_path(name)}/resume", {}))

    def remove(self, name: str) -> None:
        self._lab.connection.call("DELETE", _path(name))


def _path(name: str) -> str:
    return f"/api/saved-searches/{segment(name)}"
