"""The app of the tests that run random programs: each step has a value that no other execution of it has."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any

from durablectl import Context, TerminalError, workflow
from helpers.random_programs import LEAVES, WAITS, Interpreter, Node
from helpers.random_programs import random_program as program_of_seed

_DEPTH = 3
_DURATIONS = (0.0, 0.004, 0.03, 0.1)


def program(seed: int) -> Node:
    """Return the program of this seed: two of those of the unit tests, of more kinds and slower."""
    halves = (
        program_of_seed(2 * seed + half, _DEPTH, LEAVES + WAITS, _DURATIONS, stem) for half, stem in enumerate("ab")
    )
    return Node("sequence", "main", tuple(halves))


async def effect(name: str) -> str:
    await asyncio.sleep(random.choice((0, 0, 0.002, 0.01, 0.05)))
    return f"{name}:{secrets.token_hex(4)}"


async def fail(name: str) -> None:
    await asyncio.sleep(random.choice((0, 0.01)))
    raise TerminalError(f"{name} fails")


@workflow
async def random_program(ctx: Context, seed: int) -> Any:
    return await Interpreter(ctx, effect, fail).run(program(seed))


@workflow
async def random_child(ctx: Context, name: str) -> Any:
    if name[-1] in "13579":
        await ctx.step(effect, name)
    return await ctx.step(effect, name)
