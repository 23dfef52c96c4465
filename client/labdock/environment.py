"""One environment: start and stop it, look at it, and send it frames."""

import json
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, Unpack, overload

from labdock.answers import Response
from labdock.connection import segment
from labdock.errors import Exited, LaunchError, StartTimeout
from labdock.events import parse
from labdock.fitted_model import FittedModel
from labdock.jobs import Job
from labdock.models import Model, names, reference
from labdock.names import ModelRef
from labdock.progress import Activity
from labdock.wire import OPTIONS_HEADER, FrameOptions

if TYPE_CHECKING:
    from labdock.lab import Lab

START_SECONDS = 600.0  # an image may have to be pulled


@dataclass(frozen=True)
class Staged:
    """What `Environment.stage` wrote: rows, and files relative to the notebooks folder."""

    model: str
    rows: int
    files: list[str]


class _FitOptions(TypedDict, total=False):
    """What `Environment.fit` takes besides the data and `wait`."""

    algo: Required[str]
    features: str | Sequence[str] | None
    target: str | Sequence[str] | None
    into: str
    params: Mapping[str, Any] | None
    limits: Mapping[str, float] | None
    progress: bool | None


class Environment:
    """One environment. `record` is what the controller said last; `refresh` asks again."""

    def __init__(self, lab: "Lab", record: dict[str, Any]) -> None:
        self.lab = lab
        self.record = record

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def status(self) -> str:
        """`starting`, `running`, `stopping`, `stopped` or `failed`, as of the last answer."""
        return str(self.record.get("status", ""))

    @property
    def mode(self) -> str:
        """`dev` (JupyterLab and API) or `prod` (API only)."""
        return str(self.record.get("mode", ""))

    @property
    def jupyter_url(self) -> str:
        """JupyterLab's address; `open` signs a browser in as well."""
        return self._absolute(self.record.get("jupyter_url") or f"/environments/{segment(self.name)}/jupyter/lab")

    def refresh(self) -> "Environment":
        """Ask the controller again. Raises `NotFound` when it is gone."""
        self.record = self.lab.connection.call("GET", f"/api/environments/{segment(self.name)}")
        return self

    def stop(self, *, wait: bool = True) -> "Environment":
        """End its processes; notebooks and models stay."""
        return self._change("stop", "stopped", wait=wait)

    def restart(self, *, wait: bool = True, progress: bool | None = None) -> "Environment":
        """Stop and start it."""
        self._change("restart", "running", wait=False)
        return self.wait(progress=progress) if wait else self

    def start(self, *, wait: bool = True, progress: bool | None = None) -> "Environment":
        """Start it again after a stop."""
        self._change("start", "running", wait=False)
        return self.wait(progress=progress) if wait else self

    def share(self, sharing: str | None = None, *, users: Sequence[str] | None = None) -> "Environment":
        """Let others stage, fit and apply here: `sharing` is `user` (nobody), `app` or `global`, `users` name further
        ones. What is None stays. Controlling it and its JupyterLab stay with its owner.
        """
        body = {"sharing": sharing, "users": list(users) if users is not None else None}
        self.record = self.lab.connection.call("PUT", f"/api/environments/{segment(self.name)}/sharing", body)
        return self

    def delete(self, *, files: bool = False) -> None:
        """Stop and forget it; with `files` its notebooks, staged data and models are removed as well."""
        self.lab.connection.call("DELETE", f"/api/environments/{segment(self.name)}", files=files or None)

    def wait(self, timeout: float = START_SECONDS, *, progress: bool | None = None) -> "Environment":
        """Return when it runs. Raises `Exited` or `LaunchError` with the cause, `StartTimeout` with the last lines."""
        deadline = time.monotonic() + timeout
        with Activity(f"Starting {self.name}", self.lab.progress if progress is None else progress) as activity:
            while self.refresh().status != "running":
                activity.say(str(self.record.get("cause") or self.status))
                if self.status not in ("starting", "stopping"):
                    raise self._failure()
                if time.monotonic() > deadline:
                    raise StartTimeout(
                        f"The environment {self.name!r} is still {self.status} after {timeout:g} s.",
                        remedy=f"See what it does: labdock logs {self.name}",
                        environment=self.name,
                        log=self.logs(tail=20).splitlines(),
                    )
                time.sleep(0.1)
        return self

    def logs(self, tail: int = 200) -> str:
        """The last lines of its log, also when it has exited."""
        return str(self.call("GET", "logs", tail=tail) or "")

    def follow(self, tail: int = 10) -> Iterator[str]:
        """Log lines as they come, until the environment ends or the iterator is closed."""
        headers = {"Accept": "text/event-stream"}
        response = self.request("GET", "logs", headers=headers, tail=tail, follow=True)
        for event in parse(response.lines()):
            yield event.text if isinstance(event.data, dict) else str(event.data)

    def open(self, *, browser: bool = True) -> str:
        """Open JupyterLab in the browser, signed in; gives the link, which works once."""
        link = self.lab.sign_in_link(f"/environments/{segment(self.name)}/jupyter/lab")
        if browser:
            webbrowser.open(link)
        return link

    def stage(
        self,
        data: Any,
        *,
        into: str = "default",
        algo: str = "",
        features: str | Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
        progress: bool | None = None,
    ) -> Staged:
        """Put `data` into the notebooks folder as `data/<model>.csv`, `.json` and `.arrow`, to work on it there."""
        from labdock import actions  # noqa: PLC0415 - needs pandas and pyarrow

        prepared = actions.prepare(data, names(features), names(target))
        options = FrameOptions(algo, "", prepared.features, prepared.target, dict(params or {}))
        _, answer = actions.run(self, "stage", prepared, actions.shared(options, into), progress)
        return Staged(str(answer.get("model")), int(answer.get("rows") or 0), list(answer.get("files") or []))

    @overload
    def fit(self, data: Any, *, wait: Literal[True] = True, **options: Unpack[_FitOptions]) -> FittedModel: ...

    @overload
    def fit(self, data: Any, *, wait: Literal[False], **options: Unpack[_FitOptions]) -> Job: ...

    @overload
    def fit(self, data: Any, *, wait: bool, **options: Unpack[_FitOptions]) -> FittedModel | Job: ...

    def fit(
        self,
        data: Any,
        *,
        algo: str,
        features: str | Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        into: str = "default",
        params: Mapping[str, Any] | None = None,
        limits: Mapping[str, float] | None = None,
        wait: bool = True,
        progress: bool | None = None,
    ) -> FittedModel | Job:
        """Train the module `algo` on `data` and keep the model under the name `into`; gives a `FittedModel`.

        `data` is a pandas or polars frame, an Arrow table, anything with `__arrow_c_stream__`, or the path of a file.
        `features` may hold wildcards and are all columns but `target` when left out. `wait=False` gives a `Job`
        whose `result()` is the `FittedModel`. Raises `ModuleError` with notebook cell and line when the module fails.
        """
        from labdock import actions  # noqa: PLC0415

        prepared = actions.prepare(data, names(features), names(target))
        options = FrameOptions(
            algo,
            "",
            prepared.features,
            prepared.target,
            dict(params or {}),
            {k: float(v) for k, v in (limits or {}).items()},
        )
        options = actions.shared(options, into)
        finish = actions.finish_fit(
            self, prepared.features, prepared.target, prepared.restore, sharing=options.sharing or "user"
        )
        if not wait:
            return actions.begin(self, prepared, options, finish)
        model = finish(*actions.run(self, "fit", prepared, options, progress))
        assert isinstance(model, FittedModel)  # noqa: S101
        return model

    def apply(
        self,
        data: Any,
        model: "str | ModelRef | Model",
        *,
        features: str | Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
        progress: bool | None = None,
    ) -> Any:
        """What the model says about `data`, in the caller's kind and with its index.

        A pandas answer carries what else is known (`job, module, version, duration, output, …`) in `.attrs["labdock"]`.
        """
        from labdock import actions  # noqa: PLC0415

        wanted = names(features) or (model.features if isinstance(model, Model) else [])
        prepared = actions.prepare(data, wanted)
        options = FrameOptions("", reference(model).name, prepared.features if wanted else [], [], dict(params or {}))
        table, info = actions.run(self, "apply", prepared, options, progress)
        return actions.with_info(prepared.restore(table), info)

    def summary(self, model: "str | ModelRef | Model") -> Any:
        """What the module's `summary` says about the model."""
        options = FrameOptions(model=reference(model).name)
        response = self.lab.connection.request("POST", self.path("summary"), (), {OPTIONS_HEADER: options.to_json()})
        return json.loads(response.read())["summary"]

    def modules(self) -> list[dict[str, Any]]:
        """The modules that can be fitted here: `name, functions, needs, doc, notebook, findings, …`."""
        return list(self.call("GET", "modules"))

    def export(self, module: str) -> dict[str, Any]:
        """Export the module's notebook again, as saving it in JupyterLab does."""
        return dict(self.call("POST", f"modules/{segment(module)}/export"))

    def jobs(self) -> list[Job]:
        """What it works on and what it did lately, newest first."""
        return [Job(self, record) for record in self.call("GET", "jobs")]

    def job(self, id: str) -> Job:  # noqa: A002 - what it is called everywhere
        """Raises `NotFound`."""
        return Job(self, self.call("GET", f"jobs/{segment(id)}"))

    def path(self, rest: str) -> str:
        """A route of this environment."""
        return f"/api/environments/{segment(self.name)}/{rest}"

    def call(self, method: str, rest: str, body: Any = None, **query: Any) -> Any:
        """A JSON call to one of its routes."""
        return self.lab.connection.call(method, self.path(rest), body, **query)

    def request(self, method: str, rest: str, headers: Mapping[str, str] | None = None, **query: Any) -> Response:
        """A call whose answer is read by the caller."""
        return self.lab.connection.request(method, self.path(rest), (), headers, **query)

    def _change(self, verb: str, state: str, *, wait: bool) -> "Environment":
        self.record = self.call("POST", verb, wait=60 if wait else None) or self.record
        if wait and self.status != state:
            deadline = time.monotonic() + 60
            while self.refresh().status != state and time.monotonic() < deadline:
                time.sleep(0.1)
        return self

    def _failure(self) -> LaunchError:
        cause = str(self.record.get("cause") or f"it is {self.status}").rstrip(".")
        remedy = str(self.record.get("remedy") or f"See what it said: labdock logs {self.name}")
        log = self.logs(tail=20).splitlines()
        return Exited(
            f"The environment {self.name!r} did not start: {cause}.", remedy=remedy, environment=self.name, log=log
        )

    def _absolute(self, url: str) -> str:
        return url if "://" in url else f"{self.lab.web_url}{url}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Environment":
        return self  # a handle, not a value: estimators that hold one can be cloned

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (self.name,)

    def __repr__(self) -> str:
        return f"<Environment {self.name} ({self.record.get('runtime')}, {self.mode}): {self.status}>"


def _find(name: str) -> Environment:
    """An environment out of a pickle: of the controller that is found where it is read."""
    from labdock.lab import connect  # noqa: PLC0415 - lab imports this module

    return connect().environments.get(name)
