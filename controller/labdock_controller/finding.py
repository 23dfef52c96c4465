"""What a look at one thing found: `labdock doctor` and the runtimes speak in these."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, with less safety or room than it should
    ERROR = "error"  # something that users do will fail
    SKIPPED = "skipped"  # does not apply here, or could not be looked at


@dataclass(frozen=True)
class Finding:
    """`check` is a short name that never changes, `found` says what is there, `remedy` what to do about it."""

    check: str
    title: str
    state: Health
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def report(findings: Iterable[Finding]) -> dict[str, Any]:
    """All of them as one document. `ok`: nothing is in state `error`."""
    found = [finding.to_dict() for finding in findings]
    return {"ok": all(one["state"] != Health.ERROR for one in found), "findings": found}
