"""SharedQueries that are shared, and held back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from durablectl.http.backend import SharedQueries
from helpers.waiting import wait_until


@dataclass
class Slow:
    """A query that ends when it is let go, and counts how often it was begun."""

    begun: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.gate.wait()
        return number


async def asked(queries: SharedQueries, key: str, query: Slow, times: int = 1) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(queries.ask(key, query)) for _ in range(times)]
    await asyncio.sleep(0)
    return tasks


async def test_callers_during_a_query_share_the_next_one():
    queries, query = SharedQueries(at_once=1), Slow()
    first = await asked(queries, "a", query)
    await wait_until(lambda: query.begun == 1)
    others = await asked(queries, "a", query, 20)
    query.gate.set()
    assert await asyncio.gather(*first, *others) == [1] + 20 * [2]


async def test_different_queries_share_nothing():
    queries, query = SharedQueries(), Slow()
    query.gate.set()
    tasks = [*await asked(queries, "a", query), *await asked(queries, "b", query)]
    assert sorted(await asyncio.gather(*tasks)) == [1, 2]


async def test_caller_that_leaves_does_not_cancel_the_query():
    queries, query = SharedQueries(at_once=1), Slow()
    one, other = await asked(queries, "a", query, 2)
    one.cancel()
    query.gate.set()
    assert await other == 1
    assert one.cancelled()


async def test_a_place_stays_empty_for_a_multiple_of_the_time_that_a_query_took():
    queries, query = SharedQueries(at_once=1, rest_ratio=5.0), Slow()
    loop = asyncio.get_running_loop()
    first = await asked(queries, "a", query)
    await asyncio.sleep(0.05)
    query.gate.set()
    await asyncio.gather(*first)
    ended = loop.time()
    await queries.ask("a", query)
    assert loop.time() - ended >= 0.2


async def test_error_reaches_all_callers_and_frees_the_slot():
    queries = SharedQueries(at_once=1)

    async def fails() -> None:
        raise ValueError("no")

    for _ in range(2):
        answers = await asyncio.gather(*(queries.ask("a", fails) for _ in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no"] * 3
    with pytest.raises(ValueError, match="no"):
        await queries.ask("b", fails)
