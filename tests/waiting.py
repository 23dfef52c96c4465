"""Waiting for a condition: what tests do instead of sleeping."""

import time
from collections.abc import Callable
from typing import Any

import pytest

PATIENCE = 45_000  # ms for what a page is to show: everything is on this machine, and a busy one is no failure


def wait_for(condition: Callable[[], Any], seconds: float = 90, what: str | Callable[[], str] = "the condition") -> Any:
    """The first true value of `condition`, asked again and again; fails after `seconds`, saying `what` was waited for.

    The default is far beyond what anything takes: a busy machine is no failure.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            what = what if isinstance(what, str) else what()
            pytest.fail(f"{what} did not come true within {seconds:g} s")
        time.sleep(0.03)  # what is asked is often a process that needs the time itself
    return value


def seconds_until(condition: Callable[[], Any], seconds: float = 90) -> float:
    """How long it took until `condition` was true, for what is promised to take no longer."""
    began = time.monotonic()
    wait_for(condition, seconds)
    return time.monotonic() - began
