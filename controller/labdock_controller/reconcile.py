"""The pure core of the launcher: what to do next for one environment, from what should be and what is.

No input or output, no clock: the launcher calls `next_step` until it says None. Steps are few and each leads to a
state from which the next call continues, so that dying between any two of them loses nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from labdock_controller.runtimes.base import Observed, State


class Desired(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"
    FORGOTTEN = "forgotten"  # deleted, with its notebooks kept


class Status(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Step(StrEnum):
    START = "start"  # ask the runtime for the object
    AWAIT = "await"  # wait until it answers
    DIED = "died"  # it ended by itself: start again, or give up
    STOP = "stop"  # remove the object and whatever is left of it
    SETTLE = "settle"  # nothing is left of it: say `stopped`
    FORGET = "forget"  # nothing is left of it: drop the record


@dataclass(frozen=True)
class Wanted:
    """One environment's record, as far as decisions need it."""

    desired: Desired
    status: Status
    generation: int  # one more for each start or restart that a user asked for
    started_generation: int  # the generation that the object was made for
    ever_ready: bool  # in this generation
    failures: int
    retry_at: float


def next_step(wanted: Wanted | None, seen: Observed | None, now: float) -> Step | None:
    """What to do for one environment; None: nothing (now)."""
    if wanted is None or wanted.desired is Desired.FORGOTTEN:
        return Step.STOP if seen else None
    if wanted.desired is Desired.RUNNING:
        return _towards_running(wanted, seen, now)
    if seen:
        return Step.STOP
    if wanted.desired is Desired.DELETED:
        return Step.FORGET
    return None if wanted.status is Status.STOPPED else Step.SETTLE


def _towards_running(wanted: Wanted, seen: Observed | None, now: float) -> Step | None:
    if wanted.status is Status.FAILED:
        return Step.STOP if seen else None
    if seen is None:
        return Step.START if now >= wanted.retry_at else None
    if wanted.started_generation != wanted.generation:
        return Step.STOP  # of an earlier start: make room
    if seen.state is State.EXITED:
        return Step.DIED
    return None if wanted.status is Status.RUNNING else Step.AWAIT


def gives_up(wanted: Wanted, restarts: int) -> bool:
    """Whether one that just died stays down: it never worked, or it was started again often enough."""
    return not wanted.ever_ready or wanted.failures >= restarts


def pause_before(failures: int) -> float:
    """Seconds until the next start after this many deaths: 1, 2, 4 … 60."""
    return float(min(60, 2 ** max(0, failures - 1)))
