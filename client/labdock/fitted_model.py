"""What a fit gives: the model, and what came with it."""

from typing import TYPE_CHECKING, Any

from labdock.figures import figure
from labdock.models import Model

if TYPE_CHECKING:
    from labdock.environment import Environment


class FittedModel(Model):
    """What `Environment.fit` gives: the model, and what came with the fit."""

    def __init__(
        self, environment: "Environment", record: dict[str, Any], predictions: Any, answer: dict[str, Any]
    ) -> None:
        super().__init__(environment.lab, record)
        self._environment = environment
        self.predictions = predictions  # the module's `apply` on the rows of the fit, in the caller's kind
        self.answer = answer  # everything that the environment said about the fit

    @property
    def environment(self) -> "Environment":
        return self._environment

    @property
    def info(self) -> Any:
        """What the module's `fit` returned."""
        return self.answer.get("info")

    @property
    def output(self) -> str:
        """What the module printed, capped."""
        return str(self.answer.get("output") or "")

    @property
    def warnings(self) -> list[str]:
        return list(self.answer.get("warnings") or [])

    @property
    def duration(self) -> float:
        """Seconds in the environment."""
        return float(self.answer.get("duration") or 0)

    @property
    def job(self) -> str:
        """The job's id, which is the idempotency key of the request."""
        return str(self.answer.get("job") or "")

    def __repr__(self) -> str:
        metrics = ", ".join(f"{k}={figure(v) if isinstance(v, float) else v}" for k, v in self.metrics.items())
        number = self.version.get("version")
        return f"<FittedModel {self.reference} version {number}{': ' + metrics if metrics else ''}>"
