"""When a failed attempt of a step is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from durablectl.limits import MOST_ATTEMPTS, checked_count, checked_number, checked_seconds

if TYPE_CHECKING:
    from datetime import timedelta
    from random import Random

_MOST_GROWTH = 1_000_000


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff: attempt n waits ``initial * factor**(n-1)``, at most ``cap``, before attempt n+1.

    ``initial`` and ``cap`` are seconds or timedeltas. ``max_attempts`` counts the first attempt too; None tries without
    end. ``jitter`` spreads each wait by up to that fraction to both sides, but not over ``cap``. OutOfRangeError, which
    is a ValueError, for what is out of range.
    """

    initial: float | timedelta = 0.2
    factor: float = 2.0
    cap: float | timedelta = 30.0
    max_attempts: int | None = 3
    jitter: float = 0.1

    def __post_init__(self) -> None:
        checked_seconds(self.initial, "The initial of Retry")
        checked_seconds(self.cap, "The cap of Retry")
        checked_number(self.factor, "The factor of Retry", 1, _MOST_GROWTH)
        checked_number(self.jitter, "The jitter of Retry", 0, 1)
        if self.max_attempts is not None:
            checked_count(self.max_attempts, "The max_attempts of Retry", 1, MOST_ATTEMPTS)

    def delay(self, attempt: int, random: Random) -> float | None:
        """Seconds to wait after failed attempt ``attempt`` (1 is the first), or None when it was the last."""
        if attempt >= (MOST_ATTEMPTS if self.max_attempts is None else self.max_attempts):
            return None
        cap, jitter = checked_seconds(self.cap, "The cap of Retry"), float(self.jitter)
        wait = min(self._growing(attempt), cap)
        shortest, longest = wait * (1 - jitter), min(wait * (1 + jitter), cap)
        return min(shortest + (longest - shortest) * random.random(), cap)

    def _growing(self, attempt: int) -> float:
        """Seconds after ``attempt``, without cap and jitter; infinite where a float cannot hold them."""
        initial = checked_seconds(self.initial, "The initial of Retry")
        try:
            return initial and initial * float(self.factor) ** (attempt - 1)
        except OverflowError:
            return inf


STEP_RETRY = Retry()
"""The default for an error that the step itself raised."""

TRANSPORT_RETRY = Retry(max_attempts=None)
"""The default when no service answered: nothing is known to have failed, so it is tried until one does."""
