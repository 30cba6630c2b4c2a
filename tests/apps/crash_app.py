"""The app of the crash tests: every step leaves a line in the file $EFFECTS, which no crash can take back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from durablectl import Context, workflow


def leave(*words: object) -> None:
    line = " ".join(map(str, [*words, os.getpid()])) + "\n"
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


async def effect(invocation_id: str, number: int, seconds: float, gate: str = "") -> int:
    """With a gate, the step ends once there is such a file."""
    leave("begin", invocation_id, number)
    await asyncio.sleep(random.uniform(0.5, 1.5) * seconds)
    while gate and not await asyncio.to_thread(Path(gate).exists):
        await asyncio.sleep(0.02)
    leave("end", invocation_id, number)
    return os.getpid()


def stubborn(seconds: float) -> None:
    leave("begin", "stubborn", 0)
    time.sleep(seconds)


def is_second() -> bool:
    return Path(os.environ["EFFECTS"]).read_text().count("begin") > 1


async def swallow(invocation_id: str) -> int:
    leave("begin", invocation_id, 0)
    if is_second():
        return os.getpid()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)


@workflow
async def swallows_its_cancellation(ctx: Context, _input: Any) -> Any:
    return await ctx.step(swallow, ctx.invocation_id)


@workflow
async def swallows_all_around(ctx: Context, _input: Any) -> Any:
    while True:
        try:
            return await ctx.gather(ctx.step(swallow, ctx.invocation_id))
        except BaseException:  # noqa: BLE001, S110 - what the test is about
            pass


@workflow
async def chain(ctx: Context, order: Any) -> Any:
    more = order["seconds"], order.get("gate", "")
    return [await ctx.step(effect, ctx.invocation_id, n, *more) for n in range(order["steps"])]


@workflow
async def fan(ctx: Context, order: Any) -> Any:
    return await ctx.gather(*(ctx.step(effect, ctx.invocation_id, n, order["seconds"]) for n in range(order["steps"])))


@workflow
async def holds_a_thread(ctx: Context, seconds: Any) -> Any:
    await ctx.step(stubborn, seconds)


@workflow
async def holds_a_thread_of_asyncio(ctx: Context, seconds: float) -> None:
    async def waits_for_it() -> None:
        await asyncio.to_thread(stubborn, seconds)

    await ctx.step(waits_for_it)


@workflow
async def exits(ctx: Context, where: Any) -> Any:
    if where == "handler":
        sys.exit("from the handler")
    await ctx.step(sys.exit, "from a step")


@workflow
async def says(ctx: Context, text: Any) -> Any:
    ctx.log.info("It says %s.", text)
    return text
