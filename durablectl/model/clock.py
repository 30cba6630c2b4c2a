"""The one door through which time enters, so that tests do not sleep."""

from __future__ import annotations

import time
from datetime import UTC, datetime

MICROSECONDS = 1_000_000
NANOSECONDS = 1_000_000_000
"""Of a second, the unit of durations in the JetStream API."""
CLOCK_TOLERANCE = 2 * MICROSECONDS
"""A clock that differs from the server's by more is named."""


class Clock:
    """Wall-clock time in microseconds since the Unix epoch, UTC: the unit of every stored time."""

    def now(self) -> int:
        return time.time_ns() // 1000


class SystemClock(Clock):
    """The clock of this machine, or that of the server once an answer has shown that the machine is wrong."""

    _offset: int | None = None
    """Nanoseconds that the server's time is beyond the monotonic clock of this machine."""

    def now(self) -> int:
        return self.machine_now() - (self.error if self.is_wrong else 0)

    @property
    def error(self) -> int:
        """By how many microseconds the machine is ahead of the server; negative where it is behind, 0 if unknown."""
        if self._offset is None:
            return 0
        return self.machine_now() - (time.monotonic_ns() + self._offset) // 1000

    @property
    def is_wrong(self) -> bool:
        return abs(self.error) > CLOCK_TOLERANCE

    def machine_now(self) -> int:
        """Without the correction."""
        return super().now()

    def compare(self, timestamp: str, asked_ns: int) -> None:
        """Hear the server's time in an answer (RFC 3339) to what was asked at ``asked_ns`` of the monotonic clock."""
        whole, _, decimals = timestamp.rstrip("Z").partition(".")
        seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
        self._offset = seconds * NANOSECONDS + int(decimals[:9].ljust(9, "0")) - (asked_ns + time.monotonic_ns()) // 2

    def forget(self) -> None:
        """Trust the machine again."""
        self._offset = None


SYSTEM_CLOCK = SystemClock()


class SteadyClock(Clock):
    """Begins with the time of this machine and goes on by itself: setting the machine's clock does not move it."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        return (time.monotonic_ns() + self._offset) // 1000

    def agree(self, timestamp_us: int, asked_us: int, answered_us: int) -> int:
        """Follow another clock, read between two readings of this one; by how many microseconds this one moved."""
        wrong = min(timestamp_us - asked_us, 0) or max(timestamp_us - answered_us, 0)
        self._offset += wrong * 1000
        return wrong


def to_datetime(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / MICROSECONDS, UTC)


def to_rfc3339(microseconds: int) -> str | None:
    """RFC 3339 in UTC with milliseconds; None for 0, which stands for "not set"."""
    if not microseconds:
        return None
    try:
        time_utc = to_datetime(microseconds)
    except (OverflowError, ValueError, OSError):
        return None
    return time_utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_utc.microsecond // 1000:03d}Z"
