"""Fitted models on disk: `models/<model>/<version>/{manifest.json, model.joblib}` and the link `newest`.

A version appears whole, by rename, and `newest` moves to it by rename: after a kill at any point there is the old
model or the new one. Only workers read `model.joblib`; the API reads manifests.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labdock.names import NAME, check_name, not_found
from labdock_container.background import threads
from labdock_container.staged import clean, pending_path

Manifest = dict[str, Any]
MANIFEST = "manifest.json"
NEWEST = "newest"


class ModelStore:
    """The models of one environment. Safe to use from several processes at once."""

    def __init__(self, folder: Path, keep: int = 5) -> None:
        self.folder = folder
        self.keep = keep

    def names(self) -> list[str]:
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return []
        return sorted(e.name for e in entries if NAME.fullmatch(e.name) and Path(e.path, NEWEST).is_symlink())

    def newest(self, name: str) -> Manifest | None:
        """The manifest of the newest version, or None where the model does not exist."""
        check_name(name, "model")
        for _ in range(3):  # the version behind the link may be pruned between the two reads
            generation = self.generation(name)
            if generation is None:
                return None
            manifest = _read(self.folder / name / generation.partition(":")[0])
            if manifest is not None:
                return manifest
        return None

    def version(self, name: str, number: int) -> Manifest:
        """The manifest of an earlier version. Raises `NotFound` that says which are kept."""
        check_name(name, "model")
        manifest = _read(self.folder / name / str(number)) if number in self._numbers(name) else None
        if manifest is None:
            raise not_found("version", f"{name}@{number}", [f"{name}@{n}" for n in sorted(self._numbers(name))])
        return manifest

    def require(self, name: str) -> Manifest:
        """Like `newest`; raises `NotFound` that names the nearest model."""
        manifest = self.newest(name)
        if manifest is None:
            raise not_found("model", name, self.names(), "Fit it first.")
        return manifest

    def all(self) -> list[Manifest]:
        """The newest manifest of each model."""
        return [m for m in map(self.newest, self.names()) if m]

    def versions(self, name: str) -> list[Manifest]:
        """Every kept version, newest first. Raises `NotFound`."""
        self.require(name)
        kept = sorted(self._numbers(name), reverse=True)[: self.keep]
        found = (_read(self.folder / name / str(v)) for v in kept)
        return [m for m in found if m]

    def generation(self, name: str) -> str | None:
        """What changes with every fit, also after a deletion; None where there is no model. Two system calls."""
        link = self.folder / name / NEWEST
        try:
            status = link.lstat()
            return f"{link.readlink().name}:{status.st_mtime_ns}:{status.st_ino}"
        except OSError:
            return None

    def path(self, manifest: Manifest) -> Path:
        """The folder of a version."""
        return self.folder / str(manifest["model"]) / str(manifest["version"])

    def begin(self, name: str) -> "PendingVersion":
        """A folder to write a new version into; nothing is visible before `commit`."""
        check_name(name, "model")
        return PendingVersion(self, name)

    def delete(self, name: str) -> None:
        """Remove the model at once. Raises `NotFound`."""
        self.require(name)
        gone = self.folder / f".deleted-{secrets.token_hex(8)}"
        with self.locked(), contextlib.suppress(FileNotFoundError):
            (self.folder / name).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def clean(self) -> None:
        """Remove what a killed process left half done. Called while no worker runs."""
        for path in self.folder.glob(".deleted-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.is_dir():
                clean(path, nobody_writes=True)
        for path in self.folder.glob(f"*/.{NEWEST}-*"):
            path.unlink(missing_ok=True)

    def _numbers(self, name: str) -> list[int]:
        """The kept versions. One above the newest is none: its writer was killed before `newest` moved to it."""
        folder = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            newest = int((folder / NEWEST).readlink().name)
            return [number for e in os.scandir(folder) if e.name.isdecimal() and (number := int(e.name)) <= newest]
        return []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held for renames only, never while a model is written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def publish(self, pending: Path, name: str) -> int:
        """Make the files in `pending` the newest version; gives its number. See `begin`."""
        folder = self.folder / name
        with self.locked():
            folder.mkdir(exist_ok=True)
            number = max(self._numbers(name), default=0) + 1
            shutil.rmtree(folder / str(number), ignore_errors=True)  # see `_numbers`
            pending.rename(folder / str(number))
            link = folder / f".{NEWEST}-{secrets.token_hex(4)}"
            link.symlink_to(str(number))
            link.replace(folder / NEWEST)
        return number

    def prune(self, name: str) -> None:
        """Remove the versions beyond those that are kept. Slow on disks: after the answer is sent."""
        with self.locked():
            for old in sorted(self._numbers(name), reverse=True)[self.keep :]:
                shutil.rmtree(self.folder / name / str(old), ignore_errors=True)


class PendingVersion:
    """A version being written: `write`, `commit` and `settle`, or `discard` and nothing remains."""

    def __init__(self, store: ModelStore, name: str) -> None:
        self._store = store
        self._name = name
        parent = store.folder / name
        clean(parent)  # first, for its space may be needed
        self.folder = pending_path(parent, "version")
        try:
            self.folder.mkdir(mode=0o700)
        except FileNotFoundError:
            parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700)
        self._syncs: list[Future[None]] = []
        self._manifest: Future[Manifest] | None = None

    def write(self, known: Manifest, hashed: Future[str] | None = None) -> None:
        """Let the disk write what is in the folder while something else is computed: the manifest too, with the data's
        hash as soon as that is known. It lacks the version, which only `commit` knows.
        """
        # At the same time, so that the file system does it in one go.
        self._syncs = [threads().submit(sync, path) for path in self.folder.iterdir()]
        self._manifest = Future()
        if hashed is None:
            self._describe(self._manifest, known)
        else:  # at once where it is known by now: a thread would wait for this one's Python
            made = self._manifest
            hashed.add_done_callback(lambda done: self._describe(made, known, done))

    def _describe(self, made: Future[Manifest], known: Manifest, hashed: Future[str] | None = None) -> None:
        try:
            data = {"data_sha256": hashed.result()} if hashed else {}
            whole = {**known, **data, "model": self._name, "created": datetime.now(UTC).isoformat()}
            path = self.folder / MANIFEST
            path.write_text(json.dumps(whole))
            self._syncs.append(threads().submit(sync, path))
            made.set_result(whole)
        except BaseException as error:  # noqa: BLE001 - `commit` raises it
            made.set_exception(error)

    def commit(self) -> Manifest:
        """Wait until it is written, then publish; gives the manifest as it is read later. Raises the `OSError` that the
        disk reported.

        From here on every reader sees it. That also a power cut leaves it there is certain after `settle`.
        """
        if self._manifest is None:
            raise RuntimeError("commit comes after write")
        whole = self._manifest.result()
        for done in self._syncs:
            done.result()
        return {**whole, "version": self._store.publish(self.folder, self._name)}

    def settle(self) -> None:
        """Make the publication durable, and remove old versions. After the answer was sent."""
        with contextlib.suppress(OSError):  # the answer is out; the next fit will meet the disk's error
            sync(self.folder.parent)
        self._store.prune(self._name)

    def discard(self) -> None:
        """Remove what was not committed, and the model's folder if that is all there was."""
        wait([self._manifest] if self._manifest else [])
        wait(self._syncs)
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def _read(folder: Path) -> Manifest | None:
    try:
        value = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return {**value, "version": int(folder.name)} if isinstance(value, dict) else None


def sync(path: Path) -> None:
    """Make a file or a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
