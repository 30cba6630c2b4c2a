"""The bounds of every duration, number and size that a caller gives. Whatever takes one checks it here, at once.

One meaning everywhere:

- A duration is a number of seconds or a timedelta, from 0 to 100 years. That fits into every unit of the stored records
  and of JetStream: microseconds, nanoseconds, and dates up to the year 9999.
- Zero is "at once": a wait of zero ends, a delay of zero starts, and a time limit of zero passes at once, but lets
  through what is there already. Where that makes no sense, as for an interval, zero is refused.
- None, where it may be given, is "without limit".
- Negative, infinite, NaN and huge values, booleans and texts are refused with a sentence. None of them is rounded to
  something else.
"""

from __future__ import annotations

import math
from datetime import timedelta

from durablectl.errors import OutOfRangeError

LONGEST_SECONDS = 100 * 365 * 86_400
"""100 years: the longest duration that can be asked for."""

MOST_ATTEMPTS = 1_000_000_000
MOST_SLOTS = 1_000_000
MOST_REPLICAS = 5

_MICROSECONDS = 1_000_000
_SHOWN = 50


def checked_seconds(value: object, what: str, *, zero: bool = True) -> float:
    """Convert a duration to seconds; OutOfRangeError for one that is not from 0 to 100 years.

    Args:
        value: Seconds as a number, or a timedelta.
        what: What it is the value of: begins the sentence of the error.
        zero: Whether it may be zero.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else _float(value)
    if not 0 <= seconds <= LONGEST_SECONDS or (seconds == 0 and not zero):
        least = "0 seconds" if zero else "more than 0 seconds, up"
        raise OutOfRangeError(
            f"{what} cannot be {_shown(value)}: use {least} to 100 years, as a number of seconds or a timedelta."
        )
    return abs(seconds)  # -0.0 is zero


def checked_microseconds(value: object, what: str, *, zero: bool = True) -> int:
    """Convert a duration to microseconds; OutOfRangeError as of ``checked_seconds``."""
    seconds = checked_seconds(value, what, zero=zero)
    return value // timedelta(microseconds=1) if isinstance(value, timedelta) else round(seconds * _MICROSECONDS)


def checked_number(value: object, what: str, least: float, most: float) -> float:
    """Convert a number to float; OutOfRangeError for one that is not from ``least`` to ``most``."""
    number = _float(value)
    if not least <= number <= most:
        raise OutOfRangeError(f"{what} cannot be {_shown(value)}: use a number from {least:,} to {most:,}.")
    return number


def checked_count(value: object, what: str, least: int, most: int) -> int:
    """Return a whole number unchanged; OutOfRangeError for what is none, or not from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise OutOfRangeError(f"{what} cannot be {_shown(value)}: use a whole number from {least:,} to {most:,}.")
    return value


def _float(value: object) -> float:
    """The number as a float, NaN for what is none."""
    if isinstance(value, (bool, str, bytes, bytearray)):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number is a TypeError
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return math.nan


def _shown(value: object) -> str:
    try:
        text = str(value) if isinstance(value, timedelta) else repr(value)
    except Exception:  # noqa: BLE001 - an int of thousands of digits, or a class of the app
        return f"this {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
