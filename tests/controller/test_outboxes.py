"""When the controller asks an environment for its outbox: when something was left there, hardly ever else."""

import os
import subprocess
import sys
import time
from typing import Any

from conftest import Controller
from tests.waiting import wait_for

from labdock_controller import outboxes

LEAVE = "import sys, pathlib; from labdock import outbox; outbox.leave(pathlib.Path(sys.argv[1]), b'x', {'name': 'm'})"


def test_an_environment_is_asked_when_something_was_left_and_seldom_else(shared_controller: Controller) -> None:
    made: dict[str, Any] = shared_controller.start("quiet")
    notebooks = shared_controller.home / "environments" / made["id"] / "notebooks"
    log = notebooks / "outbox-asked"
    wait_for(log.exists, 10, "the first question")  # what was left while no controller ran
    time.sleep(4 * outboxes.ASK_EVERY)  # nothing can be waited for: nothing shall happen
    assert len(log.read_text()) == 1
    variables = {**os.environ, "LABDOCK_RUN_FOLDER": str(shared_controller.run / made["id"])}
    for count in (2, 3):  # each time, in less than it took when all were asked in turn
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", LEAVE, notebooks / "models" / ".outbox"], env=variables, check=True)
        left = time.monotonic()
        wait_for(lambda count=count: len(log.read_text()) >= count, 10, "the question after something was left")
        assert time.monotonic() - left < outboxes.EVERY + 2, f"left after {left - began:.1f} s"
