"""The bare floor: the messages of a three-step workflow's life, as lean as this process can send them.

Fixed bytes, no state, no replay, no codec in the loop; the same requests over the same connection class as the engine.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench._harness.support import side_by_side, start_many, store
from durablectl.model.codec import encode_entry, encode_execution
from durablectl.model.records import Command, JournalEntry, Payload, pending_execution
from durablectl.model.termination import INLINE_LIMIT_BYTES
from durablectl.storage.commands import command_queue
from durablectl.storage.commands.pulls import Delivery, PullRequests
from durablectl.storage.connection.requests import EXPECTED, EXPECTED_SUBJECT, Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.index import index_entries
from durablectl.storage.streams.provision import provision

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

CONCURRENCY = 100
_STEPS = 3
_ID = "w00000"


class Life:
    """The records of a three-step workflow with this input, and this response of each step."""

    def __init__(self, handler: str, value: bytes, response: bytes) -> None:
        self.handler = handler
        command = Command(_ID, handler, input=Payload(value), start_token="0" * 16)
        state = pending_execution(command)
        state.owner = "processor-0000"
        self.state = encode_execution(state)
        self.entry = encode_entry(JournalEntry(0, "greet", "step", Payload(value), Payload(response), attempts=1))
        self.is_folded = _STEPS * len(self.entry) <= INLINE_LIMIT_BYTES
        self.final = encode_execution(state, [self.entry] * _STEPS if self.is_folded else [])

    @property
    def megabytes(self) -> float:
        """What a processor writes."""
        return (len(self.state) + _STEPS * len(self.entry) + len(self.final)) / 1e6


async def floor(url: str, namespace: str, life: Life, count: int, value: object) -> float:
    """Workflows a second; ``value`` is the input as the client gives it."""
    async with store(url, namespace) as opened:
        await provision(opened)
        ids = await start_many(opened, life.handler, count, value)
        await command_queue.ensure_consumer(
            opened, command_queue.consumer_name(life.handler), opened.subjects.handler_commands(life.handler), 300
        )
        return await _Bare(opened, life).run(ids)


class _Bare:
    def __init__(self, opened: Store, life: Life) -> None:
        self._store = opened
        self._life = life
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()

    async def run(self, ids: list[str]) -> float:
        name = command_queue.consumer_name(self._life.handler)
        pulls = PullRequests(self._store, name, self._queue.put_nowait, lambda: None, _nothing)
        await pulls.start()
        began = time.perf_counter()

        async def work(number: int) -> None:
            if pulls.outstanding < CONCURRENCY // 2:
                await pulls.pull(CONCURRENCY - pulls.outstanding)
            await self._one(ids[number], await self._queue.get())

        await side_by_side(len(ids), CONCURRENCY, work)
        await self._store.flush()
        rate = len(ids) / (time.perf_counter() - began)
        await pulls.stop()
        return rate

    async def _one(self, invocation_id: str, delivery: Delivery) -> None:
        opened, subjects, life = self._store, self._store.subjects, self._life
        requests, state, stream = opened.requests, subjects.state(invocation_id), subjects.state_stream
        reply = await requests.send(f"{opened.api}.DIRECT.GET.{stream}.{state}", b"")
        revision = (reply.headers or {})["Nats-Sequence"]
        ack = await requests.publish(state, life.state, {EXPECTED: revision})
        owned = str(ack.sequence)
        entries = [subjects.journal(invocation_id, step) for step in range(_STEPS)]
        for entry in entries:
            await requests.publish(entry, life.entry, {EXPECTED: owned, EXPECTED_SUBJECT: state})
        ended = await requests.publish(state, life.final, {EXPECTED: owned})
        active = subjects.index("active", 0, life.handler, "", invocation_id)
        completed = subjects.index("completed", 0, life.handler, "", invocation_id)
        removals = [purge_request(opened, stream, entry, ended.sequence) for entry in entries if life.is_folded]
        await requests.exchange(
            [Request(completed, b"", {EXPECTED: "0"}), index_entries.removal(opened, active), *removals]
        )
        await delivery.ack()


async def _nothing() -> None:
    """Nobody deletes the consumer here."""
