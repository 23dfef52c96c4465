"""Bounds beside figures: `python -m benchmarks [PART] [--small] [--best] [--seconds N]`.

PART is frames, service, jupyter, search, onnx, load, docker, models, browser, dashboard or machine. Real servers on
Unix sockets, rounds interleaved in one run, medians. Exit code 1 if a bound is missed; `--small` runs everything at a
size for CI and enforces correctness only.
"""

import argparse
import sys
from collections.abc import Callable

from benchmarks import browser, dashboard, docker, frames, jupyter, load, machine, models, onnx, search, service
from benchmarks.report import Report, Statistic
from benchmarks.servers import Setup, everything

PARTS: dict[str, Callable[..., None]] = {"frames": frames.run, "service": service.run, "jupyter": jupyter.run}


def main(arguments: list[str] | None = None) -> int:
    """Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "part",
        nargs="?",
        choices=[*PARTS, "search", "onnx", "load", "docker", "models", "browser", "dashboard", "machine"],
        help="else all but the last six",
    )
    parser.add_argument("--small", action="store_true", help="a size for CI; bounds are not enforced")
    parser.add_argument("--seconds", type=float, help="how long `load` runs (60)")
    parser.add_argument("--best", action="store_true", help="the fastest round instead of the median (busy machines)")
    given = parser.parse_args(arguments)
    if given.best:
        Statistic.of = min
    report = Report(enforce=not given.small)
    if not given.small or given.part == "machine":
        machine.run()
    if given.part == "machine":
        return 0
    if given.part == "load":
        return load.run(given.seconds or (5 if given.small else 60), clients=8 if given.small else 32)
    if given.part == "models":
        return models.run()
    if given.part == "dashboard":
        return dashboard.run(small=given.small)
    if given.part == "browser":
        return browser.run(small=given.small)
    if given.part == "docker":
        return docker.run(small=given.small)
    if given.part == "search":
        search.run(report, small=given.small)
        return report.end()
    if given.part == "onnx":
        onnx.run(report, small=given.small)
        return report.end()
    chosen = [PARTS[given.part]] if given.part else list(PARTS.values())
    with everything() as setup:
        measure(chosen, setup, report, small=given.small)
    if not given.part:
        search.run(report, small=given.small)
        onnx.run(report, small=given.small)
    return report.end()


def measure(parts: list[Callable[..., None]], setup: Setup, report: Report, *, small: bool) -> None:
    for part in parts:
        part(setup, report, small=small)


if __name__ == "__main__":
    sys.exit(main())
