"""Three-step workflows a second with 1, 2 and 4 processors, each a process of its own, beside one of them.

First with steps that do nothing, where the cores are the limit: processors and nats-server share them. Then with steps
that wait for 10 ms and four slots a processor, where the slots are. The queue is filled beforehand and its consumer
paused until all processors are there; the time runs from then until it is drained.

Run: ``python -m bench.engine.processor_scaling [--processors 1 2 4]``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from bench._harness import table
from bench._harness.support import HUNG_SECONDS, server, start_many, store, wait_for_processors
from bench.engine.throughput import wait_until_drained
from durablectl import Context, workflow
from durablectl.control import StartRequest, start
from durablectl.engine.worker.processor import ProcessorOptions
from durablectl.storage.commands import command_queue
from durablectl.storage.streams.provision import provision
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.storage.connection.store import Store

_WAIT_SECONDS = 0.01


class Kind(NamedTuple):
    title: str
    handler: str
    slots: int


_QUICK = Kind("quick steps, 100 slots each", "quick", 100)
_SLOW = Kind("steps of 10 ms, 4 slots each", "slow", 4)


async def nothing() -> None:
    """The least that a step can be."""


async def wait() -> None:
    await asyncio.sleep(_WAIT_SECONDS)


@workflow
async def quick(ctx: Context, _: None) -> None:
    for _step in range(3):
        await ctx.step(nothing)


@workflow
async def slow(ctx: Context, _: None) -> None:
    for _step in range(3):
        await ctx.step(wait)


@contextlib.contextmanager
def processors(number: int, kind: Kind, url: str, namespace: str) -> Iterator[None]:
    environment = {**os.environ, "NATS_URL": url, "DURABLECTL_NAMESPACE": namespace}
    command = [sys.executable, "-m", "durablectl", "run", "processor", __file__, "--log-level", "error"]
    command += ["--http-port", "0", "--max-concurrent", str(kind.slots)]
    started = [subprocess.Popen(command, env=environment) for _ in range(number)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


async def rate(url: str, namespace: str, kind: Kind, number: int, count: int) -> float:
    """Workflows a second, of a backlog."""
    async with store(url, namespace) as opened:
        await provision(opened)
        await start_many(opened, kind.handler, count - 1)
        name = command_queue.consumer_name(kind.handler)
        ack_wait = ProcessorOptions().ack_wait
        await command_queue.ensure_consumer(opened, name, opened.subjects.handler_commands(kind.handler), ack_wait)
        await _pause(opened, name, datetime.now(UTC) + timedelta(hours=1))
        with processors(number, kind, url, namespace):
            await wait_for_processors(opened, number)
            await wait_until(lambda: _all_pull(opened, name, number), HUNG_SECONDS, 0.05)
            began = time.perf_counter()
            await _pause(opened, name, None)
            await start(opened, StartRequest(kind.handler))  # which the server notices sooner than the end of a pause
            await wait_until_drained(opened, count, kind.handler)
            return count / (time.perf_counter() - began)


async def _pause(opened: Store, consumer: str, until: datetime | None) -> None:
    """Have the consumer deliver nothing until then; None for from now on."""
    body = {} if until is None else {"pause_until": until.isoformat()}
    await opened.requests.call(f"{opened.api}.CONSUMER.PAUSE.{opened.subjects.commands_stream}.{consumer}", body)


async def _all_pull(opened: Store, consumer: str, processors: int) -> bool:
    info = await command_queue.consumer_info(opened, consumer)
    return info is not None and info["num_waiting"] >= processors


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    rates: dict[tuple[Kind, int], list[float]] = {}
    with server() as running:
        for round_number in range(options.rounds):
            for kind in (_QUICK, _SLOW):
                for number in options.processors:
                    count = options.count if kind is _QUICK else options.slow_count * number
                    namespace = f"{kind.handler}{number}of{round_number}"
                    found = asyncio.run(rate(running.url, namespace, kind, number, count))
                    rates.setdefault((kind, number), []).append(found)
                    table.say(f"processors, round {round_number}: {number} with {kind.title}: {found:.0f} a second")
    first = options.processors[0]
    for (kind, number), taken in rates.items():
        title = f"three-step workflows, processors {number}, {kind.title}"
        alone = statistics.median(rates[kind, first])
        if number == first:
            yield table.Row(title, alone, "/s")
        else:
            yield table.compared(title, statistics.median(taken), "/s", f"processors {first}", alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processors", type=int, nargs="+", default=[1, 2, 4], help="how many, ascending")
    parser.add_argument("--count", type=int, default=6000, help="workflows with quick steps")
    parser.add_argument("--slow-count", type=int, default=500, help="workflows with slow steps, a processor")
    parser.add_argument("--rounds", type=int, default=3)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
