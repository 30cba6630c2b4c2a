"""Cancel: the step in flight is interrupted at once, compensations run in reverse, then it ends."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict

import pytest

from durablectl import TerminalError, control, query, workflow
from durablectl.errors import InvalidStateError
from helpers.in_process import running_processor
from helpers.stored_records import list_journal_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow, wait_for_output, wait_for_status

did: defaultdict[str, list[str]] = defaultdict(list)
moments: dict[str, float] = {}


async def note(me: str, what: str) -> str:
    did[me].append(what)
    return what


async def hang(me: str, seconds: float = 60) -> None:
    did[me].append("began")
    try:
        await asyncio.sleep(seconds)
    finally:
        moments[me] = time.monotonic()
        did[me].append("finally")


@workflow
async def worker(ctx, plan):
    me = ctx.invocation_id
    ctx.defer(note, me, "undo 1", name="undo 1")
    await ctx.step(note, me, "one", name="one")
    ctx.defer(note, me, "undo 2", name="undo 2")
    try:
        if plan == "step":
            await ctx.step(hang, me, name="hang")
        elif plan == "gather":
            await ctx.gather(ctx.step(hang, me, name="a"), ctx.sleep(50), ctx.step(hang, me, name="b"))
        elif plan == "race":
            await ctx.race(ctx.step(hang, me, name="a"), ctx.sleep(50))
        elif plan == "sleep":
            await ctx.sleep(60)
        elif plan == "awakeables":
            await ctx.gather(ctx.awakeable("x"), ctx.awakeable("y"), ctx.sleep(70))
    finally:
        did[me].append("handler finally")
    ctx.defer(note, me, "undo 3", name="undo 3")
    await ctx.step(note, me, "two", name="two")


@pytest.mark.timing
async def test_a_step_is_interrupted_within_200_ms_at_the_median(settings, store):
    delays = []
    async with running_processor(settings, worker):
        for _ in range(9):
            invocation_id = await start_workflow(store, worker, "step")
            await wait_until(lambda i=invocation_id: "began" in did[i])
            began = time.monotonic()
            result = await control.cancel(store, invocation_id)
            assert (result.status, result.changed) == ("running", True)
            await wait_until(lambda i=invocation_id: i in moments)
            delays.append(moments[invocation_id] - began)
            await wait_for_status(store, invocation_id, "cancelled")
            assert did[invocation_id][:4] == ["one", "began", "handler finally", "finally"]
    assert statistics.median(delays) < 0.2, delays


@pytest.mark.parametrize("plan", ["step", "gather", "race", "sleep", "awakeables"])
async def test_compensations_run_in_reverse_from_any_status(settings, store, plan):
    async with running_processor(settings, worker):
        invocation_id = await start_workflow(store, worker, plan)
        if plan in {"sleep", "awakeables"}:
            await wait_for_status(store, invocation_id, "suspended")
        else:
            await wait_until(lambda: "began" in did[invocation_id])
        await control.cancel(store, invocation_id, "no more")
        view = await wait_for_status(store, invocation_id, "cancelled")
        assert await wait_until(lambda: nothing_left(store, invocation_id))
    assert did[invocation_id][-2:] == ["undo 2", "undo 1"]
    assert did[invocation_id].count("handler finally") >= 1
    assert did[invocation_id].count("finally") == did[invocation_id].count("began")
    steps = [(s.step_type, s.kind) for s in view.journal]
    assert steps[-2:] == [("undo 2", "compensation"), ("undo 1", "compensation")]
    assert (view.reason, view.error, view.current_step, view.waiting_for) == ("no more", "", -1, None)
    assert view.finished_at


async def nothing_left(store, invocation_id) -> bool:
    return not await list_journal_subjects(store, invocation_id)


async def test_workflow_shows_as_running_and_cancelling_during_compensation(settings, store):
    gate = asyncio.Event()

    @workflow
    async def slow_to_undo(ctx):
        ctx.defer(gate.wait, name="undo")
        await ctx.sleep(60)

    async with running_processor(settings, slow_to_undo):
        invocation_id = await start_workflow(store, slow_to_undo)
        await wait_for_status(store, invocation_id, "suspended")
        await control.cancel(store, invocation_id, "late")
        view = await wait_for_status(store, invocation_id, "running")
        assert view.reason == "cancelling: late"
        view = await wait_until(lambda: at_step(store, invocation_id, "undo"))
        assert (view.status, view.reason) == ("running", "cancelling: late")
        again = await control.cancel(store, invocation_id)
        assert (again.changed, again.status) == (False, "running")
        with pytest.raises(InvalidStateError, match="being cancelled"):
            await control.pause(store, invocation_id)
        gate.set()
        assert (await wait_for_status(store, invocation_id, "cancelled")).reason == "late"


async def at_step(store, invocation_id, step):
    view = await query.get_workflow(store, invocation_id)
    return view if view.current_step_type == step else None


async def test_now_skips_the_compensations(settings, store):
    async with running_processor(settings, worker):
        invocation_id = await start_workflow(store, worker, "step")
        await wait_until(lambda: "began" in did[invocation_id])
        result = await control.cancel(store, invocation_id, "at once", now=True)
        assert (result.status, result.changed) == ("cancelled", True)
        await wait_until(lambda: "finally" in did[invocation_id])
        view = await query.get_workflow(store, invocation_id)
    assert (view.status, view.reason, [s.step_type for s in view.journal]) == ("cancelled", "at once", ["one"])
    assert did[invocation_id] == ["one", "began", "handler finally", "finally"]


async def test_a_handler_that_swallows_its_cancellation_still_ends_as_cancelled(settings, store):
    @workflow
    async def stubborn(ctx):
        me = ctx.invocation_id
        try:
            await ctx.step(hang, me)
        except asyncio.CancelledError:
            did[me].append("swallowed")
        await ctx.step(note, me, "went on")
        return "survived"

    async with running_processor(settings, stubborn):
        invocation_id = await start_workflow(store, stubborn)
        await wait_until(lambda: "began" in did[invocation_id])
        await control.cancel(store, invocation_id)
        view = await wait_for_status(store, invocation_id, "cancelled")
    assert did[invocation_id].count("went on") == 1
    assert did[invocation_id].count("began") == 1
    assert view.output is None


async def test_failed_compensation_is_reported_and_others_run(settings, store):
    async def fail():
        raise TerminalError("cannot undo")

    async def give_up():
        raise asyncio.CancelledError

    @workflow
    async def unlucky(ctx):
        ctx.defer(note, ctx.invocation_id, "undone")
        ctx.defer(fail)
        ctx.defer(give_up)
        await ctx.sleep(60)

    async with running_processor(settings, unlucky):
        invocation_id = await start_workflow(store, unlucky)
        await wait_for_status(store, invocation_id, "suspended")
        await control.cancel(store, invocation_id)
        view = await wait_for_status(store, invocation_id, "cancelled")
    assert did[invocation_id] == ["undone"]
    assert "cannot undo" in view.error
    assert view.error_type == "CompensationFailed"


async def test_cancel_at_the_end_of_a_step_interrupts_no_compensation(settings, store):
    """Forty cancellations around the end of a step."""

    @workflow
    async def brisk(ctx):
        me = ctx.invocation_id
        ctx.defer(undo_slowly, me)
        await ctx.step(hang, me, 0.03)
        await ctx.step(hang, me, 0.03)
        return "through"

    async def undo_slowly(me):
        await asyncio.sleep(0.02)
        did[me].append("undone")

    async with running_processor(settings, brisk):
        ids = [await start_workflow(store, brisk) for _ in range(40)]
        await wait_until(lambda: all("began" in did[i] for i in ids))

        async def cancel(number: int) -> None:
            await asyncio.sleep(number % 10 * 0.004)
            await control.cancel(store, ids[number])

        await asyncio.gather(*(cancel(n) for n in range(40)), return_exceptions=True)
        for invocation_id in ids:
            view = await wait_until(lambda i=invocation_id: terminal(store, i))
            assert view.status in {"cancelled", "completed"}
            assert did[invocation_id].count("undone") == (view.status == "cancelled")
            assert view.attempt == 1


async def terminal(store, invocation_id):
    view = await query.get_workflow(store, invocation_id)
    return view if view.finished_at else None


async def test_cancel_refuses_ended_workflow_and_accepts_repetition(settings, store):
    @workflow
    async def over(_, fails):
        if fails:
            raise ValueError("over")

    async with running_processor(settings, over, worker):
        for fails, status in ((False, "completed"), (True, "failed")):
            invocation_id = (await run_to_end(store, over, fails)).invocation_id
            with pytest.raises(InvalidStateError, match=status):
                await control.cancel(store, invocation_id)
        invocation_id = await start_workflow(store, worker, "sleep")
        await wait_for_status(store, invocation_id, "suspended")
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")
        again = await control.cancel(store, invocation_id)
        assert (again.changed, again.status) == (False, "cancelled")


async def test_completed_without_a_cancellation_no_compensation_runs(settings, store):
    async with running_processor(settings, worker):
        invocation_id = await start_workflow(store, worker, "")
        await wait_for_output(store, invocation_id)
        assert did[invocation_id] == ["one", "handler finally", "two"]
        assert await run_workflow(store, worker, "") is None


async def test_retry_cancelled_before_it_begins_still_compensates(settings, store):
    @workflow
    async def broken(ctx):
        ctx.defer(note, ctx.invocation_id, "undone")
        await ctx.step(note, ctx.invocation_id, "one")
        raise ValueError("broken")

    async with running_processor(settings, broken):
        invocation_id = (await run_to_end(store, broken)).invocation_id
    await control.retry(store, invocation_id)
    await control.cancel(store, invocation_id)
    async with running_processor(settings, broken):
        view = await wait_for_status(store, invocation_id, "cancelled")
    assert did[invocation_id] == ["one", "undone", "undone"]  # when it failed, and when it was cancelled
    assert [s.step_type for s in view.journal] == ["note", "note"]
