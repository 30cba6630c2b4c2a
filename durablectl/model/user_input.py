"""Durations, times and ranges of steps as users type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from durablectl.errors import UsageError
from durablectl.limits import LONGEST_SECONDS
from durablectl.model.clock import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS: Mapping[str, float] = {
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_PART = re.compile(rf"({_NUMBER})(us|µs|ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

_SHOWN = 50

LAST_STEPS = (-50, None)
"""What is shown of a long journal."""


def parse_duration(text: str, option: str) -> float:
    """``90``, ``1m30s``, ``500ms``, ``3d``. UsageError names the ``option``."""
    if re.fullmatch(_NUMBER, text):
        value = float(text)
    elif _DURATION.fullmatch(text):
        value = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise UsageError(f"The {option} cannot be used: {text!r} is not a duration such as 30s, 5m, 2h30m or 3d.")
    if value <= 0:
        raise UsageError(f"The {option} cannot be used: it must be longer than zero.")
    if value > LONGEST_SECONDS:
        raise UsageError(f"The {option} cannot be used: {text[:_SHOWN]!r} is longer than 100 years.")
    return value


def parse_future_time(text: str, option: str, now: int) -> int:
    """The time that is a duration after ``now``, both in microseconds."""
    return _within_reach(now / MICROSECONDS + parse_duration(text, option), text, option)


def parse_past_time(text: str, option: str, now: int) -> int:
    """The time that is a duration before ``now``, both in microseconds, or what ``parse_time`` reads.

    A duration needs its unit: a number alone might be a year.
    """
    text = text.strip()
    if _DURATION.fullmatch(text):
        return _within_reach(now / MICROSECONDS - parse_duration(text, option), text, option)
    return parse_time(text, option, "Write it like 2h or 3d for so long ago, or ")


def parse_time(text: str, option: str, also: str = "Write it like ") -> int:
    """RFC 3339, a date, or a date and time, in microseconds; what names no zone is in that of this machine.

    ``also`` begins the hint of the UsageError.
    """
    try:
        # RFC 3339 writes zones that Python 3.11 and later read, Z among them.
        at = datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"The {option} cannot be used: {text!r} is not a time.",
            hint=f"{also}2026-11-22, 2026-11-22T09:00 or 2026-11-22T09:00:00Z.",
        ) from None
    return _within_reach(at, text, option)


def _within_reach(at: float, text: str, option: str) -> int:
    if not 0 < at < _LATEST:
        raise UsageError(f"The {option} cannot be used: {text!r} does not lie between 1970 and 9999.")
    return int(at * MICROSECONDS)


def parse_step_range(text: str | None, option: str) -> tuple[int | None, int | None]:
    """As Python slices: ``0:20``, ``-10:``, ``:``; a number alone is that step, and None stands for LAST_STEPS.

    UsageError names the ``option``.
    """
    if text is None:
        return LAST_STEPS
    found = re.fullmatch(r"(-?\d{1,9})?(:(-?\d{1,9})?)?", text.strip(), re.ASCII)
    if not text.strip() or found is None:
        raise UsageError(
            f"The {option} cannot be used: {text!r} is not a range of steps.",
            hint="Write it like 0:20, -10: for the last ten, or : for all.",
        )
    first, rest, last = found.groups()
    start = None if first is None else int(first)
    if rest is None and start is not None:
        return start, start + 1 or None  # -1 is the last one, and has nothing behind it
    return start, None if last is None else int(last)
