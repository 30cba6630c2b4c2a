"""What the processors of the soak run: the workflows of the chaos tests, and some that fail or wait for signals.

The processor that is never killed also notes, once a second, how many asyncio tasks it has.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

from chaos_app import cargo, chain, effect, nap_chain, voyage  # noqa: F401 - the app holds them too
from durablectl import Context, Retry, workflow

TASKS = "SOAK_TASKS"
"""Environment variable: the file into which the number of tasks goes."""

_noted_at = 0.0


def _note_tasks() -> None:
    global _noted_at  # noqa: PLW0603 - one a process
    path = os.environ.get(TASKS)
    if path and time.monotonic() - _noted_at >= 1:
        _noted_at = time.monotonic()
        Path(path).write_text(str(len(asyncio.all_tasks())), encoding="utf-8")


async def flaky(invocation_id: str, step: str) -> str:
    token = await effect(invocation_id, step)
    if random.random() < 0.4:
        raise RuntimeError("not this time")
    return token


@workflow
async def quick(ctx: Context, steps: Any) -> Any:
    tokens = [await ctx.step(effect, ctx.invocation_id, f"s{n}", name=f"s{n}") for n in range(steps)]
    _note_tasks()
    return tokens


@workflow
async def scheduled(ctx: Context, steps: Any) -> Any:
    return [await ctx.step(effect, ctx.invocation_id, f"s{n}", name=f"s{n}") for n in range(steps)]


@workflow
async def failing(ctx: Context, steps: Any) -> Any:
    """Steps that fail now and then, until they succeed."""
    retry = Retry(initial=0.02, max_attempts=40, jitter=0)
    return [await ctx.step(flaky, ctx.invocation_id, f"s{n}", name=f"s{n}", retry=retry) for n in range(steps)]


@workflow
async def listener(ctx: Context, _: Any) -> Any:
    """Signals in the order sent, until one says that it is the last; a step after each."""
    values: list[str] = []
    tokens: list[str] = []
    while not values or values[-1] != "last":
        values.append(await ctx.signal("word"))
        number = len(tokens)
        tokens.append(await ctx.step(effect, ctx.invocation_id, f"s{number}", name=f"s{number}"))
    return {"values": values, "tokens": tokens}
