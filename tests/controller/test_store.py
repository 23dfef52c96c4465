"""The store on SQLite and, where its programs are, on PostgreSQL: migrations, fencing, locks, durability settings."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from labdock.errors import Busy, Conflict, InvalidOptions, StorageError
from labdock_controller.store import Store
from labdock_controller.store.migrate import config, revisions
from labdock_controller.store.tables import EventRow, Table, UserRow

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A server of its own on a Unix socket, run by a user that is not root."""
    folder = Path(tempfile.mkdtemp(prefix="labdock-pg-", dir="/tmp"))
    who: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        who |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody")
    programs = POSTGRES[-1]
    data = folder / "data"
    init = [programs / "initdb", "-D", data, "-U", "labdock", "--auth=trust", "-E", "UTF8"]
    subprocess.run(init, check=True, capture_output=True, **who)
    log = (folder.parent / f"{folder.name}.log").open("wb")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        stdout=log,
        stderr=log,
        **who,
    )
    url = f"postgresql://labdock@/postgres?host={folder}"
    try:
        deadline = time.monotonic() + 60
        ready = [programs / "pg_isready", "-h", folder, "-U", "labdock"]
        while subprocess.run(ready, check=False, capture_output=True).returncode != 0:
            assert time.monotonic() < deadline, Path(log.name).read_text()
            assert server.poll() is None, Path(log.name).read_text()
            time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        log.close()
        Path(log.name).unlink()
        shutil.rmtree(folder)


@pytest.fixture
def empty_postgresql(postgresql: str) -> Iterator[str]:
    yield postgresql
    store = Store(postgresql)
    with store.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    store.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'labdock.sqlite3'}"
    return str(request.getfixturevalue("empty_postgresql"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = Store(url)
    made.migrate()
    assert made.claim(0, {"pid": 1, "host": "here"})
    yield made
    made.close()


def event(session: Any, kind: str) -> None:
    session.add(EventRow(time=0.0, kind=kind, environment_id=None, data={}))


def kinds(store: Store) -> list[str]:
    with store.read() as session:
        return list(session.scalars(select(EventRow.kind).order_by(EventRow.id)))


def test_migrations_give_exactly_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    assert differences == []
    store.migrate()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer"):
        store.migrate()


def test_what_was_committed_is_read_and_what_failed_is_not(store: Store) -> None:
    with store.write() as session:
        event(session, "kept")

    def fail() -> None:
        with store.write() as session:
            event(session, "lost")
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert kinds(store) == ["kept"]


def test_only_the_last_to_claim_may_write(store: Store, url: str) -> None:
    fenced: list[dict[str, Any]] = []
    store.on_fenced = fenced.append
    other = Store(url)
    assert not other.claim(0, {"pid": 2}), "a stale claim"
    assert other.claim(1, {"pid": 2, "host": "there"})
    with pytest.raises(Conflict, match="process 2 on there"), store.write() as session:
        event(session, "from the fenced")
    assert fenced == [{"pid": 2, "host": "there"}]
    with other.write() as session:
        event(session, "from the other")
    assert kinds(other) == ["from the other"]
    other.close()


def test_simultaneous_claims_have_one_winner(store: Store, url: str) -> None:
    others = [Store(url) for _ in range(8)]
    won: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i, o=o: won.append(i) if o.claim(1, {"pid": i}) else None)
        for i, o in enumerate(others)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.holder()[2] == {"pid": won[0]}
    for other in others:
        other.close()


def test_writers_of_many_threads_lose_nothing(store: Store) -> None:
    def write(number: int) -> None:
        for i in range(20):
            with store.write() as session:
                row = session.scalars(select(UserRow).where(UserRow.name == "count")).one_or_none()
                if row is None:
                    session.add(UserRow(id="c" * 12, name="count", roles=[], created=0.0, active=True))
                else:
                    row.created += 1
                event(session, f"{number}.{i}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kinds(store)) == 120
    with store.read() as session:
        assert session.scalars(select(UserRow.created)).one() == 119


@pytest.mark.slow
def test_a_lock_of_another_process_is_busy_after_five_seconds(store: Store, url: str) -> None:
    other = Store(url)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        other.epoch = 1
        with other.write():
            locked.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(5)
    began = time.monotonic()
    with pytest.raises(Busy) as raised, store.write() as session:
        event(session, "never")
    assert 4 < time.monotonic() - began < 8
    assert raised.value.details["retry_after"]
    assert kinds(store) == [], "readers go on meanwhile"
    done.set()
    holder.join()
    other.close()
    with store.write() as session:
        event(session, "after")
    assert kinds(store) == ["after"]


def test_event_numbers_are_never_given_twice(store: Store) -> None:
    with store.write() as session:
        event(session, "first")
        session.flush()
        session.execute(text("DELETE FROM events"))
    with store.write() as session:
        event(session, "second")
    with store.read() as session:
        assert session.scalars(select(EventRow.id)).all() == [2]


def test_what_exists_already_is_told_as_that_to_its_writer(store: Store) -> None:
    """Only who writes knows what a name that is taken means: it is no failure of the store."""
    for identifier in ("a", "b"):
        with contextlib.ExitStack() as stack:
            if identifier == "b":
                stack.enter_context(pytest.raises(IntegrityError))
            session = stack.enter_context(store.write())
            session.add(UserRow(id=identifier, name="twin", roles=[], created=0.0, active=True))
    with store.read() as session:
        assert session.scalars(select(UserRow.id).where(UserRow.name == "twin")).all() == ["a"]


def test_sqlite_is_durable_private_and_checks_foreign_keys(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    store.migrate()
    with store.engine.connect() as connection:
        found = {p: connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")}
        assert found == {"journal_mode": "wal", "synchronous": 2}
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()
    assert (tmp_path / "s.sqlite3").stat().st_mode & 0o077 == 0


def test_another_kind_of_database_is_refused_by_name() -> None:
    with pytest.raises(InvalidOptions, match="mysql"):
        Store("mysql://x")


WRITER = """
import sys
from labdock_controller.store import Store
from labdock_controller.store.migrate import config, revisions
from labdock_controller.store.tables import EventRow
store = Store(sys.argv[1])
epoch = store.holder()[0]
assert store.claim(epoch, {"pid": 1})
for i in range(10**6):
    with store.write() as session:
        session.add(EventRow(time=0.0, kind=str(i), environment_id=None, data={}))
    print(i, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Five kills at arbitrary moments of a writer; every row it acknowledged is there, and the file is sound."""
    path = tmp_path / "s.sqlite3"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    acknowledged = 0
    for round_ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, f"sqlite:///{path}"], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        lines = 0
        for _ in writer.stdout:
            lines += 1
            if lines == 20 + 13 * round_:
                writer.kill()
                break
        lines += len(writer.stdout.read().splitlines())
        writer.wait()
        writer.stdout.close()
        acknowledged += lines
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        connection.close()
        assert acknowledged <= rows <= acknowledged + round_ + 1


def test_migrations_are_a_line_and_files_are_named_after_them() -> None:
    """`migrate.revisions` reads names only; alembic's own view must agree."""
    script = ScriptDirectory.from_config(config())
    assert [r.revision for r in script.walk_revisions()][::-1] == revisions()
    assert script.get_heads() == [revisions()[-1]]


@pytest.mark.parametrize("revision", ["0001", "0007"])
def test_an_upgrade_keeps_every_row(tmp_path: Path, revision: str) -> None:
    """SQLite makes changed tables anew; what refers to their rows stays."""
    path = tmp_path / "old.sqlite3"
    store = Store(f"sqlite:///{path}")
    with store.engine.connect().execution_options(labdock_writes=True) as connection, connection.begin():
        command.upgrade(config(connection), revision)
        for row in (
            "users (id, name, password_hash, roles, active, created) VALUES ('u', 'ann', '', '[]', 1, 0)",
            "credentials (id, kind, user_id, name, hash, created) VALUES ('c', 'token', 'u', 't', 'h', 0)",
            "models (id, name, kind, owner_id, app, sharing, created) VALUES ('m', 'm', 'onnx', 'u', 'a', 'user', 0)",
            "model_versions (id, model_id, version, created, features, target, params, metrics, module, module_sha256)"
            " VALUES ('v', 'm', 1, 0, '[]', '[]', '{}', '{}', '', '')",
        ):
            connection.exec_driver_sql(f"INSERT INTO {row}")
    store.migrate()
    with store.read() as session:
        assert session.scalars(select(UserRow.name)).all() == ["ann"]
        for table in ("credentials", "models", "model_versions"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 1, table
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
    store.close()
