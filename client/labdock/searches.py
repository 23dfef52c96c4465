"""Searches: a search runs as a job of the controller; its rows come as Arrow, pandas, polars or dicts."""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from labdock.connection import segment
from labdock.errors import LabdockError, from_problem
from labdock.progress import Activity

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from labdock.answers import Response
    from labdock.lab import Lab


class Search:
    """One search job. Reading its rows waits for them; `cancel` ends it, `remove` forgets it.

    It goes on when this process ends: `lab.searches.get(id)` finds it again for an hour.
    """

    def __init__(self, lab: "Lab", record: dict[str, Any]) -> None:
        self.lab = lab
        self.record = record

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def status(self) -> str:
        """`running`, `done`, `failed` or `cancelled`, when it was last asked."""
        return str(self.record["status"])

    @property
    def fields(self) -> list[dict[str, str]]:
        """`{"name", "type"}` of each field, once the first row is there."""
        return list(self.record["fields"])

    @property
    def messages(self) -> list[str]:
        """What the search has to say beside its rows, such as files left out."""
        return [str(m["text"]) for m in self.record["messages"]]

    @property
    def error(self) -> LabdockError | None:
        problem = self.record.get("error")
        return from_problem(problem) if problem else None

    def refresh(self, wait: float = 0) -> "Search":
        """Ask again; with `wait`, once it ended or so many seconds passed."""
        query = {"wait": wait} if wait else {}
        self.record = dict(self.lab.connection.call("GET", self._path, **query))
        return self

    def table(self) -> "pa.Table":
        """All rows as an Arrow table. Raises what ended the search, if something did."""
        import pyarrow as pa  # noqa: PLC0415 - `import labdock` shall not wait for it

        with self.reader() as reader:
            table: pa.Table = reader.read_all()
        return table

    def reader(self) -> "pa.RecordBatchReader":
        """The rows as they are found, batch by batch."""
        import pyarrow as pa  # noqa: PLC0415

        with Activity("searching", self.lab.progress):
            response = self.lab.connection.request("GET", f"{self._path}/results", format="arrow")
        stream = pa.ipc.open_stream(io.BufferedReader(_Body(response), 1 << 20))
        return pa.RecordBatchReader.from_batches(stream.schema, self._batches(stream))

    def pandas(self) -> "pd.DataFrame":
        from labdock.frames import to_pandas  # noqa: PLC0415

        return to_pandas(self.table())

    def polars(self) -> Any:
        import polars as pl  # noqa: PLC0415 - optional

        return pl.from_arrow(self.table())

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.table().to_pylist()
        return found

    def page(
        self,
        offset: int = 0,
        count: int = 100,
        *,
        sort: str | Sequence[str] = (),
        filter: str | Sequence[str] = (),  # noqa: A002
    ) -> list[dict[str, Any]]:
        """Some rows, sorted and filtered over the whole result: `sort="-count"`, `filter="count > 5"`."""
        query = {"offset": offset, "count": count, "sort": sort or [], "filter": filter or []}
        self.refresh(600)
        answer = self.lab.connection.call("GET", f"{self._path}/page", **query)
        return list(answer["rows"])

    def export(self, path: str | Path, format: str | None = None) -> Path:  # noqa: A002
        """Write the rows to a file: csv, spreadsheet, json, parquet or arrow, by suffix unless given."""
        path = Path(path)
        suffixes = {".csv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet", ".arrow": "arrow"}
        chosen = format or suffixes.get(path.suffix, "csv")
        with path.open("wb") as file:
            for piece in self.pieces(chosen):
                file.write(piece)
        return path

    def pieces(self, format: str) -> Iterator[bytes]:  # noqa: A002
        """The rows in a format, as bytes that come while they are found."""
        response = self.lab.connection.request("GET", f"{self._path}/results", format=format)
        body = _Body(response)
        while piece := body.read(1 << 20):
            yield piece

    def summary(self, *fields: str, top: int = 0) -> list[dict[str, Any]]:
        """What the fields hold, over the whole result: `count`, `nulls`, `distinct`, `min`, `max`, `mean`, `top`."""
        self.refresh(600)
        query: dict[str, Any] = {"field": list(fields), "top": top}
        return list(self.lab.connection.call("GET", f"{self._path}/summary", **query)["fields"])

    def chart(self, type: str = "auto") -> Any:  # noqa: A002
        """The chart that the dashboard draws of it: an Altair chart, or its Vega-Lite specification without Altair.

        `type` is one of `labdock.charts.TYPES` where it fits the result.
        """
        self.refresh(600)
        spec = self.lab.connection.call("GET", f"{self._path}/chart", type=type)["spec"]
        try:
            import altair as alt  # noqa: PLC0415 - optional
        except ImportError:
            return spec
        return alt.Chart.from_dict(spec, validate=False)

    def stage(self, environment: str = "", model: str = "search_results", algo: str = "") -> dict[str, Any]:
        """Send the rows to an environment's notebooks: `data/<model>.csv`, `.arrow` and `.json` there."""
        self.refresh(600)
        body = {"environment": environment, "model": model, "algo": algo}
        return dict(self.lab.connection.call("POST", f"{self._path}/stage", body))

    def cancel(self) -> "Search":
        """End it; what it found so far stays readable."""
        self.record = dict(self.lab.connection.call("POST", f"{self._path}/cancel", {}))
        return self

    def remove(self) -> None:
        """End it and forget its rows."""
        self.lab.connection.call("DELETE", self._path)

    def _batches(self, stream: "pa.RecordBatchReader") -> Iterator["pa.RecordBatch"]:
        """The answer breaks off where the search failed half way; the job knows why."""
        try:
            yield from stream
        except (OSError, LabdockError):
            error = self.refresh(5).error
            raise error or self._broken() from None
        self.refresh(5)
        if self.error:
            raise self.error

    def _broken(self) -> LabdockError:
        return LabdockError(f"The rows of the search {self.id} broke off.", remedy="Read them again.")

    @property
    def _path(self) -> str:
        return f"/api/searches/{segment(self.id)}"

    def __repr__(self) -> str:
        return f"<Search {self.id}: {self.status}, {self.record['rows']:,} rows>"


class Searches:
    """The searches of one's own that the controller still knows."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def list(self) -> list[Search]:
        return [Search(self._lab, record) for record in self._lab.connection.call("GET", "/api/searches")]

    def get(self, identifier: str) -> Search:
        return Search(self._lab, self._lab.connection.call("GET", f"/api/searches/{segment(identifier)}"))

    def start(self, search: str, **options: Any) -> Search:
        """Start one; `SearchError` says at which character it cannot be understood."""
        body = {"search": search, **{k: v for k, v in options.items() if v not in (None, "")}}
        return Search(self._lab, self._lab.connection.call("POST", "/api/searches", body))

    def explain(self, search: str, *, dialect: str = "duckdb", **options: Any) -> str:
        """The plan and its SQL (`dialect`: `duckdb` or `spark`), as text; nothing runs."""
        body = {"search": search, **{k: v for k, v in options.items() if v not in (None, "")}}
        return str(self._lab.connection.call("POST", "/api/searches/explain", body, dialect=dialect)["text"])

    def complete(self, search: str, position: int | None = None, app: str = "search") -> Sequence[dict[str, Any]]:
        """What can be written at a position (the end by default): `text`, `start`, `sort`, `help`."""
        body = {"search": search, "position": len(search) if position is None else position, "app": app}
        return list(self._lab.connection.call("POST", "/api/searches/complete", body))


def underlined(search: str, error: LabdockError) -> str:
    """The line of the search that the error is about, with carets under the place."""
    position, length = int(error.details.get("position") or 0), int(error.details.get("length") or 1)
    start = search.rfind("\n", 0, position) + 1
    end = search.find("\n", position)
    line = search[start : end if end >= 0 else len(search)]
    column = position - start
    shift = max(0, column - 60)
    shown = ("…" if shift else "") + line[shift : shift + 110]
    return f"{shown}\n{' ' * (column - shift + (1 if shift else 0))}{'^' * max(1, min(length, 110))}"


def clock(moment: float, zone: str = "UTC") -> str:
    """`_time` for people: date and time in the zone; a number that no calendar holds stays as it is."""
    try:
        shown = datetime.fromtimestamp(moment, UTC if zone == "UTC" else ZoneInfo(zone))
    except (OverflowError, ValueError, OSError):
        return f"{moment:g}"
    return shown.strftime("%Y-%m-%d %H:%M:%S")


class _Body(io.RawIOBase):
    """An answer's body as a file."""

    def __init__(self, response: "Response") -> None:
        super().__init__()
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        return self._response.read_some(memoryview(target).cast("B"))

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()
