"""Time per step along one workflow of 10,000 steps, and the time a replay of its journal takes.

Run: ``python bench/long_workflow.py [--steps 10000]``. Each tenth of the workflow is shown as a ratio to the first.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import uvloop

from durablectl import Context, control, workflow
from durablectl.storage.provision import provision
from support import processor, server, store

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    tenths = measure(options.steps)
    print(f"one workflow of {options.steps} steps: median time a step, by tenths of the workflow")
    print(f"{'tenth':>8} {'ms a step':>10} {'ratio to the first':>20}")
    for number, seconds in enumerate(tenths, 1):
        print(f"{number:8} {seconds * 1000:10.3f} {seconds / tenths[0]:20.2f}")


if __name__ == "__main__":
    main()
