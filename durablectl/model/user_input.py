"""Durations, times and ranges of steps as users type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from durablectl.durations import is_duration_with_units, parse_seconds
from durablectl.errors import UsageError
from durablectl.model.clock import MICROSECONDS

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

LAST_STEPS = (-50, None)
"""What is shown of a long journal."""


def parse_duration(text: str, option: str) -> float:
    """Read a duration (durablectl.durations) in seconds. UsageError names the ``option``."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"The {option} cannot be used: {error}.") from None


def parse_future_time(text: str, option: str, now: int) -> int:
    """The time that is a duration after ``now``, both in microseconds."""
    return _within_reach(now / MICROSECONDS + parse_duration(text, option), text, option)


def parse_ago(text: str, option: str) -> int | None:
    """How long ago a duration says, in microseconds; None for what names a moment. UsageError names the ``option``."""
    text = text.strip()
    return int(parse_duration(text, option) * MICROSECONDS) if is_duration_with_units(text) else None


def parse_past_time(text: str, option: str, now: int) -> int:
    """The time that is a duration before ``now``, both in microseconds, or what ``parse_time`` reads.

    A duration needs its unit: a number alone might be a year.
    """
    ago = parse_ago(text, option)
    if ago is not None:
        return _within_reach((now - ago) / MICROSECONDS, text, option)
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
