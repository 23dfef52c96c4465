"""What JupyterLab's kernels did last, asked over its socket in the run folder."""

import http.client
import json
import socket
from datetime import datetime
from pathlib import Path

_SECONDS = 2.0


def kernel_activity(run: Path, token: bytes) -> tuple[int, float | None]:
    """How many kernels there are and when one was last active; (0, None) where no JupyterLab answers."""
    path = run / "jupyter.sock"
    connection = http.client.HTTPConnection("jupyter", timeout=_SECONDS)
    try:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(str(path))
        connection.request("GET", f"{_base_url()}api/kernels", headers={"Authorization": f"token {token.decode()}"})
        response = connection.getresponse()
        kernels = json.loads(response.read(1 << 20)) if response.status == 200 else []
        times = [datetime.fromisoformat(k["last_activity"]).timestamp() for k in kernels]
        return len(times), max(times, default=None)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


def _base_url() -> str:
    import os  # noqa: PLC0415 - one variable

    return os.environ.get("LABDOCK_BASE_URL", "/").rstrip("/") + "/"
