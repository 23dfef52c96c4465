"""Everything a running controller is made of, in one place; the web layer and the door get it and nothing else."""

import functools
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import structlog

from labdock.errors import LabdockError, NotFound
from labdock.names import not_found
from labdock_controller import door, probe
from labdock_controller.access.tokens import Tokens
from labdock_controller.access.users import Users
from labdock_controller.alerts.records import SavedSearches
from labdock_controller.alerts.service import Alerts
from labdock_controller.audit import Audit
from labdock_controller.collector import CollectorService
from labdock_controller.default_settings import DefaultSetting, DefaultSettings
from labdock_controller.environments import Environments
from labdock_controller.events import Events
from labdock_controller.fit_notes import FitNotes
from labdock_controller.idle import IdleStop
from labdock_controller.kernels import Kernels
from labdock_controller.launcher import Launcher
from labdock_controller.meter import Meter
from labdock_controller.models import Model, Models
from labdock_controller.onnx_models import OnnxModels
from labdock_controller.outboxes import Outboxes
from labdock_controller.quotas import Quotas
from labdock_controller.reconcile import Status
from labdock_controller.runtimes.base import Runtime
from labdock_controller.searches.service import Reach, Searches
from labdock_controller.settings import Settings
from labdock_controller.store import Store

if TYPE_CHECKING:
    from labdock_controller.access.provider import Provider

log = structlog.get_logger("labdock.services")
GROUP = "labdock.runtimes"
COLLECT_EVERY = 30.0
TIDY_EVERY = 60.0
ENDING = 6.0
WARM_AFTER = 0.3
FIRST_AFTER = 3.0  # what was missed while no controller ran is soon known


@dataclass
class Services:
    """Made by `assemble`; `start` and `close` them in this order."""

    settings: Settings
    store: Store
    events: Events
    users: Users
    tokens: Tokens
    environments: Environments
    launcher: Launcher
    models: Models
    audit: Audit
    onnx: OnnxModels = field(init=False)
    searches: Searches = field(init=False)
    alerts: Alerts = field(init=False)
    url: str = ""  # where the controller listens, once it does

    def __post_init__(self) -> None:
        self.meter = Meter(self.settings, self.environments, self.launcher)
        self.idle = IdleStop(self.settings, self.environments, self.launcher)
        self.onnx = OnnxModels(self.store, self.models, self.settings.home / "models")
        self.default_settings = DefaultSettings(self.store)
        self.quotas = Quotas(self.store, self.settings)
        self.quotas.size = self.launcher.given
        self.environments.check_start = self.quotas.check
        self.launcher.variables = self.default_settings.variables
        self.models.changing = lambda: self.events.changing("model")
        self.fits = FitNotes(self.settings.run_folder / "fits", self.models)
        home, users, environments, launcher = self.settings.home, self.users, self.environments, self.launcher
        reach = Reach(home, users, environments, launcher, self.models, self.onnx, self.remove_model)
        self.searches = Searches(reach)
        self.collector = CollectorService(self.searches, self.tokens)
        self.alerts = Alerts(SavedSearches(self.store), self.users, self.searches, self.settings)
        self.alerts.saved.changing = lambda: self.events.changing("alert")
        self.outboxes = Outboxes(self.settings.home, self.users, self.environments, self.launcher, self.onnx)
        self.kernels = Kernels(self.users, self.environments, self.launcher)
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        self._warmer = threading.Thread(target=self._warm_up, name="warm-up", daemon=True)

    def start(self) -> None:
        """The store is migrated and claimed; from here on environments become what their records say."""
        self.environments.load()
        self.fits.replay()
        self.use_default_settings()
        self.launcher.start()
        self.alerts.start()
        self._keeper.start()
        self.outboxes.start()
        self._warmer.start()

    @functools.cached_property
    def provider(self) -> "Provider | None":
        """The identity provider, where one is set; imported with the first sign-in, since most have none."""
        if not self.settings.oidc_issuer:
            return None
        from labdock_controller.access.provider import Provider  # noqa: PLC0415

        return Provider(self.settings)

    def use_default_settings(self) -> None:
        """Read them; limits of uploads hold from here on."""
        self.default_settings.load()
        self.onnx.limits = self.default_settings.limits(self.onnx.limits)

    def change_default_settings(self, values: dict[str, float | None], user: str) -> list[DefaultSetting]:
        """Change some. Raises `InvalidOptions` where a name or value is none."""
        self.default_settings.change(values, user)
        self.use_default_settings()
        return self.default_settings.all()

    def close(self) -> None:
        self.events.close()
        self._closing.set()
        self.outboxes.close()
        self.alerts.close()
        self.searches.close()
        self.launcher.close()
        self.collector.close()
        for thread in (self._keeper, self._warmer):
            if thread.is_alive():
                thread.join(ENDING)
        self.audit.close()
        self.store.close()

    def collect_models(self) -> int:
        """Record the models of running environments that were fitted while nobody watched."""
        self.fits.replay()
        collected = 0
        for environment in self.environments.all().values():
            if environment.status is not Status.RUNNING:
                continue
            try:
                manifests = probe.get_json(self.launcher.endpoint(environment), "/v1/models")
                collected += self.models.collect(environment.id, environment.owner_id, manifests)
            except LabdockError as error:
                log.info("models not collected", environment=environment.name, reason=error.message)
        return collected

    def remove_model(self, model: Model) -> None:
        """Files first: a record that comes back from a manifest is worse than a record without files."""
        environment = self.environments.by_id(model.environment_id or "")
        if environment is not None and model.kind == "module":
            endpoint = self.launcher.endpoint(environment)  # raises the Conflict that says how to go on
            status, _ = probe.ask("DELETE", endpoint.api, f"/v1/models/{model.name}", endpoint.token)
            if status not in (200, 204, 404):
                raise LabdockError(
                    f"The environment answered {status}.", remedy=f"See: labdock logs {environment.name}."
                )
        self.models.remove(model.id)

    def _warm_up(self) -> None:
        """What the controller answers without at first: the first search of a user shall not wait for it."""
        if self._closing.wait(WARM_AFTER):
            return
        try:
            door.load()
            _ = self.users.nobody
            self.searches.warm()
            log.info("warm")
        except Exception:
            log.exception("the search service could not be made")  # the first search tells its user

    def _keep_house(self) -> None:
        """What is done now and then, each in its own rhythm; a slow environment delays nothing else."""
        tasks = {self.idle.check: self.idle.every, self.collect_models: COLLECT_EVERY, self._tidy: TIDY_EVERY}
        due = {task: time.monotonic() + min(every, FIRST_AFTER) for task, every in tasks.items()}
        while not self._closing.wait(0.5):
            for task, every in tasks.items():
                if time.monotonic() < due[task]:
                    continue
                due[task] = time.monotonic() + every
                try:
                    task()
                except LabdockError as error:
                    log.warning("housekeeping postponed", task=task.__name__, reason=error.message)
                except Exception:
                    log.exception("housekeeping failed", task=task.__name__)

    def _tidy(self) -> None:
        self.tokens.tidy()
        self.models.uses.tidy()
        self.events.tidy()
        self.searches.tidy()
        self.collector.maintain()


def assemble(settings: Settings, store: Store, runtimes: dict[str, Runtime] | None = None) -> Services:
    """Wire the services over a migrated store. `runtimes` are found by entry point unless given."""
    events = Events(store)
    tokens = Tokens(store)
    environments = Environments(store, events)
    environments.load()  # known before the first request can ask
    return Services(
        settings=settings,
        store=store,
        events=events,
        users=Users(store, tokens),
        tokens=tokens,
        environments=environments,
        launcher=Launcher(settings, environments, load_runtimes(settings) if runtimes is None else runtimes),
        models=Models(store),
        audit=Audit(store),
    )


def load_runtimes(settings: Settings, *, complain: bool = True) -> dict[str, Runtime]:
    """The runtimes that can be imported here. Raises `NotFound` where the default one is not among them, unless told
    not to `complain`.
    """
    found: dict[str, Runtime] = {}
    for point in entry_points(group=GROUP):
        try:
            found[point.name] = point.load()(settings)
        except (ImportError, LabdockError) as error:
            log.info("runtime left out", runtime=point.name, reason=str(error))
    if complain and settings.runtime not in found:
        missing: NotFound = not_found("runtime", settings.runtime, found)
        missing.remedy += f' If it is built in: pip install "labdock[{settings.runtime}]".'
        raise missing
    return found
