"""Stopping, restarting and losing ownership: whoever goes on finds everything, and nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from durablectl import query, workflow
from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from durablectl.storage.records import states
from helpers.in_process import provisioned_store, running_processor
from helpers.index_listing import list_index_entries
from helpers.stored_commands import no_commands_left
from helpers.stored_records import read_journal
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_output, wait_for_status


@workflow
async def echo(_ctx, value=None):
    return value


async def test_a_graceful_stop_hands_back_and_nothing_runs_twice(settings, store):
    """Steps under way end and are recorded, the next ones run on the other processor, none waits for ack_wait."""
    runs: Counter = Counter()
    gate = asyncio.Event()

    async def work(name: str):
        runs[name] += 1
        await gate.wait()

    @workflow
    async def handler(ctx):
        for number in range(3):
            await ctx.step(work, f"{ctx.invocation_id} {number}")

    async with running_processor(settings, handler, ack_wait=600, max_concurrent=10, grace=60.0) as first:
        ids = await asyncio.gather(*(start_workflow(store, handler) for _ in range(15)))
        await wait_until(lambda: len(runs) == 10)
        stopping = asyncio.create_task(first.stop())
        await wait_until(lambda: first.processor._active_runs._stopping)
        gate.set()
        await stopping
    views = [await query.get_workflow(store, one) for one in ids]
    assert {view.status for view in views} == {"pending"}
    assert Counter(view.attempt for view in views) == {0: 5, 1: 10}
    assert {len(await read_journal(store, v.invocation_id)) for v in views if v.attempt} == {1}
    async with running_processor(settings, handler, ack_wait=600):
        for one in ids:
            await wait_for_outcome(store, one)
        await wait_until(lambda: no_commands_left(store))
    assert set(runs.values()) == {1}
    assert len(runs) == 45


async def test_a_step_that_does_not_end_in_time_is_handed_back_and_runs_again(settings, store):
    runs = []

    async def endless():
        runs.append(1)
        if len(runs) == 1:
            await asyncio.sleep(3600)
        return len(runs)

    @workflow
    async def handler(ctx):
        try:
            return await ctx.step(endless)
        except BaseException:  # noqa: BLE001 - even this must not keep the workflow
            return "swallowed"

    async with running_processor(settings, handler, ack_wait=600, grace=0.1) as first:
        invocation_id = await start_workflow(store, handler)
        await wait_until(lambda: runs)
        await first.stop()
    assert (await query.get_workflow(store, invocation_id)).status == "pending"
    async with running_processor(settings, handler):
        assert await wait_for_output(store, invocation_id) == 2


async def test_no_command_is_lost_in_the_hand_of_one_that_stops(settings, store):
    """Commands that the server has sent when a processor unsubscribes; each would wait for ack_wait, a minute here."""
    ids, stopping = [], asyncio.Event()

    async def keep_starting() -> None:
        while not stopping.is_set():
            ids.append(await start_workflow(store, echo, 1))

    clients = [asyncio.create_task(keep_starting()) for _ in range(4)]
    for _ in range(12):
        async with running_processor(settings, echo, ack_wait=600, max_concurrent=20):
            seen = len(ids)
            await wait_until(lambda seen=seen: len(ids) > seen + 30, every=0.001)
    stopping.set()
    await asyncio.gather(*clients)
    async with running_processor(settings, echo, ack_wait=600):
        await wait_until(lambda: no_commands_left(store))
    assert Counter(entry.group for entry in await list_index_entries(store)) == {"completed": len(ids)}


@pytest.mark.parametrize("status", ["cancelled", "paused", "running"])
async def test_fenced_run_writes_nothing_even_if_handler_catches_everything(settings, store, status):
    """Another writer takes the state while a step runs: its result is dropped, no further step begins."""
    entered, gate, runs, caught = asyncio.Event(), asyncio.Event(), [], []

    async def hold():
        entered.set()
        await gate.wait()
        runs.append("hold")

    async def after():
        runs.append("after")

    @workflow
    async def handler(ctx):
        for step in (hold, after, after):
            try:
                await ctx.step(step)
            except Exception as error:  # noqa: BLE001 - what the fence must survive
                caught.append(error)
        return "written by a processor that lost it"

    async with running_processor(settings, handler) as first, running_processor(settings, echo) as intruder:
        invocation_id = await start_workflow(store, handler)
        await entered.wait()
        await asyncio.sleep(0.05)
        while True:
            execution, revision = await states.load(store, invocation_id)
            assert execution.owner == first.id
            execution.enter_status(status, execution.updated_at)
            execution.owner, execution.attempt = intruder.id, execution.attempt + 1
            taken = await states.replace(store, execution, revision)
            if taken:
                break
        gate.set()
        await wait_until(lambda: no_commands_left(store))
        await wait_until(lambda: idle(first))
    assert "after" not in runs
    assert caught == []
    assert await read_journal(store, invocation_id) == []
    stored = await states.load(store, invocation_id)
    assert (stored.revision, stored.execution.status) == (taken, status)


def idle(running) -> bool:
    return running.processor._active_runs.busy == 0


async def test_a_restart_of_the_server_in_the_middle_of_a_load(tmp_path):
    """Killed, not stopped. Everything completes, and the processor is seen to be alive again."""
    runs: Counter = Counter()

    gate = asyncio.Event()
    gate.set()

    async def work(name: str):
        runs[name] += 1
        await gate.wait()
        await asyncio.sleep(0.05)

    @workflow
    async def handler(ctx):
        for number in range(4):
            await ctx.step(work, f"{ctx.invocation_id} {number}")

    server = EmbeddedServer(tmp_path, sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=30)
    try:
        async with provisioned_store(settings) as store, running_processor(settings, handler, ack_wait=2) as running:
            ids = [await start_workflow(store, handler) for _ in range(40)]
            await wait_until(lambda: len(runs) > 60)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            for one in ids:
                assert (await wait_for_outcome(store, one)).execution.status == "completed"
            await wait_until(lambda: no_commands_left(store))
            assert Counter(entry.group for entry in await list_index_entries(store)) == {"completed": 40}
            assert len(runs) == 160
            assert [p.processor_id for p in await wait_until(lambda: query.live_processors(store))] == [running.id]
            gate.clear()
            late = await start_workflow(store, handler)
            assert (await wait_for_status(store, late, "running")).waiting_for is None
            gate.set()
    finally:
        server.stop()
