"""Requests that are made at the same time."""

from __future__ import annotations

import asyncio

import pytest

from durablectl.model.concurrency import map_concurrently, run_concurrently


async def test_results_come_in_the_order_of_the_items():
    first_may_end = asyncio.Event()

    async def double(number: int) -> int:
        if number == 1:
            await first_may_end.wait()
        elif number == 3:
            first_may_end.set()
        return 2 * number

    assert await map_concurrently(double, [1, 2, 3]) == [2, 4, 6]
    assert await map_concurrently(double, []) == []


async def test_no_more_calls_are_under_way_than_allowed():
    under_way, most = 0, 0

    async def call(_: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _turn in range(5):
            await asyncio.sleep(0)
        under_way -= 1

    await map_concurrently(call, range(20), at_once=3)
    assert (under_way, most) == (0, 3)


async def test_first_error_is_raised_once_the_other_calls_have_ended():
    ended = []

    async def fail() -> None:
        raise ValueError("first")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    with pytest.raises(ValueError, match="first"):
        await run_concurrently(wait, fail, wait)
    assert len(ended) == 2
