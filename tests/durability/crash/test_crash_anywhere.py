"""A processor that dies at its first, second, third ... message to the server: whoever goes on reaches the same end."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import nats.errors
import pytest

from durablectl import query, workflow
from durablectl.engine.sdk.app_loader import App
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.storage.connection.store import open_store
from helpers.in_process import provisioned_store, running_processor
from helpers.index_listing import index_groups
from helpers.stored_commands import no_commands_left
from helpers.stored_records import list_journal_subjects, wait_for_quiet_state_stream
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome

MESSAGES = 24
"""More than three steps take: lease, pulls, claim, appends, position, end, index, purges, acknowledgement."""


class Mortal:
    """Lets ``after`` messages of a connection through, the last with or without its being received; then it is dead."""

    def __init__(self, client, after: int, received: bool) -> None:
        self.died = asyncio.Event()
        self._buried = asyncio.Event()
        self._dying: asyncio.Task[None] | None = None
        self._left = after
        self._received = received
        self._client = client
        self._publish = client.publish
        client.publish = self.publish

    async def publish(self, *args: Any, **options: Any) -> None:
        self._left -= 1
        if self._left > 0 or (self._left == 0 and self._received):
            await self._publish(*args, **options)
        if self._left <= 0:
            if self._dying is None:
                self._dying = asyncio.create_task(self._die())
            await self._buried.wait()
            raise nats.errors.ConnectionClosedError

    async def _die(self) -> None:
        """In a task of its own: whoever sent the last message may be cancelled, the socket is closed all the same."""
        await self._client.flush()
        await self._client.close()
        self.died.set()

    @property
    def is_dying(self) -> bool:
        return self._dying is not None and not self.died.is_set()

    def kill(self) -> None:
        self._buried.set()


@dataclass
class Life:
    """One processor, one workflow, and where it died."""

    handler: Any
    runs: Counter
    invocation_id: str = ""
    died: bool = False
    recorded: list[int] = field(default_factory=list)


def life(number: int, kind: str) -> Life:
    runs: Counter = Counter()

    async def step(step_number: int) -> int:
        runs[step_number] += 1
        await asyncio.sleep(0.03 if step_number == 1 else 0)
        return step_number * 10

    @workflow(name=f"{kind}-{number}")
    async def handler(ctx):
        ctx.set("seen", "yes")
        if kind == "fails":
            await ctx.step(step, 0)
            raise ValueError("as it should")
        first = await ctx.step(step, 0)
        return [first, *await ctx.gather(ctx.step(step, 1), ctx.step(step, 2))]

    return Life(handler, runs)


async def live_and_die(settings, store, this: Life, after: int, received: bool) -> None:
    app = App()
    app.add([this.handler])
    async with open_store(settings) as own:
        processor = Processor(own, app, ProcessorOptions(ack_wait=1, max_concurrent=5))
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(processor.run(stop, ready))
        await ready.wait()
        mortal = Mortal(own.nats, after, received)
        this.invocation_id = await start_workflow(store, this.handler)

        async def over() -> bool:
            ended = await index_groups(store, this.invocation_id) in (["completed"], ["failed"])
            return mortal.died.is_set() or (ended and not mortal.is_dying)

        await wait_until(over, every=0.03)
        this.died = mortal.died.is_set()
        mortal.kill()
        for running in [task, *processor._active_runs._tasks]:
            running.cancel()
        await asyncio.gather(task, *processor._active_runs._tasks, return_exceptions=True)


@pytest.mark.parametrize("received", [True, False], ids=["received", "lost"])
@pytest.mark.parametrize("kind", ["completes", "fails"])
async def test_dying_at_any_message(settings, kind, received):
    lives = [life(number, kind) for number in range(1, MESSAGES + 1)]
    async with provisioned_store(settings) as store:
        await asyncio.gather(
            *(live_and_die(settings, store, this, after, received) for after, this in enumerate(lives, 1))
        )
        await wait_for_quiet_state_stream(store)
        assert sum(this.died for this in lives) >= (6 if kind == "fails" else 8)
        for this in lives:
            view = await query.get_workflow(store, this.invocation_id)
            this.recorded = [step.step_number for step in view.journal]
            this.runs.subtract(before := Counter(this.runs))
            assert set(before.values()) <= {1}
        async with running_processor(settings, *(this.handler for this in lives), ack_wait=1):
            for this in lives:
                await all_is_well(store, this, kind)
            await wait_until(lambda: no_commands_left(store))
        assert len((await query.list_workflows(store, limit=100)).workflows) == MESSAGES


async def all_is_well(store, this: Life, kind: str) -> None:
    ended = (await wait_for_outcome(store, this.invocation_id)).execution
    numbers = [0] if kind == "fails" else [0, 1, 2]
    assert [entry.step_number for entry in ended.journal] == numbers
    view = await query.get_workflow(store, this.invocation_id)
    if kind == "fails":
        assert (view.status, view.error) == ("failed", "as it should")
    else:
        assert (view.status, view.output) == ("completed", [0, 10, 20])
    assert view.workflow_state == {"seen": "yes"}
    assert not {number for number in this.recorded if this.runs[number]}, "a recorded step ran again"
    await wait_until(lambda: clean(store, this.invocation_id, view.status))


async def clean(store, invocation_id: str, status: str) -> bool:
    return (await index_groups(store, invocation_id), await list_journal_subjects(store, invocation_id)) == (
        [status],
        [],
    )
