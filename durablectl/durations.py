"""The grammar of durations that users type: in flags, environment variables, contexts and HTTP parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from durablectl.limits import LONGEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS: Mapping[str, float] = {
    "ns": 1e-9,
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
_PART = re.compile(rf"({_NUMBER})({'|'.join(_UNITS)})")
_WITH_UNITS = re.compile(rf"(?:{_PART.pattern})+")
_SHOWN = 50


def is_duration_with_units(text: str) -> bool:
    """Tell whether it is a duration, and no number alone."""
    return bool(_WITH_UNITS.fullmatch(text))


def parse_seconds(text: str) -> float:
    """Convert ``90``, ``1m30s``, ``500ms`` or ``3d``, as Go writes durations and with days and weeks, to seconds.

    Raises ValueError, with half a sentence, for anything else, and for what is not above zero and up to 100 years.
    """
    if re.fullmatch(_NUMBER, text):
        value = float(text)
    elif is_duration_with_units(text):
        value = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        message = f"{text!r} is not a duration such as 30s, 5m, 2h30m or 3d"
        raise ValueError(message)
    if value <= 0:
        message = "it must be longer than zero"
        raise ValueError(message)
    if value > LONGEST_SECONDS:
        message = f"{text[:_SHOWN]!r} is longer than 100 years"
        raise ValueError(message)
    return value
