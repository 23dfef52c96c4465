"""The one door: everything a user sends to an environment passes here, frames and JupyterLab alike.

`routes(Door(host))` are the Starlette routes; the controller's application mounts them and is the `host`: it says who
asks, which environment is meant and where it answers. The door itself checks origins, moves bytes and injects the
environment's token; it never decodes a frame and knows no store.

`SERVER` are the uvicorn settings that the door needs from whoever runs it.
"""

from typing import Any

from labdock_controller.door.host import Destination, DoorHost, DoorLimits
from labdock_controller.door.routes import Door, load, routes

# WebSocket messages of a notebook (an output with a plot, a pasted table) exceed uvicorn's 16 MiB; compression
# costs more than it saves on the way to a browser on the same machine or network; a busy tab may answer late.
SERVER: dict[str, Any] = {
    "ws": "websockets-sansio",
    "ws_max_size": 2**31,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 30.0,
    "ws_ping_timeout": 120.0,
    "timeout_keep_alive": 75,
    "server_header": False,
}

__all__ = ["SERVER", "Destination", "Door", "DoorHost", "DoorLimits", "load", "routes"]
