"""What the environment variables of `docs/interfaces.md` section 2 say to JupyterLab."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labdock.errors import InvalidOptions

LABEXTENSIONS = Path(__file__).parent / "labextensions"


@dataclass(frozen=True)
class JupyterSettings:
    """`listen` is `host:port`, or empty for the Unix socket in the run folder."""

    notebooks: Path
    run: Path
    mode: str
    base_url: str
    listen: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> "JupyterSettings":
        return cls(
            notebooks=Path(variables.get("LABDOCK_NOTEBOOKS") or "/notebooks").absolute(),
            run=Path(variables.get("LABDOCK_RUN_FOLDER") or "/run/labdock").absolute(),
            mode=variables.get("LABDOCK_MODE") or "dev",
            base_url=variables.get("LABDOCK_BASE_URL") or "/",
            listen=variables.get("LABDOCK_JUPYTER_LISTEN") or "",
        )

    @property
    def socket(self) -> Path:
        return self.run / "jupyter.sock"

    def token(self) -> str:
        """The environment's token; raises `InvalidOptions` rather than start without one."""
        path = self.run / "token"
        token = path.read_text().strip() if path.exists() else ""
        if not token:
            raise InvalidOptions(
                f"{path} holds no token.", remedy="Write the environment's token there before it starts."
            )
        return token

    def address(self) -> tuple[str, int]:
        """`listen` as host and port; raises `InvalidOptions`."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit():
            raise InvalidOptions(
                f"LABDOCK_JUPYTER_LISTEN is {self.listen!r}.",
                remedy="Set it to host:port, for example 0.0.0.0:8888.",
                option="LABDOCK_JUPYTER_LISTEN",
            )
        return host.strip("[]"), int(port)

    def kernels_fit_on_sockets(self) -> bool:
        """Whether a kernel's longest socket path, `<run>/jupyter/kernel-<uuid>-ipc-5`, stays below 107 bytes."""
        return len(os.fsencode(self.run)) + len("/jupyter/kernel-") + 36 + len("-ipc-5") < 107

    def checkpoints(self) -> Path:
        """Jupyter's checkpoints, out of the user's folders; made here."""
        folder = self.notebooks / ".labdock" / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
