"""Stage, fit and apply as a client does them: the frame is prepared, sent, followed, repeated or cancelled."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from labdock import files, frames
from labdock.connection import segment
from labdock.errors import InvalidFrame, InvalidOptions, LabdockError, LaunchError, NotFound, TransportError
from labdock.fitted_model import FittedModel
from labdock.jobs import Finish, Job
from labdock.names import ModelRef, nearest
from labdock.progress import Activity
from labdock.transport import Frames, new_key
from labdock.wire import FrameOptions

if TYPE_CHECKING:
    from labdock.environment import Environment

# How long a fit whose connection was lost waits for the controller to come back, and how often it is sent again.
PATIENCE_SECONDS = 60.0
RESENDS = 3

_VERBS = {"stage": "Staging", "fit": "Fitting", "apply": "Applying"}


@dataclass(frozen=True)
class Prepared:
    """A table ready to be sent, and how its answer goes back."""

    table: pa.Table
    restore: frames.Restore
    features: list[str]
    target: list[str]


def prepare(data: Any, features: Sequence[str] = (), target: Sequence[str] = ()) -> Prepared:
    """Read, select and convert. `features` may hold wildcards; without any, they are all columns but the target.

    Only the columns that are asked for are converted and sent. Raises `InvalidFrame` that names what is missing.
    """
    if isinstance(data, (str, Path)):
        table = files.read_table(data)
        frames.check_columns(table.column_names)
        chosen = choose(table.column_names, features, target)
        return Prepared(table.select([*chosen, *target]), frames.to_pandas, chosen, list(target))
    known = column_names(data)
    if known is None:
        whole, restore = frames.to_table(data)
        chosen = choose(whole.column_names, features, target)
        return Prepared(whole.select([*chosen, *target]), restore, chosen, list(target))
    frames.check_columns(known)
    chosen = choose(known, features, target)
    table, restore = frames.to_table(data, [*chosen, *target])
    return Prepared(table, restore, chosen, list(target))


def column_names(data: Any) -> list[Any] | None:
    """The names of a table's columns before it is converted; None where that cannot be told cheaply."""
    if isinstance(data, pa.Table):
        return list(data.column_names)
    columns = getattr(data, "columns", None)
    with contextlib.suppress(TypeError):
        return None if columns is None else list(columns)
    return None


def choose(known: Sequence[str], features: Sequence[str], target: Sequence[str]) -> list[str]:
    """The features among `known` columns, wildcards expanded. Raises `InvalidFrame`."""
    missing = [name for name in target if name not in known]
    chosen: dict[str, None] = {}
    if not features:
        chosen = {name: None for name in known if name not in target}
    for name in features:
        if name in known:
            chosen[name] = None
            continue
        found = [k for k in known if fnmatchcase(k, name) and k not in target] if "*" in name else []
        chosen.update(dict.fromkeys(found))
        missing += [] if found else [name]
    if missing:
        best = nearest(missing[0], known)
        hint = f"Did you mean {best!r}? " if best else ""
        raise InvalidFrame(
            f"The table has no column {', '.join(map(repr, missing[:10]))}.",
            remedy=f"{hint}Its columns are: {', '.join(map(str, known[:30]))}{', …' if len(known) > 30 else ''}.",
            columns=missing,
            nearest=best,
        )
    twice = [name for name in chosen if name in target]
    if twice:
        raise InvalidFrame(f"{twice[0]!r} is a feature and the target.", remedy="Take it out of the features.")
    return list(chosen)


def run(
    environment: "Environment", action: str, prepared: Prepared, options: FrameOptions, progress: bool | None
) -> tuple[pa.Table, dict[str, Any]]:
    """Do it and wait. A fit survives a lost connection; Ctrl-C cancels the job. Raises what the environment says."""
    key = new_key(action) if action == "fit" else ""
    title = f"{_VERBS[action]} {options.model if action == 'stage' else options.algo or options.model}"
    with Activity(title, environment.lab.progress if progress is None else progress) as activity:
        frame = Frames(environment.lab.connection, moved=activity.moved if activity.enabled else None)

        def send() -> tuple[pa.Table, dict[str, Any]]:
            return frame.post(environment.path(action), prepared.table, options, key=key)

        with followed(environment, key, activity), cancelled_by_interrupt(environment, key):
            return insist(environment, key, send) if key else send()


def begin(environment: "Environment", prepared: Prepared, options: FrameOptions, finish: Finish) -> Job:
    """Start a fit and do not wait for it."""
    key = new_key("fit")
    frame = Frames(environment.lab.connection)
    headers = {"Prefer": "respond-async"}
    response = frame.send(environment.path("fit"), prepared.table, options, key=key, headers=headers)
    status = response.status
    _, answer = frame.receive(response)
    record = answer if status == 202 else {"status": "done"}
    return Job(
        environment, {"kind": "fit", "module": options.algo, "model": options.model, **record, "id": key}, finish
    )


def insist(environment: "Environment", key: str, send: Callable[[], Any]) -> Any:
    """`send`, and when the connection was lost on the way, find out what became of the job: its result is fetched,
    or the request sent again under the same key. Raises the first failure once patience has ended."""
    try:
        return send()
    except TransportError as error:
        if error.details.get("sent") is False:
            raise
        lost = error
    deadline, pause, resends = time.monotonic() + PATIENCE_SECONDS, 0.1, 0
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, 3.0)
        environment.lab.find_again()
        try:
            return fetch(environment, key)
        except NotFound as error:
            if error.details.get("kind") != "job" or resends == RESENDS:
                raise
            resends += 1
            with contextlib.suppress(TransportError, LaunchError):
                return send()
        except (TransportError, LaunchError):
            continue
    raise lost


def fetch(environment: "Environment", job: str) -> tuple[pa.Table, dict[str, Any]]:
    """Wait for a job and give its answer."""
    response = environment.request("GET", f"jobs/{segment(job)}/result")
    return Frames(environment.lab.connection).receive(response)


@contextlib.contextmanager
def cancelled_by_interrupt(environment: "Environment", key: str) -> Iterator[None]:
    """Ctrl-C in the block cancels the job and says so. Without a key the closed connection cancels it."""
    try:
        yield
    except KeyboardInterrupt:
        said = "Cancelled."
        if key:
            said = f"Cancelled job {key} in {environment.name}."
            try:
                environment.call("DELETE", f"jobs/{key}")
            except LabdockError as error:
                said = f"Job {key} in {environment.name} may go on: {error}"
        sys.stderr.write(f"{said}\n")
        raise


@contextlib.contextmanager
def followed(environment: "Environment", key: str, activity: Activity) -> Iterator[None]:
    """While the block runs and is long enough to be shown, show what the job prints and how far it is."""
    if not key or not activity.enabled:
        yield
        return
    ended = threading.Event()
    job = Job(environment, {"id": key})
    open_streams: list[Any] = []

    def follow() -> None:
        while not activity.shown.wait(0.2):
            if ended.is_set():
                return
        with contextlib.suppress(LabdockError):  # it is decoration: the request itself says what went wrong
            for event in job.events(opened=open_streams.append):
                if event.kind == "progress" and isinstance(event.data, dict):
                    activity.at(event.data.get("fraction"))
                if event.text and event.kind in ("log", "progress"):
                    activity.say(event.text)

    thread = threading.Thread(target=follow, daemon=True, name="labdock-follow")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        for stream in open_streams:
            stream.abort()
        thread.join(timeout=5)


def finish_fit(
    environment: "Environment", features: Sequence[str], target: Sequence[str], restore: frames.Restore, **record: Any
) -> Finish:
    """How a fit's answer becomes a `FittedModel`."""

    def finish(table: pa.Table, info: dict[str, Any]) -> FittedModel:
        version = {
            "version": info.get("version"),
            "features": list(features),
            "target": list(target),
            "metrics": info.get("metrics") or {},
            "rows": info.get("rows"),
            "duration": info.get("duration"),
            "module": info.get("module"),
        }
        whole = {"name": info.get("model"), "kind": "module", "environment": environment.name, **record}
        predictions = with_info(restore(table), info)
        return FittedModel(environment, {**whole, "versions": [version]}, predictions, info)

    return finish


def with_info(answer: Any, info: dict[str, Any]) -> Any:
    """Put what the environment said into a pandas frame's `attrs`; other kinds have no place for it."""
    if isinstance(answer, pd.DataFrame):
        answer.attrs["labdock"] = info
    return answer


def shared(options: FrameOptions, into: str) -> FrameOptions:
    """`options` with the model that `into` names (`m`, `app:m`). Raises `InvalidName`."""
    reference = ModelRef.parse(into)
    if reference.version:
        raise InvalidOptions(
            f"A fit makes the next version of {reference.name}; it cannot name one.", remedy=f"into={reference.name!r}"
        )
    return replace(options, model=reference.name, sharing="app" if reference.shared else "")
