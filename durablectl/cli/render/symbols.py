"""Signs that tell a status without colour, each one column wide, and their ASCII where they cannot be encoded."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from durablectl.model.status import Status


class Symbol(NamedTuple):
    """A character, and the rich style of what it stands for."""

    glyph: str
    style: str


DONE = Symbol("✓", "green")
FAILED = Symbol("✗", "red")
RETRYING = Symbol("↻", "yellow")
RUNNING = Symbol("▶", "cyan")
UNKNOWN = Symbol("?", "")

STATUS = {
    Status.PENDING: Symbol("…", "blue"),
    Status.RUNNING: RUNNING,
    Status.SUSPENDED: Symbol("☾", "magenta"),
    Status.PAUSED: Symbol("‖", "yellow"),
    Status.COMPLETED: DONE,
    Status.FAILED: FAILED,
    Status.CANCELLED: Symbol("⊘", "bright_black"),
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


def status_symbol(status: str) -> Symbol:
    """Other writers may store statuses of their own; those have the symbol ``?``."""
    return STATUS.get(status, UNKNOWN)  # type: ignore[call-overload, no-any-return]


def spinner(now: int) -> Symbol:
    """The running symbol in motion; ``now`` is in microseconds."""
    return Symbol(_SPINNER[now // _FRAME_MICROSECONDS % len(_SPINNER)], RUNNING.style)


def to_ascii(error: UnicodeError) -> tuple[str, int]:
    """An error handler for codecs: symbols become ASCII of the same width, everything else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    cut = error.object[error.start : error.end]
    return "".join(
        _ASCII.get(character) or character.encode("ascii", "backslashreplace").decode() for character in cut
    ), error.end


ERROR_HANDLER = "durablectl.symbols"
codecs.register_error(ERROR_HANDLER, to_ascii)
