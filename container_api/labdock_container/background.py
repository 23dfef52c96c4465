"""What a worker does beside something else: syncing files, hashing and checking data."""

import functools
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


@functools.cache
def threads() -> ThreadPoolExecutor:
    """Kept by each worker after its first use: starting a thread takes longer than a good disk takes to sync."""
    return ThreadPoolExecutor(2, "labdock-background")


def share(work: Callable[[T], None], items: Iterable[T]) -> None:
    """`work` on each item, by this thread and another one; returns when all are done, raises what one raised."""
    rest = deque(items)

    def take() -> None:
        while rest:
            try:
                item = rest.popleft()
            except IndexError:  # the other thread was quicker
                return
            work(item)

    other = threads().submit(take)
    try:
        take()
    finally:
        rest.clear()
        other.result()
