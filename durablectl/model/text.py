"""Text from outside, made fit to be stored: whatever an app raises or an operator types."""

from __future__ import annotations

LONGEST_ERROR = 8 * 1024


def storable(text: str, limit: int | None = LONGEST_ERROR) -> str:
    """At most ``limit`` characters, if that is given, and none that UTF-8 cannot hold."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()


def message_of(error: BaseException, limit: int = LONGEST_ERROR) -> str:
    """What an exception says, or its class where it says nothing or cannot be printed."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception's own code may fail as well
        text = ""
    return storable(text, limit) or type(error).__name__
