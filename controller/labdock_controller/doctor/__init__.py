"""`labdock doctor`: looks at everything that a controller needs and says what is wrong and what to do about it.

Each check is a function that gives findings and never raises; what it cannot look at is `skipped`, with the reason.
"""

from collections.abc import Callable, Iterable

from labdock.errors import LabdockError
from labdock_controller.doctor import files, network, programs
from labdock_controller.finding import Finding, Health
from labdock_controller.runtimes.base import Runtime
from labdock_controller.settings import Settings

Check = Callable[[Settings], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (
    programs.versions,
    files.home,
    files.private_files,
    files.run_folder,
    files.sockets,
    files.space,
    files.store,
    network.port,
    network.certificate,
    network.authorities,
    network.registries,
    programs.browser_assets,
    programs.open_files,
    programs.clock,
)


def examine(settings: Settings, runtimes: dict[str, Runtime]) -> list[Finding]:
    """Every finding: this machine's first, then each runtime's."""
    found = [finding for check in CHECKS for finding in _guarded(check.__name__, check, settings)]
    for name, runtime in runtimes.items():
        found += _guarded(name, runtime.examine)
    return found


def _guarded(name: str, check: Callable[..., Iterable[Finding]], *arguments: Settings) -> list[Finding]:
    """A check that fails itself is a finding, not the end of the others."""
    try:
        return list(check(*arguments))
    except LabdockError as error:
        return [Finding(name, name, Health.ERROR, error.message, error.remedy)]
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks shall be seen
        return [Finding(name, name, Health.SKIPPED, f"The check failed: {error!r}", "Report this.")]
