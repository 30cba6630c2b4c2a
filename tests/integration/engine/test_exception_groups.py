"""Groups of exceptions, as a TaskGroup raises them: shown and clustered by the exceptions in them."""

from __future__ import annotations

import asyncio

from durablectl import Retry, TerminalError, query, workflow
from helpers.in_process import running_processor
from helpers.workflow_runs import run_to_end

ONCE = Retry(max_attempts=1)


async def fails(text: str) -> None:
    raise ValueError(text)


async def test_group_with_one_leaf_is_clustered_with_the_leaf_alone(settings, store):
    @workflow
    async def handler(ctx, value):
        if value == "alone":
            await ctx.step(fails, "no 1", retry=ONCE)
        async with asyncio.TaskGroup() as tasks, asyncio.TaskGroup() as inner:
            tasks.create_task(asyncio.sleep(60))
            inner.create_task(ctx.step(fails, "no 1", retry=ONCE))

    async with running_processor(settings, handler):
        alone, grouped = [await run_to_end(store, handler, value) for value in ("alone", "grouped")]
    assert (alone.error_type, alone.reason_code) == ("StepError", "step_failed")
    assert grouped.error_type == alone.error_type
    assert grouped.reason_code == alone.reason_code
    assert grouped.error.endswith("'fails' failed at its first attempt: no 1")
    assert grouped.failed_step.step_type == "fails"
    assert "ValueError" not in grouped.error_type
    errors = (await query.get_errors(store)).errors
    assert [(each.error_type, each.message, each.count) for each in errors] == [("StepError", "no <*>", 2)]


async def test_group_with_several_leaves_is_named_by_all_of_them(settings, store):
    @workflow
    async def handler(ctx, order):
        async def breaks():
            try:
                await asyncio.sleep(60)
            finally:
                raise KeyError("key")

        async with asyncio.TaskGroup() as tasks:
            if order:
                tasks.create_task(breaks())
            tasks.create_task(ctx.step(fails, "no", retry=ONCE))
            if not order:
                tasks.create_task(breaks())

    async with running_processor(settings, handler):
        views = [await run_to_end(store, handler, order) for order in (0, 1)]
    assert {view.error_type for view in views} == {"KeyError, StepError"}
    assert views[0].error == "2 errors: KeyError: 'key'; StepError: Step 0 'fails' failed at its first attempt: no"
    assert {(view.reason_code, view.failed_step.step_type) for view in views} == {("step_failed", "fails")}
    assert "KeyError: 'key'" in views[0].traceback
    assert [each.count for each in (await query.get_errors(store)).errors] == [2]


async def test_group_that_a_step_raises_is_named_by_its_leaves(settings, store):
    attempts = []

    async def step():
        attempts.append(1)
        raise BaseExceptionGroup("told to nobody", [ValueError("a"), TerminalError("b")])

    @workflow
    async def handler(ctx):
        await ctx.step(step)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    entry = view.journal[0]
    assert (entry.error, entry.error_type) == ("2 errors: TerminalError: b; ValueError: a", "TerminalError, ValueError")
    assert len(attempts) == 1
