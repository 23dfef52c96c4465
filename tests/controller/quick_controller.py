"""A real controller with the runtimes of `quick.py`: `python quick_controller.py [serve's arguments]`.

`LABDOCK_TEST_KILL_AT=<point>`: the process ends itself with SIGKILL there, as if it were killed at that moment.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from quick import RUNTIMES

from labdock.errors import LabdockError
from labdock_controller import environments, launcher, logs, server, starting
from labdock_controller.runtimes import local
from labdock_controller.settings import Settings

# Before and after each thing that a start and a stop do for good.
POINTS = {
    "intent": (environments.Environments, "ask_start"),
    "token": (launcher, "write_atomically"),
    "note": (environments.Environments, "note"),
    "runtime": (local.LocalRuntime, "start"),
    "spawn": (local.LocalRuntime, "_spawn"),
    "remember": (local.LocalRuntime, "_remember"),
    "ready": (starting.Starting, "wait_ready"),
    "stop-intent": (environments.Environments, "ask"),
    "stop": (local.LocalRuntime, "stop"),
    "forget": (environments.Environments, "forget"),
}


def arm(point: str) -> None:
    when, _, name = point.partition("-")
    owner, attribute = POINTS[name]
    real = getattr(owner, attribute)

    def deadly(*arguments: object, **named: object) -> object:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, attribute, deadly)


def main() -> int:
    if point := os.environ.get("LABDOCK_TEST_KILL_AT"):
        arm(point)
    settings = Settings()
    logs.configure(settings)
    try:
        return server.run(settings, {cls.name: cls(settings) for cls in (*RUNTIMES, local.LocalRuntime)})
    except LabdockError as error:
        print(f"labdock: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
