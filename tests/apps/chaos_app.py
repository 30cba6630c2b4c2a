"""What the processors of the chaos and failover tests run: workflows whose every effect leaves a line in a file.

A line tells invocation, step, moment and a token of its own; the token is the step's result. So the journal tells which
execution of a step was recorded, and the file how often and when it was executed.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from durablectl import Context, Retry, StepError, TerminalError, workflow

EFFECTS = "CHAOS_EFFECTS"
"""Environment variable: the file of effects. Beside it, a file named after an invocation lets its last step succeed."""

HEALED = "all-healed"
STEPS = Retry(initial=0.05, max_attempts=2, jitter=0)


def _write(invocation_id: str, step: str, token: str) -> None:
    line = {"id": invocation_id, "step": step, "token": token, "at": time.time_ns() // 1000, "pid": os.getpid()}
    descriptor = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


async def effect(invocation_id: str, step: str, seconds: float = 0.0) -> str:
    token = uuid.uuid4().hex
    _write(invocation_id, step, token)
    await asyncio.sleep(seconds)
    return token


async def last(invocation_id: str, is_broken: bool) -> str:
    token = await effect(invocation_id, "last")
    directory = Path(os.environ[EFFECTS]).parent
    if is_broken and not ((directory / invocation_id).exists() or (directory / HEALED).exists()):
        raise TerminalError("not healed yet")
    return token


@workflow
async def cargo(ctx: Context, plan: Any) -> Any:
    me = ctx.invocation_id
    ctx.defer(effect, me, "unload", name="unload")
    loaded = await ctx.step(effect, me, "load", plan["step"], name="load")
    await ctx.sleep(plan["sleep"] / 2)
    return [loaded, await ctx.step(effect, me, "ship", name="ship")]


@workflow
async def voyage(ctx: Context, plan: Any) -> Any:
    """One of everything: steps side by side, a sleep, an answer from outside, a child, a race, a failure."""
    me, tokens = ctx.invocation_id, []
    ctx.defer(effect, me, "undo-1", name="undo-1")
    tokens.append(await ctx.step(effect, me, "first", plan["step"], name="first"))
    ctx.defer(effect, me, "undo-2", 0.02, name="undo-2")
    tokens += await ctx.gather(
        ctx.step(effect, me, "left", plan["step"], name="left"), ctx.step(effect, me, "right", name="right")
    )
    await ctx.sleep(plan["sleep"])
    try:
        answer: Any = await ctx.awakeable("approval")
    except StepError as error:
        answer = error.error
    child: Any = await ctx.invoke("cargo", plan)
    winner, value = await ctx.race(ctx.sleep(plan["race"]), ctx.step(effect, me, "racer", 0.1, name="racer"))
    tokens.append(await ctx.step(last, me, plan["broken"], name="last", retry=STEPS))
    return {"tokens": tokens, "answer": answer, "child": child, "race": [winner, value]}


@workflow
async def chain(ctx: Context, plan: Any) -> Any:
    """Steps one after the other; ``plan``: how many, and how many seconds each."""
    steps, seconds = plan
    return [await ctx.step(effect, ctx.invocation_id, f"s{n}", seconds, name=f"s{n}") for n in range(steps)]


@workflow
async def nap_chain(ctx: Context, plan: Any) -> Any:
    """Steps with a sleep that suspends in the middle."""
    steps, seconds = plan
    first = [await ctx.step(effect, ctx.invocation_id, f"s{n}", name=f"s{n}") for n in range(steps)]
    await ctx.sleep(seconds)
    return [*first, await ctx.step(effect, ctx.invocation_id, "end", name="end")]
