"""The one place where errors of docker-py and its transport become Labdock's.

Classes are named, not imported: the libraries come with the first call of the engine (`sdk.py`).
"""

import contextlib
from collections.abc import Callable, Iterator

from labdock.errors import (
    DiskFull,
    ImageMissing,
    InvalidOptions,
    LabdockError,
    LaunchError,
    NotFound,
    RuntimeUnavailable,
)

SETTINGS = "Check LABDOCK_DOCKER_HOST, DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH and docker's config.json."
Meaning = Callable[[Exception], LabdockError]


def said_by(error: Exception) -> str:
    """What the engine itself said, where it did."""
    return str(getattr(error, "explanation", None) or error).strip()


def _disk_full(error: Exception) -> DiskFull:
    return DiskFull(
        "The engine's disk is full.",
        remedy="Free space in its data folder (`docker system df`, then `docker image prune`).",
        path="",
        needed=None,
        free=0,
        said=said_by(error),
    )


def _as(kind: type[LabdockError], message: str, remedy: str) -> Meaning:
    """An error of this kind; `{said}` in its message is what the engine or the library said."""
    return lambda error: kind(message.replace("{said}", said_by(error)), remedy=remedy)


def _gone(error: Exception) -> LabdockError:
    said = f"The engine knows no such object: {said_by(error)}"
    return NotFound(said, remedy="Start the environment again.", kind="object")


_port_taken = _as(LaunchError, "A port is taken: {said}", "Free it, or let the engine choose the port.")
# What the engine says -> what it means. The first that occurs in its message wins.
SAID: dict[str, Meaning] = {
    "no space left on device": _disk_full,
    "disk quota exceeded": _disk_full,
    "could not select device driver": _as(
        LaunchError,
        "The engine has no GPU to give.",
        "Install the NVIDIA driver and container toolkit on its machine, or choose an image without gpu.",
    ),
    "port is already allocated": _port_taken,
    "address already in use": _port_taken,
    "fully subnetted": _as(
        LaunchError,
        "The engine has no address range left for a network.",
        "Remove unused networks (`docker network prune`), or give it more default-address-pools.",
    ),
    "range of cpus is from": _as(
        InvalidOptions, "The limit cpus does not fit the engine's machine: {said}", "Lower cpus."
    ),
    "minimum memory limit": _as(InvalidOptions, "The limit memory_mb is too low: {said}", "Raise memory_mb."),
    "dead or marked for removal": _gone,
    "no such image": _as(ImageMissing, "The image is not on the engine: {said}", "Build or pull it."),
}
_silent = _as(RuntimeUnavailable, "The Docker Engine does not answer in time.", "Look at dockerd and its log.")
_refused = _as(LaunchError, "The Docker Engine refused: {said}", "See `labdock doctor`.")
_by_status: dict[int, Meaning] = dict.fromkeys(
    (502, 503, 504), _as(RuntimeUnavailable, "The Docker Engine is not ready: {said}", "Wait, then try again.")
)
_forbidden = _as(LaunchError, "The engine may not: {said}", "Check its sign-in and its authorization plugins.")
_not_allowed = _as(
    RuntimeUnavailable,
    "The Docker Engine's socket may not be used by this user.",
    "Add the user to the group docker and sign in again, or set LABDOCK_DOCKER_HOST.",
)
_nowhere = _as(
    RuntimeUnavailable,
    "The Docker Engine is unreachable.",
    "Start it (`systemctl start docker`, here `bash tools/docker.sh`), or set LABDOCK_DOCKER_HOST.",
)


def _unreachable(error: Exception) -> LabdockError:
    return (_not_allowed if "Permission denied" in str(error) else _nowhere)(error)


def _answer(error: Exception) -> LabdockError:
    """An error that the engine itself answered."""
    folded = said_by(error).casefold()
    for part, make in SAID.items():
        if part in folded:
            return make(error)
    status = getattr(error, "status_code", None)
    if status in {401, 403} and "access" in folded:
        return _forbidden(error)
    return _by_status.get(status or 0, _refused)(error)


_missing = _as(ImageMissing, "The image is not on the engine: {said}", "Build it: labdock images build NAME.")
_setting = _as(RuntimeUnavailable, "The settings for the Docker Engine are wrong: {said}", SETTINGS)
_program = _as(LaunchError, "docker-py refused: {said}", "Report this; the versions are in `labdock doctor`.")

# Exact classes; a subclass that is not named here is found by its base, but fails the test.
TABLE: dict[str, Meaning] = {
    "docker.errors.DockerException": _unreachable,  # raised as such only when the connection cannot be made
    "docker.errors.APIError": _answer,
    "docker.errors.NotFound": _gone,
    "docker.errors.ImageNotFound": _missing,
    "docker.errors.InvalidVersion": _as(
        RuntimeUnavailable, "The Docker Engine is too old or too new: {said}", "Labdock needs Engine 20.10 or newer."
    ),
    "docker.errors.InvalidRepository": _program,
    "docker.errors.InvalidConfigFile": _setting,
    "docker.errors.InvalidArgument": _program,
    "docker.errors.DeprecatedMethod": _program,
    "docker.errors.TLSParameterError": _setting,
    "docker.errors.NullResource": _program,
    "docker.errors.ContainerError": _program,
    "docker.errors.StreamParseError": _as(
        RuntimeUnavailable, "The Docker Engine's answer was cut off: {said}", "Try again."
    ),
    "docker.errors.BuildError": _answer,
    "docker.errors.ImageLoadError": _answer,
    "docker.errors.MissingContextParameter": _setting,
    "docker.errors.ContextAlreadyExists": _setting,
    "docker.errors.ContextException": _setting,
    "docker.errors.ContextNotFound": _setting,
    "requests.exceptions.ReadTimeout": _silent,
    "requests.exceptions.RequestException": _unreachable,
    "urllib3.exceptions.ReadTimeoutError": _silent,
    "urllib3.exceptions.HTTPError": _unreachable,
    "builtins.ConnectionError": _unreachable,
    "builtins.TimeoutError": _unreachable,
}


def named(cls: type) -> str:
    """What `TABLE` calls a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def translate(error: Exception) -> LabdockError:
    """Labdock's error for one of docker-py's. `TABLE` is asked for the class, then for its bases."""
    meaning = next((TABLE[name] for name in map(named, type(error).__mro__) if name in TABLE), None)
    if meaning is None:
        raise error
    return meaning(error)


@contextlib.contextmanager
def translated(environment: str = "") -> Iterator[None]:
    """Raise Labdock's errors for docker-py's; `environment` goes into their details."""
    try:
        yield
    except Exception as error:
        result = translate(error)
        if environment:
            result.details.setdefault("environment", environment)
        raise result from error
