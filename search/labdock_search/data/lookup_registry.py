"""Which lookups there are: `LABDOCK_HOME/lookups/registry.json`, replaced whole under a lock."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from labdock.errors import StorageError
from labdock.home import fsync_folder, write_atomically
from labdock_search.data import fields
from labdock_search.data.files import locked, storage_errors
from labdock_search.data.lookup_files import described

Sharing = Literal["user", "app", "global"]


@dataclass(frozen=True)
class Lookup:
    """What is known of a lookup. `version` names its files; `columns` are (field, type's name)."""

    id: str
    name: str
    owner: str
    app: str
    sharing: Sharing
    version: str
    rows: int
    bytes: int
    columns: tuple[tuple[str, str], ...]
    encoding: str
    created: float
    updated: float
    notices: tuple[str, ...] = field(default=(), compare=False)

    @property
    def schema(self) -> pa.Schema:
        """Its fields; see `lookup_files.described`."""
        return described(pa.schema([(name, fields.type_of(type_)) for name, type_ in self.columns]))


@dataclass
class Contents:
    """The registry's content: lookups by id, and versions that were replaced, with the time."""

    lookups: dict[str, Lookup]
    retired: dict[str, float]

    def retire(self, version: str) -> None:
        self.retired[version] = time.time()


class Registry:
    """Reads are one `stat` when nothing changed. Safe for threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "registry.json"
        self._mutex = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._lookups: dict[str, Lookup] = {}

    def lookups(self) -> dict[str, Lookup]:
        """All lookups by id. Treated as immutable."""
        with self._mutex, storage_errors("the list of lookups", self.folder):
            try:
                status = self._path.stat()
            except FileNotFoundError:
                return {}
            state = (status.st_ino, status.st_mtime_ns, status.st_size)
            if state != self._state:
                self._lookups = self._load().lookups
                self._state = state
            return self._lookups

    def _load(self) -> Contents:
        try:
            value = json.loads(self._path.read_bytes())
            found = {i: _lookup(i, each) for i, each in value["lookups"].items()}
            return Contents(found, {str(v): float(at) for v, at in value["retired"].items()})
        except FileNotFoundError:
            return Contents({}, {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"The list of lookups is damaged: {error}.",
                remedy="Restore LABDOCK_HOME/lookups/registry.json from a backup, or remove it and add them again.",
            ) from None

    @contextlib.contextmanager
    def changing(self) -> Iterator[Contents]:
        """Change the content; written when the block ends without an error. Others wait."""
        with self.locked(".lock"), storage_errors("the list of lookups", self.folder):
            contents = self._load()
            yield contents
            write_atomically(self._path, json.dumps(self._value(contents)).encode())

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock file of the folder, which is made if there is none."""
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fsync_folder(self.folder.parent)
        with locked(self.folder / name):
            yield

    @staticmethod
    def _value(contents: Contents) -> dict[str, Any]:
        lookups = {}
        for key, lookup in contents.lookups.items():
            each = asdict(lookup)
            del each["id"], each["notices"]
            lookups[key] = each
        return {"lookups": lookups, "retired": contents.retired}


def _lookup(key: str, value: dict[str, Any]) -> Lookup:
    columns = tuple((str(name), str(type_)) for name, type_ in value.pop("columns"))
    return Lookup(id=key, columns=columns, **value)
