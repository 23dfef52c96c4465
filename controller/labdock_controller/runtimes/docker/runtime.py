"""The runtime `docker`: start, see and remove environments as containers of a Docker Engine."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from labdock.errors import InvalidOptions, LabdockError, LaunchError, NotFound
from labdock_controller.finding import Finding
from labdock_controller.images import Image, known_images
from labdock_controller.runtimes.base import Endpoint, EnvironmentSpec, Limits, Observed, Progress, Runtime, Usage
from labdock_controller.runtimes.docker import diagnosis, folders, look, profile, pull
from labdock_controller.runtimes.docker import sdk as docker
from labdock_controller.runtimes.docker.engine import Engine
from labdock_controller.runtimes.docker.errors import translated
from labdock_controller.runtimes.docker.locks import Locks
from labdock_controller.runtimes.docker.logs import FollowContainer, keep_log, kept_log, read_log
from labdock_controller.runtimes.docker.network import Network
from labdock_controller.runtimes.docker.settings import DockerSettings
from labdock_controller.runtimes.docker.token import deliver_token
from labdock_controller.settings import Settings

GONE_SECONDS = 60.0
YOUNG_SECONDS = 180.0
NAME_SECONDS = 10.0
ATTEMPTS = 3
CONFLICT = 409  # what the engine answers for a name that is taken


class DockerRuntime(Runtime):
    """Containers carry the controller's id and the environment's as labels; nothing without the first is touched."""

    name: ClassVar[str] = "docker"

    def __init__(self, settings: Settings) -> None:
        self._settings = DockerSettings.load(settings.home)
        self._home = settings.home
        self._run = settings.run_folder
        self._images = [settings.home / "images", *self._settings.image_folders]
        self.engine = Engine(self._settings)
        self.controller = folders.controller_id(settings.home)
        self._locks = Locks(self._run)
        self._network = Network(self.engine, self.controller, self._locks)
        self._running: dict[str, Observed] = {}  # by container: what does not change while it runs
        self._endpoints: dict[str, tuple[str, str | None]] = {}

    def images(self) -> list[dict[str, Any]]:
        """Every definition, and whether the engine has it (`present`; None where no engine says)."""
        return [{**image.to_dict(), "present": self._is_present(image)} for image in self._known().values()]

    def check(self) -> None:
        self.engine.check()

    def given(self, image: str, asked: Limits) -> Limits:
        known = self._known().get(image)
        if known is None:  # the start will say so
            return asked
        return profile.effective_limits(asked, known, self._settings, self.engine.known_cpus)

    def outdated(self) -> list[str]:
        newest = {name: pull.image_id(self.engine, image) for name, image in self._known().items()}
        found = []
        for container in self._containers():
            labels = container["Labels"]
            image = newest.get(labels.get(profile.IMAGE, ""))
            if container["State"] in look.RUNNING and image is not None and container["ImageID"] != image:
                found.append(str(labels[profile.ENVIRONMENT]))
        return found

    def examine(self) -> list[Finding]:
        return diagnosis.examine(self.engine, self._known())

    def prepare(self, image: str, progress: Progress) -> None:
        known = self._known()
        wanted = pull.definition(image, known)
        if pull.image_id(self.engine, wanted) is None:
            pull.pull(self.engine, wanted, known, progress)
        else:
            progress({"phase": "ready", "image": image})

    def start(self, spec: EnvironmentSpec) -> None:
        known = self._known()
        image = pull.definition(spec.image, known)
        with self._locks.environment(spec.id):
            for left in reversed(range(ATTEMPTS)):
                try:
                    self._start(spec, image, known)
                except NotFound:
                    # What a killed controller asked for goes on in the engine: it removed our network or container
                    # between two calls.
                    if not left:
                        raise
                else:
                    return

    def _start(self, spec: EnvironmentSpec, image: Image, known: dict[str, Image]) -> None:
        for container in self._containers(spec.id):
            if container["State"] in look.RUNNING:
                return
            self._remove(container["Id"])
        self._endpoints.pop(spec.id, None)
        image_id = pull.present_id(self.engine, image, known)
        with self._network.tidied(), self._place(spec) as place:
            if place.publish is None:
                folders.make_run_folder(spec.run, spec.token)
            config = profile.container_config(spec, image, image_id, place, self._settings)
            self._create_and_start(spec, config, deliver=place.publish is not None)
            if place.publish is None:
                self._endpoints[spec.id] = self._sockets(spec.id, dev=spec.mode == "dev")

    def stop(self, environment: str, grace: float = 10.0) -> None:
        if not profile.is_id(environment):
            return
        with self._locks.environment(environment):
            for container in self._containers(environment):
                with contextlib.suppress(NotFound), translated(environment):
                    if container["State"] in look.RUNNING:
                        self.engine.api.stop(container["Id"], timeout=max(0, round(grace)))
                with contextlib.suppress(LabdockError, OSError):  # a log that cannot be kept stops nothing
                    keep_log(self.engine, container["Id"], self._log_folder(environment))
                self._remove(container["Id"])
            self._endpoints.pop(environment, None)
            folders.remove_run_folder(self._run / environment)
        self._network.remove_if_unused()

    def observe(self) -> list[Observed]:
        now = time.time()
        containers = self._containers()
        known, self._running = self._running, {}
        found = []
        for container in containers:
            running = container["State"] == "running"
            seen = known.get(container["Id"]) if running else None
            if seen is None:
                try:
                    seen = look.observed(self._inspect(container["Id"]), now)
                except NotFound:  # removed between the list and the look
                    continue
            # While an environment is young its description is read each time: what ran out of memory shows there.
            if running and seen.started is not None and now - seen.started > YOUNG_SECONDS:
                self._running[container["Id"]] = seen
            found.append(seen)
        return found

    def endpoint(self, environment: str, token: str) -> Endpoint:
        known = self._endpoints.get(environment)
        if known is None:
            container = self._one(environment)
            if container is None:
                raise NotFound(f"There is no environment {environment} here.", remedy="Start it.", kind="environment")
            known = self._addresses(environment, container)
            self._endpoints[environment] = known
        return Endpoint(*known, token)

    def logs(self, environment: str, tail: int = 200) -> str:
        if not profile.is_id(environment):
            return ""
        container = self._one(environment)
        with contextlib.suppress(NotFound):  # it is being removed: its log was kept before
            if container is not None:
                return read_log(self.engine, container["Id"], tail)
        return kept_log(self._log_folder(environment), tail)

    def follow(self, environment: str) -> Iterator[str]:
        container = self._one(environment)
        with contextlib.suppress(NotFound):  # removed between the list and the call
            if container is not None:
                return FollowContainer(self.engine, container["Id"])
        return iter(())

    def usage(self, environment: str) -> Usage | None:
        container = self._one(environment)
        if container is None or container["State"] != "running":
            return None
        with contextlib.suppress(NotFound), translated(environment):
            return look.usage(self.engine.api.stats(container["Id"], stream=False, one_shot=True))
        return None

    def remove_files(self, spec: EnvironmentSpec) -> None:
        for container in self._containers(spec.id):
            self._remove(container["Id"])
        with contextlib.suppress(NotFound), translated(spec.id):
            self.engine.api.remove_volume(profile.volume_name(spec.id))

    def close(self) -> None:
        self.engine.close()

    def _known(self) -> dict[str, Image]:
        return known_images(self._images)

    def _is_present(self, image: Image) -> bool | None:
        try:
            return pull.image_id(self.engine, image) is not None
        except LabdockError:
            return None

    @contextlib.contextmanager
    def _place(self, spec: EnvironmentSpec) -> Iterator[profile.Place]:
        """Where the container will run; its network stays while the block runs."""
        facts = self.engine.facts
        if spec.limits.cpus is not None and spec.limits.cpus > facts.cpus:
            raise InvalidOptions(
                f"The limit cpus={spec.limits.cpus:g} is more than the engine's machine has ({facts.cpus:g}).",
                remedy=f"Ask for at most {facts.cpus:g}.",
                limit="cpus",
            )
        publish = None
        if not self.engine.shares_folders:
            publish = self._settings.publish_address or ("127.0.0.1" if self.engine.is_local else "0.0.0.0")  # noqa: S104
        uid, gid = folders.container_user()
        wants_network = publish is not None or (spec.mode == "dev" and self._settings.egress)
        with self._network.held() if wants_network else contextlib.nullcontext("none") as network:
            yield profile.Place(self.controller, facts.cpus, f"{uid}:{gid}", network, publish)

    def _create_and_start(self, spec: EnvironmentSpec, config: dict[str, Any], *, deliver: bool) -> None:
        """Create and start the container; one that could not be started is removed."""
        with translated(spec.id):
            container = self._create(spec, config)
        try:
            with translated(spec.id):
                self.engine.api.start(container)
            if deliver:
                deliver_token(self.engine, container, spec.token)
        except BaseException:
            with contextlib.suppress(LabdockError):  # what went wrong first is what counts
                self._remove(container)
            raise

    def _create(self, spec: EnvironmentSpec, config: dict[str, Any]) -> str:
        """The new container's id.

        The name may be taken by what a killed controller asked for and the engine has only now made: that goes first.
        """
        deadline = time.monotonic() + NAME_SECONDS
        while True:
            try:
                name = profile.container_name(spec.id)
                return str(self.engine.api.create_container_from_config(config, name)["Id"])
            except docker.errors.APIError as error:
                if error.status_code != CONFLICT or time.monotonic() > deadline:
                    raise
            for container in self._containers(spec.id):
                self._remove(container["Id"])
            time.sleep(0.1)

    def _containers(self, environment: str | None = None) -> list[dict[str, Any]]:
        """This controller's containers, in every state, of one environment or all."""
        wanted = [f"{profile.CONTROLLER}={self.controller}"]
        if environment is not None:
            wanted.append(f"{profile.ENVIRONMENT}={environment}")
        with translated():
            found: list[dict[str, Any]] = self.engine.api.containers(all=True, filters={"label": wanted})
        return found

    def _one(self, environment: str) -> dict[str, Any] | None:
        return next(iter(self._containers(environment)), None)

    def _inspect(self, container: str) -> dict[str, Any]:
        with translated():
            found: dict[str, Any] = self.engine.api.inspect_container(container)
        return found

    def _remove(self, container: str) -> None:
        """Remove it; returns when the engine knows it no more."""
        deadline = time.monotonic() + GONE_SECONDS
        while True:
            try:
                with translated():
                    self.engine.api.remove_container(container, force=True, v=True)
            except NotFound:
                return
            except LaunchError as error:  # "removal … is already in progress", or a device that is still busy
                if time.monotonic() > deadline:
                    raise LaunchError(
                        f"The container {container[:12]} cannot be removed: {error.message}",
                        remedy="See the engine's log; `docker rm -f` may help.",
                    ) from error
                time.sleep(0.2)

    def _addresses(self, environment: str, container: dict[str, Any]) -> tuple[str, str | None]:
        dev = container["Labels"].get(profile.MODE) == "dev"
        if self.engine.shares_folders:
            return self._sockets(environment, dev=dev)
        ports = self._inspect(container["Id"])["NetworkSettings"]["Ports"] or {}
        api, jupyter = (ports.get(f"{port}/tcp") for port in (profile.API_PORT, profile.JUPYTER_PORT))
        if not api or (dev and not jupyter):
            raise LaunchError(
                f"The environment {environment} does not run.", remedy="Start it again.", environment=environment
            )
        base = f"http://{self.engine.host}:"
        return base + api[0]["HostPort"], base + jupyter[0]["HostPort"] if dev and jupyter else None

    def _sockets(self, environment: str, *, dev: bool) -> tuple[str, str | None]:
        folder = self._run / environment
        return f"unix:{folder / 'api.sock'}", f"unix:{folder / 'jupyter.sock'}" if dev else None

    def _log_folder(self, environment: str) -> Path:
        return self._home / "environments" / environment / "logs"
