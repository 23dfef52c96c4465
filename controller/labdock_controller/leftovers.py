"""Run folders that a start left which died before its object was made, and that belong to nobody now."""

import shutil
from collections.abc import Container
from pathlib import Path

from labdock_controller.environments import Environments


def remove_leftovers(run: Path, environments: Environments, seen: Container[str]) -> None:
    """Remove them from the run folder `run`. `seen` are the ids that runtimes have an object of.

    The record is asked for at the last moment: it is there before its folder, so a start that begins meanwhile is safe.
    """
    for folder in run.glob("[0-9a-f]" * 12):
        if folder.name not in seen and environments.by_id(folder.name) is None:
            shutil.rmtree(folder, ignore_errors=True)
