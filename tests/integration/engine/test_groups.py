"""Gather and race over steps, sleeps, awakeables, signals and children."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from durablectl import StepError, TerminalError, UsageError, control, query, workflow
from helpers.in_process import running_processor, suspend_every_sleep
from helpers.processor_processes import cross
from helpers.waiting import wait_until
from helpers.workflow_runs import (
    run_to_end,
    run_workflow,
    start_workflow,
    wait_for_output,
    wait_for_status,
    wait_until_waiting_for,
)


@workflow
async def child(ctx, value):
    await ctx.sleep(1.2)
    return value


async def same(value):
    return value


async def fails():
    raise TerminalError("broken")


async def test_gather_keeps_order_and_suspends_when_only_waits_remain(settings, store):
    gate = asyncio.Event()

    async def gated():
        await gate.wait()
        return "step"

    @workflow
    async def everything(ctx):
        return await ctx.gather(
            ctx.awakeable("answer"),
            ctx.sleep(1.4),
            ctx.step(gated),
            ctx.invoke(child, "child"),
            ctx.signal("word"),
            ctx.step(same, "quick"),
        )

    async with running_processor(settings, everything, child):
        invocation_id = await start_workflow(store, everything)
        await wait_until(lambda: children_of(store, invocation_id))
        assert (await query.get_workflow(store, invocation_id)).status == "running"
        gate.set()
        await wait_for_status(store, invocation_id, "suspended")
        await control.signal(store, invocation_id, "word", "signal")
        await control.resolve(store, f"{invocation_id}.answer", "answer")
        expected = ["answer", None, "step", "child", "signal", "quick"]
        assert await wait_for_output(store, invocation_id) == expected
    view = await query.get_workflow(store, invocation_id)
    assert [s.step_number for s in view.journal] == list(range(6))
    assert all(s.finished_at for s in view.journal)


async def children_of(store, invocation_id):
    return (await query.get_workflow(store, invocation_id)).children


async def test_an_error_in_a_gather_waits_for_the_others_even_asleep(settings, store, monkeypatch):
    suspend_every_sleep(monkeypatch)

    @workflow
    async def mixed(ctx):
        try:
            await ctx.gather(ctx.step(fails), ctx.sleep(3))
        except StepError as error:
            return error.error

    async with running_processor(settings, mixed):
        view = await run_to_end(store, mixed)
    assert (view.output, view.attempt) == ("broken", 2)
    assert view.journal[1].finished_at >= view.journal[1].until


async def slow(me: str):
    cross(me, "slow began")
    try:
        await asyncio.sleep(3600)
    finally:
        cross(me, "slow interrupted")


@pytest.mark.parametrize(
    ("contenders", "winner"),
    [
        (("slow", "sleep"), [1, None]),
        (("long sleep", "quick"), [1, "quick"]),
        (("slow", "answer"), [1, "given"]),
        (("long sleep", "child"), [1, "child"]),
        (("long sleep", "answer", "child"), [1, "given"]),
        (("long sleep", "gather"), [1, ["quick", None]]),
        (("race", "long sleep"), [0, [1, "quick"]]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_the_first_to_end_wins_a_race(settings, store, contenders, winner):
    @workflow
    async def racing(ctx):
        made = {
            "slow": ctx.step(slow, ctx.invocation_id),
            "quick": ctx.step(same, "quick"),
            "sleep": ctx.sleep(0.3),
            "long sleep": ctx.sleep(60),
            "answer": ctx.awakeable("answer"),
            "child": ctx.invoke(child, "child"),
            "gather": ctx.gather(ctx.step(same, "quick"), ctx.sleep(0.1)),
            "race": ctx.race(ctx.sleep(50), ctx.step(same, "quick")),
        }
        return list(await ctx.race(*(made[name] for name in contenders)))

    async with running_processor(settings, racing, child):
        invocation_id = await start_workflow(store, racing)
        if "answer" in contenders:
            await wait_until(lambda: steps_begun(store, invocation_id))
            await control.resolve(store, f"{invocation_id}.answer", "given")
        assert await wait_for_output(store, invocation_id) == winner
    view = await query.get_workflow(store, invocation_id)
    assert (view.journal[0].step_type, view.journal[0].response) == ("race", winner[0])
    if "slow" in contenders:
        assert cross(invocation_id, "slow interrupted") == 2


async def steps_begun(store, invocation_id) -> bool:
    view = await query.get_workflow(store, invocation_id)
    return view.status == "suspended" or view.current_step >= 0


async def test_the_error_of_the_first_to_end_is_raised(settings, store):
    @workflow
    async def racing(ctx):
        with pytest.raises(StepError, match="broken"):
            await ctx.race(ctx.sleep(60), ctx.step(fails))
        return "raised"

    async with running_processor(settings, racing):
        assert await run_workflow(store, racing) == "raised"


async def test_replay_keeps_the_recorded_race_winner(settings, store):
    """The answer that lost comes in while the workflow sleeps; the replay after that still has the first winner."""

    @workflow
    async def racing(ctx):
        first = await ctx.race(ctx.awakeable("late"), ctx.sleep(0.1))
        await ctx.signal("once")
        second = await ctx.race(ctx.awakeable("late2"), ctx.step(same, 2))
        await ctx.signal("twice")
        return [list(first), list(second)]

    async with running_processor(settings, racing):
        invocation_id = await start_workflow(store, racing)
        await wait_until_waiting_for(store, invocation_id, "signal:once")
        await control.resolve(store, f"{invocation_id}.late", "too late")
    await control.signal(store, invocation_id, "once")
    async with running_processor(settings, racing):
        await wait_until_waiting_for(store, invocation_id, "signal:twice")
        await control.resolve(store, f"{invocation_id}.late2", "too late")
        await control.signal(store, invocation_id, "twice")
        assert await wait_for_output(store, invocation_id) == [[1, None], [1, 2]]
    assert (await query.get_workflow(store, invocation_id)).attempt >= 3


async def test_a_race_that_suspends_is_won_at_once_by_the_answer(settings, store):
    """Many at a time, so that answers fall into every moment of falling asleep."""

    @workflow
    async def racing(ctx):
        return list(await ctx.race(ctx.sleep(60), ctx.awakeable("answer"), ctx.sleep(90)))

    async with running_processor(settings, racing):
        ids = [await start_workflow(store, racing) for _ in range(60)]
        await asyncio.gather(*(control.resolve(store, f"{i}.answer", i) for i in ids))
        for invocation_id in ids:
            assert await wait_for_output(store, invocation_id) == [1, invocation_id]


async def test_step_numbers_continue_after_a_race(settings, store):
    @workflow
    async def racing(ctx):
        await ctx.race(ctx.step(same, 1, name="a"), ctx.sleep(60), ctx.step(slow, ctx.invocation_id))
        return await ctx.step(same, "after")

    async with running_processor(settings, racing):
        view = await run_to_end(store, racing)
    assert view.output == "after"
    assert {s.step_number: s.step_type for s in view.journal if s.finished_at} == {0: "race", 1: "a", 4: "same"}
    assert view.total_steps == 5


async def test_cancelled_race_does_not_hold_up_later_steps(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.engine.replay.step_window.READ_AT_ONCE", 5)

    @workflow
    async def races(ctx):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await ctx.race(ctx.sleep(60), ctx.signal("never"))
        return [await ctx.step(same, number) for number in range(10)]

    async with running_processor(settings, races):
        assert await run_workflow(store, races) == list(range(10))


@pytest.mark.parametrize("inner", ["gather", "race"])
async def test_group_cancelled_before_its_first_turn_ends_its_steps(settings, store, inner):
    @workflow
    async def races(ctx):
        done = asyncio.get_running_loop().create_future()
        done.set_result("done")
        nested = getattr(ctx, inner)(ctx.step(slow, ctx.invocation_id), ctx.sleep(3600))
        won = await ctx.race(nested, done)
        await ctx.signal("go-on")
        return list(won)

    async with running_processor(settings, races):
        invocation_id = await start_workflow(store, races)
        # It is suspended only when nothing but the signal is waited for.
        view = await wait_for_status(store, invocation_id, "suspended")
        assert view.waiting_for.name == "signal:go-on"
        await control.signal(store, invocation_id, "go-on")
        assert await wait_for_output(store, invocation_id) == [1, "done"]


@pytest.mark.parametrize("group", ["gather", "race"])
async def test_group_that_cannot_begin_a_child_ends_those_begun(settings, store, group):
    @workflow
    async def asks_twice(ctx):
        first = ctx.step(same, 1)
        await first
        with pytest.raises(UsageError, match="'same' was awaited twice"):
            await getattr(ctx, group)(ctx.step(slow, ctx.invocation_id), first)
        await ctx.signal("go-on")

    async with running_processor(settings, asks_twice):
        invocation_id = await start_workflow(store, asks_twice)
        await wait_for_status(store, invocation_id, "suspended")
        await control.signal(store, invocation_id, "go-on")
        assert await wait_for_output(store, invocation_id) is None
