"""How far a step may be ahead of the oldest unfinished one."""

from __future__ import annotations

import asyncio

from durablectl.storage.records.journal import READ_AT_ONCE


class Window:
    """Keeps every started step within READ_AT_ONCE numbers of the oldest unfinished one."""

    def __init__(self) -> None:
        self._low = 0
        self._done: set[int] = set()
        self._moved: asyncio.Event | None = None

    def finished(self, number: int) -> None:
        self._done.add(number)
        while self._low in self._done:
            self._done.discard(self._low)
            self._low += 1
        if self._moved is not None:
            self._moved.set()

    def is_open(self, number: int) -> bool:
        return number - self._low < READ_AT_ONCE

    async def wait(self, number: int) -> None:
        if self._moved is None:
            self._moved = asyncio.Event()
        while not self.is_open(number):
            self._moved.clear()
            await self._moved.wait()
