"""An environment's outbox: ONNX models that a notebook leaves for a controller which it cannot reach.

`<notebooks>/models/.outbox/<id>.onnx` and `<id>.json` (the form of the upload; written last, so that its file is
whole). The controller fetches both through the environment's API and leaves `<id>.answer.json`. It looks when the file
`outbox` in the run folder, which it shares with the environment, has changed: a look costs it no request.
"""

import contextlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from labdock.errors import from_problem
from labdock.home import write_atomically

FOLDER = ".outbox"
MARKER = "outbox"
POLL = 0.1


def folder() -> Path | None:
    """The outbox of the environment that this process runs in; None outside, or where a controller is named."""
    if not os.environ.get("LABDOCK_ENVIRONMENT_ID") or os.environ.get("LABDOCK_URL"):
        return None
    return Path(os.environ.get("LABDOCK_NOTEBOOKS") or "/notebooks") / "models" / FOLDER


def file(outbox: Path, identifier: str) -> Path:
    return outbox / f"{identifier}.onnx"


def leave(outbox: Path, content: bytes, form: dict[str, Any]) -> str:
    """Put a model into the outbox; gives its id."""
    outbox.mkdir(parents=True, exist_ok=True, mode=0o700)
    identifier = secrets.token_hex(12)
    write_atomically(file(outbox, identifier), content)
    write_atomically(outbox / f"{identifier}.json", json.dumps(form).encode())
    _mark(identifier)
    return identifier


def _mark(identifier: str) -> None:
    """Tell the controller at once; where no folder is shared it finds out later."""
    run = os.environ.get("LABDOCK_RUN_FOLDER")
    if run:
        with contextlib.suppress(OSError):
            write_atomically(Path(run) / MARKER, identifier.encode())


def answer(outbox: Path, identifier: str, wait: float) -> dict[str, Any] | None:
    """What the controller said about it, or None where it has not within `wait` seconds. Raises its refusal."""
    path = outbox / f"{identifier}.answer.json"
    deadline = time.monotonic() + wait
    while True:
        with contextlib.suppress(FileNotFoundError):
            said: dict[str, Any] = json.loads(path.read_bytes())
            path.unlink()
            if "problem" in said:
                raise from_problem(said["problem"])
            return said
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL)
