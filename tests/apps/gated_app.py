"""A workflow whose steps wait for a file each, so that a test decides how long they last."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from durablectl import Context, workflow

GATES = "GATES"
"""Environment variable: the directory of the files."""
STAGES = ("prepare", "process", "publish")


def gate(directory: Path, stage: str, task: str) -> Path:
    """Return the file whose existence lets the step end."""
    return directory / f"{task}-{stage}"


async def work(stage: str, task: str) -> str:
    while not await asyncio.to_thread(gate(Path(os.environ[GATES]), stage, task).exists):
        await asyncio.sleep(0.02)
    return f"{stage} {task}"


@workflow
async def gated(ctx: Context, task: str) -> str:
    for stage in STAGES:
        await ctx.step(work, stage, task, name=stage)
    return f"{task} is published"
