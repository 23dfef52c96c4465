"""The search service of this controller. What it is made of comes into being when it is first asked for."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labdock_controller.access.users import Users
from labdock_controller.environments import Environments
from labdock_controller.launcher import Launcher
from labdock_controller.models import Model, Models
from labdock_controller.onnx_models import OnnxModels
from labdock_search.settings import Limits

if TYPE_CHECKING:
    from labdock_controller.searches.jobs import SearchJobs
    from labdock_controller.searches.parts import Parts
    from labdock_search import Engine
    from labdock_search.data.indexes import Indexes
    from labdock_search.data.lookups import Lookups

WARM_UP = "| makeresults | eval a=1 | where a=1 | stats count by a | sort -count"


@dataclass(frozen=True)
class Reach:
    """What searches reach of this controller; `remove_model` deletes a model with its files."""

    home: Path
    users: Users
    environments: Environments
    launcher: Launcher
    models: Models
    onnx: OnnxModels
    remove_model: Callable[[Model], None]


class Searches:
    """`engine` plans and runs, `jobs` keeps what runs; `indexes` and `lookups` are the data.

    The parser, DuckDB and Arrow take more than a second of CPU to import, and a controller that was killed shall
    answer before that. So they are imported, and the parts made, by whoever asks for one first: soon after the start
    that is `warm`. Asking may block for that long: on an event loop await `make` in a thread first.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._parts: Parts | None = None
        self._lock = threading.Lock()

    @property
    def made(self) -> bool:
        """Whether asking costs nothing any more."""
        return self._parts is not None

    def make(self) -> "Parts":
        with self._lock:
            if self._parts is None:
                from labdock_controller.searches import parts  # noqa: PLC0415 - the point of this class

                self._parts = parts.assemble(self._reach)
            return self._parts

    def warm(self) -> None:
        """Make the parts and run a small search, so that the first of a user is as fast as the next."""
        engine = self.make().engine
        engine.search(WARM_UP, user="", limits=Limits(rows=1)).table()

    @property
    def engine(self) -> "Engine":
        return (self._parts or self.make()).engine

    @property
    def jobs(self) -> "SearchJobs":
        return (self._parts or self.make()).jobs

    @property
    def indexes(self) -> "Indexes":
        return (self._parts or self.make()).indexes

    @property
    def lookups(self) -> "Lookups":
        return (self._parts or self.make()).lookups

    def tidy(self) -> None:
        self.jobs.tidy()
        self.lookups.maintain()

    def close(self) -> None:
        with self._lock:
            if self._parts is not None:
                self._parts.jobs.close()
                self._parts.engine.close()
