"""The queries that read more than one workflow: shared by those who ask the same, and few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class Queries:
    """``at_once`` of them run; one that was answered leaves its place empty for ``rest`` times as long as it took.

    The work of a query is the NATS server's, which executing workflows need too: only whoever asks can hold back.
    """

    def __init__(self, at_once: int = 8, rest: float = 0.0) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._rest = rest
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, key: Hashable, query: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``query``, or of the same one, by its key, that has not begun yet: no answer is out of date."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = asyncio.create_task(self._run(key, query))
        answer: T = await asyncio.shield(waiting)
        return answer

    async def _run(self, key: Hashable, query: Callable[[], Awaitable[T]]) -> T:
        await self._places.acquire()
        del self._waiting[key]
        loop = asyncio.get_running_loop()
        began = loop.time()
        rest = 0.0  # A server that does not answer is not spared by waiting.
        try:
            answer = await query()
            rest = self._rest * (loop.time() - began)
            return answer
        finally:
            loop.call_later(rest, self._places.release)
