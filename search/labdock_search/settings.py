"""Settings of the engine and limits of a search."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labdock_search.macros import Macro


@dataclass(frozen=True)
class Settings:
    """`spill_folder` takes what does not fit into `memory_mb`; `batch_rows` is how many rows a batch has."""

    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_mb: int = 2048
    spill_folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / f"labdock-spill-{os.getuid()}")
    spill_mb: int = 20_000
    batch_rows: int = 65_536
    environment: str = ""  # where fit and apply run; "" is the host's default
    max_inputs: int = 10_000_000
    max_subsearch_rows: int = 10_000
    max_transaction_events: int = 1_000_000
    limits: Mapping[str, float] = field(default_factory=dict)  # max_fit_time, max_score_time, … sent with a fit
    macros: Mapping[str, Macro] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """`seconds` and `rows` of the result; None is no limit."""

    seconds: float | None = None
    rows: int | None = None
