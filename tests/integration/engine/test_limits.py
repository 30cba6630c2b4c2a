"""Durations out of range fail the workflow with a sentence; zero is at once; nothing is delivered again."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import pytest

from durablectl import Client, OutOfRangeError, Retry, StepError, StepTimeoutError, UsageError, control, workflow
from helpers.in_process import running_processor
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow, wait_for_output, wait_for_status

HUGE = timedelta(days=365 * 9000)


async def step():
    return "done"


async def asyncio_timeout(_, value):
    async with asyncio.timeout(value):
        await asyncio.sleep(0)


USES = {
    "the duration of ctx.sleep": lambda ctx, value: ctx.sleep(value),
    "the timeout of ctx.awakeable": lambda ctx, value: ctx.awakeable("a", timeout=value),
    "the timeout of ctx.signal": lambda ctx, value: ctx.signal("s", timeout=value),
    "the timeout of ctx.invoke": lambda ctx, value: ctx.invoke("other", timeout=value),
    "the delay of ctx.send": lambda ctx, value: ctx.send("other", delay=value),
    "the timeout of ctx.step": lambda ctx, value: ctx.step(step, timeout=value),
    "the timeout of ctx.call": lambda ctx, value: ctx.call("service", "method", timeout=value),
    "the initial of retry": lambda ctx, value: ctx.step(step, retry=Retry(initial=value)),
    "the cap of retry": lambda ctx, value: ctx.step(step, retry=Retry(cap=value)),
}
REFUSED = {"huge": HUGE, "longest": timedelta.max, "negative": -1, "infinite": math.inf, "nan": math.nan, "text": "5"}


async def test_duration_out_of_range_fails_the_workflow_at_its_first_attempt(settings, store):
    @workflow
    async def uses(ctx, given):
        what, value = given
        await USES[what](ctx, REFUSED[value])

    async with running_processor(settings, uses):
        for what in USES:
            for value in REFUSED:
                view = await run_to_end(store, uses, [what, value])
                assert (view.status, view.error_type, view.attempt) == ("failed", "OutOfRangeError", 1)
                assert view.error.lower().startswith(f"{what} cannot be ")
                assert view.journal == []


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300], ids=["inf", "nan", "huge"])
async def test_asyncio_timer_out_of_range_fails_the_workflow(settings, store, value):
    @workflow
    async def sleeps(ctx, how):
        await (asyncio.sleep(value) if how == "sleep" else asyncio_timeout(ctx, value))

    async with running_processor(settings, sleeps):
        for how in ("sleep", "timeout"):
            view = await run_to_end(store, sleeps, how)
            assert (view.status, view.attempt) == ("failed", 1)
            assert view.error.startswith("The time of an asyncio timer in a handler cannot be ") or how == "sleep"
            assert view.error_type in {"OutOfRangeError", "ValueError"}  # asyncio.sleep refuses NaN itself


async def test_refused_duration_can_be_caught_and_leaves_no_step(settings, store):
    @workflow
    async def careful(ctx):
        handle = await ctx.spawn("other")
        for refused in (HUGE, math.nan):
            with pytest.raises(OutOfRangeError, match=r"The timeout of handle\.result cannot be "):
                await handle.result(timeout=refused)
            with pytest.raises(ValueError, match="cannot be"):
                await ctx.sleep(refused)
        await ctx.sleep(1.2)
        return await handle.result()

    @workflow
    async def other(_):
        return "other"

    async with running_processor(settings, careful, other):
        view = await run_to_end(store, careful)
    assert (view.output, [s.step_number for s in view.journal]) == ("other", [0, 1, 2])


async def test_longest_durations_suspend_the_workflow(settings, store):
    longest = timedelta(days=36_500)

    @workflow
    async def sleeps(ctx):
        async with asyncio.timeout(longest.total_seconds()):
            return await ctx.race(ctx.sleep(longest), ctx.signal("go", timeout=longest))

    async with running_processor(settings, sleeps):
        invocation_id = await start_workflow(store, sleeps)
        await wait_for_status(store, invocation_id, "suspended")
        await control.signal(store, invocation_id, "go", "went")
        assert await wait_for_output(store, invocation_id) == [1, "went"]


async def test_zero_is_at_once(settings, store):
    @workflow
    async def quick(ctx):
        await ctx.sleep(0)
        await asyncio.sleep(-1)
        expired = []
        for wait in (
            ctx.signal("never", timeout=0),
            ctx.awakeable("never", timeout=timedelta(0)),
            ctx.step(asyncio.sleep, 60, timeout=0, retry=Retry(max_attempts=1)),
        ):
            with pytest.raises(StepTimeoutError) as caught:
                await wait
            expired.append(caught.value.error)
        return [*expired, await ctx.send("nothing", delay=0, id="nothing-1"), await ctx.signal("here", timeout=0)]

    async with running_processor(settings):
        invocation_id = await start_workflow(store, quick)
        await control.signal(store, invocation_id, "here", "it is")
    async with running_processor(settings, quick):
        output = await wait_for_output(store, invocation_id)
    late = "nothing came within 0 s"
    assert output == [late, late, "no result within 0 s", "nothing-1", "it is"]


async def test_call_with_a_timeout_of_zero_gets_no_answer(settings, store):
    @workflow
    async def asks(ctx):
        with pytest.raises(StepError) as caught:
            await ctx.call("slow", "answer", timeout=0, retry=Retry(max_attempts=1))
        return caught.value.error

    async def be_silent(_):
        pass

    await store.nats.subscribe("slow.answer", cb=be_silent)
    async with running_processor(settings, asks):
        assert await run_workflow(store, asks) == "no answer within 0 s"


async def test_workflow_with_a_timeout_of_zero_fails_at_once(settings, store):
    @workflow(timeout=0)
    async def late(ctx):
        await ctx.step(step)

    async with running_processor(settings, late):
        view = await run_to_end(store, late)
    assert (view.status, view.error, view.journal) == ("failed", "The workflow had not ended after 0 s.", [])


async def test_client_refuses_durations_out_of_range(settings, store):
    async with running_processor(settings, workflow(name="echo")(echo)):
        async with Client(url=settings.url, namespace=settings.namespace) as client:
            for value in REFUSED.values():
                with pytest.raises(OutOfRangeError, match=r"The delay of client\.start cannot be "):
                    await client.start("echo", delay=value)
                with pytest.raises(OutOfRangeError, match=r"The timeout of client\.result cannot be "):
                    await client.result("any", timeout=value)
            with pytest.raises(UsageError, match="does not lie between 1970 and 9999"):
                await client.list_workflows(until=timedelta.min)
            with pytest.raises(UsageError, match="The limit nan is out of range"):
                await client.list_workflows(limit=math.nan)
            with pytest.raises(OutOfRangeError, match=r"The from_step of client\.retry"):
                await client.retry("any", from_step=10**20)
            assert await client.result(await client.start("echo", 5, delay=0), timeout=60) == 5
        for start_at in (-1, 2**63, 10**30, math.nan):
            with pytest.raises(OutOfRangeError, match="The start_at of a start cannot be "):
                await control.start(store, control.StartRequest("echo", start_at=start_at))
        assert await run_workflow(store, "echo", 6) == 6


async def echo(_, value):
    return value


@pytest.mark.parametrize("every", [-1, 1.5, True, 10**12, math.nan, math.inf, "60"])
async def test_schedule_refuses_an_interval_out_of_range(store, every):
    with pytest.raises(OutOfRangeError, match="The seconds of schedule s cannot be "):
        await control.create_schedule(store, "s", "echo", every=every)
