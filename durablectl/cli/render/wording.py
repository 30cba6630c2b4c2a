"""Times, durations and stored values as words."""

from __future__ import annotations

import json
from typing import Any

from durablectl.cli.output import printable
from durablectl.model.clock import MICROSECONDS, to_rfc3339

_MILLISECONDS = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(microseconds: int) -> str:
    """``350 ms``, ``1.2 s``, ``12 s``, ``2 min 05 s``, ``3 h 20 min``, ``4 d 6 h``; never negative."""
    microseconds = max(0, microseconds)
    if microseconds < MICROSECONDS:
        return f"{microseconds // _MILLISECONDS} ms"
    seconds = microseconds // MICROSECONDS
    if seconds < 10:  # noqa: PLR2004 - where a tenth still says something
        return f"{microseconds // 100_000 / 10:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE:02d} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE:02d} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def seconds(microseconds: int) -> str:
    """Whole seconds, for a countdown or a running clock that would flicker with tenths."""
    return duration(max(0, microseconds) // MICROSECONDS * MICROSECONDS) if microseconds >= MICROSECONDS else "0 s"


def ago(moment: int, now: int) -> str:
    """``5 min ago``, in the largest unit alone; empty for 0."""
    if not moment:
        return ""
    passed = max(0, now - moment) // MICROSECONDS
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if passed >= unit:
            return f"{passed // unit} {name} ago"
    return f"{passed} s ago"


def iso(moment: int) -> str:
    return to_rfc3339(moment) or ""


def one_line(text: str) -> str:
    """Without control characters, and with line breaks and tabs as visible escapes too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def value(data: Any) -> str:
    """A stored value as JSON on one line."""
    return one_line(json.dumps(data, ensure_ascii=False))


def shortened(text: str, width: int) -> str:
    """At most ``width`` characters, the last one an ellipsis where something is missing."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
