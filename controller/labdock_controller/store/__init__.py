"""The store: SQLite in the home by default, PostgreSQL by URL. `Store` opens it, `tables` describes it."""

from labdock_controller.store.database import Store

__all__ = ["Store"]
