"""Parallel steps: numbered in the order given, side by side, all ended before an error is raised."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import Retry, StepError, query, workflow
from durablectl.errors import UsageError
from helpers.in_process import running_processor
from helpers.stored_records import list_journal_subjects, read_journal
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_output, wait_for_status

ONCE = Retry(max_attempts=1)


async def test_steps_are_numbered_in_the_order_given_whichever_ends_first(settings, store):
    turn = [asyncio.Event() for _ in range(4)]

    async def step(number: int) -> int:
        """Each waits for the one behind it, so that they end in reverse."""
        if number < 3:
            await turn[number + 1].wait()
        turn[number].set()
        return number

    @workflow
    async def handler(ctx):
        return await ctx.gather(*(ctx.step(step, number, name=f"s{number}") for number in range(4)))

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.output == [0, 1, 2, 3]
    assert [(s.step_number, s.step_type, s.request) for s in view.journal] == [(n, f"s{n}", n) for n in range(4)]
    assert view.journal[3].finished_at <= view.journal[0].finished_at


async def test_gathers_nest_and_may_be_empty(settings, store):
    async def same(value):
        return value

    @workflow
    async def handler(ctx):
        return [
            await ctx.gather(),
            await ctx.gather(ctx.step(same, 1), ctx.gather(ctx.step(same, 2), ctx.gather()), ctx.step(same, 3)),
        ]

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.output == [[], [1, [2, []], 3]]
    assert [s.request for s in view.journal] == [1, 2, 3]


async def test_all_end_before_the_first_error_in_order_is_raised(settings, store):
    late = asyncio.Event()

    async def fails_late():
        await late.wait()
        raise ValueError("late")

    async def fails_early():
        late.set()
        raise ValueError("early")

    @workflow
    async def handler(ctx):
        try:
            await ctx.gather(
                ctx.step(fails_late, retry=ONCE), ctx.step(fails_early, retry=ONCE), ctx.step(asyncio.sleep, 0.05)
            )
        except StepError as error:
            return error.error

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.output == "late"
    assert [s.error for s in view.journal] == ["late", "early", ""]


async def test_only_steps_can_be_gathered(settings, store):
    @workflow
    async def handler(ctx):
        with pytest.raises(UsageError, match=r"ctx\.gather takes steps and coroutines, and got a int"):
            ctx.gather(5)
        return "refused"

    async with running_processor(settings, handler):
        assert (await run_to_end(store, handler)).output == "refused"


async def test_after_a_crash_only_the_unfinished_ones_run_again(settings, store):
    """The journal holds steps 0 and 2 of three when the processor goes."""
    runs: list[str] = []
    open_gate = asyncio.Event()

    async def quick(name: str) -> str:
        runs.append(name)
        return name

    async def gated(name: str) -> str:
        runs.append(name)
        await open_gate.wait()
        return name

    @workflow
    async def handler(ctx):
        gathered = await ctx.gather(ctx.step(quick, "a"), ctx.step(gated, "b"), ctx.step(quick, "c"))
        return [*gathered, await ctx.step(quick, "d")]

    async with running_processor(settings, handler, grace=0.05):
        invocation_id = await start_workflow(store, handler)
        await wait_until(lambda: two_recorded(store, invocation_id))
    assert (await query.get_workflow(store, invocation_id)).status == "pending"
    assert [entry.step_number for entry in await read_journal(store, invocation_id)] == [0, 2]
    open_gate.set()
    async with running_processor(settings, handler):
        assert await wait_for_output(store, invocation_id) == ["a", "b", "c", "d"]
    assert sorted(runs) == ["a", "b", "b", "c", "d"]


async def two_recorded(store, invocation_id: str) -> bool:
    return len(await list_journal_subjects(store, invocation_id)) == 2


async def test_far_more_steps_than_a_read_holds(settings, store):
    """Wider than the thousand entries of one read: a step that is stuck holds back those too far ahead of it."""
    running: set[int] = set()
    gate = asyncio.Event()

    async def step(number: int) -> int:
        running.add(number)
        if number == 0:
            await gate.wait()
        return number

    @workflow
    async def handler(ctx):
        return sum(await ctx.gather(*(ctx.step(step, number) for number in range(1150))))

    async with running_processor(settings, handler, grace=0.05):
        invocation_id = await start_workflow(store, handler)
        await wait_for_status(store, invocation_id, "running")
        await wait_until(lambda: len(running) == 1000)
        await wait_until(lambda: recorded(store, invocation_id, 999))
        assert max(running) == 999
    gate.set()
    running.clear()
    async with running_processor(settings, handler):
        assert await wait_for_output(store, invocation_id) == sum(range(1150))
    assert running == {0, *range(1000, 1150)}


async def recorded(store, invocation_id: str, count: int) -> bool:
    return len(await list_journal_subjects(store, invocation_id)) == count


async def test_asyncios_own_gather_and_tasks_work_too(settings, store):
    """They start steps in the order in which the tasks begin, which is the order given."""
    runs: list[int] = []
    gate = asyncio.Event()

    async def step(number: int) -> int:
        runs.append(number)
        if number == 2:
            await gate.wait()
        return number

    @workflow
    async def handler(ctx):
        task = asyncio.ensure_future(ctx.step(step, 0))
        gathered = await asyncio.gather(ctx.step(step, 1), ctx.step(step, 2))
        return [await task, *gathered]

    async with running_processor(settings, handler, grace=0.05):
        invocation_id = await start_workflow(store, handler)
        await wait_until(lambda: two_recorded(store, invocation_id))
    gate.set()
    async with running_processor(settings, handler):
        assert await wait_for_output(store, invocation_id) == [0, 1, 2]
    assert runs == [0, 1, 2, 2]
