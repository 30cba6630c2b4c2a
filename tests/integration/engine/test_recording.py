"""When a result is recorded: before anything follows it, or with the end that follows it at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from durablectl import Retry, control, workflow
from durablectl.storage.records import journal, states
from helpers.in_process import running_processor
from helpers.index_listing import index_groups
from helpers.stored_records import list_journal_subjects, read_journal
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_outcome, wait_for_status


@pytest.fixture
async def appended(store):
    """The numbers of the steps whose entries were sent, in that order."""
    numbers: list[int] = []

    async def on_message(message) -> None:
        if message.data:
            numbers.append(int(message.subject.rpartition(".")[2]))

    await store.nats.subscribe(store.subjects.journal("*", "*"), cb=on_message)
    await store.flush()
    return numbers


async def step(value):
    return value


@workflow
async def three(ctx, value):
    return [await ctx.step(step, value), await ctx.step(step, value), await ctx.step(step, value)]


async def test_the_last_result_goes_with_the_end(settings, store, appended):
    async with running_processor(settings, three):
        view = await run_to_end(store, three, 7)
        assert view.output == [7, 7, 7]
        assert [entry.step_number for entry in view.journal] == [0, 1, 2]
        await wait_until(lambda: clean(store, view.invocation_id))
    assert appended == [0, 1]


async def test_a_step_that_failed_for_good_goes_with_the_end_too(settings, store, appended):
    async def broken():
        raise ValueError("no")

    @workflow
    async def fails(ctx):
        await ctx.step(step, 1)
        await ctx.step(broken, retry=Retry(max_attempts=1))

    async with running_processor(settings, fails):
        view = await run_to_end(store, fails)
        assert (view.status, [entry.error for entry in view.journal]) == ("failed", ["", "no"])
        assert appended == [0]


async def test_a_big_result_is_recorded_by_itself(settings, store, appended):
    async with running_processor(settings, three):
        view = await run_to_end(store, three, "x" * 5000)
        assert view.status == "completed"
        await wait_until(lambda: clean(store, view.invocation_id))
    assert appended == [0, 1, 2]


async def test_handler_that_awaits_what_nothing_brings_is_paused(settings, store):
    gate = asyncio.Event()

    @workflow
    async def waits(ctx):
        await ctx.step(step, 1)
        await gate.wait()

    async with running_processor(settings, waits):
        invocation_id = await start_workflow(store, waits)
        view = await wait_for_status(store, invocation_id, "paused")
        assert "awaits what no step, timer, signal or child brings" in view.reason
        (entry,) = await read_journal(store, invocation_id)
        assert entry.response.data == b"1"


async def test_result_is_recorded_before_the_next_step_begins(settings, store):
    seen = {}

    async def look(what):
        seen[what] = [entry.step_number for entry in await read_journal(store, "looking")]

    @workflow
    async def handler(ctx):
        await ctx.step(step, 0)
        await ctx.step(look, "step")
        await ctx.gather(ctx.step(look, "both"), ctx.step(look, "again"))
        await ctx.step(step, 0)
        await ctx.race(ctx.step(look, "race"))
        ctx.defer(look, "compensation")
        await ctx.step(step, 0)
        raise asyncio.CancelledError

    async with running_processor(settings, handler):
        await start_workflow(store, handler, id="looking")
        await wait_for_outcome(store, "looking")
    assert (seen["step"], seen["both"][:2], seen["again"][:2]) == ([0], [0, 1], [0, 1])
    assert seen["race"] == [0, 1, 2, 3, 4]


async def test_a_pause_at_the_end_keeps_the_result(settings, store):
    runs = Counter()

    async def last():
        runs["last"] += 1
        await control.pause(store, "paused-late")

    @workflow
    async def handler(ctx):
        await ctx.step(step, 1)
        await ctx.step(last)
        return "done"

    async with running_processor(settings, handler):
        await start_workflow(store, handler, id="paused-late")
        await wait_for_status(store, "paused-late", "paused")
        await wait_until(lambda: is_let_go(store, "paused-late"))
        assert [entry.step_number for entry in await read_journal(store, "paused-late")] == [0, 1]
        await control.resume(store, "paused-late")
        assert (await wait_for_outcome(store, "paused-late")).output() == "done"
        await wait_until(lambda: clean(store, "paused-late"))
    assert runs == {"last": 1}


async def test_a_time_limit_around_the_next_step_does_not_lose_the_result(settings, store, monkeypatch):
    runs = Counter()
    append = journal.append
    slow = asyncio.Event()

    async def held_up(opened, invocation_id, entry, revision):
        is_stored = await append(opened, invocation_id, entry, revision)
        if entry.step_number == 0 and not slow.is_set():
            slow.set()
            await asyncio.sleep(2)
        return is_stored

    monkeypatch.setattr(journal, "append", held_up)

    async def first():
        runs["first"] += 1
        return 1

    @workflow
    async def hurries(ctx):
        value = await ctx.step(first)
        try:
            async with asyncio.timeout(0.05):
                await ctx.step(asyncio.sleep, 30)
        except TimeoutError:
            return value

    async with running_processor(settings, hurries):
        view = await run_to_end(store, hurries)
        assert (view.status, view.output) == ("completed", 1)
        assert [entry.step_type for entry in view.journal] == ["first", "timer"]
        await wait_until(lambda: clean(store, view.invocation_id))
    assert runs == {"first": 1}


async def test_workflow_fenced_during_an_await_stops(settings, store):
    """Its result was not recorded: whoever has taken the workflow decides."""
    seen = []

    @workflow
    async def handler(ctx):
        try:  # Whether it learns of the cancellation in the step or after it is open.
            await ctx.step(take_away)
            await asyncio.sleep(30)
        finally:
            seen.append("left")

    async def take_away():
        await control.cancel(store, "taken", now=True)

    async with running_processor(settings, handler):
        await start_workflow(store, handler, id="taken")
        assert (await wait_for_outcome(store, "taken")).execution.status == "cancelled"
        await wait_until(lambda: seen)


async def clean(store, invocation_id: str) -> bool:
    return not await list_journal_subjects(store, invocation_id) and len(await index_groups(store, invocation_id)) == 1


async def is_let_go(store, invocation_id: str) -> bool:
    return not (await states.load(store, invocation_id)).execution.owner
