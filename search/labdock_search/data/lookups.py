"""Lookups: tables that searches read and write, owned by a user in an app, shared with the app or with all apps.

Below `LABDOCK_HOME/lookups/` each version of a lookup is a pair of files named by ids, the CSV as it came and its
Parquet twin; `registry.json` says what they are called and whose they are. Replacing writes a new pair and then the
registry, so a reader has the old table or the new one; the old pair stays for an hour for searches that hold it.
"""

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from labdock.errors import Conflict, Forbidden, InvalidOptions, LimitExceeded, StorageError
from labdock.home import fsync_folder
from labdock.names import not_found
from labdock_search.data import fields
from labdock_search.data.files import fsync_file, new_id, storage_errors
from labdock_search.data.inputs import EventFile
from labdock_search.data.lookup_files import check_csv, check_lookup_name, plain, read_twin, write_pair, write_twin
from labdock_search.data.lookup_registry import Lookup, Registry, Sharing
from labdock_search.protocols import Caller, LookupTable

GRACE = 3_600.0
MAX_BYTES = 500 << 20


def anything(caller: Caller, capability: str) -> bool:  # noqa: ARG001 - the shape of `may`
    """May do everything: for the engine without a controller."""
    return True


def nobody(caller: Caller) -> bool:  # noqa: ARG001 - the shape of `manages`
    """Only owners change a lookup."""
    return False


@dataclass(frozen=True)
class _Draft:
    """A pair of files that no registry names yet."""

    version: str
    rows: int
    schema: pa.Schema
    encoding: str = "utf-8"
    notices: tuple[str, ...] = ()


class Lookups:
    """All lookups of one home, for threads and processes. Implements the engine's `Lookups`.

    `may(caller, capability)` is asked for `share_app` and `share_global`; `manages(caller)` says who may change and
    remove the lookups of others.
    """

    def __init__(
        self,
        home: Path,
        may: Callable[[Caller, str], bool] = anything,
        manages: Callable[[Caller], bool] = nobody,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.folder = home / "lookups"
        self._registry = Registry(self.folder)
        self._may = may
        self._manages = manages
        self._max_bytes = max_bytes

    def visible(self, caller: Caller) -> list[Lookup]:
        """The lookups that the caller sees from his app, one of each name: that which searches resolve it to."""
        found: dict[str, Lookup] = {}
        for lookup in sorted(self._registry.lookups().values(), key=lambda each: _rank(each, caller)):
            if _sees(lookup, caller):
                found.setdefault(lookup.name, lookup)
        return sorted(found.values(), key=lambda each: each.name)

    def names(self, caller: Caller) -> list[str]:
        return [each.name for each in self.visible(caller)]

    def find(self, name: str, caller: Caller) -> Lookup:
        """The caller's own, else the app's, else a global one; `.csv` may be left out. Raises `NotFound`."""
        visible = {each.name: each for each in self.visible(caller)}
        for tried in (name, f"{name}.csv", f"{name}.csv.gz"):
            if tried in visible:
                return visible[tried]
        raise not_found("lookup", name, visible, "Add one with `labdock lookups add FILE`.")

    def open(self, name: str, caller: Caller) -> LookupTable:
        """The lookup as the engine reads it. Its file stays for an hour after it was replaced."""
        lookup = self.find(name, caller)
        path = self._twin(lookup.version)
        if not path.exists():
            raise StorageError(f"The lookup {lookup.name} has lost its file.", remedy="Add it again.")
        return LookupTable(lookup.name, lookup.schema, lookup.rows, str(path))

    def csv(self, name: str, caller: Caller) -> Path:
        """The file exactly as it was added, or as `outputlookup` wrote it."""
        return self._content(self.find(name, caller).version)

    def add(
        self,
        file: Path,
        caller: Caller,
        *,
        name: str | None = None,
        sharing: Sharing | None = None,
        replace: bool = False,
    ) -> Lookup:
        """Add a CSV file (plain or gzip); the answer's `notices` say what was guessed.

        Raises `InvalidName`, `InvalidFrame` (with the line), `LimitExceeded`, `Forbidden`, and `Conflict` where the
        caller has one of that name and `replace` is not set. A replaced one keeps its sharing unless one is given.
        """
        name = check_lookup_name(name or file.name)
        self._check_sharing(sharing or "user", caller)
        self._check_size(file)
        if not replace and self._own(name, caller):
            raise Conflict(f"You have a lookup named {name!r} already.", remedy="Use --replace, or another name.")
        with self._new_files() as version:
            shutil.copyfile(file, self._content(version))
            fsync_file(self._content(version))
            opened = EventFile(self._content(version), file.name)
            check_csv(opened)
            rows, schema = write_twin(opened, self._twin(version))
            draft = _Draft(version, rows, schema, opened.encoding, tuple(opened.notices))
            return self._register(name, caller, self._own(name, caller), draft, sharing)

    def write(self, name: str, batches: pa.RecordBatchReader, caller: Caller, *, append: bool) -> int:
        """`outputlookup`: replace, extend or make the caller's lookup; gives the rows written.

        A name that others share is refused (`Forbidden`) unless the caller manages lookups: a private table of that
        name would hide the shared one from him without a word.
        """
        check_lookup_name(name)
        with self._registry.locked(".write"):
            old = next((e for n in (name, f"{name}.csv") for e in self.visible(caller) if e.name == n), None)
            if old:
                self._check_change(old, caller)
            with self._new_files() as version:
                fresh = (plain(pa.Table.from_batches([batch])) for batch in batches)
                first = next(fresh, None) or plain(batches.schema.empty_table())
                schema, tables = first.schema, itertools.chain([first], fresh)
                kept = 0
                if append and old:
                    kept = old.rows
                    schema = fields.common_schema([old.schema.remove_metadata(), schema])
                    tables = itertools.chain(read_twin(self._twin(old.version), old.schema), tables)
                total = write_pair(tables, schema, self._content(version), self._twin(version))
                self._register(name, caller, old, _Draft(version, total, schema), None)
            return total - kept

    def share(self, name: str, sharing: Sharing, caller: Caller) -> Lookup:
        """Change who sees it. Raises `NotFound`, `Forbidden`."""
        self._check_sharing(sharing, caller)
        lookup = self.find(name, caller)
        self._check_change(lookup, caller)
        with self._registry.changing() as contents:
            contents.lookups[lookup.id] = replace(contents.lookups[lookup.id], sharing=sharing)
            return contents.lookups[lookup.id]

    def remove(self, name: str, caller: Caller) -> None:
        """Raises `NotFound`, `Forbidden`."""
        lookup = self.find(name, caller)
        self._check_change(lookup, caller)
        with self._registry.changing() as contents:
            gone = contents.lookups.pop(lookup.id, None)
            if gone:
                contents.retire(gone.version)

    def maintain(self, grace: float = GRACE) -> int:
        """Remove the files of versions replaced more than `grace` seconds ago, and what crashes left."""
        if not self.folder.is_dir():
            return 0
        removed = 0
        limit = time.time() - grace
        with self._registry.changing() as contents:
            contents.retired = {v: at for v, at in contents.retired.items() if at > limit}
            keep = {each.version for each in contents.lookups.values()} | set(contents.retired)
            for path in self.folder.glob("lookup-*"):
                version = path.name.removeprefix("lookup-").partition(".")[0]
                if version not in keep and path.stat().st_mtime <= limit:
                    path.unlink()
                    removed += 1
        return removed

    def _register(
        self, name: str, caller: Caller, old: Lookup | None, draft: _Draft, sharing: Sharing | None
    ) -> Lookup:
        """Name the draft's files in the registry; `old`, if it is still there, is what they replace."""
        now = time.time()
        with self._registry.changing() as contents:
            before = contents.lookups.get(old.id) if old else None
            if before:
                contents.retire(before.version)
            lookup = Lookup(
                id=before.id if before else new_id(),
                name=before.name if before else name,
                owner=before.owner if before else caller.user,
                app=before.app if before else caller.app,
                sharing=sharing or (before.sharing if before else "user"),
                version=draft.version,
                rows=draft.rows,
                bytes=self._content(draft.version).stat().st_size,
                columns=tuple((f.name, fields.type_name(f.type)) for f in draft.schema),
                encoding=draft.encoding,
                created=before.created if before else now,
                updated=now,
                notices=draft.notices,
            )
            contents.lookups[lookup.id] = lookup
        return lookup

    def _own(self, name: str, caller: Caller) -> Lookup | None:
        owned = (each for each in self._registry.lookups().values() if each.owner == caller.user)
        return next((each for each in owned if each.name == name and each.app == caller.app), None)

    def _check_change(self, lookup: Lookup, caller: Caller) -> None:
        if lookup.owner != caller.user and not self._manages(caller):
            raise Forbidden(
                f"The lookup {lookup.name!r} belongs to {lookup.owner}.",
                remedy="Use another name, or ask the owner.",
                name=lookup.name,
            )

    def _check_sharing(self, sharing: str, caller: Caller) -> None:
        if sharing not in ("user", "app", "global"):
            raise InvalidOptions(f"There is no sharing {sharing!r}.", remedy="It is user, app or global.")
        if sharing != "user" and not self._may(caller, f"share_{sharing}"):
            raise Forbidden(
                f"You may not share with {'the app' if sharing == 'app' else 'all apps'}.",
                remedy=f"Ask for the capability share_{sharing}.",
                capability=f"share_{sharing}",
            )

    def _check_size(self, file: Path) -> None:
        size = file.stat().st_size
        if size > self._max_bytes:
            raise LimitExceeded(
                f"{file.name} has {size:,} bytes; a lookup may have {self._max_bytes:,}.",
                remedy="Ingest larger tables into an index, or raise max_lookup_size_mb.",
                limit="max_lookup_size_mb",
                value=self._max_bytes >> 20,
                setting="max_lookup_size_mb",
            )

    def _content(self, version: str) -> Path:
        return self.folder / f"lookup-{version}.csv"

    def _twin(self, version: str) -> Path:
        return self.folder / f"lookup-{version}.parquet"

    @contextlib.contextmanager
    def _new_files(self) -> Iterator[str]:
        """A new version's name; its files go again when the block fails."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        version = new_id()
        try:
            with storage_errors("the lookup", self.folder):
                yield version
                fsync_folder(self.folder)
        except BaseException:
            self._content(version).unlink(missing_ok=True)
            self._twin(version).unlink(missing_ok=True)
            raise


def _sees(lookup: Lookup, caller: Caller) -> bool:
    if lookup.owner == caller.user or lookup.sharing == "global":
        return True
    return lookup.sharing == "app" and lookup.app == caller.app


def _rank(lookup: Lookup, caller: Caller) -> tuple[int, int, str]:
    """The caller's own before the app's before global ones; in each, the caller's app first."""
    kind = 0 if lookup.owner == caller.user else 1 if lookup.sharing == "app" else 2
    return kind, lookup.app != caller.app, lookup.id
