"""Indexes, lookups and notables at a glance. All of it is searched for, so rights and damaged files are as always."""

import time
from typing import Any

import pyarrow.parquet as pq

from labdock.errors import NotFound
from labdock_controller.alerts.actions import NOTABLE
from labdock_controller.searches.pages import rows
from labdock_controller.searches.service import Searches
from labdock_controller.searches.summaries import span_for
from labdock_search.protocols import Caller

SECONDS = 20.0


def searched(searches: Searches, text: str, caller: Caller, **times: str) -> list[dict[str, Any]]:
    """The rows of a search of ours."""
    from labdock_search.settings import Limits  # noqa: PLC0415

    result = searches.engine.search(
        text, user=caller.user, app=caller.app, capabilities=caller.capabilities, limits=Limits(SECONDS), **times
    )
    return rows(result.table(), exact=True)


def counts(searches: Searches, index: str, caller: Caller, buckets: int) -> dict[str, Any]:
    """Events over time: `span` in seconds, and `[start, count]` of each bucket, those without events included."""
    searches.indexes.open(index, caller)  # NotFound with the nearest name
    known = searches.indexes.statistics(index)
    if known.earliest is None or known.latest is None:
        return {"span": None, "buckets": []}
    span = span_for(known.latest - known.earliest, buckets)
    found = searched(searches, f'| tstats count where index="{index}" by _time span={span}s', caller)
    by_start = {round(row["_time"] // span): row["count"] for row in found if row["_time"] is not None}
    first, last = int(known.earliest // span), int(known.latest // span)
    return {"span": span, "buckets": [[at * span, by_start.get(at, 0)] for at in range(first, last + 1)]}


def sample(searches: Searches, index: str, caller: Caller, count: int) -> dict[str, Any]:
    """The newest events."""
    searches.indexes.open(index, caller)
    return {"rows": searched(searches, f'index="{index}" | head {count}', caller)}


def preview(searches: Searches, name: str, caller: Caller, count: int) -> dict[str, Any]:
    """The first rows of a lookup, without reading the others."""
    found = searches.lookups.open(name, caller)
    fields = [{"name": item.name, "type": str(item.type)} for item in found.schema]
    table = found.table
    if found.path is not None:
        with pq.ParquetFile(found.path) as file:
            batch = next(file.iter_batches(batch_size=count), None)
        shown = batch.to_pylist() if batch is not None else []
    else:
        shown = table.slice(0, count).to_pylist() if table is not None else []
    names = [field["name"] for field in fields]
    return {
        "name": found.name,
        "total": found.rows,
        "fields": fields,
        "rows": [dict(zip(names, row.values(), strict=False)) for row in shown],
    }


def notables(searches: Searches, caller: Caller, days: float, limit: int) -> dict[str, Any]:
    """`events`, the newest first; `risk` of each object with how many alerts and events made it."""
    try:
        schema = searches.indexes.open(NOTABLE, caller).schema
    except NotFound:
        return {"events": [], "risk": []}
    since = {"earliest": str(time.time() - days * 86_400), "latest": str(time.time() + 86_400)}
    events = searched(searches, f"index={NOTABLE} | head {limit} | fields - _raw", caller, **since)
    if "risk_object" not in schema.names:
        return {"events": events, "risk": []}
    text = (
        f"index={NOTABLE} risk_object=* | stats sum(risk_score) as risk count as events dc(search_name) as alerts "
        "max(_time) as newest values(search_name) as searches by risk_object risk_object_type | sort 100 -risk"
    )
    return {"events": events, "risk": searched(searches, text, caller, **since)}
