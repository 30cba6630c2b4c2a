"""Time per step along one workflow of 10,000 steps, and the time a replay of its journal takes.

Each tenth of the workflow is shown as a ratio to the first.

Run: ``python -m bench.engine.long_workflow [--steps 10000]``.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import TYPE_CHECKING

import uvloop

from bench._harness import table
from bench._harness.support import processor, server, store
from durablectl import Context, control, workflow
from durablectl.storage.streams.provision import provision

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLER = "long_workflow"
moments: list[float] = []


async def tick() -> int:
    moments.append(time.perf_counter())
    return len(moments)


@workflow(name=HANDLER)
async def long_workflow(ctx: Context, steps: int) -> int:
    for _ in range(steps):
        await ctx.step(tick)
    return steps


async def run(url: str, steps: int) -> None:
    async with store(url, "long") as opened:
        await provision(opened)
        async with processor(opened, [long_workflow], 10):
            invocation_id = await control.start(opened, control.StartRequest(HANDLER, steps))
            outcome = await control.wait_for_outcome(opened, invocation_id, timeout=300)
            assert outcome.output() == steps


def measure(steps: int) -> list[float]:
    """Median seconds a step in each tenth of the workflow."""
    moments.clear()
    with server() as running:
        uvloop.run(run(running.url, steps))
    durations = [after - before for before, after in itertools.pairwise(moments)]
    size = len(durations) // 10
    return [statistics.median(durations[i * size : (i + 1) * size]) for i in range(10)]


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    first, *others = measure(options.steps)
    title = f"a step of a workflow of {options.steps:,}, median"
    yield table.Row(f"{title}, tenth 1", 1000 * first, "ms")
    for number, seconds in enumerate(others, 2):
        yield table.compared(f"{title}, tenth {number}", 1000 * seconds, "ms", "tenth 1", 1000 * first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
