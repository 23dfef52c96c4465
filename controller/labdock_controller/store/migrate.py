"""Brings a database to this version's tables. Migrations live in `migrations/versions`, one file each, in order.

Alembic takes long to import (0.3 s), so it is imported only where there is something to migrate.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text

from labdock.errors import StorageError

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """Every revision, the first one first: a file is named after its revision (`0001_…`)."""
    return sorted(path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*.py"))


def config(connection: Connection | None = None) -> "Config":
    """Alembic's configuration; there is no alembic.ini."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    if connection is not None:
        made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection) -> None:
    """Run what is missing, in one transaction. Raises `StorageError` for a database of a newer version."""
    with _tables_may_be_made_anew(connection), connection.begin():
        current = None
        if inspect(connection).has_table("alembic_version"):
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        known = revisions()
        if current is not None and current not in known:
            raise StorageError(
                f"The store was written by a newer Labdock (revision {current}).",
                remedy="Upgrade this Labdock, or use another LABDOCK_HOME.",
                revision=current,
            )
        if current != known[-1]:
            from alembic import command  # noqa: PLC0415 - see above

            command.upgrade(config(connection), "head")
            if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise StorageError("The store's new tables would not fit together.", remedy="Report this.")


@contextmanager
def _tables_may_be_made_anew(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew, and dropping the old one takes what refers to its rows along."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.driver_connection  # outside of a transaction, where alone the pragma works
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys=ON")
