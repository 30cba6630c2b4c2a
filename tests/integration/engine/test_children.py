"""Children: linked both ways, waited for without a slot, cancelled with their parent unless it says otherwise."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import StepError, TerminalError, control, query, workflow
from durablectl.engine.operations import child as child_operations
from durablectl.errors import UsageError
from durablectl.storage.connection.rejections import NoAnswerError
from durablectl.storage.records import states
from durablectl.storage.transitions.start_writes import start_child
from helpers.in_process import running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_outcome, wait_for_output, wait_for_status


async def fail(message: str):
    raise TerminalError(message)


@workflow
async def child(ctx, plan):
    if "fail" in plan:
        await ctx.step(fail, plan["fail"])
    if "wait" in plan:
        return await ctx.awakeable("go")
    await ctx.sleep(plan.get("sleep", 0.01))
    return {"child": plan}


@workflow
async def parent(ctx, plan):
    return await ctx.invoke(child, plan)


async def child_of(store, parent_id: str, number: int = 0) -> str:
    """The id of its child, once it has so many."""

    async def ids():
        return (await query.get_workflow(store, parent_id)).children

    return (await wait_until(lambda: more_than(ids, number)))[number]


async def more_than(ids, number):
    found = await ids()
    return found if len(found) > number else None


async def test_invoke_waits_without_a_slot_and_gives_the_output(settings, store):
    """One slot is enough for parents and children."""
    async with running_processor(settings, parent, child, max_concurrent=1):
        ids = [await start_workflow(store, parent, {"sleep": 1.2, "n": n}) for n in range(6)]
        for n, invocation_id in enumerate(ids):
            assert await wait_for_output(store, invocation_id) == {"child": {"sleep": 1.2, "n": n}}


async def test_parent_and_child_are_linked_both_ways(settings, store):
    async with running_processor(settings, parent, child):
        view = await run_to_end(store, parent, {})
        [child_id] = view.children
        [step] = view.journal
        assert (step.step_type, step.kind, step.awaited_id, step.request) == ("invoke:child", "child", child_id, {})
        below = await query.get_workflow(store, child_id)
    assert (below.parent_id, below.handler, below.status) == (view.invocation_id, "child", "completed")


async def test_waiting_parent_shows_its_child(settings, store):
    async with running_processor(settings, parent, child):
        invocation_id = await start_workflow(store, parent, {"wait": True})
        view = await wait_for_status(store, invocation_id, "suspended")
        child_id = await child_of(store, invocation_id)
        assert (view.waiting_for.kind, view.waiting_for.awaited_id) == ("child", child_id)
        await wait_for_status(store, child_id, "suspended")
        await control.resolve(store, f"{child_id}.go", "went")
        assert await wait_for_output(store, invocation_id) == "went"


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_a_child_without_a_result_is_a_step_error(settings, store, how):
    @workflow
    async def careful(ctx, plan):
        try:
            await ctx.invoke("child", plan)
        except StepError as error:
            return [error.step_type, error.error, error.error_type]

    async with running_processor(settings, careful, child):
        if how == "fails":
            output = (await run_to_end(store, careful, {"fail": "no stock"})).output
            assert output[0] == "invoke:child"
            assert output[1].endswith("no stock")
            assert output[2] == "durablectl.errors.StepError"
        else:
            invocation_id = await start_workflow(store, careful, {"wait": True})
            child_id = await child_of(store, invocation_id)
            await wait_for_status(store, child_id, "suspended")
            await control.cancel(store, child_id, "not needed")
            output = await wait_for_output(store, invocation_id)
            assert output[1:] == [f"the workflow {child_id} was cancelled: not needed", "Cancelled child"]


async def test_spawn_returns_a_handle_that_gives_the_result(settings, store):
    @workflow
    async def spawner(ctx):
        handle = await ctx.spawn(child, {"wait": True})
        ctx.set("child", handle.id)
        await ctx.sleep(0.05)
        return [handle.id, await handle.result()]

    async with running_processor(settings, spawner, child):
        invocation_id = await start_workflow(store, spawner)
        child_id = await child_of(store, invocation_id)
        await wait_for_status(store, invocation_id, "suspended")
        await control.resolve(store, f"{child_id}.go", 5)
        assert await wait_for_output(store, invocation_id) == [child_id, 5]
    view = await query.get_workflow(store, invocation_id)
    kinds = [(s.step_type, s.kind) for s in view.journal]
    assert kinds == [("spawn:child", "spawn"), ("sleep", "sleep"), ("invoke:child", "child")]
    assert list(view.children) == [child_id]
    assert (await query.get_workflow(store, child_id)).parent_id == invocation_id


async def test_send_with_delay_returns_the_id_without_waiting(settings, store):
    @workflow
    async def sender(ctx):
        later, much_later = await ctx.send(child, {}, delay=1.2), await ctx.send(child, {}, delay=3600)
        return [later, much_later, await ctx.send("child", {}, id="given")]

    async with running_processor(settings, sender, child):
        view = await run_to_end(store, sender)
        later, much_later, given = view.output
        assert given == "given"
        delayed = await query.get_workflow(store, much_later)
        assert (delayed.status, delayed.waiting_for.kind) == ("pending", "start")
        assert (await wait_for_outcome(store, "given")).execution.status == "completed"
        assert (await wait_for_outcome(store, later)).execution.parent_id == view.invocation_id
    delayed = await query.get_workflow(store, later)
    assert delayed.started_at - delayed.created_at > 0.7e6


async def test_cancelling_a_parent_cancels_its_children_and_theirs(settings, store):
    @workflow
    async def grandparent(ctx):
        await ctx.spawn(child, {"wait": True})
        await ctx.invoke(parent, {"wait": True})

    async with running_processor(settings, grandparent, parent, child):
        invocation_id = await start_workflow(store, grandparent)
        spawned, middle = await child_of(store, invocation_id), await child_of(store, invocation_id, 1)
        grandchild = await child_of(store, middle)
        for each in (spawned, grandchild, invocation_id):
            await wait_for_status(store, each, "suspended")
        await control.cancel(store, invocation_id, "enough")
        for each in (invocation_id, spawned, middle, grandchild):
            assert (await wait_for_status(store, each, "cancelled")).waiting_for is None
    assert (await query.get_workflow(store, grandchild)).reason == "its parent was cancelled"


class Below:
    """A child that compensates, and its parent; ``busy`` tells what the child is doing."""

    def __init__(self, busy: str) -> None:
        self.began, self.undone = asyncio.Event(), []

        async def step():
            self.began.set()
            await asyncio.Event().wait()

        async def undo():
            self.undone.append("undone")

        @workflow
        async def below(ctx):
            ctx.defer(undo)
            await ctx.step(asyncio.sleep, 0)
            if busy == "paused":
                await ctx.sleep(60)
            await ctx.step(step)

        @workflow
        async def above(ctx):
            await ctx.invoke(below)

        self.child, self.parent = below, above


@pytest.mark.parametrize("busy", ["step", "paused in a step", "paused"])
async def test_child_is_cancelled_with_its_parent_in_any_status(settings, store, busy):
    family = Below(busy)
    async with running_processor(settings, family.parent, family.child):
        invocation_id = await start_workflow(store, family.parent)
        child_id = await child_of(store, invocation_id)
        await wait_for_status(store, invocation_id, "suspended")
        if busy == "paused":
            await wait_for_status(store, child_id, "suspended")
        else:
            await family.began.wait()
        if busy.startswith("paused"):
            await control.pause(store, child_id)
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")
        await wait_for_status(store, child_id, "cancelled")
    assert family.undone == ["undone"]


async def test_cancelled_with_its_parent_before_any_processor_had_the_child(settings, store):
    family = Below("step")
    async with running_processor(settings, family.parent):
        invocation_id = await start_workflow(store, family.parent)
        child_id = await child_of(store, invocation_id)
        await wait_for_status(store, invocation_id, "suspended")
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")
    async with running_processor(settings, family.child):
        await wait_for_status(store, child_id, "cancelled")
    assert family.undone == (["undone"] if family.began.is_set() else [])


async def test_a_child_that_is_abandoned_outlives_its_parent(settings, store):
    @workflow
    async def careless(ctx):
        await ctx.spawn(child, {"wait": True}, parent_close="abandon")
        await ctx.sleep(60)

    async with running_processor(settings, careless, child):
        invocation_id = await start_workflow(store, careless)
        child_id = await child_of(store, invocation_id)
        await wait_for_status(store, invocation_id, "suspended")
        await wait_for_status(store, child_id, "suspended")
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")
        await control.resolve(store, f"{child_id}.go", "alone")
        assert await wait_for_output(store, child_id) == "alone"


async def test_another_parent_close_is_refused(settings, store):
    @workflow
    async def wrong(ctx):
        with pytest.raises(UsageError, match="parent_close='forget' is unknown"):
            await ctx.spawn(child, {}, parent_close="forget")
        return "refused"

    async with running_processor(settings, wrong):
        assert (await run_to_end(store, wrong)).output == "refused"


async def test_a_retry_after_the_child_failed_starts_another_child(settings, store):
    async with running_processor(settings, parent, child):
        first = await run_to_end(store, parent, {"fail": "no stock"})
        assert first.status == "failed"
        await control.retry(store, first.invocation_id)
        await wait_until(lambda: reached_attempt(store, first.invocation_id, first.attempt + 1))
        again = await wait_for_status(store, first.invocation_id, "failed")
    assert again.children[0] != first.children[0]
    assert [dropped.steps[0].awaited_id for dropped in again.history] == [first.children[0]]


async def reached_attempt(store, invocation_id, attempt) -> bool:
    return (await states.load(store, invocation_id)).execution.attempt >= attempt


async def test_a_connection_lost_as_a_child_is_started_does_not_fail_the_parent(settings, store, monkeypatch):
    tries = []

    async def lost_at_first(*args):
        tries.append(args)
        if len(tries) == 1:
            raise NoAnswerError("The connection to the NATS server was lost before it answered.")
        await start_child(*args)

    monkeypatch.setattr(child_operations, "start_child", lost_at_first)
    async with running_processor(settings, parent, child):
        parent_id = await start_workflow(store, parent, {})
        assert await wait_for_output(store, parent_id) == {"child": {}}
    assert len(tries) == 2
    assert len((await query.get_workflow(store, parent_id)).children) == 1


@pytest.mark.parametrize("milliseconds", [0, 20, 45, 60])
async def test_child_that_is_cancelled_while_it_is_started_does_not_run_on(settings, store, monkeypatch, milliseconds):
    started = asyncio.Event()

    async def start_slowly(*args):
        started.set()
        await asyncio.sleep(0.05)
        await start_child(*args)

    monkeypatch.setattr(child_operations, "start_child", start_slowly)

    @workflow
    async def changes_its_mind(ctx):
        task = asyncio.create_task(ctx.invoke(child, {"wait": True}))
        await ctx.step(started.wait)
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        await ctx.sleep(0.2)
        return "done"

    async with running_processor(settings, changes_its_mind, child):
        view = await run_to_end(store, changes_its_mind)
        assert view.output == "done"

        async def ended() -> bool:
            page = await query.list_workflows(store)
            return [each.status for each in page.workflows if each.handler == child.name] == ["cancelled"]

        await wait_until(ended)


async def test_children_that_are_cancelled_while_they_are_suspended_end(settings, store):
    @workflow
    async def changes_its_mind(ctx, milliseconds):
        task = asyncio.create_task(ctx.invoke(child, {"wait": True}))
        await ctx.step(asyncio.sleep, milliseconds / 1000)
        task.cancel()
        await ctx.sleep(0.2)

    async with running_processor(settings, changes_its_mind, child):
        ids = [await start_workflow(store, changes_its_mind, milliseconds / 4) for milliseconds in range(100)]
        for invocation_id in ids:
            await wait_for_outcome(store, invocation_id)

        async def have_ended() -> bool:
            page = await query.list_workflows(store, limit=1000)
            return {view.status for view in page.workflows} <= {"completed", "cancelled"}

        await wait_until(have_ended)
