"""What the processors of the lifecycle tests run: workflows that kill their processor at one exact place."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from chaos_app import EFFECTS, effect
from durablectl import Context, workflow
from durablectl.engine.operations import child
from durablectl.storage.transitions.start_writes import start_child

DIE = 9


def _mark(place: str) -> Path:
    return Path(os.environ[EFFECTS]).with_name(f"died-{place}")


def _died_before(place: str) -> bool:
    """Whether a processor has died at this place; notes that one does now."""
    mark = _mark(place)
    if mark.exists():
        return True
    mark.touch()
    return False


_TOGETHER = 3
_started: set[str] = set()


async def _start_child_and_die(store: Any, start: Any, child_id: str, parent: Any) -> None:
    """The children of three workflows are started, and the processor dies before their parents have journaled it."""
    await start_child(store, start, child_id, parent)
    if parent.handler == "bearing" and not _died_before(parent.invocation_id):
        _started.add(child_id)
        if len(_started) == _TOGETHER:
            _mark("together").touch()
            os._exit(DIE)
        await asyncio.Event().wait()


child.start_child = _start_child_and_die  # type: ignore[attr-defined]  # not exported, and replaced here


@workflow
async def small(ctx: Context, value: Any) -> Any:
    await ctx.step(effect, ctx.invocation_id, "small", name="small")
    return value


async def _wait_for_the_others() -> None:
    while not _mark("together").exists():
        await asyncio.sleep(0.01)


@workflow
async def borne(ctx: Context, value: Any) -> Any:
    """Its step with an effect is not in flight when the processor dies: it would run again, as it may."""
    await ctx.step(_wait_for_the_others)
    await ctx.step(effect, ctx.invocation_id, "borne", name="borne")
    return value


@workflow
async def bearing(ctx: Context, how: Any) -> Any:
    """Starts one child, by ``how``."""
    if how == "send":
        return await ctx.send("borne", 1)
    if how == "spawn":
        return (await ctx.spawn("borne", 1)).id
    await ctx.invoke("borne", 1)
    return None


async def undo(invocation_id: str, name: str, is_deadly: bool) -> str:
    token = await effect(invocation_id, name)
    if is_deadly and not _died_before(f"{invocation_id}-{name}"):
        os._exit(DIE)
    return token


@workflow
async def compensating(ctx: Context) -> Any:
    """The second of its three compensations, in the order in which they run, kills the processor once."""
    for name in ("u1", "u2", "u3"):
        await ctx.step(effect, ctx.invocation_id, f"do-{name}", name=f"do-{name}")
        ctx.defer(undo, ctx.invocation_id, name, name == "u2", name=name)
    # Not journaled, should it be interrupted: the compensations get the same numbers all the same.
    await ctx.gather(ctx.sleep(0.9), ctx.step(asyncio.sleep, 60))


async def poison(invocation_id: str, is_cured: str) -> str:
    token = await effect(invocation_id, "poison")
    if not Path(os.environ[EFFECTS]).with_name(is_cured).exists():
        os._exit(DIE)
    return token


@workflow
async def poisonous(ctx: Context, cure: Any) -> Any:
    """Kills its processor each time, until the file named ``cure`` lies beside the effects."""
    await ctx.step(effect, ctx.invocation_id, "before", name="before")
    return await ctx.step(poison, ctx.invocation_id, cure, name="poison")
