"""Ordinary asyncio in a handler: the right results, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from durablectl import Retry, StepError, control, workflow
from helpers.in_process import running_processor, suspend_every_sleep
from helpers.waiting import wait_until
from helpers.workflow_runs import run_over_suspension, run_to_end, start_workflow, wait_for_output, wait_for_status

EFFECTS: Counter[str] = Counter()
ONCE = Retry(max_attempts=1)
SLOW = Retry(initial=60, cap=60)


async def post(name: str) -> str:
    EFFECTS[name] += 1
    await asyncio.sleep({"a": 0.05, "b": 0.01}.get(name[0], 0))
    return f"posted {name}"


async def pay(ctx, name: str) -> str:
    first = await ctx.step(post, f"{name}1")
    return f"{first}, {await ctx.step(post, f'{name}2')}"


async def test_gather_of_two_step_coroutines_over_a_suspension(settings, store):
    @workflow
    async def pays(ctx):
        out = dict(zip("ab", await asyncio.gather(pay(ctx, "a"), pay(ctx, "b")), strict=True))
        await ctx.signal("go")
        return out

    async with running_processor(settings, pays):
        view = await run_over_suspension(store, pays)
    assert view.output == {"a": "posted a1, posted a2", "b": "posted b1, posted b2"}
    assert view.attempt == 2


async def test_task_group_of_two_step_coroutines_over_a_suspension(settings, store):
    @workflow
    async def pays(ctx):
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(pay(ctx, name)) for name in "ab"}
        await ctx.signal("go")
        return {name: task.result() for name, task in tasks.items()}

    async with running_processor(settings, pays):
        view = await run_over_suspension(store, pays)
    assert view.output == {"a": "posted a1, posted a2", "b": "posted b1, posted b2"}


async def test_arguments_in_another_order_pause_the_workflow(settings, store):
    """As a loop over a set of strings asks in another order in another process."""
    order = ["red", "green", "blue"]

    @workflow
    async def colours(ctx):
        out = {}
        for colour in order:
            out[colour] = await ctx.step(post, colour)
        await ctx.signal("go")
        order.reverse()
        return out

    async with running_processor(settings, colours):
        order[:] = ["red", "green", "blue"]
        invocation_id = await start_workflow(store, colours)
        await wait_for_status(store, invocation_id, "suspended")
        order.reverse()
        await control.signal(store, invocation_id, "go")
        view = await wait_for_status(store, invocation_id, "paused")
    assert view.reason == (
        'NonDeterminismError: step 0 \'post\' is recorded with "red", but the code now passes "blue"'
    )


async def test_arguments_that_may_differ_are_not_compared_when_asked_not_to_be(settings, store):
    runs = iter(range(100))

    @workflow
    async def differs(ctx):
        await ctx.step(echo, next(runs), compare=False)
        await ctx.signal("go")
        return "done"

    async with running_processor(settings, differs):
        assert (await run_over_suspension(store, differs)).output == "done"


async def echo(value):
    return value


class StopError(BaseException):
    """No Exception, as a few libraries define them."""


@pytest.mark.parametrize("raising", [StopError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("where", ["handler", "step", "sync step"])
async def test_any_exception_of_user_code_fails_the_workflow(settings, store, raising, where):
    async def step():
        raise raising("enough")

    def sync_step():
        raise raising("enough")

    @workflow
    async def raises(ctx):
        if where == "handler":
            raise raising("enough")
        await ctx.step(step if where == "step" else sync_step, retry=ONCE)

    async with running_processor(settings, raises):
        view = await run_to_end(store, raises)
    assert view.status == "failed"
    assert where == "handler" or view.journal[0].error_type == raising.__name__


async def test_suspended_branch_of_a_task_group_resumes(settings, store):
    @workflow
    async def waits(ctx):
        async with asyncio.TaskGroup() as group:
            quick = group.create_task(ctx.step(post, "x"))
            slow = group.create_task(pay(ctx, "y"))
            note = group.create_task(ctx.signal("note"))
        return [quick.result(), slow.result(), note.result()]

    async with running_processor(settings, waits):
        invocation_id = await start_workflow(store, waits)
        await wait_for_status(store, invocation_id, "suspended")
        await control.signal(store, invocation_id, "note", "hello")
        assert await wait_for_output(store, invocation_id) == ["posted x", "posted y1, posted y2", "hello"]


async def test_bare_except_around_a_sleep_neither_spins_nor_ends_early(settings, store, monkeypatch):
    suspend_every_sleep(monkeypatch)

    @workflow
    async def stubborn(ctx):
        while True:
            try:
                await ctx.sleep(3)
                return "slept"  # noqa: TRY300 - the loop is what a user writes
            except:  # noqa: E722, S112 - what this test is about
                continue

    async with running_processor(settings, stubborn):
        view = await run_to_end(store, stubborn)
    assert (view.status, view.output, view.attempt) == ("completed", "slept", 2)
    assert len(view.journal) == 1


async def test_timeout_around_a_signal_fires_after_a_suspension(settings, store, monkeypatch):
    suspend_every_sleep(monkeypatch)

    @workflow
    async def waits(ctx):
        try:
            async with asyncio.timeout(3):
                return await ctx.signal("never")
        except TimeoutError:
            return "timed out"

    async with running_processor(settings, waits):
        view = await run_to_end(store, waits)
    assert (view.output, view.attempt) == ("timed out", 2)


async def test_failed_step_has_no_cause_on_any_run(settings, store):
    seen = []

    async def fails():
        raise ValueError("no")

    @workflow
    async def handler(ctx):
        try:
            await ctx.step(fails, retry=ONCE)
        except StepError as error:
            seen.append((repr(error.__cause__), error.error_type, str(error)))
        await ctx.signal("go")
        return len(seen)

    async with running_processor(settings, handler):
        await run_over_suspension(store, handler)
    assert len(seen) == 2
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: asyncio.get_running_loop().run_in_executor(None, print),
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("127.0.0.1", 1),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 80),
    ],
)
async def test_what_touches_the_world_is_refused_with_the_way_out(settings, store, misuse):
    @workflow
    async def misuses(ctx):
        del ctx
        await misuse()

    async with running_processor(settings, misuses):
        view = await run_to_end(store, misuses)
    assert view.status == "failed"
    assert view.error.startswith("A workflow's handler cannot use ")


async def test_context_in_a_step_is_refused(settings, store):
    @workflow
    async def handler(ctx):
        async def sets():
            ctx.set("a", 1)

        await ctx.step(sets)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.status == "failed"
    assert "outside of its handler" in view.error


async def test_five_hundred_two_step_coroutines(settings, store):
    async def add(number: int) -> int:
        return number + 1

    @workflow
    async def many(ctx):
        async def twice(number: int) -> int:
            return await ctx.step(add, await ctx.step(add, number))

        return sum(await asyncio.gather(*(twice(number) for number in range(500))))

    async with running_processor(settings, many):
        assert (await run_to_end(store, many)).output == sum(range(500)) + 1000


async def test_failing_branch_cancels_the_task_group(settings, store):
    interrupted = []

    async def fails():
        raise ValueError("no")

    async def hangs():
        try:
            await asyncio.sleep(60)
        finally:
            interrupted.append(True)

    @workflow
    async def handler(ctx):
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ctx.step(hangs))
                tasks.create_task(ctx.sleep(60))
                tasks.create_task(ctx.step(fails, retry=ONCE))
        except ExceptionGroup as group:
            return [error.error for error in group.exceptions]

    async with running_processor(settings, handler):
        assert (await run_to_end(store, handler)).output == ["no"]
    assert interrupted == [True]


async def test_queue_filled_from_signals_over_a_restart(settings, store):
    @workflow
    async def queued(ctx):
        queue = asyncio.Queue()

        async def receive():
            for _ in range(3):
                await queue.put(await ctx.signal("item"))

        receiver = asyncio.create_task(receive())
        found = [await queue.get() for _ in range(3)]
        await receiver
        return found

    async with running_processor(settings, queued):
        invocation_id = await start_workflow(store, queued)
        await wait_for_status(store, invocation_id, "suspended")
        await control.signal(store, invocation_id, "item", 1)
    await control.signal(store, invocation_id, "item", 2)
    async with running_processor(settings, queued):
        await control.signal(store, invocation_id, "item", 3)
        assert await wait_for_output(store, invocation_id) == [1, 2, 3]


async def test_cancelled_handler_cleans_up_with_steps(settings, store):
    EFFECTS.clear()

    @workflow
    async def cleans(ctx):
        ctx.defer(post, "compensated")
        try:
            await ctx.sleep(600)
        except asyncio.CancelledError:
            await ctx.step(post, "cleaned")
            await ctx.sleep(1.2)
            await ctx.step(post, "cleaned again")
            raise

    async with running_processor(settings, cleans):
        invocation_id = await start_workflow(store, cleans)
        await wait_for_status(store, invocation_id, "suspended")
        await control.cancel(store, invocation_id)
        view = await wait_for_status(store, invocation_id, "cancelled")
    assert EFFECTS == {"cleaned": 1, "cleaned again": 1, "compensated": 1}
    assert [entry.kind for entry in view.journal if entry.finished_at][:2] == ["cancellation", "step"]


@pytest.mark.parametrize("end", ["fails", "times out"])
async def test_compensations_run_when_the_workflow_does_not_complete(settings, store, end):
    EFFECTS.clear()

    @workflow(timeout=timedelta(seconds=3) if end == "times out" else None)
    async def saga(ctx):
        ctx.set("kept", 1)
        ctx.defer(post, "always")
        ctx.defer(post, "only cancelled", when="cancelled")
        ctx.defer(post, "only failed", when="failed")
        if end == "fails":
            raise ValueError("no")
        await ctx.sleep(60)

    async with running_processor(settings, saga):
        view = await run_to_end(store, saga)
    assert view.status == "failed"
    assert EFFECTS == {"always": 1, "only failed": 1}
    assert view.workflow_state == {"kept": 1}


async def test_cancel_of_a_workflow_in_back_off_with_a_compensation(settings, store):
    EFFECTS.clear()

    async def fails():
        raise ValueError("no")

    @workflow
    async def backs_off(ctx):
        ctx.defer(post, "undone")
        await ctx.step(fails, retry=SLOW)

    async with running_processor(settings, backs_off):
        invocation_id = await start_workflow(store, backs_off)
        await wait_for_status(store, invocation_id, "suspended")
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")
    assert EFFECTS == {"undone": 1}


async def test_handler_that_swallows_its_cancellation_is_ended(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.engine.replay.handler_runner.MAX_ENDS_AFTER_CANCEL", 5)

    @workflow
    async def swallows(ctx):
        number = 0
        while True:
            try:
                number += 1
                await ctx.step(echo, number)
                await ctx.sleep(0.01)
            except asyncio.CancelledError:
                continue

    async with running_processor(settings, swallows):
        invocation_id = await start_workflow(store, swallows)
        await wait_for_status(store, invocation_id, "running")
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")


async def test_code_that_raises_before_recorded_steps_pauses(settings, store):
    broken = False

    @workflow
    async def handler(ctx):
        if broken:
            raise ValueError("a new bug")
        await ctx.step(echo, 1)
        await ctx.signal("go")

    async with running_processor(settings, handler):
        invocation_id = await start_workflow(store, handler)
        await wait_for_status(store, invocation_id, "suspended")
        broken = True
        await control.signal(store, invocation_id, "go")
        view = await wait_for_status(store, invocation_id, "paused")
    assert view.reason.endswith("but the code now ends after 0 steps, with ValueError: a new bug")


async def test_spinning_handler_is_paused(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.engine.replay.handler_loop.MAX_IDLE_HANDLES", 10_000)

    @workflow
    async def spins(ctx):
        del ctx
        while True:
            await asyncio.sleep(0)

    async with running_processor(settings, spins):
        invocation_id = await start_workflow(store, spins)
        view = await wait_for_status(store, invocation_id, "paused")
    assert "callbacks without awaiting a step or timer" in view.reason


async def test_wait_for_times_out_a_step(settings, store):
    @workflow
    async def handler(ctx):
        try:
            await asyncio.wait_for(ctx.step(asyncio.sleep, 60), 0.2)
        except TimeoutError as error:
            return isinstance(error, StepError)

    async with running_processor(settings, handler):
        assert (await run_to_end(store, handler)).output is False


async def test_unread_exception_of_a_task_is_logged(settings, store, caplog):
    @workflow
    async def forgets(ctx):
        async def fails():
            raise ValueError("nobody asked")

        asyncio.create_task(fails())  # noqa: RUF006 - what this test is about
        await ctx.step(echo, 1)

    async with running_processor(settings, forgets):
        await run_to_end(store, forgets)
    await wait_until(lambda: "nobody asked" in caplog.text)


@workflow
async def long_child(ctx):
    await ctx.signal("go")
    return "child's result"


@pytest.mark.parametrize(("on_cancel", "status"), [("cancel", "cancelled"), ("abandon", "suspended")])
async def test_timeout_does_to_an_awaited_child_what_on_cancel_says(settings, store, on_cancel, status):
    @workflow
    async def parent(ctx):
        try:
            async with asyncio.timeout(3):
                await ctx.invoke(long_child, on_cancel=on_cancel)
        except TimeoutError:
            await ctx.step(echo, "timed out")
        return "parent's result"

    async with running_processor(settings, parent, long_child):
        view = await run_to_end(store, parent)
        assert view.output == "parent's result"
        (child_id,) = view.children
        await wait_for_status(store, child_id, status)


async def test_on_cancel_wait_lets_the_step_end_first(settings, store):
    cancelled = asyncio.Event()

    @workflow
    async def handler(ctx):
        task = asyncio.create_task(pair(ctx))
        await ctx.step(echo, "other")
        task.cancel()
        cancelled.set()
        (found,) = await asyncio.gather(task, return_exceptions=True)
        return repr(found)

    async def pair(ctx):
        await ctx.step(post_late, "a", on_cancel="wait")
        await ctx.step(post, "never")

    async def post_late(name: str) -> str:
        await cancelled.wait()
        return await post(name)

    EFFECTS.clear()
    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.output.startswith("CancelledError(")
    assert EFFECTS == {"a": 1}
    assert sorted(entry.step_type for entry in view.journal) == ["echo", "post_late"]


async def test_future_of_another_loop_is_refused_with_the_way_out(settings, store):
    foreign = asyncio.get_running_loop().create_future()

    @workflow
    async def handler(ctx):
        del ctx
        await foreign

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.status == "failed"
    assert view.error == "The handler awaited a future of another event loop, which a replay does not have."


async def test_cancelled_children_of_a_race_are_told_so(settings, store):
    @workflow
    async def racing(ctx):
        return list(await ctx.race(ctx.invoke(long_child), ctx.signal("go")))

    async with running_processor(settings, racing, long_child):
        view = await run_over_suspension(store, racing)
        assert view.output == [1, None]
        (child_id,) = view.children
        child = await wait_for_status(store, child_id, "cancelled")
    assert child.reason == "its parent no longer waits for it"


async def test_workflow_ends_while_a_background_task_waits(settings, store):
    @workflow
    async def leaves(ctx):
        background = asyncio.create_task(ctx.sleep(600))
        await ctx.step(echo, 1)
        return background.done()

    async with running_processor(settings, leaves):
        view = await run_to_end(store, leaves)
    assert (view.output, view.attempt) == (False, 1)


async def test_discarded_handler_reaches_no_other_event_loop(settings, store):
    """It awaits on its way out: what it does after that runs on its own loop, too."""
    loops = []

    @workflow
    async def leaves_slowly(ctx):
        try:
            await ctx.signal("go")
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                loops.append(type(asyncio.get_running_loop()).__name__)

    async with running_processor(settings, leaves_slowly):
        invocation_id = await start_workflow(store, leaves_slowly)
        await wait_for_status(store, invocation_id, "suspended")
        await wait_until(lambda: loops)
        await control.signal(store, invocation_id, "go")
        assert await wait_for_output(store, invocation_id) is None
    assert set(loops) == {"HandlerLoop"}
