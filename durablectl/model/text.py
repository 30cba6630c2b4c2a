"""Text from outside, made fit to be stored: whatever an app raises or an operator types."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_ERROR = 8 * 1024


def storable(text: str, limit: int | None = LONGEST_ERROR) -> str:
    """At most ``limit`` characters, if that is given, and none that UTF-8 cannot hold."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with a space behind it, for the hint about a word that is not known; empty where none is alike."""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {close[0]!r}? " if close else ""


def message_of(error: BaseException, limit: int = LONGEST_ERROR) -> str:
    """What an exception says, or its class where it says nothing or cannot be printed."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception's own code may fail as well
        text = ""
    return storable(text, limit) or type(error).__name__
