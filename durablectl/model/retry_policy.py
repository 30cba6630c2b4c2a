"""When a failed attempt of a step is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


def seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff: attempt n waits ``initial * factor**(n-1)``, at most ``cap``, before attempt n+1.

    ``initial`` and ``cap`` are seconds or timedeltas. ``max_attempts`` counts the first attempt too; None tries without
    end. ``jitter`` spreads each wait by up to that fraction to both sides.
    """

    initial: float | timedelta = 0.2
    factor: float = 2.0
    cap: float | timedelta = 30.0
    max_attempts: int | None = 3
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"Retry(max_attempts={self.max_attempts}): at least one attempt is made; use 1 or more")
        if seconds(self.initial) < 0 or seconds(self.cap) < 0 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(f"{self}: initial and cap must not be negative, factor at least 1, jitter from 0 to 1")

    def delay(self, attempt: int, random: Random) -> float | None:
        """Seconds to wait after failed attempt ``attempt`` (1 is the first), or None when it was the last."""
        if self.max_attempts is not None and attempt >= self.max_attempts:
            return None
        exponent = min(attempt - 1, 64)
        try:
            wait = min(seconds(self.initial) * self.factor**exponent, seconds(self.cap))
        except OverflowError:
            wait = seconds(self.cap)
        return wait * (1 + self.jitter * (2 * random.random() - 1))


STEP_RETRY = Retry()
"""The default for an error that the step itself raised."""

TRANSPORT_RETRY = Retry(max_attempts=None)
"""The default when no service answered: nothing is known to have failed, so it is tried until one does."""
