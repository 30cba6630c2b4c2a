"""Logging what happens again and again once a minute, with how often it did."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 60.0
_MOST_KEYS = 1000


class ThrottledLog:
    """Writes the first message of a key at once, and another one a minute later, which counts those in between."""

    def __init__(self, log: logging.Logger, seconds: float = _SECONDS) -> None:
        self._log = log
        self._seconds = seconds
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def write(
        self,
        key: str,
        message: str,
        *args: object,
        level: int = logging.WARNING,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Log the message unless one of this key was logged within the last minute."""
        now = time.monotonic()
        if now < self._next.get(key, 0.0):
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        if len(self._next) >= _MOST_KEYS:
            self._next.clear()
            self._left_out.clear()
        self._next[key] = now + self._seconds
        left_out = self._left_out.pop(key, 0)
        if left_out:
            message, args = f"{message} (%d more like this since the last one)", (*args, left_out)
        self._log.log(level, message, *args, extra=extra)
