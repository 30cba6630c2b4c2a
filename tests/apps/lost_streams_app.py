"""What runs while a stream is deleted: steps in work, sleeps, and quick ones."""

from __future__ import annotations

import asyncio
from typing import Any

from durablectl import workflow


@workflow
async def work(ctx: Any) -> str:
    async def step() -> None:
        await asyncio.sleep(0.3)

    for _ in range(8):
        await ctx.step(step)
    await ctx.sleep(2)
    await ctx.step(step)
    return "done"


@workflow
async def nap(ctx: Any, seconds: float) -> str:
    await ctx.sleep(seconds)
    return "woken"


@workflow
async def quick(_ctx: Any) -> str:
    return "done"
