"""Local steps: results, retries, errors, threads, time limits, and what a step may not be."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import time

import pytest

from durablectl import Retry, StepError, TerminalError, query, workflow
from helpers.in_process import running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow

FAST = Retry(initial=0.01, jitter=0)


def failing(times: int, error: Exception):
    """A step that fails ``times`` times, then tells how often it ran."""
    runs = itertools.count(1)

    async def step() -> int:
        number = next(runs)
        if number <= times:
            raise error
        return number

    return step


async def test_steps_run_in_order_and_are_journaled_in_full(settings, store):
    async def double(value):
        return {"doubled": value * 2}

    async def nothing():
        pass

    async def two(first, second):
        return [first, second]

    @workflow
    async def handler(ctx, value):
        await ctx.step(nothing)
        doubled = await ctx.step(double, value, name="make it double")
        return await ctx.step(two, doubled["doubled"], (1, 2))

    async with running_processor(settings, handler):
        before = time.time() * 1e6
        view = await run_to_end(store, handler, 21)
    assert (view.status, view.output, view.attempt, view.current_step) == ("completed", [42, [1, 2]], 1, -1)
    assert [(s.step_number, s.step_type, s.kind, s.attempts, s.error) for s in view.journal] == [
        (0, "nothing", "step", 1, ""),
        (1, "make it double", "step", 1, ""),
        (2, "two", "step", 1, ""),
    ]
    assert [(s.request, s.response) for s in view.journal] == [
        (None, None),
        (21, {"doubled": 42}),
        ([42, [1, 2]], [42, [1, 2]]),
    ]
    moments = [m for s in view.journal for m in (s.started_at, s.finished_at)]
    assert [before - 1, *moments] == sorted([before - 1, *moments])
    assert (view.total_steps, view.current_step_type) == (3, "")


async def test_an_error_is_tried_three_times_then_raised(settings, store):
    @workflow
    async def handler(ctx):
        with pytest.raises(StepError) as caught:
            await ctx.step(failing(99, ValueError("no card")), name="make_card", retry=FAST)
        error = caught.value
        cause = error.__cause__  # a replay could not give it
        return [error.step_number, error.step_type, error.attempts, error.error, error.error_type, str(error), cause]

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    sentence = "Step 0 'make_card' failed after 3 attempts: no card"
    assert view.output == [0, "make_card", 3, "no card", "ValueError", sentence, None]
    [step] = view.journal
    assert (step.attempts, step.error, step.error_type, step.response) == (3, "no card", "ValueError", None)


async def test_retried_step_records_its_number_of_attempts(settings, store):
    @workflow
    async def handler(ctx):
        return await ctx.step(failing(2, ValueError("x")), retry=FAST)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert (view.output, view.journal[0].attempts, view.journal[0].error) == (3, 3, "")


@pytest.mark.parametrize(
    ("retry", "error", "attempts"),
    [
        (Retry(initial=0.001, max_attempts=5), ValueError("x"), 5),
        (Retry(max_attempts=1), ValueError("x"), 1),
        (FAST, TerminalError("no use"), 1),
        (FAST, AssertionError(), 3),
        (FAST, asyncio.CancelledError(), 3),
    ],
    ids=["five", "one", "terminal", "without text", "cancelled"],
)
async def test_how_often_a_failing_step_is_tried(settings, store, retry, error, attempts):
    @workflow
    async def handler(ctx):
        await ctx.step(failing(99, error), retry=retry)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.status == "failed"
    assert [step.attempts for step in view.journal] == [attempts]
    assert view.error.endswith(f": {str(error) or type(error).__name__}")


async def test_the_wait_before_another_attempt_is_visible(settings, store):
    @workflow
    async def handler(ctx):
        await ctx.step(failing(1, ValueError("not yet")), name="slow_start", retry=Retry(initial=4, jitter=0))

    async with running_processor(settings, handler):
        before = time.time() * 1e6
        invocation_id = await start_workflow(store, handler)
        view = await wait_until(lambda: waiting(store, invocation_id))
        wait = view.waiting_for
        assert (wait.kind, wait.name, wait.step_number, wait.attempt, wait.error) == (
            "retry",
            "slow_start",
            0,
            1,
            "not yet",
        )
        assert before + 4e6 <= wait.until <= time.time() * 1e6 + 4e6
        assert (view.status, view.current_step, view.current_step_type) == ("running", 0, "slow_start")
        await wait_until(lambda: not_waiting(store, invocation_id))


async def waiting(store, invocation_id: str):
    view = await query.get_workflow(store, invocation_id)
    return view if view.waiting_for else None


async def not_waiting(store, invocation_id: str) -> bool:
    return (await query.get_workflow(store, invocation_id)).waiting_for is None


async def test_a_sync_step_runs_in_a_thread_and_does_not_hold_the_others_up(settings, store):
    together = threading.Barrier(3, timeout=60)

    def meet(number: int) -> str:
        together.wait()
        return f"{number} {threading.current_thread() is threading.main_thread()}"

    @workflow
    async def handler(ctx):
        return await ctx.gather(*(ctx.step(meet, number) for number in range(3)))

    async with running_processor(settings, handler):
        assert await run_workflow(store, handler) == ["0 False", "1 False", "2 False"]


async def test_any_callable_is_a_step(settings, store):
    class Later:
        async def __call__(self, value):
            return value + 1

    def awaitable(value):
        return asyncio.sleep(0, value + 2)

    @workflow
    async def handler(ctx, value):
        return [
            await ctx.step(functools.partial(max, 3), value, name="partial"),
            await ctx.step(Later(), value),
            await ctx.step(awaitable, value),
            await ctx.step(lambda: "lambda"),
        ]

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler, 1)
    assert view.output == [3, 2, 3, "lambda"]
    assert [step.step_type for step in view.journal] == ["partial", "Later", "awaitable", "<lambda>"]


def stop_iteration():
    return next(iter(()))


@pytest.mark.parametrize("step", [stop_iteration, asyncio.sleep], ids=["thread", "coroutine"])
async def test_a_stop_iteration_ends_the_step_and_not_the_processor(settings, store, step):
    """Asyncio cannot carry it out of a thread: the future would never be done."""

    async def raises():
        raise StopIteration

    @workflow
    async def handler(ctx):
        await ctx.step(step if step is stop_iteration else raises, retry=Retry(max_attempts=1))

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert (view.status, view.error_type) == ("failed", "StepError")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_step_over_its_time_limit_is_an_error_like_any_other(settings, store, kind):
    is_over = threading.Event()

    async def slow():
        await asyncio.sleep(60)

    def slow_thread():
        is_over.wait(60)

    @workflow
    async def handler(ctx):
        step = slow if kind == "async" else slow_thread
        await ctx.step(step, name="slow", timeout=0.05, retry=Retry(initial=0.01, max_attempts=2))

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        is_over.set()
    [step] = view.journal
    assert (step.attempts, step.error, step.error_type) == (2, "no result within 0.05 s", "TimeoutError")
