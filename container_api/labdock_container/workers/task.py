"""One piece of work for a worker, and what comes of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from labdock_container.workers.protocol import Message

# A fit lets applies that came later pass for this long.
FIT_PATIENCE = 2.0


@dataclass
class Task:
    """One piece of work. `message` is what the worker gets, `fds` go with it (owned by the caller)."""

    kind: str
    message: Message
    deadline: float
    memory: int
    fds: list[int] = field(default_factory=list)
    model: str = ""
    module: str = ""
    on_begin: Callable[[], None] | None = None
    on_progress: Callable[[str], None] | None = None
    on_output: Callable[[bytes], None] | None = None
    queued: float = field(default_factory=time.monotonic)

    @property
    def order(self) -> float:
        return self.queued + (FIT_PATIENCE if self.kind == "fit" else 0)


@dataclass
class Outcome:
    """A worker's answer: its message, and the sealed file that came with it (the caller closes it)."""

    message: Message
    fd: int
