"""What memory costs here that nobody used for a moment: every other figure is read with this one.

Where a virtual machine's page tables are shadowed by its host, each server is slow that waited for its next request,
whatever its program does: 8 MB that were just used are touched again in 0.1 ms, and after 0.3 s in 15 ms.
"""

import statistics
import time

SIZE = 8 << 20  # bytes
PAGE = 4096
IDLE = 0.3  # seconds
ROUNDS = 9


def run() -> None:
    """Print one line."""
    memory = bytearray(SIZE)
    touch(memory)
    busy, idle = (statistics.median(after(memory, pause) for _ in range(ROUNDS)) for pause in (0, IDLE))
    print(
        f"This machine: {SIZE >> 20} MB touched again at once {busy * 1000:.2f} ms, after {IDLE} s {idle * 1000:.2f} ms"
    )


def after(memory: bytearray, pause: float) -> float:
    """Seconds to touch each page of it after a pause."""
    time.sleep(pause)
    begun = time.perf_counter()
    touch(memory)
    return time.perf_counter() - begun


def touch(memory: bytearray) -> None:
    for place in range(0, len(memory), PAGE):
        memory[place] = 1
