"""What Prometheus may ask of an environment."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from labdock_container.workers.pool import Pool

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)


class Metrics:
    """One registry of its own, so that user code's metrics and ours never meet."""

    def __init__(self, pool: "Pool") -> None:
        self._registry = CollectorRegistry()
        self.tasks = Counter(
            "labdock_tasks", "Stages, fits and applies by how they ended.", ["kind", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "labdock_task_seconds", "Their duration.", ["kind"], buckets=_SECONDS, registry=self._registry
        )
        self.rows = Counter("labdock_rows", "Rows answered.", ["kind"], registry=self._registry)
        self.received = Counter("labdock_received_bytes", "Bytes of frames received.", registry=self._registry)
        self.sent = Counter("labdock_sent_bytes", "Bytes of answers sent.", registry=self._registry)
        for name, text, read in (
            ("labdock_workers", "Worker processes.", lambda: pool.size),
            ("labdock_workers_busy", "Workers that run a task.", lambda: pool.busy),
            ("labdock_tasks_waiting", "Tasks that wait for a worker.", lambda: pool.waiting),
            ("labdock_worker_restarts", "Workers replaced since the start.", lambda: pool.restarts),
        ):
            Gauge(name, text, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        return generate_latest(self._registry)
