"""Milliseconds of a step and of a three-step workflow alone, p50 and p99, beside one bare acknowledged publish.

A processor with nothing else to do, its client, and the publisher share one process, on connections of their own. In
turns: publishes of the bytes of a step's entry; a workflow of quick steps that takes the time of each; one three-step
workflow, from ``client.start`` to ``client.result``. Each turn begins when the command of the last is acknowledged.

Run: ``python -m bench.engine.latency [--rounds 300]``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import uvloop

from bench._harness import table
from bench._harness.support import HUNG_SECONDS, processor, server, store
from durablectl import Client, Context, workflow
from durablectl.engine.worker.processor import ProcessorOptions
from durablectl.model.codec import encode_entry
from durablectl.model.records import JournalEntry, Payload
from durablectl.storage.commands import command_queue
from durablectl.storage.streams.provision import provision
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.storage.connection.store import Store

_NAMESPACE = "latency"
_WARM_ROUNDS = 20
_AT_ONCE = 10
"""Publishes, and steps, a round."""

_step_seconds: list[float] = []
_handler_moments: list[float] = []


async def nothing() -> None:
    """The least that a step can be."""


@workflow
async def quick_steps(ctx: Context, count: int) -> None:
    for _ in range(count):
        began = time.perf_counter()
        await ctx.step(nothing)
        _step_seconds.append(time.perf_counter() - began)


@workflow
async def three_steps(ctx: Context, _: None) -> None:
    _handler_moments.append(time.perf_counter())
    await ctx.step(nothing)
    await ctx.step(nothing)
    await ctx.step(nothing)
    _handler_moments.append(time.perf_counter())


class Times:
    """Seconds of each, as they were taken; ``parts`` of a workflow in the order in which they pass."""

    def __init__(self) -> None:
        self.publishes: list[float] = []
        self.steps: list[float] = []
        self.workflows: list[float] = []
        self.parts: dict[str, list[float]] = {
            "client.start": [],
            "start until the handler begins": [],
            "its three steps": [],
            "its end until the result is seen": [],
        }


class Turns:
    """One idle processor, and who asks it."""

    def __init__(self, opened: Store, client: Client) -> None:
        self._store = opened
        self._client = client
        self._commands = 0
        entry = JournalEntry(0, "nothing", "step", Payload(), Payload(b"null"), started_at=1, finished_at=1, attempts=1)
        self._entry = encode_entry(entry)

    async def take(self, rounds: int) -> Times:
        times = Times()
        for number in range(rounds):
            await self._publish(times, number)
            await self._step(times)
            await self._workflow(times)
        return times

    async def _publish(self, times: Times, number: int) -> None:
        for each in range(_AT_ONCE):
            subject = self._store.subjects.journal(f"bare{number}", each)
            began = time.perf_counter()
            await self._store.requests.publish(subject, self._entry)
            times.publishes.append(time.perf_counter() - began)

    async def _step(self, times: Times) -> None:
        _step_seconds.clear()
        await self._client.result(await self._client.start(quick_steps, _AT_ONCE))
        times.steps += _step_seconds
        await self._wait_until_idle(quick_steps.name)

    async def _workflow(self, times: Times) -> None:
        _handler_moments.clear()
        began = time.perf_counter()
        invocation_id = await self._client.start(three_steps)
        started = time.perf_counter()
        await self._client.result(invocation_id)
        seen = time.perf_counter()
        handler_began, handler_ended = _handler_moments
        times.workflows.append(seen - began)
        parts = (started - began, handler_began - began, handler_ended - handler_began, seen - handler_ended)
        for name, part in zip(times.parts, parts, strict=True):
            times.parts[name].append(part)
        await self._wait_until_idle(three_steps.name)

    async def _wait_until_idle(self, handler: str) -> None:
        async def is_idle() -> bool:
            info = await command_queue.consumer_info(self._store, command_queue.consumer_name(handler))
            return info is not None and not info["num_ack_pending"] and not info["num_pending"]

        await wait_until(is_idle, HUNG_SECONDS, 0.001)


async def measure(url: str, rounds: int) -> Times:
    async with store(url, _NAMESPACE) as opened, store(url, _NAMESPACE) as bare:
        await provision(opened)
        async with (
            processor(opened, [quick_steps, three_steps], ProcessorOptions().max_concurrent),
            Client(url=url, namespace=_NAMESPACE) as client,
        ):
            turns = Turns(bare, client)
            await turns.take(min(rounds, _WARM_ROUNDS))
            return await turns.take(rounds)


def p50(seconds: list[float]) -> float:
    return 1000 * statistics.median(seconds)


def p99(seconds: list[float]) -> float:
    return 1000 * sorted(seconds)[int(0.99 * len(seconds))]


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    with server() as running:
        times = uvloop.run(measure(running.url, options.rounds))
    base = "an acknowledged publish"
    for name, quantile in (("p50", p50), ("p99", p99)):
        publish = quantile(times.publishes)
        bars = ["ratio <= 8"] if quantile is p50 else []
        yield table.Row(f"latency of {base}, {name}", publish, "ms")
        yield table.compared(f"latency of a step, {name}", quantile(times.steps), "ms", base, publish)
        whole = quantile(times.workflows)
        yield table.compared(f"a three-step workflow, start to result, {name}", whole, "ms", base, publish, *bars)
    for part, taken in times.parts.items():
        yield table.compared(f"of that, {part}, p50", p50(taken), "ms", base, p50(times.publishes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
