"""Python's collector of cycles, as a process wants it that does nothing but run workflows."""

from __future__ import annotations

import gc

_ALLOCATIONS = 50_000


def collect_seldom() -> None:
    """Spare what is loaded by now, and look at the rest once in so many objects instead of once in 700.

    A hundred workflows at a time keep thousands of objects alive for some milliseconds each: looking at them over and
    over took a tenth of a processor's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 10, 10)
