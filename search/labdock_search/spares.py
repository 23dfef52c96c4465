"""Databases made ahead, since making one takes longer than planning a search."""

import threading

import duckdb

from labdock.home import make_private
from labdock_search.settings import Settings


def fresh(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An empty database in memory, not yet locked."""
    make_private(settings.spill_folder)
    return duckdb.connect(
        ":memory:",
        config={
            "threads": settings.threads,
            "memory_limit": f"{settings.memory_mb}MB",
            "temp_directory": str(settings.spill_folder),
            "max_temp_directory_size": f"{settings.spill_mb}MB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "error_on_division_by_zero": False,
            "ieee_floating_point_ops": False,
        },
    )


class Spares:
    """Keeps one database ready. A search takes it, and another is made meanwhile. Each serves one statement."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._ready: duckdb.DuckDBPyConnection | None = None
        self._maker: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def making(self) -> bool:
        """Whether a database is being made."""
        return self._maker is not None

    def take(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            found, self._ready = self._ready, None
            if self._maker is None:
                # Not a daemon: the interpreter must not end while DuckDB starts.
                self._maker = threading.Thread(target=self._make, name="labdock-search-spare")
                self._maker.start()
        return found if found is not None else fresh(self.settings)

    def _make(self) -> None:
        made = fresh(self.settings)
        with self._lock:
            self._ready, self._maker = made, None

    def close(self) -> None:
        """Wait for what is being made, and close it."""
        maker = self._maker
        if maker is not None:
            maker.join()
        with self._lock:
            found, self._ready = self._ready, None
        if found is not None:
            found.close()
