"""Workflows that block the event loop of their processor, and count how often their steps begin."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import time
from pathlib import Path
from typing import Any

from durablectl import Context, workflow

BLOCKING_EFFECTS = "BLOCKING_EFFECTS"
"""Environment variable: the file that has a line for each step that began."""


def count_effect(name: str) -> None:
    with Path(os.environ[BLOCKING_EFFECTS]).open("a") as file:
        file.write(json.dumps([name, os.getpid()]) + "\n")


async def charge(seconds: float) -> int:
    count_effect("charge")
    time.sleep(seconds)  # noqa: ASYNC251 - what is tested
    return os.getpid()


async def charge_in_task(seconds: float) -> int:
    (pid,) = await asyncio.gather(charge(seconds))
    return pid


@workflow
async def pays(ctx: Context, seconds: float) -> Any:
    return await ctx.step(charge, seconds)


@workflow
async def pays_in_task(ctx: Context, seconds: float) -> Any:
    return await ctx.step(charge_in_task, seconds)


@workflow
async def sleeps_itself(_ctx: Context, seconds: float) -> int:
    count_effect("handler")
    time.sleep(seconds)  # noqa: ASYNC251 - what is tested
    return os.getpid()


@workflow
async def quick(ctx: Context, _input: Any = None) -> int:
    async def pid() -> int:
        return os.getpid()

    return await ctx.step(pid)


@workflow
async def pays_again_and_again(ctx: Context, seconds: list[float]) -> Any:
    return [await ctx.step(charge, each) for each in seconds]


async def hold_interpreter(seconds: float) -> int:
    """Block without releasing the interpreter's lock: no other thread runs, the watchdog neither."""
    count_effect("hold_interpreter")
    if _is_first():
        ctypes.PyDLL(None).sleep(int(seconds))
    return os.getpid()


def _is_first() -> bool:
    return len(Path(os.environ[BLOCKING_EFFECTS]).read_text().splitlines()) == 1


@workflow
async def holds_interpreter(ctx: Context, seconds: float) -> Any:
    return await ctx.step(hold_interpreter, seconds)
