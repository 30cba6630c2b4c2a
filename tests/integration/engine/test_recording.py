"""When a result is recorded: before anything follows it, or with the end that follows it at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from durablectl import Retry, control, workflow
from durablectl.storage.records import journal, states
from helpers.processing import ended, index_of, journal_subjects, journaled, outcome, processing, reaches, start, until


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
    async with processing(settings, three):
        view = await ended(store, three, 7)
        assert view.output == [7, 7, 7]
        assert [entry.step_number for entry in view.journal] == [0, 1, 2]
        await until(lambda: clean(store, view.invocation_id))
    assert appended == [0, 1]


async def test_a_step_that_failed_for_good_goes_with_the_end_too(settings, store, appended):
    async def broken():
        raise ValueError("no")

    @workflow
    async def fails(ctx):
        await ctx.step(step, 1)
        await ctx.step(broken, retry=Retry(max_attempts=1))

    async with processing(settings, fails):
        view = await ended(store, fails)
        assert (view.status, [entry.error for entry in view.journal]) == ("failed", ["", "no"])
        assert appended == [0]


async def test_a_big_result_is_recorded_by_itself(settings, store, appended):
    async with processing(settings, three):
        view = await ended(store, three, "x" * 5000)
        assert view.status == "completed"
        await until(lambda: clean(store, view.invocation_id))
    assert appended == [0, 1, 2]


async def test_what_the_handler_awaits_by_itself_finds_the_result_recorded(settings, store):
    gate = asyncio.Event()

    @workflow
    async def waits(ctx):
        await ctx.step(step, 1)
        await gate.wait()

    async with processing(settings, waits):
        invocation_id = await start(store, waits)
        (entry,) = await until(lambda: journaled(store, invocation_id))
        assert entry.response.data == b"1"
        gate.set()
        assert (await outcome(store, invocation_id)).execution.status == "completed"
        await until(lambda: clean(store, invocation_id))


async def test_a_result_is_recorded_before_what_follows_begins(settings, store):
    seen = {}

    async def look(what):
        seen[what] = [entry.step_number for entry in await journaled(store, "looking")]

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

    async with processing(settings, handler):
        await start(store, handler, id="looking")
        await outcome(store, "looking")
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

    async with processing(settings, handler):
        await start(store, handler, id="paused-late")
        await reaches(store, "paused-late", "paused")
        await until(lambda: is_let_go(store, "paused-late"))
        assert [entry.step_number for entry in await journaled(store, "paused-late")] == [0, 1]
        await control.resume(store, "paused-late")
        assert (await outcome(store, "paused-late")).output() == "done"
        await until(lambda: clean(store, "paused-late"))
    assert runs == {"last": 1}


async def test_a_time_limit_around_the_next_step_does_not_lose_the_result(settings, store, monkeypatch):
    runs = Counter()
    append = journal.append
    slow = asyncio.Event()

    async def held_up(opened, invocation_id, entry, revision):
        is_stored = await append(opened, invocation_id, entry, revision)
        if entry.step_number == 0 and not slow.is_set():
            slow.set()
            await asyncio.sleep(30)
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
                await ctx.step(step, 2)
        except TimeoutError:
            return value

    async with processing(settings, hurries):
        view = await ended(store, hurries)
        assert (view.status, view.output) == ("completed", 1)
        assert [entry.step_number for entry in view.journal] == [0]
        await until(lambda: clean(store, view.invocation_id))
    assert runs == {"first": 1}


async def test_fenced_out_while_the_handler_waits_it_stops(settings, store):
    """Its result was not recorded: whoever has taken the workflow decides."""
    seen = []

    @workflow
    async def handler(ctx):
        await ctx.step(take_away)
        try:
            await asyncio.sleep(30)
        finally:
            seen.append("left")

    async def take_away():
        await control.cancel(store, "taken", now=True)

    async with processing(settings, handler):
        await start(store, handler, id="taken")
        assert (await outcome(store, "taken")).execution.status == "cancelled"
        await until(lambda: seen)


async def clean(store, invocation_id: str) -> bool:
    return not await journal_subjects(store, invocation_id) and len(await index_of(store, invocation_id)) == 1


async def is_let_go(store, invocation_id: str) -> bool:
    return not (await states.load(store, invocation_id)).execution.owner
