"""What a controller does not import before it is ready: it comes with the first search, or with the warm-up."""

import subprocess
import sys
from pathlib import Path

from conftest import Controller
from tests.waiting import wait_for

# Libraries of one part each, which comes with its first use or the warm-up.
PARTS = (
    "aiohttp", "alembic", "apscheduler", "authlib", "cryptography", "docker", "joserfc", "requests", "urllib3",
    "sqlalchemy.dialects.postgresql", "labdock_search.engine",
)  # fmt: skip
HEAVY = ("duckdb", "lark", "numpy", "onnx", "onnxruntime", "pandas", "polars", "pyarrow", "sqlglot")


def imported_by(statement: str, *names: str) -> list[str]:
    """Which of the modules a fresh interpreter has after the statement."""
    code = f"import sys; {statement}; print(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


def test_the_start_needs_no_search_engine_and_no_library_of_one_part() -> None:
    start = "import labdock_controller.server, labdock_controller.runtimes.docker, labdock_controller.runtimes.local"
    assert imported_by(start, *HEAVY, *PARTS) == []


def test_the_command_line_needs_no_tables() -> None:
    assert imported_by("from labdock.cli.app import build; build()", *HEAVY, "rich", "fastapi", "typer.main") == [
        "typer.main"
    ]


def test_the_warm_up_loads_what_the_start_left_out(controller: Controller) -> None:
    """Seen from outside: DuckDB's library is mapped soon after the start, though nobody searched."""
    maps = Path(f"/proc/{controller.process.pid}/maps")
    wait_for(lambda: "_duckdb" in maps.read_text(), 30, "the warm-up")
    answer = controller("POST", "/api/searches?wait=30", {"search": "| makeresults | eval a=1 | table a"})
    assert answer.json()["status"] == "done"
    assert answer.json()["rows"] == 1
