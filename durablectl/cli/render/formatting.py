"""Times, durations and stored values as words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from durablectl.model.clock import MICROSECONDS, to_datetime, to_rfc3339

if TYPE_CHECKING:
    from datetime import tzinfo

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_CONTROL |= {code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))}


class TimeStyle(StrEnum):
    """The values of ``--time``."""

    RELATIVE = "relative"
    ISO = "iso"
    UNIX = "unix"


@dataclass(frozen=True)
class TimeFormat:
    """``zone`` is that of RFC 3339 times; None for that of this machine."""

    style: TimeStyle
    zone: tzinfo | None = UTC


RELATIVE, ISO = TimeFormat(TimeStyle.RELATIVE), TimeFormat(TimeStyle.ISO)


def duration(microseconds: int) -> str:
    """``0.4 ms``, ``350 ms``, ``1.2 s``, ``12 s``, ``2 min 05 s``, ``3 h 20 min``, ``4 d 6 h``; never negative."""
    microseconds = max(0, microseconds)
    if microseconds < MICROSECONDS:
        return _with_tenths(microseconds, 1000, "ms")
    if microseconds < _MINUTE * MICROSECONDS:
        return _with_tenths(microseconds, MICROSECONDS, "s")
    whole = microseconds // MICROSECONDS
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _with_tenths(microseconds: int, unit: int, name: str) -> str:
    """Below ten of a unit, where a tenth still says something."""
    if microseconds < 10 * unit:
        return f"{microseconds * 10 // unit / 10:.1f} {name}"
    return f"{microseconds // unit} {name}"


def compact(words: str) -> str:
    """A duration for a column: ``2m04s``."""
    return words.replace(" ", "").replace("min", "m")


def elapsed(microseconds: int) -> str:
    """How long something has been going on: a duration that does not flicker with milliseconds."""
    if microseconds < MICROSECONDS:
        return _with_tenths(max(0, microseconds), MICROSECONDS, "s")
    return duration(microseconds)


def countdown(microseconds: int) -> str:
    """In whole seconds, the last of which is 1 s."""
    left = max(0, -(-microseconds // MICROSECONDS))
    return f"{left} s" if left < _MINUTE else duration(left * MICROSECONDS)


def age(moment: int, now: int) -> str:
    """``5 min``, in the largest unit alone; empty for 0."""
    if not moment:
        return ""
    passed = max(0, now - moment) // MICROSECONDS
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if passed >= unit:
            return f"{passed // unit} {name}"
    return f"{passed} s"


def iso(moment: int, zone: tzinfo | None = UTC) -> str:
    """RFC 3339 with milliseconds; ``zone`` None is that of this machine. Empty for 0."""
    written = to_rfc3339(moment) or ""
    if not written or zone is UTC:
        return written
    return to_datetime(moment).astimezone(zone).isoformat(timespec="milliseconds")


def seconds(microseconds: int) -> str:
    """With milliseconds, for a pipe: ``3.456``."""
    return f"{microseconds // MICROSECONDS}.{microseconds // 1000 % 1000:03d}"


def format_time(times: TimeFormat, moment: int, now: int) -> str:
    """``5 min ago``, ``in 5 min``, RFC 3339, or the seconds since 1970 with milliseconds; empty for 0."""
    if not moment or times.style is TimeStyle.ISO:
        return iso(moment, times.zone)
    if times.style is TimeStyle.UNIX:
        return seconds(moment)
    return f"in {age(now, moment)}" if moment > now else f"{age(moment, now)} ago"


def format_time_long(times: TimeFormat, moment: int, now: int) -> str:
    """The same where there is room: a relative time stands beside the absolute one."""
    told = format_time(times, moment, now)
    return f"{iso(moment, times.zone)}  {told}" if told and times.style is TimeStyle.RELATIVE else told


def printable(text: str) -> str:
    """Control and direction characters as visible escapes, so that stored data cannot drive the terminal.

    Newline and tab stay.
    """
    return text.translate(_CONTROL)


def one_line(text: str) -> str:
    """Without control characters, and with line breaks and tabs as visible escapes too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def value(data: Any) -> str:
    """A stored value as JSON on one line."""
    return one_line(json.dumps(data, ensure_ascii=False))


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
