"""What the routes share: the settings and the parts of one running environment API."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from labdock_container.jobs import Jobs
from labdock_container.metrics import Metrics
from labdock_container.models import ModelStore
from labdock_container.modules import Modules
from labdock_container.settings import Settings
from labdock_container.spool import Spool
from labdock_container.workers.pool import Pool


@dataclass
class Context:
    settings: Settings
    token: "Token"
    pool: Pool
    jobs: Jobs
    spool: Spool
    models: ModelStore
    modules: Modules
    metrics: Metrics
    started: float = field(default_factory=time.monotonic)
    last_request: float = field(default_factory=time.time)

    @classmethod
    def create(cls, settings: Settings) -> "Context":
        """Raises `OSError` where the run folder or its token is missing."""
        pool = Pool(settings)
        return cls(
            settings=settings,
            token=Token(settings.run / "token"),
            pool=pool,
            jobs=Jobs(settings.jobs),
            spool=Spool(settings.spool, settings.max_body_mb << 20, settings.body_silence),
            models=ModelStore(settings.models, settings.model_versions),
            modules=Modules(settings.notebooks),
            metrics=Metrics(pool),
        )


class Token:
    """The environment's token, read again when its file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._value = b""
        if not self.value:
            raise ValueError(f"{path} is empty")

    @property
    def value(self) -> bytes:
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._value = self._path.read_bytes().strip()
            self._stamp = stamp
        return self._value
