"""The processor: routing by handler, slots, long steps, and a stop that hands everything back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter

import pytest

from durablectl import query, workflow
from durablectl.storage.commands import command_queue
from helpers.in_process import running_processor
from helpers.stored_commands import handler_consumer, no_commands_left
from helpers.waiting import wait_until
from helpers.workflow_runs import run_workflow, start_workflow, wait_for_outcome, wait_for_output


@workflow
async def echo(_ctx, value=None):
    return value


@workflow
async def other(_ctx, value=None):
    return ["other", value]


async def test_unknown_handler_stays_pending_until_registered(settings, store):
    async with running_processor(settings, other) as first:
        invocation_id = await start_workflow(store, echo, 1)
        assert await run_workflow(store, other, 2) == ["other", 2]
        view = await query.get_workflow(store, invocation_id)
        assert (view.status, view.attempt) == ("pending", 0)
        assert (view.waiting_for.kind, view.waiting_for.name) == ("processor", "echo")
        async with running_processor(settings, echo, other) as second:
            assert await wait_for_output(store, invocation_id) == 1
            view = await query.get_workflow(store, invocation_id)
            assert (view.waiting_for, view.owner) == (None, second.id)
            live = {processor.processor_id: processor for processor in await query.live_processors(store)}
            assert set(live) == {first.id, second.id}
            assert list(live[second.id].handlers) == ["echo", "other"]
            assert (live[second.id].slots, live[first.id].handlers) == (100, ["other"])
    assert await query.live_processors(store) == []


async def test_processors_share_the_work(settings, store):
    busy: Counter = Counter()
    running, both_are_full = 0, asyncio.Event()

    async def work():
        """Eight run at once only if each of the two has filled its four slots."""
        nonlocal running
        running += 1
        if running == 8:
            both_are_full.set()
        await both_are_full.wait()

    @workflow
    async def handler(ctx):
        await ctx.step(work)

    async with (
        running_processor(settings, handler, max_concurrent=4),
        running_processor(settings, handler, max_concurrent=4),
    ):
        ids = await asyncio.gather(*(start_workflow(store, handler) for _ in range(60)))
        for one in ids:
            await wait_for_outcome(store, one)
            busy[(await query.get_workflow(store, one)).owner] += 1
        await wait_until(lambda: no_commands_left(store))
    assert len(busy) == 2
    assert min(busy.values()) >= 4


@pytest.mark.parametrize("slots", [1, 3])
async def test_slots_limit_running_and_pulled_commands(settings, store, slots):
    running, most, taken, all_taken = 0, 0, [], asyncio.Event()

    async def work():
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == slots:
            all_taken.set()
        await all_taken.wait()
        taken.append((await handler_consumer(store, handler))["num_ack_pending"])
        running -= 1

    @workflow
    async def handler(ctx):
        await ctx.step(work)

    ids = [await start_workflow(store, handler) for _ in range(20)]
    async with running_processor(settings, handler, max_concurrent=slots):
        for one in ids:
            await wait_for_outcome(store, one)
    assert most == slots
    assert max(taken) <= slots


async def test_slots_are_shared_by_all_handlers_and_none_starves(settings, store):
    running, most, all_taken = 0, 0, asyncio.Event()

    async def work():
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            all_taken.set()
        await all_taken.wait()
        await asyncio.sleep(0)
        running -= 1

    handlers = [workflow(name=f"h{n}")(lambda_workflow(work)) for n in range(4)]
    ids = [await start_workflow(store, handler) for _ in range(15) for handler in handlers]
    async with running_processor(settings, *handlers, max_concurrent=2):
        for one in ids:
            await wait_for_outcome(store, one)
        await wait_until(lambda: no_commands_left(store))
    assert most == 2


def lambda_workflow(work):
    async def handler(ctx):
        await ctx.step(work)

    return handler


async def test_a_step_longer_than_ack_wait_is_not_given_to_another(settings, store):
    runs = []

    async def long():
        runs.append(1)
        await asyncio.sleep(11)

    @workflow
    async def handler(ctx):
        await ctx.step(long)

    async with running_processor(settings, handler, ack_wait=5), running_processor(settings, handler, ack_wait=5):
        invocation_id = await start_workflow(store, handler)
        assert await wait_for_output(store, invocation_id) is None
        assert (await handler_consumer(store, handler))["num_redelivered"] == 0
    assert (len(runs), (await query.get_workflow(store, invocation_id)).attempt) == (1, 1)


async def test_a_consumer_that_an_operator_deleted_is_made_again(settings, store):
    async with running_processor(settings, echo):
        assert await run_workflow(store, echo, 1) == 1
        name = command_queue.consumer_name("echo")
        stream = store.subjects.commands_stream
        await store.requests.call(f"{store.api}.CONSUMER.DELETE.{stream}.{name}")
        assert await run_workflow(store, echo, 2) == 2


async def test_different_ack_wait_is_changed_and_logged(settings, store, caplog):
    async with running_processor(settings, echo, ack_wait=30):
        assert (await handler_consumer(store, echo))["config"]["ack_wait"] == 30e9
    async with running_processor(settings, echo, ack_wait=5):
        assert (await handler_consumer(store, echo))["config"]["ack_wait"] == 5e9
    assert "The consumer of handler echo was changed: ack_wait from 30 s to 5 s." in caplog.text


async def test_a_step_visible_for_longer_is_the_current_one(settings, store):
    gate = asyncio.Event()

    async def hold(_name):
        await gate.wait()

    @workflow
    async def handler(ctx):
        await ctx.step(asyncio.sleep, 0, name="fast")
        await ctx.step(hold, "x", name="second step")

    async with running_processor(settings, handler):
        invocation_id = await start_workflow(store, handler)
        view = await wait_until(lambda: at_step(store, invocation_id, 1))
        assert (view.status, view.current_step_type, view.total_steps) == ("running", "second step", 2)
        assert [step.step_type for step in view.journal] == ["fast"]
        gate.set()
        await wait_for_outcome(store, invocation_id)
        view = await query.get_workflow(store, invocation_id)
    assert (view.current_step, view.current_step_type, view.total_steps) == (-1, "", 2)


async def test_workflow_of_short_steps_is_indexed_as_running_after_a_second(settings, store):
    is_over = asyncio.Event()

    @workflow
    async def hurrying(ctx):
        while not is_over.is_set():
            await ctx.step(asyncio.sleep, 0.001, name="quick")

    async with running_processor(settings, hurrying):
        invocation_id = await start_workflow(store, hurrying)
        first = await wait_until(lambda: listed_as_running(store))
        await wait_until(lambda: is_further(store, invocation_id, first.total_steps))
        is_over.set()
        await wait_for_outcome(store, invocation_id)
        assert (await query.get_stats(store)).by_status == {"completed": 1}


async def listed_as_running(store):
    page = await query.list_workflows(store, query.Filters.parse(["running"]))
    return page.workflows[0] if page.workflows else None


async def is_further(store, invocation_id: str, steps: int) -> bool:
    page = await query.list_workflows(store, query.Filters.parse(["running"]))
    return [view.invocation_id for view in page.workflows if view.total_steps > steps] == [invocation_id]


async def at_step(store, invocation_id: str, number: int):
    view = await query.get_workflow(store, invocation_id)
    return view if view.current_step == number else None


def test_processor_imports_bulk_jobs_with_the_first_job_only():
    script = """
import sys
import durablectl.engine.worker.processor, durablectl.system.workflows
print([name for name in sys.modules if name.startswith(("durablectl.control", "durablectl.query"))])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_processor_of_many_handlers_takes_commands_of_each(settings, store):
    async def answer(ctx):
        return ctx.invocation_id

    handlers = [workflow(name=f"h{number}")(answer) for number in range(40)]
    async with running_processor(settings, *handlers):
        for handler in handlers:
            assert await run_workflow(store, handler)
    async with running_processor(settings, *handlers, ack_wait=7):
        infos = [await handler_consumer(store, handler) for handler in handlers]
        assert {info["config"]["ack_wait"] for info in infos} == {7_000_000_000}
