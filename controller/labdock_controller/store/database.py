"""Opens the store and hands out transactions: readers see a snapshot, one writer at a time, each fenced by the epoch.

A controller that lost its place (another took over) can commit nothing more: `write` checks the epoch inside the
transaction and calls `on_fenced`.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from labdock.errors import Busy, Conflict, InvalidOptions, LabdockError, StorageError
from labdock_controller.store.migrate import upgrade
from labdock_controller.store.tables import ControllerRow

BUSY_SECONDS = 5.0
WRITES = "labdock_writes"


def _busy(what: str) -> Busy:
    return Busy(what, remedy="Try again in a few seconds.", retry_after=5)


def translate(error: SQLAlchemyError) -> LabdockError:
    """The one border of database errors: locks and lost connections are `Busy`, the rest `StorageError`."""
    original = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(error, PoolTimeout):
        return _busy("All connections to the store are in use.")
    if isinstance(original, sqlite3.OperationalError) and original.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    ):
        return _busy("The store is locked by another process.")
    if getattr(original, "sqlstate", None) in ("55P03", "40001", "40P01"):
        return _busy("The store is locked by another transaction.")
    if isinstance(error, DBAPIError) and (
        error.connection_invalidated or type(original).__name__ == "OperationalError"
    ):
        if isinstance(original, sqlite3.Error):
            return StorageError(f"The store failed: {original}.", remedy="Check disk space and rights of the home.")
        return _busy("The store's database does not answer.")
    return StorageError(f"The store failed: {type(error).__name__}.", remedy="See the controller's log.")


# What each transaction that writes begins with.
_EPOCH = select(ControllerRow.epoch).with_for_update()


class Store:
    """One database. Safe for threads; `close` it."""

    def __init__(self, url: str) -> None:
        self.url = make_url(_with_driver(url))
        self.engine = _engine(self.url.render_as_string(hide_password=False))
        self._writes = self.engine.execution_options(**{WRITES: True})
        self.epoch: int | None = None
        self.on_fenced: Callable[[dict[str, Any]], None] = lambda _holder: None
        self._writer = threading.Lock()

    def migrate(self) -> None:
        """Bring the tables up to this version; does nothing where they are."""
        with self._translated(), self.engine.connect().execution_options(**{WRITES: True}) as connection:
            upgrade(connection)

    def exists(self) -> bool:
        """Whether some controller made the tables already."""
        with self._translated(), self.engine.connect() as connection:
            return inspect(connection).has_table(ControllerRow.__tablename__)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A snapshot. Objects stay usable after the block."""
        with self._translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction, committed at the end of the block; raises `Busy` after 5 s of waiting.

        Raises `Conflict` and changes nothing where this controller is no longer the one that may write.
        """
        with self._writing() as session:
            epoch = session.connection().execute(_EPOCH).scalar_one_or_none()
            if epoch is None or epoch != self.epoch:
                holder = session.scalar(select(ControllerRow.holder)) or {}
                self.on_fenced(holder)
                raise Conflict(
                    f"Another controller took over: process {holder.get('pid')} on {holder.get('host')}.",
                    remedy="This one exits; use the other.",
                    holder=holder,
                )
            yield session

    def holder(self) -> tuple[int, int, dict[str, Any] | None]:
        """Epoch, heartbeat and description of the controller that may write (None: nobody)."""
        with self.read() as session:
            row = session.get(ControllerRow, 1)
            return (row.epoch, row.beat, row.holder) if row else (0, 0, None)

    def claim(self, seen: int, holder: dict[str, Any]) -> bool:
        """Become the writer unless the epoch is no longer `seen`; all earlier ones are fenced from then on."""
        with self._writing() as session:
            row = session.scalars(select(ControllerRow).with_for_update()).one_or_none()
            if (row.epoch if row else 0) != seen:
                return False
            if row is None:
                row = ControllerRow(id=1, epoch=0, beat=0)
                session.add(row)
            row.epoch, row.holder, row.beat = seen + 1, holder, row.beat + 1
        self.epoch = seen + 1
        return True

    def beat(self, holder: dict[str, Any]) -> None:
        """Show the others that this controller lives."""
        with self.write() as session:
            row = session.scalars(select(ControllerRow)).one()
            row.beat, row.holder = row.beat + 1, holder

    def release(self) -> None:
        """Leave: the next controller need not wait."""
        with self.write() as session:
            session.scalars(select(ControllerRow)).one().holder = None

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        # SQLite's own waiting polls and is unfair; threads of this process queue here instead.
        if not self._writer.acquire(timeout=BUSY_SECONDS):
            raise _busy("The store is busy with other changes.")
        try:
            with self._translated(), Session(self._writes, expire_on_commit=False) as session, session.begin():
                yield session
        finally:
            self._writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # what exists already: only who wrote it knows what that means
        except SQLAlchemyError as error:
            raise translate(error) from error


def _with_driver(url: str) -> str:
    for name in ("postgresql", "postgres"):
        if url.startswith(f"{name}://"):
            return "postgresql+psycopg" + url[len(name) :]
    if not url.startswith(("sqlite:", "postgresql+psycopg:")):
        kind = url.partition(":")[0]
        raise InvalidOptions(f"A store of kind {kind!r} is not supported.", remedy="Use sqlite:/// or postgresql://.")
    return url


def _engine(url: str) -> Engine:
    if url.startswith("postgresql"):
        options = f"-c lock_timeout={int(BUSY_SECONDS * 1000)}"
        arguments = {"options": options, "connect_timeout": 5}
        return create_engine(
            url, pool_pre_ping=True, pool_timeout=BUSY_SECONDS, max_overflow=20, connect_args=arguments
        )
    path = url.removeprefix("sqlite:///")
    engine = create_engine(url, pool_timeout=BUSY_SECONDS, pool_size=10, max_overflow=40)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, in the kind chosen below
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if Path(path).exists():
            Path(path).chmod(0o600)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
