"""The app of the crash sweep. Each run of a step leaves a line in the file $EFFECTS, which no crash can take back."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

from durablectl import Context, Retry, TerminalError, workflow
from durablectl.engine.sdk.registry import Workflow

HUGE = 100_000
DEADLY = 9


def leave(invocation_id: str, name: str) -> str:
    token = secrets.token_hex(4)
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"{invocation_id} {name} {token}\n".encode())
    os.close(file)
    return token


async def effect(invocation_id: str, name: str, seconds: float = 0.0) -> str:
    token = leave(invocation_id, name)
    await asyncio.sleep(seconds)
    return token


async def huge(invocation_id: str, name: str) -> str:
    return leave(invocation_id, name) * (HUGE // 8)


async def message(invocation_id: str, name: str) -> StringValue:
    return StringValue(value=leave(invocation_id, name))


def broken(invocation_id: str, name: str) -> None:
    """Fails until the workflow is retried."""
    leave(invocation_id, name)
    if not Path(os.environ["EFFECTS"] + ".mended").exists():
        raise TerminalError("broken")


def refused(invocation_id: str, name: str) -> None:
    """Fails until what it calls is repaired."""
    leave(invocation_id, name)
    if not Path(os.environ["EFFECTS"] + ".mended").exists():
        raise ConnectionError("refused")


def do(ctx: Context, name: Any, seconds: float = 0.0) -> Any:
    return ctx.step(effect, ctx.invocation_id, name, seconds, name=name)


@workflow
async def small(ctx: Context, seconds: Any) -> Any:
    await do(ctx, "small", seconds)
    return "small"


@workflow
async def takes(ctx: Context, value: Any) -> Any:
    await do(ctx, "took")
    return str(value)


@workflow
async def family(ctx: Context) -> Any:
    """Steps, a sleep, an answer, a child: suspended for each of them."""
    ctx.set("seen", "yes")
    await do(ctx, "first")
    await ctx.gather(do(ctx, "left", 0.05), do(ctx, "right"))
    await ctx.sleep(1.3)
    answer: Any = await ctx.awakeable("ok")
    child: Any = await ctx.invoke(small, 0.05)
    await do(ctx, "last")
    return [str(answer), child]


@workflow
async def fails(ctx: Context) -> Any:
    await ctx.step(message, ctx.invocation_id, "message", name="message")
    await ctx.step(broken, ctx.invocation_id, "broken", name="broken")
    await do(ctx, "after")
    return "mended"


@workflow
async def backs_off(ctx: Context) -> Any:
    await ctx.step(refused, ctx.invocation_id, "refused", name="refused", retry=Retry(initial=3600, cap=3600))
    return "accepted"


@workflow
async def big(ctx: Context) -> Any:
    """A journal that does not fit into the record."""
    for name in ("a", "b", "c"):
        await ctx.step(huge, ctx.invocation_id, name, name=name)
    await ctx.step(broken, ctx.invocation_id, "broken", name="broken")
    return "mended"


@workflow
async def waits_for_go(ctx: Context) -> Any:
    await do(ctx, "before")
    value: Any = await ctx.signal("go")
    await do(ctx, "after")
    return value


@workflow
async def compensated(ctx: Context) -> Any:
    for name in ("one", "two"):
        await do(ctx, name)
        ctx.defer(effect, ctx.invocation_id, f"undo-{name}", name=f"undo-{name}")
    await ctx.invoke(waits_for_go)


@workflow
async def compensated_in_work(ctx: Context) -> Any:
    await do(ctx, "one")
    ctx.defer(effect, ctx.invocation_id, "undo-one", name="undo-one")
    await ctx.gather(ctx.invoke(small, 30), do(ctx, "long", 30))


@workflow
async def outpaced(ctx: Context) -> Any:
    """A child that loses a race is cancelled."""
    await ctx.race(ctx.invoke(small, 30), do(ctx, "quick", 0.5))
    return await do(ctx, "after")


@workflow
async def slow(ctx: Context) -> Any:
    await do(ctx, "one", 1.5)
    await do(ctx, "two")
    return "slow"


async def hold(invocation_id: str, name: str) -> str:
    """Until it is let go."""
    token = leave(invocation_id, name)
    while not await asyncio.to_thread(Path(os.environ["EFFECTS"] + ".let-go").exists):
        await asyncio.sleep(0.05)
    return token


@workflow
async def held(ctx: Context) -> Any:
    await ctx.step(hold, ctx.invocation_id, "hold", name="hold")
    await do(ctx, "two")


@workflow
async def sends(ctx: Context) -> Any:
    await ctx.send(small, 0.0, id="sent")
    await ctx.send(small, 0.0, delay=1.2, id="delayed")
    handle = await ctx.spawn(small, 0.05)
    return await handle.result()


@workflow(timeout=1.5)
async def late(ctx: Context) -> Any:
    await do(ctx, "one")
    await ctx.signal("go")


@workflow
async def changed(ctx: Context) -> Any:
    """Other code than its journal was written by, from its second run on."""
    await do(ctx, "one" if ctx.attempt == 1 else "other")
    await ctx.sleep(1.3)


@workflow
async def defers(ctx: Context) -> Any:
    await do(ctx, "before")
    ctx.defer(effect, ctx.invocation_id, "undo", name="undo")
    await ctx.signal("go")


def kill(invocation_id: str, name: str) -> str:
    mark = Path(os.environ["EFFECTS"] + ".died")
    if not mark.exists():
        mark.touch()
        os._exit(DEADLY)
    return leave(invocation_id, name)


@workflow
async def deadly(ctx: Context) -> Any:
    """Takes its first processor down."""
    await do(ctx, "one")
    await ctx.step(kill, ctx.invocation_id, "kill", name="kill")


@workflow
async def races(ctx: Context) -> Any:
    await ctx.race(do(ctx, "quick"), do(ctx, "slow", 30))
    ctx.set("seen", StringValue(value="yes"))
    await do(ctx, "after", 0.1)
    await ctx.sleep(0.1)


WORKFLOWS = [value for value in vars().values() if isinstance(value, Workflow)]
