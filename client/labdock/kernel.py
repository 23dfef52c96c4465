"""A notebook's way to the controller of its environment: to search in the name of the environment's owner.

The controller's socket lies beside the environment's run folder (local runtime), or in it where a runtime puts it
there. The credential is the environment's own token; the controller cuts the owner's rights down to searching.
"""

import os
from pathlib import Path

from labdock.connection import Connection
from labdock.errors import TransportError
from labdock.wire import KERNEL_TOKEN

SOCKET = "controller.sock"
BY_HAND = (
    "In the notebook: %env LABDOCK_URL=http://<controller>:8420 and %env LABDOCK_TOKEN=<token>, a personal token "
    "with the capability search (page Administration, Tokens); then %reload_ext labdock."
)


def connection(timeout: float | None = None) -> Connection | None:
    """The connection of the environment that this process runs in; None outside one.

    None as well where `LABDOCK_HOME` names a controller. Raises `TransportError` with the remedy where the environment
    has no way to its controller.
    """
    identifier, run = os.environ.get("LABDOCK_ENVIRONMENT_ID"), os.environ.get("LABDOCK_RUN_FOLDER")
    if not identifier or not run or os.environ.get("LABDOCK_HOME"):
        return None
    name = os.environ.get("LABDOCK_ENVIRONMENT") or identifier
    if os.environ.get("LABDOCK_MODE") == "prod":
        raise TransportError(
            f"The environment {name} runs in prod: nothing in it reaches the controller.",
            remedy="Search in a notebook of a dev environment, or send the rows with the request.",
            sent=False,
        )
    folder = Path(run)
    path = next((p for p in (folder / SOCKET, folder.parent / SOCKET) if p.is_socket()), None)
    try:
        token = (folder / "token").read_text().strip()
    except OSError:
        token = ""
    if path is None or not token:
        missing = "the controller's socket" if path is None else "the environment's token"
        raise TransportError(f"The environment {name} lacks {missing}.", remedy=BY_HAND, sent=False)
    return Connection(f"unix:{path}", f"{KERNEL_TOKEN}{identifier}_{token}", timeout=timeout)
