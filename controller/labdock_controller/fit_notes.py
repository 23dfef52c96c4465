"""Fits whose models are not recorded yet: each a note in the run folder, which outlives a controller that is killed.

A fit's answer does not wait for the store. What its record needs is noted before the answer ends: who fitted, and how
the model is shared, is in no manifest of an environment that could be believed. The record is written right after the
answer, and requests that may read it wait until it is there (`written`).
"""

import asyncio
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from labdock.errors import Busy, Conflict, StorageError
from labdock.home import make_private
from labdock_controller.access.rights import Principal
from labdock_controller.model_rows import asked_sharing
from labdock_controller.models import Models, check_sharing

log = structlog.get_logger("labdock.fits")
# So long at most others wait for records: they take milliseconds, but for a store that somebody locks.
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Note:
    """What `Models.keep` is told of a fit."""

    environment_id: str
    info: dict[str, Any]
    options: dict[str, Any]
    owner_id: str


class FitNotes:
    """`note` a fit, then `record` it; both on the event loop. `replay` records what nobody did."""

    def __init__(self, folder: Path, models: Models) -> None:
        self._folder = make_private(folder)
        self._models = models
        self._ours: dict[str, Note] = {}  # by name: what this controller will record without being asked
        self._due: dict[str, asyncio.Task[None]] = {}

    def note(self, environment_id: str, info: dict[str, Any], options: dict[str, Any], principal: Principal) -> str:
        """Note a fit that is done; gives the note's name. `info` is the environment's answer, `options` what was asked.

        Raises `Forbidden` where this user may not share so.
        """
        check_sharing(asked_sharing(options), principal)
        note, name = Note(environment_id, info, options, principal.user_id), secrets.token_hex(8) + ".json"
        self._ours[name] = note
        try:
            (self._folder / name).write_text(json.dumps(asdict(note)))
        except OSError as error:
            log.warning("a fit cannot be noted", reason=str(error))  # it is recorded unless this controller is killed
        return name

    def record(self, name: str) -> None:
        """Begin to write the record of what was noted; `written` waits for it. Doing it again changes nothing."""
        note = self._ours.get(name)
        if note is not None and name not in self._due:
            task = self._due[name] = asyncio.create_task(asyncio.to_thread(self._keep, name, note))
            task.add_done_callback(lambda _: self._forget(name))

    async def written(self) -> None:
        """Returns when what was to be recorded until now is in the store, or will not be so soon."""
        if self._due:
            await asyncio.wait(list(self._due.values()), timeout=WAIT_SECONDS)

    def replay(self) -> None:
        """Record what a controller noted that was killed, or what found the store busy."""
        for path in self._folder.glob("*.json"):
            if path.name in self._ours:
                continue
            try:
                note = Note(**json.loads(path.read_text()))
            except FileNotFoundError:
                continue  # recorded meanwhile
            except (ValueError, TypeError):
                log.warning("half a note of a fit", note=path.name)  # its controller was killed before the answer's end
                path.unlink(missing_ok=True)
            else:
                self._keep(path.name, note)

    def _keep(self, name: str, note: Note) -> None:
        """Record, and drop the note unless another try may do better."""
        try:
            self._models.keep(note.environment_id, note.info, note.options, note.owner_id)
        except (Busy, Conflict, StorageError) as error:
            log.warning("record of a fit postponed", note=name, reason=error.message)
            return
        except Exception:
            log.exception("record of a fit", note=name)
        (self._folder / name).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        del self._due[name], self._ours[name]
