"""Indexes and lookups: the data that searches read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labdock.connection import segment

if TYPE_CHECKING:
    from labdock.lab import Lab

FILE = {"Content-Type": "application/octet-stream"}


class Indexes:
    """Searchable events. `lab.indexes.ingest("conn.log", "botsv3", sourcetype="stream:tcp")`."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def list(self) -> list[dict[str, Any]]:
        """`name`, `rows`, `bytes`, `earliest`, `latest`, `sourcetypes` of each."""
        return list(self._lab.connection.call("GET", "/api/indexes"))

    def get(self, name: str) -> dict[str, Any]:
        """One index with its `fields`."""
        return dict(self._lab.connection.call("GET", f"/api/indexes/{segment(name)}"))

    def ingest(self, file: str | Path, index: str, **options: Any) -> dict[str, Any]:
        """Send a file of events into an index; made if there is none.

        CSV, Parquet, Arrow, JSON lines, Zeek logs and Windows events as JSON, plain or gzip or zstd. Options:
        `sourcetype`, `source` (default: the event's own, else the file's path), `host`, `time_field`,
        `time_format`, `timezone`, `format`, `again` (a file that was ingested before is skipped otherwise). Gives
        the report: rows, bad lines by number.
        """
        path = Path(file)
        query = {"file_name": path.name, "default_source": str(path), **_given(options)}
        return send_file(self._lab, path, f"/api/indexes/{segment(index)}/ingest", query)

    def restrict(self, name: str, readers: Sequence[str] | None) -> dict[str, Any]:
        """Say who may search an index: `["user:anna", "role:power"]`; None: everybody. Needs `configure`, whose
        holders may search every index."""
        return self._change(name, {"readers": None if readers is None else list(readers)})

    def keep(self, name: str, days: float | None) -> dict[str, Any]:
        """How long events are kept; None: for ever. Needs `configure`."""
        return self._change(name, {"retention_days": days})

    def _change(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._lab.connection.call("PATCH", f"/api/indexes/{segment(name)}", body))

    def delete(self, name: str) -> None:
        self._lab.connection.call("DELETE", f"/api/indexes/{segment(name)}")


class Lookups:
    """Tables that searches read and write. `lab.lookups.add("assets.csv", sharing="app")`."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def list(self, app: str = "search") -> list[dict[str, Any]]:
        """`name`, `owner`, `app`, `sharing`, `rows`, `columns` of each that is seen from the app."""
        return list(self._lab.connection.call("GET", "/api/lookups", app=app))

    def add(
        self,
        file: str | Path,
        name: str | None = None,
        *,
        app: str = "search",
        sharing: str | None = None,
        replace: bool = False,
    ) -> dict[str, Any]:
        """Add a CSV file. Needs the capability `upload_lookup_files`."""
        path = Path(file)
        query = _given({"name": name or path.name, "app": app, "sharing": sharing, "replace": replace})
        return send_file(self._lab, path, "/api/lookups", query)

    def csv(self, name: str, app: str = "search") -> bytes:
        """The CSV file exactly as it was added."""
        return self._lab.connection.request("GET", f"/api/lookups/{segment(name)}", app=app).read()

    def share(self, name: str, sharing: str, app: str = "search") -> dict[str, Any]:
        """`user`, `app` or `global`."""
        body = {"sharing": sharing}
        return dict(self._lab.connection.call("PUT", f"/api/lookups/{segment(name)}/sharing", body, app=app))

    def remove(self, name: str, app: str = "search") -> None:
        self._lab.connection.call("DELETE", f"/api/lookups/{segment(name)}", app=app)


def send_file(lab: "Lab", path: Path, target: str, query: dict[str, Any]) -> dict[str, Any]:
    """POST a file as it is, mapped rather than read; gives the JSON answer."""
    import json  # noqa: PLC0415
    import mmap  # noqa: PLC0415

    with path.open("rb") as file:
        size = path.stat().st_size
        pieces: list[Any] = [mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)] if size else [b""]
        response = lab.connection.request("POST", target, pieces, FILE, **query)
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {k: (str(v).lower() if isinstance(v, bool) else v) for k, v in options.items() if v not in (None, "", False)}
