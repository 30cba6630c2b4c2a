"""Three-step workflows a second by the size of their payloads, beside the bare floor with the same payloads.

The input is the argument of each step and comes back as its result. Of the data only what the processor writes is
counted: the records of its claim, its steps and its end.

Run: ``python -m bench.engine.payloads [--sizes 20 1000 100000]``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import uvloop

from bench._harness import table
from bench._harness.support import processor, server, start_many, store
from bench.engine.floor import CONCURRENCY, Life, floor
from bench.engine.throughput import wait_until_drained
from durablectl import Context, workflow
from durablectl.storage.streams.provision import provision

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLER = "echo_three_times"
_MOST = 2000
_LEAST = 5


async def echo(value: str) -> str:
    return value


@workflow(name=HANDLER)
async def echo_three_times(ctx: Context, value: str) -> None:
    for _ in range(3):
        value = await ctx.step(echo, value)


async def engine(url: str, namespace: str, count: int, value: str) -> float:
    """Workflows a second."""
    async with store(url, namespace) as opened:
        await provision(opened)
        await start_many(opened, HANDLER, count, value)
        began = time.perf_counter()
        async with processor(opened, [echo_three_times], CONCURRENCY):
            await wait_until_drained(opened, count, HANDLER)
            return count / (time.perf_counter() - began)


def measure(size: int, megabytes: float, rounds: int) -> Iterator[table.Row]:
    """One server for each size."""
    value = "x" * (size - 2)  # JSON adds the quotes
    encoded = f'"{value}"'.encode()
    life = Life(HANDLER, encoded, encoded)
    count = max(_LEAST, min(_MOST, int(megabytes / life.megabytes)))
    engines, floors = [], []
    with server() as running:
        for number in range(rounds):
            floors.append(uvloop.run(floor(running.url, f"floor{number}", life, count, value)))
            engines.append(uvloop.run(engine(running.url, f"engine{number}", count, value)))
            table.say(f"payloads of {size:,} bytes: engine {engines[-1]:.0f}, floor {floors[-1]:.0f} a second")
    rate, base = statistics.median(engines), statistics.median(floors)
    title = f"three-step workflows with payloads of {size:,} bytes"
    yield table.compared(title, rate, "/s", "bare floor", base)
    written = life.megabytes
    yield table.compared(f"{title}, data written", rate * written, "MB/s", "bare floor", base * written)


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    for size in options.sizes:
        yield from measure(size, options.megabytes, options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 1000, 100_000], help="bytes of JSON")
    parser.add_argument("--megabytes", type=float, default=300, help=f"written a round, in at most {_MOST:,} workflows")
    parser.add_argument("--rounds", type=int, default=3)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
