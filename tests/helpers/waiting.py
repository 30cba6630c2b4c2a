"""The one loop with a deadline, as a coroutine and for code without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE = 60.0
"""Seconds that only a hang takes, however busy the machine is."""


class NotInTimeError(AssertionError):
    """A condition that did not become true before the deadline."""


class _Deadline:
    def __init__(self, timeout: float, detail: Callable[[], object] | None) -> None:
        self._timeout = timeout
        self._detail = detail
        self._at = time.monotonic() + timeout

    def check(self, answer: object) -> None:
        """Raise when the time is over."""
        if time.monotonic() >= self._at:
            more = f"; {self._detail()}" if self._detail else ""
            raise NotInTimeError(f"not within {self._timeout} s; the last answer was {answer!r}{more}")


async def wait_until(
    condition: Callable[[], Awaitable[Any] | Any],
    timeout: float = PATIENCE,
    every: float = 0.01,
    detail: Callable[[], object] | None = None,
) -> Any:
    """Return the first true answer of ``condition``, which is asked every few milliseconds.

    After ``timeout`` seconds the test fails and shows the last answer, and ``detail`` if it is given.
    """
    deadline = _Deadline(timeout, detail)
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        deadline.check(answer)
        await asyncio.sleep(every)


def block_until(
    condition: Callable[[], Any],
    timeout: float = PATIENCE,
    every: float = 0.01,
    detail: Callable[[], object] | None = None,
) -> Any:
    """Wait as ``wait_until`` does, and block the thread meanwhile."""
    deadline = _Deadline(timeout, detail)
    while not (answer := condition()):
        deadline.check(answer)
        time.sleep(every)
    return answer
