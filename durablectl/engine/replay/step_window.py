"""How far a step may be ahead of the oldest unfinished one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.storage.records.journal import READ_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Collection


class StepWindow:
    """Keeps every started step within READ_AT_ONCE numbers of the oldest unfinished one."""

    def __init__(self, step_count: int = 0, unfinished: Collection[int] = ()) -> None:
        self._low = min(unfinished, default=step_count)
        self._done = {number for number in range(self._low, step_count) if number not in unfinished}
        self._advanced: asyncio.Event | None = None

    def finished(self, number: int) -> None:
        if number >= self._low:
            self._done.add(number)
        while self._low in self._done:
            self._done.discard(self._low)
            self._low += 1
        if self._advanced is not None:
            self._advanced.set()

    def is_open(self, number: int) -> bool:
        return number - self._low < READ_AT_ONCE

    async def wait(self, number: int) -> None:
        if self._advanced is None:
            self._advanced = asyncio.Event()
        while not self.is_open(number):
            self._advanced.clear()
            await self._advanced.wait()
