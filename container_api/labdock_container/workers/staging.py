"""Stage: `data/<model>.csv` and `.json` for the notebook's `stage(name)`, and `.arrow` so that nothing is lost."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from labdock_container.models import sync
from labdock_container.staged import clean, pending_path
from labdock_container.tables import csv_ready, write_csv


def stage(folder: Path, model: str, table: pa.Table, meta: dict[str, Any]) -> list[str]:
    """Write the three files, durable, each by rename; gives their paths below the notebooks folder."""

    def csv(path: Path) -> None:
        _write_csv(path, table)

    def arrow(path: Path) -> None:
        write_arrow(path, table)

    def description(path: Path) -> None:
        path.write_text(json.dumps(meta))

    return write_files(folder, {f"{model}.csv": csv, f"{model}.arrow": arrow, f"{model}.json": description})


def write_arrow(path: Path, table: pa.Table) -> None:
    """An Arrow file (not a stream), which readers can map."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_files(folder: Path, files: dict[str, Callable[[Path], Any]]) -> list[str]:
    """Write all under temporary names at the same time, sync, then rename them one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    pending = {name: pending_path(folder, name) for name in files}
    try:
        with ThreadPoolExecutor(len(files), "labdock-stage") as threads:
            for done in [threads.submit(_durable, write, pending[name]) for name, write in files.items()]:
                done.result()
        for name, path in pending.items():
            path.replace(folder / name)
        sync(folder)
    finally:
        for path in pending.values():
            path.unlink(missing_ok=True)
    return [f"{folder.name}/{name}" for name in files]


def _durable(write: Callable[[Path], Any], path: Path) -> None:
    write(path)
    sync(path)


def _write_csv(path: Path, table: pa.Table) -> None:
    """In two halves at once: Arrow's writer uses one core."""
    half = table.num_rows // 2
    if table.num_rows < 20_000:
        with pa.OSFile(str(path), "wb") as sink:
            write_csv(table, sink)
        return
    ready = csv_ready(table)
    with ThreadPoolExecutor(1, "labdock-csv") as other:
        second = other.submit(_half_csv, ready.slice(half))
        with pa.OSFile(str(path), "wb") as sink:
            write_csv(ready.slice(0, half), sink)
        with path.open("ab") as sink:
            sink.write(second.result())


def _half_csv(table: pa.Table) -> pa.Buffer:
    from pyarrow import csv  # noqa: PLC0415 - name clash with the function above

    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False))
    return sink.getvalue()
