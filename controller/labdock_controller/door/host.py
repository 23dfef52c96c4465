"""What the door needs from the controller that it is built into."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import HTTPConnection

JUPYTER_CAPABILITY = "control_environments"


def base_path(name: str) -> str:
    """JupyterLab's `base_url` in the environment `name`."""
    return f"/environments/{name}/jupyter/"


@dataclass(frozen=True)
class Destination:
    """A running environment, as far as the door is concerned."""

    id: str
    name: str
    api: str  # `unix:/path` or `http://host:port`
    jupyter: str | None  # the same; None where its mode has no JupyterLab
    token: str = field(repr=False)
    run: Path | None = None  # the shared run folder (sockets, spool); None where the runtime shares no folder


@dataclass(frozen=True)
class DoorLimits:
    """What one request may cost; settings of the same names hold them."""

    max_body: int = 8192 * 2**20  # bytes of one frame
    body_seconds: float = 30.0  # a body may take this long, plus one second for each `body_rate` bytes that came
    body_rate: int = 16_384


class DoorHost(Protocol):
    """The controller's side. `principal` is the controller's own business; the door only hands it back."""

    async def authorize(self, connection: HTTPConnection, capability: str) -> Any:
        """Who asks. Raises `Unauthenticated`, or `Forbidden` without `capability`."""

    async def destination(self, principal: Any, name: str, *, jupyter: bool) -> Destination:
        """The running environment `name` that `principal` may use; with `jupyter` only its owner or an admin may.

        Raises `NotFound` (also for an environment that must not be seen), `Forbidden`, or `Conflict` with the remedy
        `labdock start NAME` for one that does not run.
        """

    async def admit(self, principal: Any, environment: str, action: str, options: dict[str, Any]) -> None:
        """Raise `Forbidden` where these options need a right of their own (a fit that overwrites somebody else's
        model, or shares one). `action` is `stage`, `fit` or `apply`; nothing of the frame was read yet."""

    def note(self, environment: str, job: dict[str, Any], options: dict[str, Any], principal: Any) -> str:
        """A fit is done: keep what its model's record needs, so that no kill loses it; gives a name for `record`.

        `job` is the environment's `GET /v1/jobs/{id}`, with what the manifest of the model's version says besides.
        """

    def record(self, note: str) -> None:
        """Begin to write the record of what was noted: the answer ends now. Whoever asks for it is answered after
        that. Doing it again changes nothing."""

    def spool_folder(self) -> Path | None:
        """`<run>/spool` of the controller, where callers on this machine leave frames; None to take none."""

    def limits(self) -> DoorLimits:
        """The limits that hold now."""

    def origins(self) -> frozenset[str]:
        """Origins that are this controller besides the one a request names in Host (`https://lab.example`)."""

    def cookies(self) -> frozenset[str]:
        """Names of the controller's own cookies: they never reach an environment, which never sets them."""
