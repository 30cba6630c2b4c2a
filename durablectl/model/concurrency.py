"""Waiting for several requests at once: the results in order, and nothing left under way after an error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

_A = TypeVar("_A")
_T = TypeVar("_T")

AT_ONCE = 16
"""Requests that one process has under way for its own start: few enough not to flood a server."""


async def map_concurrently(
    function: Callable[[_A], Awaitable[_T]], items: Iterable[_A], at_once: int = AT_ONCE
) -> list[_T]:
    """Call ``function`` with each item, at most ``at_once`` at a time; return the results in the order of the items.

    The first error cancels the other calls, and is raised once they have ended.
    """
    places = asyncio.Semaphore(at_once)

    async def call(item: _A) -> _T:
        async with places:
            return await function(item)

    tasks = [asyncio.create_task(call(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def run_concurrently(*functions: Callable[[], Awaitable[object]]) -> None:
    """Call these at the same time, and wait for all. The first error cancels the others."""
    await map_concurrently(lambda function: function(), functions)
