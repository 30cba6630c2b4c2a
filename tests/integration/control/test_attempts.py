"""The next attempt now, and an attempt in place of one that hangs."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import Context, Retry, control, query, workflow
from durablectl.errors import InvalidStateError, TerminalError
from durablectl.model.kinds import WaitKind
from helpers.in_process import running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_outcome, wait_for_output, wait_for_status


def failing(initial: float, failures: int = 1, **options: object):
    """A workflow whose step fails so often, and the attempts that it has made."""
    attempts: list[int] = []

    async def charge() -> int:
        attempts.append(len(attempts))
        if len(attempts) <= failures:
            raise ConnectionError("refused")
        return len(attempts)

    @workflow(name="failing")
    async def handler(ctx: Context, _: object) -> int:
        return await ctx.step(charge, retry=Retry(initial=initial, cap=3600, max_attempts=9, jitter=0), **options)

    return handler, attempts


async def wait_for_back_off(store, invocation_id: str, status: str, attempt: int = 1) -> None:
    async def backs_off() -> bool:
        view = await query.get_workflow(store, invocation_id)
        waiting = view.waiting_for
        return (
            view.status == status
            and waiting is not None
            and (waiting.kind, waiting.attempt)
            == (
                WaitKind.RETRY,
                attempt,
            )
        )

    await wait_until(backs_off)


async def test_a_suspended_back_off_is_ended(settings, store):
    handler, attempts = failing(3600)
    async with running_processor(settings, handler):
        invocation_id = await start_workflow(store, handler)
        await wait_for_back_off(store, invocation_id, "suspended")
        result = await control.retry_now(store, invocation_id)
        assert (result.changed, result.message) == (True, "Trying step 0 charge again now.")
        assert await wait_for_output(store, invocation_id) == 2
    assert len(attempts) == 2
    view = await query.get_workflow(store, invocation_id)
    assert view.journal[0].attempts == 2


async def test_a_back_off_in_memory_is_ended(settings, store):
    handler, attempts = failing(4.5, failures=3)
    async with running_processor(settings, handler):
        invocation_id = await start_workflow(store, handler)
        await wait_for_back_off(store, invocation_id, "running")
        assert (await control.retry_now(store, invocation_id)).changed
        await wait_for_back_off(store, invocation_id, "suspended", 2)
        assert (await control.retry_now(store, invocation_id)).changed
        await wait_for_back_off(store, invocation_id, "suspended", 3)
        assert (await control.retry_now(store, invocation_id)).changed
        assert await wait_for_output(store, invocation_id) == 4
    assert len(attempts) == 4


async def test_what_does_not_back_off_says_so(settings, store):
    @workflow(name="asking")
    async def asking(ctx: Context, _: object) -> None:
        await ctx.awakeable("approval")

    async with running_processor(settings, asking):
        invocation_id = await start_workflow(store, asking)
        await wait_for_status(store, invocation_id, "suspended")
        result = await control.retry_now(store, invocation_id)
        assert (result.changed, "it is suspended" in result.message) == (False, True)
        with pytest.raises(InvalidStateError, match="No step of"):
            await control.restart_step(store, invocation_id)
        await control.pause(store, invocation_id)
        with pytest.raises(InvalidStateError, match="is paused and cannot be tried again now"):
            await control.retry_now(store, invocation_id)
        await control.cancel(store, invocation_id, now=True)
        for operation in (control.retry_now, control.restart_step):
            with pytest.raises(InvalidStateError):
                await operation(store, invocation_id)


async def test_a_hung_step_is_interrupted_and_run_again(settings, store):
    begun: list[int] = []

    async def hang() -> str:
        begun.append(len(begun))
        if len(begun) == 1:
            await asyncio.Event().wait()
        return "done"

    @workflow(name="hanging")
    async def hanging(ctx: Context, _: object) -> str:
        return await ctx.step(hang, retry=Retry(max_attempts=1))

    async with running_processor(settings, hanging):
        invocation_id = await start_workflow(store, hanging)

        async def shows_step() -> bool:
            return (await query.get_workflow(store, invocation_id)).current_step == 0

        await wait_until(shows_step)
        result = await control.restart_step(store, invocation_id)
        assert result.message.endswith("to interrupt step 0 hang and to run it again.")
        assert await wait_for_output(store, invocation_id) == "done"
    view = await query.get_workflow(store, invocation_id)
    assert (len(begun), view.journal[0].attempts, view.journal[0].error) == (2, 2, "")


async def test_only_the_step_that_is_named_is_run_again(settings, store):
    begun: dict[str, int] = {}
    release = asyncio.Event()

    async def hang(name: str) -> str:
        begun[name] = begun.get(name, 0) + 1
        await release.wait()
        return name

    @workflow(name="two")
    async def two(ctx: Context, _: object) -> list[str]:
        return list(await ctx.gather(ctx.step(hang, "a"), ctx.step(hang, "b")))

    async with running_processor(settings, two):
        invocation_id = await start_workflow(store, two)

        async def shows_step() -> bool:
            return len(begun) == 2 and (await query.get_workflow(store, invocation_id)).current_step == 0

        await wait_until(shows_step)
        await control.restart_step(store, invocation_id, 1)
        await wait_until(lambda: begun["b"] == 2)
        release.set()
        assert await wait_for_output(store, invocation_id) == ["a", "b"]
    assert begun == {"a": 1, "b": 2}


async def test_a_cancellation_ends_a_step_that_was_run_again(settings, store):
    begun: list[int] = []

    async def hang() -> None:
        begun.append(1)
        await asyncio.Event().wait()

    @workflow(name="hanging")
    async def hanging(ctx: Context, _: object) -> None:
        await ctx.step(hang)

    async with running_processor(settings, hanging):
        invocation_id = await start_workflow(store, hanging)

        async def shows_step() -> bool:
            return (await query.get_workflow(store, invocation_id)).current_step == 0

        await wait_until(shows_step)
        await control.restart_step(store, invocation_id)
        await wait_until(lambda: len(begun) == 2)
        await control.cancel(store, invocation_id)
        assert (await wait_for_outcome(store, invocation_id)).execution.status == "cancelled"


async def test_a_terminal_error_after_a_restart_fails_the_step(settings, store):
    begun: list[int] = []

    async def hang() -> None:
        begun.append(1)
        if len(begun) == 2:
            raise TerminalError("no such account")
        await asyncio.Event().wait()

    @workflow(name="hanging")
    async def hanging(ctx: Context, _: object) -> None:
        await ctx.step(hang)

    async with running_processor(settings, hanging):
        invocation_id = await start_workflow(store, hanging)

        async def shows_step() -> bool:
            return (await query.get_workflow(store, invocation_id)).current_step == 0

        await wait_until(shows_step)
        await control.restart_step(store, invocation_id)
        assert (await wait_for_outcome(store, invocation_id)).execution.status == "failed"
    assert "no such account" in (await query.get_workflow(store, invocation_id)).error


async def test_completed_workflows_are_refused(settings, store):
    handler, _ = failing(0.01, failures=0)
    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    with pytest.raises(InvalidStateError, match="completed and cannot be tried again now"):
        await control.retry_now(store, view.invocation_id)
    with pytest.raises(InvalidStateError, match="it is completed"):
        await control.restart_step(store, view.invocation_id)
