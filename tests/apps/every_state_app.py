"""Workflows that come to stand in every state there is, for the tests of what the commands print as JSON."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from durablectl import Context, Retry, TerminalError, workflow

HOUR = timedelta(hours=1)


async def hold() -> None:
    await asyncio.sleep(3600)


async def refuse(_: object) -> None:
    raise TerminalError("the order is closed")


async def flaky() -> None:
    raise ConnectionError("the bank does not answer")


async def undo(what: str) -> str:
    return what


@workflow
async def whole(ctx: Context, order: dict[str, Any]) -> dict[str, Any]:
    """Something of everything, and completes."""
    ctx.set("cart", [order])
    ctx.defer(undo, "never")
    await ctx.step(abs, -1)
    await ctx.sleep(0.01)
    await ctx.race(ctx.sleep(0.01), ctx.awakeable("late"))
    await ctx.gather(ctx.step(abs, 1, name="a"), ctx.step(abs, 2, name="b"))
    await ctx.send(short, 1)
    return {"paid": await ctx.invoke(short, order["amount"]), "note": None}


@workflow
async def short(ctx: Context, amount: int) -> int:
    return await ctx.step(abs, amount)


@workflow
async def failing(ctx: Context, order: object) -> None:
    await ctx.step(abs, -1)
    await ctx.step(refuse, order)


@workflow
async def raising(_: Context) -> None:
    raise ValueError("no such 'shop'")


@workflow
async def retrying(ctx: Context) -> None:
    await ctx.step(flaky, retry=Retry(initial=3600, max_attempts=5))


@workflow
async def asking(ctx: Context) -> object:
    return await ctx.awakeable("approval", timeout=HOUR)


@workflow
async def listening(ctx: Context) -> object:
    return await ctx.signal("note")


@workflow
async def sleeping(ctx: Context) -> None:
    await ctx.sleep(HOUR)


@workflow
async def delegating(ctx: Context) -> object:
    return await ctx.invoke(asking)


@workflow
async def busy(ctx: Context) -> None:
    ctx.defer(undo, "the order")
    await ctx.step(abs, -1)
    await ctx.step(hold)
