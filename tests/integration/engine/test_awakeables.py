"""Awakeables and signals: answers before, while and after they are waited for, in order, none lost."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import StepError, control, query, workflow
from durablectl.demo._proto.hello_pb2 import HelloRequest
from durablectl.errors import InvalidNameError, InvalidStateError, InvalidValueError, NotFoundError
from durablectl.storage.records import states
from helpers.in_process import running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import (
    run_to_end,
    run_workflow,
    start_workflow,
    wait_for_outcome,
    wait_for_output,
    wait_for_status,
)


@workflow
async def approval(ctx):
    awakeable = ctx.awakeable("approval")
    return [awakeable.id, await awakeable]


async def test_awakeable_resolved_during_the_wait(settings, store):
    async with running_processor(settings, approval):
        invocation_id = await start_workflow(store, approval, id="a1")
        view = await wait_for_status(store, invocation_id, "suspended")
        assert (view.waiting_for.kind, view.waiting_for.awaited_id) == ("awakeable", "a1.approval")
        assert view.journal[0].awaited_id == "a1.approval"
        result = await control.resolve(store, "a1.approval", {"by": "eve"})
        assert (result.invocation_id, result.changed) == ("a1", True)
        assert await wait_for_output(store, invocation_id) == ["a1.approval", {"by": "eve"}]
    [step] = (await query.get_workflow(store, invocation_id)).journal
    assert (step.step_type, step.kind, step.response) == ("awakeable:approval", "awakeable", {"by": "eve"})


async def test_resolved_before_the_workflow_has_begun(settings, store):
    invocation_id = await start_workflow(store, approval)
    await control.resolve(store, f"{invocation_id}.approval", 1)
    async with running_processor(settings, approval):
        view = await wait_until(lambda: completed(store, invocation_id))
    assert (view.output[1], view.attempt) == (1, 1)


async def completed(store, invocation_id):
    view = await query.get_workflow(store, invocation_id)
    return view if view.status == "completed" else None


async def test_resolved_while_an_earlier_step_runs(settings, store):
    gate = asyncio.Event()

    @workflow
    async def later(ctx):
        await ctx.step(gate.wait)
        return await ctx.awakeable("approval")

    async with running_processor(settings, later):
        invocation_id = await start_workflow(store, later)
        await wait_for_status(store, invocation_id, "running")
        await control.resolve(store, f"{invocation_id}.approval", "early")
        gate.set()
        assert await wait_for_output(store, invocation_id) == "early"
    assert (await query.get_workflow(store, invocation_id)).attempt == 1


async def test_resolution_during_suspension_is_not_missed(settings, store):
    """Answers race with workflows that are just falling asleep."""
    async with running_processor(settings, approval):
        ids = [await start_workflow(store, approval) for _ in range(40)]
        await asyncio.gather(*(control.resolve(store, f"{i}.approval", i) for i in ids))
        for invocation_id in ids:
            assert await wait_for_output(store, invocation_id) == [f"{invocation_id}.approval", invocation_id]


async def test_answering_twice_is_refused(settings, store):
    async with running_processor(settings, approval):
        invocation_id = await start_workflow(store, approval)
        await control.resolve(store, f"{invocation_id}.approval", 1)
        with pytest.raises(InvalidStateError):
            await control.resolve(store, f"{invocation_id}.approval", 2)
        assert (await wait_for_output(store, invocation_id))[1] == 1
        with pytest.raises(InvalidStateError, match="completed"):
            await control.reject(store, f"{invocation_id}.approval", "late")
    waiting = await start_workflow(store, approval)
    await control.reject(store, f"{waiting}.approval", "no")
    with pytest.raises(InvalidStateError, match="answered before"):
        await control.resolve(store, f"{waiting}.approval", 2)


async def test_one_of_two_simultaneous_answers_is_refused(settings, store):
    async with running_processor(settings, approval):
        invocation_id = await start_workflow(store, approval)
        await wait_for_status(store, invocation_id, "suspended")
        answers = await asyncio.gather(
            *(control.resolve(store, f"{invocation_id}.approval", n) for n in range(5)), return_exceptions=True
        )
        [winner] = [n for n, answer in enumerate(answers) if not isinstance(answer, Exception)]
        assert all(isinstance(a, InvalidStateError) for n, a in enumerate(answers) if n != winner)
        assert (await wait_for_output(store, invocation_id))[1] == winner


async def test_rejected_awakeable_raises_step_error(settings, store):
    @workflow
    async def careful(ctx):
        try:
            await ctx.awakeable("approval")
        except StepError as error:
            return [error.error, error.error_type, error.step_type, error.attempts]

    async with running_processor(settings, careful):
        invocation_id = await start_workflow(store, careful)
        await wait_for_status(store, invocation_id, "suspended")
        await control.reject(store, f"{invocation_id}.approval", "over budget")
        assert await wait_for_output(store, invocation_id) == ["over budget", "Rejected", "awakeable:approval", 0]


async def test_a_message_keeps_its_type(settings, store):
    @workflow
    async def typed(ctx):
        greeted = await ctx.awakeable("who", response_type=HelloRequest)
        return [type(greeted).__name__, greeted.name]

    async with running_processor(settings, typed):
        for value in (HelloRequest(name="Ada"), {"name": "Ada"}):
            invocation_id = await start_workflow(store, typed)
            await wait_for_status(store, invocation_id, "suspended")
            await control.resolve(store, f"{invocation_id}.who", value)
            if isinstance(value, HelloRequest):
                assert await wait_for_output(store, invocation_id) == ["HelloRequest", "Ada"]
                view = await query.get_workflow(store, invocation_id)
                assert view.journal[0].response == {"name": "Ada"}
            else:
                ending = await wait_for_outcome(store, invocation_id)
                assert ending.execution.status in {"completed", "failed"}


async def test_several_of_one_name_have_ids_of_their_own(settings, store):
    @workflow
    async def twice(ctx):
        first, second = ctx.awakeable("ok"), ctx.awakeable("ok")
        return [first.id, second.id, *await ctx.gather(first, second)]

    async with running_processor(settings, twice):
        invocation_id = await start_workflow(store, twice)
        await wait_for_status(store, invocation_id, "suspended")
        await control.resolve(store, f"{invocation_id}.ok.2", "second")
        await control.resolve(store, f"{invocation_id}.ok", "first")
        expected = [f"{invocation_id}.ok", f"{invocation_id}.ok.2", "first", "second"]
        assert await wait_for_output(store, invocation_id) == expected


@pytest.mark.parametrize(
    ("awakeable_id", "error"),
    [("nobody.approval", NotFoundError), ("approval", InvalidNameError), ("a b.approval", InvalidNameError)],
)
async def test_invalid_awakeable_is_refused(store, awakeable_id, error):
    with pytest.raises(error):
        await control.resolve(store, awakeable_id)


async def test_an_answer_that_cannot_be_stored_changes_nothing(store):
    invocation_id = await start_workflow(store, approval)
    before = (await states.load(store, invocation_id)).revision
    with pytest.raises(InvalidValueError, match=f"answer to {invocation_id}.approval"):
        await control.resolve(store, f"{invocation_id}.approval", object())
    assert (await states.load(store, invocation_id)).revision == before


@workflow
async def listener(ctx, count):
    return [await ctx.signal("word") for _ in range(count)]


async def test_signals_come_in_order_and_none_is_lost_across_restarts(settings, store):
    """Some before it begins, some while it runs or sleeps, some while no processor is there."""
    invocation_id = await start_workflow(store, listener, 30)
    sent = iter(range(30))

    async def say(count: int) -> None:
        for _ in range(count):
            await control.signal(store, invocation_id, "word", next(sent))

    await say(5)
    async with running_processor(settings, listener):
        await say(7)
        await wait_for_status(store, invocation_id, "suspended")
    await say(5)
    async with running_processor(settings, listener, grace=0.0):
        await say(3)
    await say(4)
    async with running_processor(settings, listener):
        await say(6)
        assert await wait_for_output(store, invocation_id) == list(range(30))


async def test_signals_of_different_names_do_not_mix(settings, store):
    @workflow
    async def two(ctx):
        return [await ctx.signal("b"), await ctx.signal("a"), await ctx.signal("b")]

    async with running_processor(settings, two):
        invocation_id = await start_workflow(store, two)
        for name, value in [("a", 1), ("b", 2), ("b", 3)]:
            await control.signal(store, invocation_id, name, value)
        assert await wait_for_output(store, invocation_id) == [2, 1, 3]
        with pytest.raises(InvalidStateError, match="completed"):
            await control.signal(store, invocation_id, "a", 4)


async def test_signal_that_lost_a_race_is_received_by_the_next_wait(settings, store):
    @workflow
    async def racing(ctx):
        first, value = await ctx.race(ctx.signal("a"), ctx.signal("b"))
        return [first, value, await ctx.signal("ba"[first], timeout=2)]

    invocation_id = await start_workflow(store, racing)
    await control.signal(store, invocation_id, "a", 1)
    await control.signal(store, invocation_id, "b", 2)
    async with running_processor(settings, racing):
        assert await wait_for_output(store, invocation_id) in ([0, 1, 2], [1, 2, 1])


async def test_a_signal_that_lost_a_race_is_received_once_even_after_a_replay(settings, store):
    gate = asyncio.Event()

    @workflow
    async def racing(ctx):
        first, value = await ctx.race(ctx.signal("a"), ctx.signal("b"))
        second = await ctx.signal("ba"[first])
        await ctx.step(gate.wait)
        third, _ = await ctx.race(ctx.signal("a"), ctx.signal("b"), ctx.sleep(0.3))
        return [value, second, third]

    invocation_id = await start_workflow(store, racing)
    await control.signal(store, invocation_id, "a", 1)
    await control.signal(store, invocation_id, "b", 2)
    async with running_processor(settings, racing, grace=0.0):
        await wait_until(lambda: at_step(store, invocation_id, "wait"))
    gate.set()
    async with running_processor(settings, racing):
        assert await wait_for_output(store, invocation_id) in ([1, 2, 2], [2, 1, 2])


async def at_step(store, invocation_id, step) -> bool:
    return (await query.get_workflow(store, invocation_id)).current_step_type == step


async def test_a_signal_with_a_bad_name_is_refused(settings, store):
    async with running_processor(settings, listener):
        invocation_id = (await run_to_end(store, listener, 0)).invocation_id
    with pytest.raises(InvalidNameError):
        await control.signal(store, invocation_id, "two words")
    with pytest.raises(NotFoundError):
        await control.signal(store, "nobody", "word")


async def test_without_a_value_the_answer_is_none(settings, store):
    async with running_processor(settings, approval, listener):
        invocation_id = await start_workflow(store, approval)
        await control.resolve(store, f"{invocation_id}.approval")
        assert (await wait_for_output(store, invocation_id))[1] is None
        assert await run_workflow(store, listener, 0) == []
