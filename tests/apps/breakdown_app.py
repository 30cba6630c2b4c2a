"""What the tests of breakdowns run: workflows that a service, a person, their code or their processor can hold up."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from durablectl import Context, Retry, workflow

BREAKDOWN = "BREAKDOWN_DIRECTORY"
"""Files in it switch a breakdown on, or off again."""

_STUBBORN = Retry(initial=0.05, factor=40, cap=3600, jitter=0, max_attempts=None)
"""Three attempts within seconds, then none until somebody asks for one."""


def _exists(name: str) -> bool:
    return Path(os.environ[BREAKDOWN], name).exists()


def charge(order: Any) -> str:
    """Fail until the file ``repaired`` exists."""
    if not _exists("repaired"):
        raise ConnectionError(f"order {order}: the payment service refused the connection")
    return "charged"


@workflow
async def pay(ctx: Context, order: Any) -> Any:
    return await ctx.step(charge, order, retry=_STUBBORN)


@workflow
async def call(ctx: Context, name: str) -> Any:
    return await ctx.call("HelloService", "SayHello", {"name": name})


@workflow
async def approve(ctx: Context) -> Any:
    return await ctx.awakeable("approval")


@workflow
async def deliver(ctx: Context) -> Any:
    return await ctx.signal("delivered")


@workflow
async def remind(ctx: Context, seconds: float) -> Any:
    await ctx.sleep(seconds)
    return "reminded"


async def ship() -> str:
    """Hang until the file ``shipped`` exists, unless ``unstuck`` does when it begins."""
    if _exists("unstuck"):
        return "shipped"
    while not _exists("shipped"):
        await asyncio.sleep(0.02)
    return "shipped"


@workflow
async def send(ctx: Context) -> Any:
    return await ctx.step(ship)


def die() -> None:
    """Kill the processor until the file ``cured`` exists."""
    if not _exists("cured"):
        os._exit(9)


@workflow
async def poison(ctx: Context) -> Any:
    await ctx.step(die)
    return "survived"


async def spin() -> None:
    """Block the event loop until the file ``yielded`` exists."""
    while not _exists("yielded"):
        time.sleep(0.01)  # noqa: ASYNC251  # the breakdown


@workflow
async def block(ctx: Context) -> Any:
    await ctx.step(spin)
    return "let go"


@workflow
async def change(ctx: Context) -> Any:
    """Asks for another step once the file ``changed`` exists."""
    await ctx.step(str, 1, name="second" if _exists("changed") else "first")
    await ctx.signal("continue")
    return "changed"


def decline() -> None:
    raise ValueError("card declined")


@workflow
async def refuse(ctx: Context) -> Any:
    return await ctx.step(decline, retry=Retry(max_attempts=1))


@workflow
async def keep(_ctx: Context, pad: str) -> Any:
    """Take up room: its input, and the same as its output."""
    return pad
