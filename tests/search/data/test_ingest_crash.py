"""An ingest that is killed at any system call leaves whole files only, and the next one completes it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.search.data.conftest import all_parquet, rows_of

from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import ingest

ROWS = 300
INGEST = """
import pathlib, sys
from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import ingest
indexes = Indexes(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
for path in sys.argv[2:]:
    report = ingest(indexes, [path], "main")
    print(report.files[0].name, flush=True)
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "calls", ["write,pwrite64", "fsync,fdatasync", "rename,renameat,renameat2", "mkdir,mkdirat,unlink"]
)
def test_killed_at_any_system_call(home: Path, tmp_path: Path, calls: str) -> None:
    killed = 0
    for when in (1, 2, 3, 4, 6, 9, 14, 22):
        files = []
        for i in range(3):
            path = tmp_path / f"{when}-{i}.csv"
            lines = "".join(f"{when * 1_000_000 + i * 1_000 + n},{when},{i},{n}\n" for n in range(ROWS))
            path.write_text(f"_time,when,file,n\n{lines}")
            files.append(path)
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={calls}:signal=SIGKILL:when={when}"]
        command += [sys.executable, "-B", "-c", INGEST, str(home), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        told = done.stdout.split()
        killed += "ready" in told and "done" not in told

        indexes = Indexes(home)
        indexes.create("main")
        counts = count(indexes, when)
        assert set(counts.values()) <= {ROWS}, f"{calls}:{when}: a half file is visible"
        acknowledged = {int(name[:-4].split("-")[1]) for name in told if name.endswith(".csv")}
        assert acknowledged <= set(counts), f"{calls}:{when}: an ingested file is lost"

        report = ingest(indexes, files, "main")
        assert [f.skipped for f in report.files] == [i in counts for i in range(3)]
        assert count(indexes, when) == dict.fromkeys(range(3), ROWS), f"{calls}:{when}: not complete or doubled"
    indexes = Indexes(home)
    indexes.maintain(grace=0)
    assert not list((home / "indexes" / "main" / ".new").glob("*"))
    assert all_parquet(home / "indexes" / "main") == len(rows_of(indexes, "main")) == 8 * 3 * ROWS
    assert killed >= 2


def count(indexes: Indexes, when: int) -> dict[int, int]:
    """Rows of each file of this round."""
    found: dict[int, int] = {}
    for row in rows_of(indexes, "main", '"when", file, _time'):
        if row["when"] == when:
            found[row["file"]] = found.get(row["file"], 0) + 1
    return found
