"""Figures beside their bounds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """Lines of the table; `bound` is `>= x` or `<= x` of the ratio. Without `enforce` nothing can fail."""

    enforce: bool = True
    missed: list[str] = field(default_factory=list)
    _wide: int = 44
    _title: str = ""

    def title(self, text: str) -> None:
        self._title = text
        print(f"\n{text}")
        print(f"{'':{self._wide}}  {'ours':>10}  {'against':>10}  {'ratio':>7}  {'bound':>9}", flush=True)

    def line(self, what: str, ours: float, other: float | None, ratio: float, bound: str, unit: str = "ms") -> bool:
        """Print one line; gives whether the bound holds."""
        holds = within(ratio, bound)
        if not holds:
            self.missed.append(f"{self._title}: {what}: {ratio:.2f}, bound {bound}")
        verdict = "" if not bound else ("PASS" if holds else ("FAIL" if self.enforce else "small"))
        shown = f"{other:10.2f}" if other is not None else " " * 10
        print(
            f"{what:{self._wide}}  {ours:10.2f}  {shown}  {ratio:7.2f}  {bound:>9}  {verdict}  {unit}".rstrip(),
            flush=True,
        )
        return holds

    def end(self) -> int:
        """The exit code: 1 if a bound was missed and bounds are enforced."""
        if self.missed and self.enforce:
            print(f"\n{len(self.missed)} bounds missed:", *self.missed, sep="\n  ")
            return 1
        print("\nAll bounds hold." if self.enforce else "\nSmall run: it runs; bounds are for the full size.")
        return 0


def within(ratio: float, bound: str) -> bool:
    """Whether `ratio` keeps `bound` (`""` is none)."""
    if not bound:
        return True
    relation, _, number = bound.partition(" ")
    return ratio >= float(number) if relation == ">=" else ratio <= float(number)


class Statistic:
    """What stands for a contestant's rounds: the median, or the fastest (`--best`: on a machine that does other work,
    where the median tells of the neighbours)."""

    of: Callable[[Sequence[float]], float] = staticmethod(statistics.median)


def interleave(
    contestants: Mapping[str, Callable[[], float]], rounds: int, *, seldom: Sequence[str] = ()
) -> dict[str, float]:
    """The median of each contestant's seconds over `rounds`, all in turn, the order turning with each round.

    Those in `seldom` run first, in the middle and last: each takes up to a minute, and after a pause of a minute the
    others are cold, which says nothing of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    often = [name for name in contestants if name not in seldom]

    def run(names: Sequence[str]) -> None:
        for name in names:
            seconds[name].append(contestants[name]())

    run(seldom)
    for name in often:
        contestants[name]()  # warm up
    for number in range(rounds):
        if number == rounds // 2:
            run(seldom)
        turn = number % len(often)
        run(often[turn:] + often[:turn])
    run(seldom)
    return {name: Statistic.of(values) for name, values in seconds.items()}
