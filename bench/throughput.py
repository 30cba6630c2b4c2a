"""Three-step workflows a second in one processor, beside a bare floor that sends and awaits the same messages.

The floor is as lean as this process can be: fixed bytes, no state, no replay, the same requests over the same
connection class. Both drain a queue that was filled beforehand. Run: ``python bench/throughput.py [--count 4000]``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import uvloop

from durablectl import Context, workflow
from durablectl.model.codec import encode_entry, encode_execution
from durablectl.model.records import Command, JournalEntry, Payload, pending
from durablectl.storage import commands, index, journal
from durablectl.storage.provision import provision
from durablectl.storage.pulls import Delivery, Pulls
from durablectl.storage.requests import EXPECTED, EXPECTED_SUBJECT, Request
from support import processor, server, side_by_side, start_many, store

if TYPE_CHECKING:
    from durablectl.storage.store import Store

HANDLER = "three_steps"
CONCURRENCY = 100


async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow(name=HANDLER)
async def three_steps(ctx: Context, name: str) -> list[str]:
    return [await ctx.step(greet, name), await ctx.step(greet, name), await ctx.step(greet, name)]


async def engine(url: str, count: int, round_number: int) -> float:
    """Workflows a second, from the first command taken to the last workflow ended."""
    async with store(url, f"engine{round_number}") as opened:
        await provision(opened)
        await start_many(opened, HANDLER, count, "user-001")
        began = time.perf_counter()
        async with processor(opened, [three_steps], CONCURRENCY):
            await until_drained(opened, count)
            return count / (time.perf_counter() - began)


async def until_drained(opened: Store, count: int) -> None:
    """All commands acknowledged; asking fifty times a second costs the server nothing to speak of."""
    while True:
        info = await commands.consumer_info(opened, commands.consumer_name(HANDLER))
        if info and info["ack_floor"]["consumer_seq"] >= count:
            return
        await asyncio.sleep(0.02)


async def floor(url: str, count: int, round_number: int) -> float:
    async with store(url, f"floor{round_number}") as opened:
        await provision(opened)
        ids = await start_many(opened, HANDLER, count, "user-001")
        await commands.ensure_consumer(
            opened, commands.consumer_name(HANDLER), opened.subjects.handler_commands(HANDLER), 300
        )
        bare = _Bare(opened)
        return await bare.run(ids)


class _Bare:
    """The messages of a workflow's life, with constant payloads."""

    def __init__(self, opened: Store) -> None:
        self._store = opened
        state = pending(Command("w00000", HANDLER, input=Payload(b'"user-001"'), start_token="0" * 16))
        state.owner = "processor-0000"
        self._state = encode_execution(state)
        entry = JournalEntry(0, "greet", "step", Payload(b'"user-001"'), Payload(b'"Hello, user-001!"'), attempts=1)
        self._entry = encode_entry(entry)
        self._final = encode_execution(state, [self._entry] * 3)
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()

    async def run(self, ids: list[str]) -> float:
        pulls = Pulls(self._store, commands.consumer_name(HANDLER), self._queue.put_nowait, lambda: None, _nothing)
        await pulls.start()
        began = time.perf_counter()

        async def work(number: int) -> None:
            if pulls.outstanding < CONCURRENCY // 2:
                await pulls.ask(CONCURRENCY - pulls.outstanding)
            await self._one(ids[number], await self._queue.get())

        await side_by_side(len(ids), CONCURRENCY, work)
        await self._store.flush()
        rate = len(ids) / (time.perf_counter() - began)
        await pulls.stop()
        return rate

    async def _one(self, invocation_id: str, delivery: Delivery) -> None:
        opened, subjects = self._store, self._store.subjects
        requests, state = opened.requests, subjects.state(invocation_id)
        reply = await requests.send(f"{opened.api}.DIRECT.GET.{subjects.state_stream}.{state}", b"")
        revision = (reply.headers or {})["Nats-Sequence"]
        ack = await requests.publish(state, self._state, {EXPECTED: revision})
        owned = str(ack.sequence)
        for step in range(3):
            headers = {EXPECTED: owned, EXPECTED_SUBJECT: state}
            await requests.publish(subjects.journal(invocation_id, step), self._entry, headers)
        ended = await requests.publish(state, self._final, {EXPECTED: owned})
        active = subjects.index("active", 0, HANDLER, "", invocation_id)
        completed = subjects.index("completed", 0, HANDLER, "", invocation_id)
        await requests.exchange(
            [
                Request(completed, b"", {EXPECTED: "0"}),
                index.removal(opened, active),
                *journal.removal(opened, invocation_id, 3, ended.sequence),
            ]
        )
        await delivery.ack()


async def _nothing() -> None:
    """Nobody deletes the consumer here."""


def measure(count: int, rounds: int) -> tuple[float, float]:
    """Median workflows a second of engine and floor, taken in turns on one server."""
    engines, floors = [], []
    with server() as running:
        for number in range(rounds):
            floors.append(uvloop.run(floor(running.url, count, number)))
            engines.append(uvloop.run(engine(running.url, count, number)))
    return statistics.median(engines), statistics.median(floors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000, help="workflows a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    engine_rate, floor_rate = measure(options.count, options.rounds)
    print(f"{'three-step workflows a second, concurrency 100':48} {'engine':>8} {'floor':>8} {'ratio':>6}")
    print(
        f"{f'{options.count} workflows, median of {options.rounds}':48} {engine_rate:8.0f} {floor_rate:8.0f} "
        f"{engine_rate / floor_rate:6.2f}"
    )


if __name__ == "__main__":
    main()
