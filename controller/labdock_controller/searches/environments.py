"""Environments as searches use them: found by rights, started on demand, reached over their sockets."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from labdock.connection import Connection
from labdock.errors import Conflict, LabdockError, NotFound
from labdock.names import not_found
from labdock.transport import Frames, new_key
from labdock.wire import FrameOptions
from labdock_controller.access.rights import Principal
from labdock_controller.access.users import Users
from labdock_controller.environments import Environment
from labdock_controller.environments import Environments as Records
from labdock_controller.launcher import Launcher
from labdock_controller.models import Models
from labdock_controller.reconcile import Desired, Status
from labdock_controller.searches.rights import principal
from labdock_search.protocols import Job, Predicted, Staged

DEFAULT = "__dev__"
START_SECONDS = 120.0
POLL = 0.05


class SearchEnvironments:
    """Implements `labdock_search.protocols.Environments`."""

    def __init__(self, users: Users, records: Records, launcher: Launcher, models: Models) -> None:
        self._users, self._records, self._launcher, self._models = users, records, launcher, models

    def stage(self, frame: pa.Table, options: FrameOptions, job: Job) -> Staged:
        _, environment, notices = self._ready(job)
        _, info = self._post(environment, "/v1/stage", frame, options)
        return Staged(int(info.get("rows", frame.num_rows)), list(info.get("files", [])), notices)

    def fit(self, frame: pa.Table, options: FrameOptions, job: Job) -> Predicted:
        asker, environment, notices = self._ready(job)
        sharing = "app" if job.shared and "share_app" in asker.capabilities else ""
        self._models.check_fit(environment.id, options.model, sharing, asker)
        table, info = self._post(environment, "/v1/fit", frame, options, key=new_key("search"))
        asked = {"algo": options.algo, "model": options.model, "sharing": sharing, "app": job.caller.app}
        self._models.record(environment.id, self._manifest(environment, info), asked, asker)
        if job.shared and not sharing:
            notices = [*notices, f"The model {options.model!r} stays yours: sharing needs the capability share_app."]
        return Predicted(table, info, [*notices, *info.get("warnings", [])])

    def apply(self, frame: pa.Table, options: FrameOptions, job: Job) -> Predicted:
        _, environment, notices = self._ready(job)
        table, info = self._post(environment, "/v1/apply", frame, options)
        return Predicted(table, info, [*notices, *info.get("warnings", [])])

    def summary(self, model: str, job: Job) -> Mapping[str, Any]:
        _, environment, _ = self._ready(job)
        answer = self._connection(environment).call("POST", "/v1/summary", {"model": model})
        found: Mapping[str, Any] = answer.get("summary") or {}
        return found

    def _ready(self, job: Job) -> tuple[Principal, Environment, list[str]]:
        """Who asks, the environment, and a notice where it had to be started."""
        asker = principal(self._users, job.caller)
        environment = self._place(job.environment, asker)
        if environment.status is Status.RUNNING:
            return asker, environment, []
        return asker, self._started(environment, asker, job), [f"The environment {environment.name} was started."]

    def _place(self, name: str, asker: Principal) -> Environment:
        """The named one; else `__dev__`; else the only one that the caller may use."""
        if name:
            return self._records.get(name, asker, "search")
        visible = {e.name: e for e in self._records.visible(asker)}
        if DEFAULT in visible:
            return visible[DEFAULT]
        if len(visible) == 1:
            return next(iter(visible.values()))
        missing: NotFound = not_found("environment", DEFAULT, visible)
        missing.remedy += " Name one with environment=…, or start it: labdock start __dev__."
        raise missing

    def _started(self, environment: Environment, asker: Principal, job: Job) -> Environment:
        """Start it as its owner would; a caller who may only use it gets the error that says who can."""
        self._records.get(environment.name, asker, "control_environments", writes=True)
        if environment.wanted.desired is not Desired.RUNNING:
            self._records.ask_again(environment.id)
            self._launcher.kick(environment.id)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not job.cancel.wait(POLL):
            now = self._records.by_id(environment.id)
            if now is not None and now.status is Status.RUNNING:
                return now
            if now is None or now.status is Status.FAILED:
                break
        raise Conflict(
            f"The environment {environment.name} does not run and could not be started for the search.",
            remedy=f"See: labdock logs {environment.name}.",
            environment=environment.name,
        )

    def _connection(self, environment: Environment) -> Connection:
        endpoint = self._launcher.endpoint(environment)
        return Connection(endpoint.api, endpoint.token)

    def _post(
        self, environment: Environment, path: str, frame: pa.Table, options: FrameOptions, *, key: str = ""
    ) -> tuple[pa.Table, dict[str, Any]]:
        connection = self._connection(environment)
        try:
            return Frames(connection).post(path, frame, replace(options, sharing=""), key=key)
        finally:
            connection.close()

    def _manifest(self, environment: Environment, info: dict[str, Any]) -> dict[str, Any]:
        """What the environment keeps of the job, richer than the answer's info."""
        try:
            job = self._connection(environment).call("GET", f"/v1/jobs/{info.get('job')}")
        except LabdockError:
            return info
        return {**info, **(job if isinstance(job, dict) else {})}
