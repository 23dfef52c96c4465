"""What a worker does beside something else: syncing files, hashing data."""

import functools
from concurrent.futures import ThreadPoolExecutor


@functools.cache
def threads() -> ThreadPoolExecutor:
    """Kept by each worker after its first fit: starting a thread takes longer than a good disk takes to sync."""
    return ThreadPoolExecutor(2, "labdock-background")
