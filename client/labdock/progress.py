"""Progress of long work: a line by rich in a terminal, a tqdm bar in a notebook, nothing anywhere else.

Nothing is shown for work that is done within half a second.
"""

import importlib
import importlib.util
import sys
import threading
import time
from types import TracebackType
from typing import Any, Protocol, Self

_DELAY = 0.5
_TICK = 0.1


class _Display(Protocol):
    def show(self, text: str, fraction: float | None) -> None: ...

    def close(self) -> None: ...


class Activity:
    """What a piece of work is doing, shown while the block runs.

    `enabled`: True shows it, False never does, None where somebody looks (a terminal or a notebook). Methods may be
    called from any thread and cost next to nothing.
    """

    def __init__(self, title: str, enabled: bool | None = None) -> None:
        self.title = title
        self.shown = threading.Event()  # set once the work is long enough to be shown
        self._where = _where() if enabled is None else ((_where() or "shell") if enabled else "")
        self._text = ""
        self._fraction: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def enabled(self) -> bool:
        return bool(self._where)

    def say(self, text: str) -> None:
        """Show `text` (one line) beside the title."""
        self._text = " ".join(text.split())[:100]

    def at(self, fraction: float | None) -> None:
        """Show how much is done, 0 to 1; None where nobody knows."""
        self._fraction = fraction

    def moved(self, direction: str, done: int, total: int) -> None:
        """For `transport.Frames`: bytes on their way."""
        whole = done >= total
        verb = "sending" if direction == "sent" else "receiving"
        self.say("" if whole else f"{verb} {total / 1e6:,.0f} MB")
        self.at(None if whole else done / total)

    def __enter__(self) -> Self:
        if self.enabled:
            self._thread = threading.Thread(target=self._run, daemon=True, name="labdock-progress")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        if self._stop.wait(_DELAY):
            return
        display: _Display = _NotebookDisplay(self.title) if self._where == "notebook" else _ShellDisplay(self.title)
        self.shown.set()
        try:
            while not self._stop.wait(_TICK):
                display.show(self._text, self._fraction)
        finally:
            display.close()


def _where() -> str:
    """`notebook`, `shell`, or nothing where nobody looks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and type(shell).__name__ == "ZMQInteractiveShell":
        return "notebook"
    return "shell" if sys.stderr is not None and sys.stderr.isatty() else ""


class _ShellDisplay:
    def __init__(self, title: str) -> None:
        from rich.console import Console  # noqa: PLC0415 - only long work in a terminal needs it
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._bar = BarColumn(bar_width=24)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            self._bar,
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[text]}", markup=True),
            # Who asks for progress in a log gets it, escape codes and all.
            console=Console(stderr=True, force_terminal=True),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=None, text="")
        self._progress.start()

    def show(self, text: str, fraction: float | None) -> None:
        from rich.markup import escape  # noqa: PLC0415

        total = None if fraction is None else 1.0
        self._progress.update(self._task, total=total, completed=fraction or 0, text=escape(text))

    def close(self) -> None:
        self._progress.stop()


class _NotebookDisplay:
    def __init__(self, title: str) -> None:
        # Without ipywidgets tqdm's notebook bar warns and fails; its plain bar works in every front end.
        source = "tqdm.notebook" if importlib.util.find_spec("ipywidgets") else "tqdm.std"
        tqdm: Any = importlib.import_module(source).tqdm
        self._bar = tqdm(total=100, desc=title, leave=False, bar_format="{desc} {bar} {postfix}")
        self._begun = time.monotonic()

    def show(self, text: str, fraction: float | None) -> None:
        seconds = time.monotonic() - self._begun + _DELAY
        self._bar.n = round(100 * (fraction or 0))
        self._bar.set_postfix_str(f"{seconds:.0f} s {text}", refresh=True)

    def close(self) -> None:
        self._bar.close()
