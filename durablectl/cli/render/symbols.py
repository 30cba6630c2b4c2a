"""Signs that tell a status without colour, each one column wide, and their ASCII where they cannot be encoded."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from durablectl.model.status import Status


class Sign(NamedTuple):
    """A character, and the rich style of what it stands for."""

    glyph: str
    style: str


DONE = Sign("✓", "green")
FAILED = Sign("✗", "red")
RETRYING = Sign("↻", "yellow")
RUNNING = Sign("▶", "cyan")
UNKNOWN = Sign("?", "")

STATUS = {
    Status.PENDING: Sign("…", "blue"),
    Status.RUNNING: RUNNING,
    Status.SUSPENDED: Sign("☾", "magenta"),
    Status.PAUSED: Sign("‖", "yellow"),
    Status.COMPLETED: DONE,
    Status.FAILED: FAILED,
    Status.CANCELLED: Sign("⊘", "bright_black"),
}

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_MICROSECONDS = 100_000

_ASCII = {
    "✓": "+",
    "✗": "x",
    "↻": "~",
    "▶": ">",
    "…": ".",
    "☾": "z",
    "‖": "=",
    "⊘": "-",
    "●": "#",
    "◐": "o",
    "→": ">",
    "│": "|",
    "└": "`",
    "█": "#",
    "░": ".",
    "▒": "~",
    "▓": "%",
    "·": "-",
    **{frame: "|/-\\"[index % 4] for index, frame in enumerate(_SPINNER)},
}


def status_sign(status: str) -> Sign:
    """Other writers may store statuses of their own; those have the sign ``?``."""
    return STATUS.get(status, UNKNOWN)  # type: ignore[call-overload, no-any-return]


def spinner(now: int) -> Sign:
    """The running sign in motion; ``now`` is in microseconds."""
    return Sign(_SPINNER[now // _FRAME_MICROSECONDS % len(_SPINNER)], RUNNING.style)


def to_ascii(error: UnicodeError) -> tuple[str, int]:
    """An error handler for codecs: signs become ASCII of the same width, everything else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    cut = error.object[error.start : error.end]
    return "".join(
        _ASCII.get(character) or character.encode("ascii", "backslashreplace").decode() for character in cut
    ), error.end


ERROR_HANDLER = "durablectl.signs"
codecs.register_error(ERROR_HANDLER, to_ascii)
