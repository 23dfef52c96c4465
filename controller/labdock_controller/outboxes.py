"""ONNX models that notebooks registered: fetched from environments that cannot reach the controller.

An environment on this machine is asked when the marker in its run folder has changed (`labdock.outbox`): idle ones cost
one `lstat`. One that shares no folder is asked every few seconds, and now and then all are, whatever the marker says.

Only an environment's owner opens its notebooks, so a model is uploaded in the owner's name, with the owner's rights of
that moment and all checks of an upload. It stays private: sharing is what a person decides.
"""

import http
import http.client
import json
import math
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import structlog

from labdock.errors import InvalidOptions, LabdockError, LimitExceeded
from labdock.outbox import MARKER
from labdock_controller import probe
from labdock_controller.access.rights import Principal
from labdock_controller.access.users import Users
from labdock_controller.environments import Environment, Environments
from labdock_controller.kernels import owner_of
from labdock_controller.launcher import Launcher
from labdock_controller.onnx_models import OnnxModels, Upload
from labdock_controller.reconcile import Status
from labdock_controller.runtimes.base import Endpoint

log = structlog.get_logger("labdock.outboxes")
EVERY = 0.5  # a look at the markers
ASK_EVERY = 1.5  # where no folder is shared
SWEEP_EVERY = 30.0  # everywhere
ENDING = 6.0
PIECE = 1 << 20
Mark = tuple[int, ...] | None


class Outboxes:
    """A thread that looks into the outbox of each running environment; `start` and `close` it."""

    def __init__(
        self, home: Path, users: Users, environments: Environments, launcher: Launcher, onnx: OnnxModels
    ) -> None:
        self._uploads = home / "uploads"
        self._users, self._environments, self._launcher, self._onnx = users, environments, launcher, onnx
        self._seen: dict[str, tuple[Mark, float]] = {}  # the marker that was there before it was asked, and when
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="outboxes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(ENDING)

    def _watch(self) -> None:
        while not self._closing.wait(EVERY):
            running = {k: one for k, one in self._environments.all().items() if one.status is Status.RUNNING}
            self._seen = {k: seen for k, seen in self._seen.items() if k in running}
            for environment in running.values():
                if self._closing.is_set():
                    return
                try:
                    self._look(environment)
                except LabdockError as error:
                    log.debug("outbox not read", environment=environment.name, reason=error.message)
                except Exception:
                    log.exception("outbox not read", environment=environment.name)

    def _look(self, environment: Environment) -> None:
        """Ask it if something may wait; after an error, or where something did, soon once more."""
        mark = self._mark(environment)
        seen, asked = self._seen.get(environment.id, (None, -math.inf))
        now = time.monotonic()
        patience = ASK_EVERY if mark is None or seen is None else SWEEP_EVERY if mark == seen else 0.0
        if now - asked < patience:
            return
        self._seen[environment.id] = (None, now)
        if self.collect(environment) == 0:
            self._seen[environment.id] = (mark, now)

    def _mark(self, environment: Environment) -> Mark:
        """What changes whenever something is left; None where no folder is shared. The environment owns the folder."""
        if not self._launcher.endpoint(environment).api.startswith("unix:"):
            return None
        try:
            found = (self._launcher.run_folder(environment.id) / MARKER).lstat()
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns)

    def collect(self, environment: Environment) -> int:
        """Take what waits in one environment; gives how many. Raises `TransportError` where it does not answer."""
        endpoint = self._launcher.endpoint(environment)
        waiting = probe.get_json(endpoint, "/v1/outbox")
        if not isinstance(waiting, list):
            return 0
        for item in waiting:
            identifier = str(item.get("id"))
            try:
                answer = self._take(environment, endpoint, identifier, item)
            except LabdockError as error:
                answer = {"problem": error.to_problem()}
            log.info("model from an outbox", environment=environment.name, taken="problem" not in answer)
            _put(endpoint, f"/v1/outbox/{identifier}", answer)
        return len(waiting)

    def _take(
        self, environment: Environment, endpoint: Endpoint, identifier: str, item: dict[str, Any]
    ) -> dict[str, Any]:
        form = item.get("form")
        upload = _upload(form if isinstance(form, dict) else {}, environment.name)
        self._uploads.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._uploads) as folder:
            path = Path(folder) / "model.onnx"
            _fetch(endpoint, f"/v1/outbox/{identifier}/file", path, self._onnx.limits.max_model_size_mb * 2**20)
            model, notices = self._onnx.upload(path, upload, self._owner(environment))
        asked = str((form or {}).get("sharing") or "user")
        if asked != model.sharing:
            notices = [
                *notices,
                f"It is {model.owner}'s alone; share it: labdock models share onnx:{model.name} {asked}",
            ]
        return {"name": model.name, "version": model.versions[-1].version, "notices": notices}

    def _owner(self, environment: Environment) -> Principal:
        """The owner with the rights of this moment. Raises `Forbidden`'s cause where there is none."""
        owner = owner_of(environment, self._users, "outbox")
        if owner is None:
            raise InvalidOptions("The environment's owner may not do anything now.", remedy="Ask an administrator.")
        return owner


def _upload(form: dict[str, Any], environment: str) -> Upload:
    threshold, texts = form.get("threshold"), {k: str(form.get(k) or "") for k in ("name", "target", "description")}
    if threshold is not None and not isinstance(threshold, int | float):
        raise InvalidOptions("The threshold is no number.", remedy="Pass threshold=0.5.", option="threshold")
    facts = {k: v if isinstance(v := form.get(k), dict) else {} for k in ("metrics", "lineage")}
    if any(len(json.dumps(value)) > 20_000 for value in facts.values()) or len(texts["description"]) > 10_000:
        raise InvalidOptions("What the form says is too long.", remedy="Shorten description, metrics and lineage.")
    lineage = {**facts["lineage"], "environment": environment}
    return Upload(threshold=threshold, metrics=facts["metrics"], lineage=lineage, **texts)


def _fetch(endpoint: Endpoint, path: str, target: Path, most: float) -> None:
    """The file, as far as it is allowed to be large: what an environment says of it is not believed."""
    asked = probe.connection(endpoint.api)
    try:
        asked.request("GET", path, headers={"Authorization": f"Bearer {endpoint.token}"})
        answer = asked.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise InvalidOptions(f"The environment answered {answer.status}.", remedy="Register the model again.")
        size = 0
        with target.open("xb") as file:
            while piece := answer.read(PIECE):
                size += len(piece)
                if size > most:
                    raise LimitExceeded(
                        f"The model is larger than {most / 2**20:g} MB.",
                        remedy="Register a smaller model, or raise max_model_size_mb.",
                        limit="max_model_size_mb",
                        value=most / 2**20,
                        setting="max_model_size_mb",
                    )
                file.write(piece)
    except (OSError, http.client.HTTPException) as error:
        raise InvalidOptions(f"The file could not be fetched: {error}.", remedy="Register the model again.") from None
    finally:
        asked.close()


def _put(endpoint: Endpoint, path: str, body: dict[str, Any]) -> None:
    asked = probe.connection(endpoint.api)
    try:
        headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
        asked.request("PUT", path, json.dumps(body), headers)
        asked.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        log.warning("the outbox takes no answer", reason=str(error))
    finally:
        asked.close()
