"""Pause and resume: in a step, between attempts, asleep, before the start; and a workflow whose code has changed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from durablectl import Retry, control, query, workflow
from durablectl.errors import InvalidStateError
from helpers.in_process import running_processor
from helpers.index_listing import index_groups
from helpers.processor_processes import cross, start_at
from helpers.stored_records import read_journal
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_output, wait_for_status


class Gates:
    """Steps that wait until they are let through, and how often each has run."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.ran: Counter[str] = Counter()

    async def step(self, name: str) -> str:
        self.ran[name] += 1
        await self.open.wait()
        return name


@pytest.fixture
def gates():
    return Gates()


@pytest.fixture
def two_steps(gates):
    @workflow(name="two_steps")
    async def handler(ctx):
        return [await ctx.step(gates.step, name, name=name) for name in ("one", "two")]

    return handler


async def test_paused_in_a_step_the_step_ends_and_no_other_begins(settings, store, gates, two_steps):
    async with running_processor(settings, two_steps):
        invocation_id = await start_workflow(store, two_steps)
        await wait_until(lambda: at_step(store, invocation_id, "one"))
        result = await control.pause(store, invocation_id, "lunch")
        assert (result.status, result.changed) == ("paused", True)
        view = await query.get_workflow(store, invocation_id)
        assert (view.status, view.reason, view.current_step_type) == ("paused", "lunch", "one")
        assert view.owner
        assert await index_groups(store, invocation_id) == ["paused"]
        gates.open.set()
        view = await wait_until(lambda: let_go(store, invocation_id))
        assert (view.status, view.reason, view.current_step) == ("paused", "lunch", -1)
        assert [entry.step_type for entry in await read_journal(store, invocation_id)] == ["one"]
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == ["one", "two"]
    assert gates.ran == {"one": 1, "two": 1}
    assert (await query.get_workflow(store, invocation_id)).reason == ""


async def at_step(store, invocation_id, step) -> bool:
    return (await query.get_workflow(store, invocation_id)).current_step_type == step


async def let_go(store, invocation_id):
    view = await query.get_workflow(store, invocation_id)
    return view if not view.owner else None


async def test_resume_within_the_same_step_keeps_the_attempt(settings, store, gates, two_steps):
    async with running_processor(settings, two_steps):
        invocation_id = await start_workflow(store, two_steps)
        await wait_until(lambda: gates.ran["one"])
        await control.pause(store, invocation_id)
        result = await control.resume(store, invocation_id)
        assert (result.status, result.changed) == ("running", True)
        gates.open.set()
        assert await wait_for_output(store, invocation_id) == ["one", "two"]
    view = await query.get_workflow(store, invocation_id)
    assert (view.attempt, gates.ran) == (1, {"one": 1, "two": 1})


async def test_workflow_paused_in_last_step_ends_after_resume(settings, store, gates):
    @workflow
    async def one_step(ctx):
        return await ctx.step(gates.step, "only")

    async with running_processor(settings, one_step) as running:
        invocation_id = await start_workflow(store, one_step)
        await wait_until(lambda: gates.ran["only"])
        await control.pause(store, invocation_id)
        gates.open.set()
        await wait_until(lambda: let_go(store, invocation_id))
        await wait_until(lambda: running.processor._active_runs.busy == 0)
        assert (await query.get_workflow(store, invocation_id)).status == "paused"
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == "only"
    assert gates.ran["only"] == 1


async def test_paused_between_two_attempts_the_next_waits_for_the_resume(settings, store):
    @workflow
    async def backing(ctx):
        async def fails_once():
            if cross(ctx.invocation_id, "tries") == 1:
                raise ValueError("first")
            return cross(ctx.invocation_id, "tries")

        return await ctx.step(fails_once, retry=Retry(initial=4.0, jitter=0))

    async with running_processor(settings, backing):
        invocation_id = await start_workflow(store, backing)
        await wait_until(lambda: waits_for(store, invocation_id, "retry"))
        due = (await query.get_workflow(store, invocation_id)).waiting_for.until
        await control.pause(store, invocation_id)
        await wait_until(lambda: let_go(store, invocation_id))
        await wait_until(lambda: time.time() * 1e6 > due + 200_000)
        assert (await query.get_workflow(store, invocation_id)).status == "paused"
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == 3


async def waits_for(store, invocation_id, kind) -> bool:
    waiting = (await query.get_workflow(store, invocation_id)).waiting_for
    return waiting is not None and waiting.kind == kind


async def test_timer_of_paused_workflow_does_not_wake_it(settings, store):
    @workflow
    async def sleeper(ctx):
        await ctx.sleep(4)
        return await ctx.awakeable("answer")

    async with running_processor(settings, sleeper):
        invocation_id = await start_workflow(store, sleeper)
        view = await wait_for_status(store, invocation_id, "suspended")
        due = view.waiting_for.until
        await control.pause(store, invocation_id, "hold")
        await control.resolve(store, f"{invocation_id}.answer", 7)
        await wait_until(lambda: time.time() * 1e6 > due + 300_000)
        view = await query.get_workflow(store, invocation_id)
        assert (view.status, view.reason, view.attempt) == ("paused", "hold", 1)
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == 7


@pytest.mark.parametrize("delayed", [False, True], ids=["pending", "delayed"])
async def test_workflow_paused_while_pending_begins_after_resume(settings, store, gates, two_steps, delayed):
    gates.open.set()
    invocation_id = await start_at(store, two_steps, 0.6) if delayed else await start_workflow(store, two_steps)
    await control.pause(store, invocation_id)
    async with running_processor(settings, two_steps):
        due = (await query.get_workflow(store, invocation_id)).created_at + 900_000
        await wait_until(lambda: time.time() * 1e6 > due)
        view = await query.get_workflow(store, invocation_id)
        assert (view.status, view.attempt, gates.ran.total()) == ("paused", 0, 0)
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == ["one", "two"]


async def test_resumed_before_its_time_a_delayed_start_still_waits(settings, store, gates, two_steps):
    gates.open.set()
    async with running_processor(settings, two_steps):
        invocation_id = await start_at(store, two_steps, 4)
        await control.pause(store, invocation_id)
        await control.resume(store, invocation_id)
        await wait_for_output(store, invocation_id)
    view = await query.get_workflow(store, invocation_id)
    assert view.started_at - view.created_at > 3_400_000


async def test_a_pause_outlives_the_processor_of_the_step_in_flight(settings, store, gates, two_steps):
    async with running_processor(settings, two_steps, grace=0.05):
        invocation_id = await start_workflow(store, two_steps)
        await wait_until(lambda: gates.ran["one"])
        await control.pause(store, invocation_id)
    view = await query.get_workflow(store, invocation_id)
    assert (view.status, view.owner) == ("paused", "")
    gates.open.set()
    async with running_processor(settings, two_steps):
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == ["one", "two"]
    assert gates.ran == {"one": 2, "two": 1}


async def test_repeated_pause_changes_nothing_and_ended_is_refused(settings, store, gates, two_steps):
    gates.open.set()
    invocation_id = await start_workflow(store, two_steps)
    assert (await control.resume(store, invocation_id)).changed is False
    await control.pause(store, invocation_id, "first")
    again = await control.pause(store, invocation_id, "second")
    assert (again.changed, again.status) == (False, "paused")
    async with running_processor(settings, two_steps):
        await control.resume(store, invocation_id)
        await wait_for_output(store, invocation_id)
    for operation in (control.pause, control.resume):
        with pytest.raises(InvalidStateError, match="completed"):
            await operation(store, invocation_id)


async def same(value):
    return value


def versions():
    """The same handler in three versions: the second asks for another step, the third mends that."""

    @workflow(name="drifting")
    async def first(ctx):
        await ctx.step(same, 1, name="one")
        return await ctx.awakeable("go")

    @workflow(name="drifting")
    async def wrong(ctx):
        await ctx.step(same, 1, name="another")
        return await ctx.awakeable("go")

    @workflow(name="drifting")
    async def mended(ctx):
        one = await ctx.step(same, 1, name="one")
        return [one, await ctx.awakeable("go"), await ctx.step(same, 3, name="three")]

    return first, wrong, mended


async def test_code_mismatch_pauses_workflow_until_the_code_is_fixed(settings, store):
    first, wrong, mended = versions()
    async with running_processor(settings, first):
        invocation_id = await start_workflow(store, first)
        await wait_for_status(store, invocation_id, "suspended")
    await control.resolve(store, f"{invocation_id}.go", 2)
    async with running_processor(settings, wrong):
        view = await wait_for_status(store, invocation_id, "paused")
        assert view.reason == (
            "NonDeterminismError: step 0 is recorded as the step 'one', but the code now asks for the step 'another'"
        )
        await control.resume(store, invocation_id)
        await wait_until(lambda: attempts(store, invocation_id, view.attempt + 1))
        assert (await wait_for_status(store, invocation_id, "paused")).reason == view.reason
    async with running_processor(settings, mended):
        await control.resume(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == [1, 2, 3]
    view = await query.get_workflow(store, invocation_id)
    assert [s.step_type for s in view.journal] == ["one", "awakeable:go", "three"]


async def attempts(store, invocation_id, count) -> bool:
    return (await query.get_workflow(store, invocation_id)).attempt >= count


async def test_code_that_ends_earlier_than_its_journal_pauses_too(settings, store):
    first, _, _ = versions()

    @workflow(name="drifting")
    async def shorter(ctx):
        return await ctx.step(same, 1, name="one")

    async with running_processor(settings, first):
        invocation_id = await start_workflow(store, first)
        await wait_for_status(store, invocation_id, "suspended")
    await control.resolve(store, f"{invocation_id}.go", 2)
    async with running_processor(settings, shorter):
        view = await wait_for_status(store, invocation_id, "paused")
    assert view.reason.endswith("step 1 is recorded as 'awakeable:go', but the code now ends after 1 steps")


async def test_many_pauses_and_resumes_of_one_that_runs_lose_nothing(settings, store):
    @workflow
    async def counting(ctx):
        return [await ctx.step(same, n) for n in range(60)]

    async with running_processor(settings, counting):
        invocation_id = await start_workflow(store, counting)
        while True:
            try:
                await control.pause(store, invocation_id)
                await control.resume(store, invocation_id)
            except InvalidStateError:
                break
        assert await wait_for_output(store, invocation_id) == list(range(60))
        assert (await run_to_end(store, counting)).attempt == 1
