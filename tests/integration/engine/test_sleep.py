"""Sleeps, delayed starts, back-off and time limits: short ones in memory, long ones suspended."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from durablectl import Retry, control, query, workflow
from durablectl.engine.replay import wait_registry
from durablectl.errors import StepTimeoutError
from durablectl.model.kinds import WaitKind
from durablectl.storage.records import states
from helpers.in_process import running_processor, suspend_every_sleep
from helpers.index_listing import wait_for_index_group
from helpers.processor_processes import cross, start_at
from helpers.stored_commands import count_commands
from helpers.stored_records import list_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import (
    run_to_end,
    run_workflow,
    start_workflow,
    wait_for_outcome,
    wait_for_output,
    wait_for_status,
)

S = 1_000_000


@workflow
async def sleeper(ctx, seconds):
    before = ctx.now()
    await ctx.sleep(seconds)
    return (ctx.now() - before) / timedelta(seconds=1)


@workflow
async def quick(_ctx):
    return "done"


async def test_a_short_sleep_stays_in_memory(settings, store):
    async with running_processor(settings, sleeper):
        view = await run_to_end(store, sleeper, 0.3)
    assert view.output >= 0.3
    [step] = view.journal
    assert (view.attempt, step.step_type, step.kind, step.error) == (1, "sleep", "sleep", "")
    assert step.until - step.started_at == 0.3 * S
    assert step.finished_at >= step.until


async def test_long_sleep_suspends_and_wakes_at_its_time(settings, store):
    async with running_processor(settings, sleeper):
        invocation_id = await start_workflow(store, sleeper, 6)
        view = await wait_for_status(store, invocation_id, "suspended")
        assert (view.current_step, view.current_step_type, view.total_steps, view.owner) == (0, "sleep", 1, "")
        assert (view.waiting_for.kind, view.waiting_for.name, view.waiting_for.step_number) == ("sleep", "sleep", 0)
        assert view.waiting_for.until == view.journal[0].until == view.journal[0].started_at + 6 * S
        assert view.journal[0].finished_at == 0
        await wait_until(lambda: commands_only_timers(store, 1))
        await wait_for_output(store, invocation_id)
    view = await query.get_workflow(store, invocation_id)
    assert (view.attempt, view.status, view.waiting_for) == (2, "completed", None)
    assert view.journal[0].finished_at >= view.journal[0].until
    await wait_for_index_group(store, invocation_id, "completed")
    await wait_until(lambda: commands_only_timers(store, 0))


async def commands_only_timers(store, count: int) -> bool:
    found = await list_subjects(store, store.subjects.commands_stream, store.subjects.timer("*", "*"))
    timers = [subject for subject in found if subject != store.subjects.commands_marker]
    return len(timers) == count == await count_commands(store)


async def test_sleepers_hold_no_slot(settings, store):
    """One slot, and twenty asleep at once; another gets through meanwhile."""
    async with running_processor(settings, sleeper, quick, max_concurrent=1) as running:
        ids = [await start_workflow(store, sleeper, 3600) for _ in range(20)]
        await wait_until(lambda: all_have(store, ids, "suspended"))
        await wait_until(lambda: running.processor._active_runs.busy == 0)
        assert await run_workflow(store, quick) == "done"
        assert await all_have(store, ids, "suspended")


async def test_timers_due_together_share_one_slot(settings, store):
    async with running_processor(settings, sleeper, max_concurrent=1):
        ids = [await start_workflow(store, sleeper, 1.3) for _ in range(20)]
        for invocation_id in ids:
            await wait_for_outcome(store, invocation_id)


async def all_have(store, ids, status) -> bool:
    found = await states.load_many(store, ids)
    return all(stored.execution.status == status for stored in found.values())


async def test_timers_due_without_processor_fire_when_one_starts(settings, store):
    async with running_processor(settings, sleeper):
        ids = [await start_workflow(store, sleeper, 10) for _ in range(5)]
        for invocation_id in ids:
            await wait_for_status(store, invocation_id, "suspended")
    view = await query.get_workflow(store, ids[-1])
    await wait_until(lambda: time.time() * S > view.waiting_for.until + 0.3 * S)
    assert await all_have(store, ids, "suspended")
    async with running_processor(settings, sleeper, ack_wait=600):
        for invocation_id in ids:
            assert await wait_for_output(store, invocation_id) > 10


async def test_a_delayed_start_is_pending_until_its_time(settings, store):
    async with running_processor(settings, quick):
        invocation_id = await start_at(store, quick, 4)
        view = await query.get_workflow(store, invocation_id)
        assert (view.status, view.waiting_for.kind, view.attempt) == ("pending", "start", 0)
        due = view.waiting_for.until
        await wait_for_output(store, invocation_id)
    view = await query.get_workflow(store, invocation_id)
    assert view.started_at - due >= -0.5 * S


@pytest.mark.timing
async def test_timer_fires_within_a_second_of_its_time(settings, store):
    async with running_processor(settings, sleeper, quick):
        delayed = await start_at(store, quick, 1.5)
        due = (await query.get_workflow(store, delayed)).waiting_for.until
        asleep = await start_workflow(store, sleeper, 1.7)
        for invocation_id in (delayed, asleep):
            await wait_for_output(store, invocation_id)
    (slept,) = (await query.get_workflow(store, asleep)).journal
    assert slept.finished_at - slept.until < 1 * S
    assert (await query.get_workflow(store, delayed)).started_at - due < 1 * S


async def test_delayed_start_due_without_processor_runs_later(settings, store):
    invocation_id = await start_at(store, quick, 0.3)
    view = await query.get_workflow(store, invocation_id)
    await wait_until(lambda: time.time() * S > view.waiting_for.until + 0.2 * S)
    async with running_processor(settings, quick):
        assert await wait_for_output(store, invocation_id) == "done"


async def test_a_delayed_start_can_be_cancelled_and_then_never_runs(settings, store):
    async with running_processor(settings, quick):
        invocation_id = await start_at(store, quick, 3.0)
        assert (await control.cancel(store, invocation_id)).status == "cancelled"
        due = (await query.get_workflow(store, invocation_id)).created_at + 3.3 * S
        await wait_until(lambda: time.time() * S > due)
        await wait_until(lambda: commands_only_timers(store, 0))
    view = await query.get_workflow(store, invocation_id)
    assert (view.status, view.started_at, view.attempt) == ("cancelled", 0, 0)


@workflow
async def backing(ctx, waits):
    async def fails_twice():
        tries = cross(ctx.invocation_id, "tries")
        if tries < 3:
            raise ValueError(f"try {tries}")
        return tries

    return await ctx.step(fails_twice, retry=Retry(initial=waits, factor=1, jitter=0, max_attempts=3))


async def test_a_long_back_off_suspends_and_continues_its_count_of_attempts(settings, store, monkeypatch):
    """Suspended between attempts, in another processor's hands in the end, three attempts in all."""
    monkeypatch.setitem(wait_registry._KEPT_IN_MEMORY_US, WaitKind.RETRY, 1 * S)
    async with running_processor(settings, backing):
        invocation_id = await start_workflow(store, backing, 5)
        view = await wait_for_status(store, invocation_id, "suspended")
        waiting = view.waiting_for
        assert (waiting.kind, waiting.name, waiting.attempt, waiting.error) == ("retry", "fails_twice", 1, "try 1")
        assert (view.current_step, view.owner, view.journal) == (0, "", [])
    async with running_processor(settings, backing):
        second = await wait_until(lambda: attempt_of(store, invocation_id, 2))
        assert second.waiting_for.error == "try 2"
        assert await wait_for_output(store, invocation_id) == 3
    [step] = (await query.get_workflow(store, invocation_id)).journal
    assert (step.attempts, step.error) == (3, "")


async def attempt_of(store, invocation_id, attempt):
    view = await query.get_workflow(store, invocation_id)
    return view if view.waiting_for and view.waiting_for.attempt == attempt else None


@workflow(timeout=1.5)
async def limited(ctx, kind):
    if kind == "step":
        await ctx.step(never)
    elif kind == "sleep":
        await ctx.sleep(60)
    await ctx.awakeable("never")


async def never():
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["step", "sleep", "awakeable"])
async def test_workflow_over_its_time_limit_fails_in_any_status(settings, store, kind):
    async with running_processor(settings, limited):
        view = await run_to_end(store, limited, kind)
    assert (view.status, view.error_type) == ("failed", "WorkflowTimeoutError")
    assert view.error == "The workflow had not ended after 1.5 s."
    assert view.finished_at - view.started_at >= 1.5 * S


async def test_retry_renews_the_time_limit(settings, store):
    @workflow(timeout=5)
    async def limited(ctx):
        await ctx.awakeable("never")

    async with running_processor(settings, limited):
        invocation_id = (await run_to_end(store, limited)).invocation_id
        await control.retry(store, invocation_id)
        await control.resolve(store, f"{invocation_id}.never")
        assert await wait_for_output(store, invocation_id) is None


async def test_the_time_limit_of_a_wait_is_an_error_that_the_handler_sees(settings, store):
    @workflow
    async def impatient(ctx, wait):
        waits = {"awakeable": ctx.awakeable, "signal": ctx.signal}
        with pytest.raises(StepTimeoutError) as caught:
            await waits[wait]("x", timeout=0.2 if wait == "signal" else 1.4)
        return [caught.value.error, caught.value.step_type]

    async with running_processor(settings, impatient):
        assert await run_workflow(store, impatient, "signal") == ["nothing came within 0.2 s", "signal:x"]
        assert await run_workflow(store, impatient, "awakeable") == ["nothing came within 1.4 s", "awakeable:x"]


async def test_timer_fired_during_suspension_write_is_not_lost(settings, store, monkeypatch):
    """Its wake command meets, in another processor, a workflow that still runs, and does nothing."""
    suspend_every_sleep(monkeypatch)
    replace = states.replace
    late = []

    async def slow(store, execution, *args):
        if execution.status == "suspended" and not late:
            late.append(execution.invocation_id)
            await wait_until(lambda: time.time() * S > execution.waits[0].until + S)
        return await replace(store, execution, *args)

    monkeypatch.setattr(states, "replace", slow)
    async with running_processor(settings, sleeper, max_concurrent=1):
        invocation_id = await start_workflow(store, sleeper, 3)
        await wait_until(lambda: late)
        async with running_processor(settings, sleeper):
            assert await wait_for_output(store, invocation_id) >= 3
