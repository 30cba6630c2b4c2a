"""Three-step workflows a second in one processor, beside the bare floor that sends and awaits the same messages.

Both drain a queue that was filled beforehand, in turns on one server; then again on one that syncs each message to the
disk before it acknowledges it.

Run: ``python -m bench.engine.throughput [--count 4000] [--sync default]``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import uvloop

from bench._harness import table
from bench._harness.support import HUNG_SECONDS, processor, server, start_many, store
from bench.engine import floor as bare
from bench.engine.floor import CONCURRENCY
from durablectl import Context, workflow
from durablectl.storage.commands import command_queue
from durablectl.storage.streams.provision import provision
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.storage.connection.store import Store

HANDLER = "three_steps"
_USER = "user-001"
_DEFAULT = "default"
_BARS = {_DEFAULT: ["ratio >= 0.7"], "always": ["figure >= 500"]}


async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow(name=HANDLER)
async def three_steps(ctx: Context, name: str) -> list[str]:
    return [await ctx.step(greet, name), await ctx.step(greet, name), await ctx.step(greet, name)]


async def engine(url: str, count: int, round_number: int) -> float:
    """Workflows a second, from the first command taken to the last workflow ended."""
    async with store(url, f"engine{round_number}") as opened:
        await provision(opened)
        await start_many(opened, HANDLER, count, _USER)
        began = time.perf_counter()
        async with processor(opened, [three_steps], CONCURRENCY):
            await wait_until_drained(opened, count)
            return count / (time.perf_counter() - began)


async def wait_until_drained(opened: Store, count: int, handler: str = HANDLER) -> None:
    """Wait until all commands are acknowledged; fifty requests a second cost the server almost nothing."""

    async def is_drained() -> bool:
        info = await command_queue.consumer_info(opened, command_queue.consumer_name(handler))
        return info is not None and info["ack_floor"]["consumer_seq"] >= count

    await wait_until(is_drained, HUNG_SECONDS, 0.02)


async def floor(url: str, count: int, round_number: int) -> float:
    life = bare.Life(HANDLER, b'"user-001"', b'"Hello, user-001!"')
    return await bare.floor(url, f"floor{round_number}", life, count, _USER)


def measure(count: int, rounds: int, sync: str = "") -> tuple[float, float]:
    """Median workflows a second of engine and floor, taken in turns on one server."""
    engines, floors = [], []
    with server(sync) as running:
        for number in range(rounds):
            floors.append(uvloop.run(floor(running.url, count, number)))
            engines.append(uvloop.run(engine(running.url, count, number)))
            table.say(f"throughput, round {number}: engine {engines[-1]:.0f}, floor {floors[-1]:.0f} a second")
    return statistics.median(engines), statistics.median(floors)


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    for sync in options.sync:
        engine_rate, floor_rate = measure(options.count, options.rounds, "" if sync == _DEFAULT else sync)
        title = f"three-step workflows, concurrency {CONCURRENCY}, sync {sync}"
        yield table.compared(title, engine_rate, "/s", "bare floor", floor_rate, *_BARS.get(sync, ()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000, help="workflows a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sync", nargs="+", default=_BARS, help="sync intervals of the server, or default")
    table.run(parser, rows)


if __name__ == "__main__":
    main()
