"""Retry, from where it failed or from a step on, restart, and delete: what is kept, dropped and linked."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from importlib import import_module

import pytest

from durablectl import TerminalError, control, query, workflow
from durablectl.cli.render.why_evidence import remedies
from durablectl.errors import InvalidStateError, NotFoundError, UsageError
from helpers.in_process import running_processor
from helpers.index_listing import index_groups
from helpers.stored_records import list_journal_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_output, wait_for_status

ran: defaultdict[str, Counter[str]] = defaultdict(Counter)
healed: set[str] = set()


async def step(me: str, name: str) -> str:
    ran[me][name] += 1
    return f"{name} {ran[me][name]}"


async def breaks(me: str) -> str:
    ran[me]["breaks"] += 1
    if me not in healed:
        raise TerminalError("not today")
    return "mended"


@workflow
async def fragile(ctx, value):
    me = ctx.invocation_id
    ctx.set("value", value)
    both = await ctx.gather(ctx.step(step, me, "a", name="a"), ctx.step(step, me, "b", name="b"))
    await ctx.sleep(0.02)
    return [*both, await ctx.step(breaks, me), await ctx.step(step, me, "c", name="c")]


async def fail_once(store) -> str:
    view = await run_to_end(store, fragile, {"n": 1})
    assert (view.status, view.error) == ("failed", "Step 3 'breaks' failed at its first attempt: not today")
    healed.add(view.invocation_id)
    return view.invocation_id


async def test_retry_resumes_at_the_failed_step(settings, store):
    async with running_processor(settings, fragile):
        invocation_id = await fail_once(store)
        result = await control.retry(store, invocation_id)
        assert (result.invocation_id, result.status, result.changed) == (invocation_id, "pending", True)
        assert "step 3" in result.message
        assert await wait_for_output(store, invocation_id) == ["a 1", "b 1", "mended", "c 1"]
        view = await query.get_workflow(store, invocation_id)
        await wait_until(lambda: is_tidy(store, invocation_id))
    assert ran[invocation_id] == {"a": 1, "b": 1, "breaks": 2, "c": 1}
    assert (view.error, view.error_type, view.traceback) == ("", "", "")
    assert [s.step_number for s in view.journal] == list(range(5))
    [dropped] = view.history
    assert dropped.reason == "retried after: Step 3 'breaks' failed at its first attempt: not today"
    assert [(s.step_number, s.error) for s in dropped.steps] == [(3, "not today")]


async def is_tidy(store, invocation_id) -> bool:
    return await index_groups(store, invocation_id) == ["completed"] and not await list_journal_subjects(
        store, invocation_id
    )


async def test_retry_from_step_reruns_later_steps_and_keeps_history(settings, store):
    async with running_processor(settings, fragile):
        invocation_id = await fail_once(store)
        await control.retry(store, invocation_id, from_step=1)
        assert await wait_for_output(store, invocation_id) == ["a 1", "b 2", "mended", "c 1"]
        view = await query.get_workflow(store, invocation_id)
    assert [s.step_type for s in view.history[0].steps] == ["b", "sleep", "breaks"]
    assert [s.response for s in view.history[0].steps] == ["b 1", None, None]


@pytest.mark.parametrize("from_step", [-1, 5, 99])
async def test_a_step_that_was_never_reached_is_refused_and_nothing_changes(settings, store, from_step):
    async with running_processor(settings, fragile):
        invocation_id = await fail_once(store)
        before = await query.get_workflow(store, invocation_id)
        with pytest.raises(UsageError, match=f"no step {from_step}"):
            await control.retry(store, invocation_id, from_step=from_step)
        assert await query.get_workflow(store, invocation_id) == before


async def test_repeated_retries_grow_history_and_keep_journal_complete(settings, store):
    async with running_processor(settings, fragile):
        invocation_id = await fail_once(store)
        healed.discard(invocation_id)
        for number in range(3):
            await control.retry(store, invocation_id, from_step=number)
            await wait_until(lambda n=number: has_history(store, invocation_id, n + 1))
            await wait_for_status(store, invocation_id, "failed")
        healed.add(invocation_id)
        await control.retry(store, invocation_id)
        assert await wait_for_output(store, invocation_id) == ["a 2", "b 3", "mended", "c 1"]
        view = await query.get_workflow(store, invocation_id)
    assert [[s.step_number for s in d.steps] for d in view.history] == [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]


async def has_history(store, invocation_id, count) -> bool:
    return len((await query.get_workflow(store, invocation_id)).history) == count


async def test_retry_after_cancel_drops_interrupted_and_compensated_steps(settings, store):
    gate = asyncio.Event()

    @workflow
    async def held(ctx):
        me = ctx.invocation_id
        ctx.defer(step, me, "undo", name="undo")
        first = await ctx.step(step, me, "first", name="first")
        both = await ctx.gather(ctx.step(gate.wait, name="gate"), ctx.step(step, me, "beside", name="beside"))
        return [first, *both, await ctx.step(step, me, "last", name="last")]

    async with running_processor(settings, held):
        invocation_id = await start_workflow(store, held)
        await wait_until(lambda: ran[invocation_id]["beside"])
        await wait_until(lambda: at_step(store, invocation_id, "gate"))
        await wait_until(lambda: recorded(store, invocation_id, "first", "beside"))
        await control.cancel(store, invocation_id)
        view = await wait_for_status(store, invocation_id, "cancelled")
        kinds = {s.step_type: (s.kind, s.error_type) for s in view.journal}
        assert kinds["gate"] == ("step", "Cancelled")
        assert kinds["undo"] == ("compensation", "")
        gate.set()
        result = await control.retry(store, invocation_id)
        assert result.message == (
            "Retrying from step 1. 1 compensation has run, and the steps before it are not run again: "
            "retry with --from-step 0 to run all of them."
        )
        assert await wait_for_output(store, invocation_id) == ["first 1", True, "beside 1", "last 1"]
        view = await query.get_workflow(store, invocation_id)
    assert ran[invocation_id] == {"first": 1, "beside": 1, "undo": 1, "last": 1}
    assert {s.step_type for s in view.history[0].steps} == {"gate", "undo"}


async def recorded(store, invocation_id, *names) -> bool:
    view = await query.get_workflow(store, invocation_id)
    return {*names} <= {step.step_type for step in view.journal if step.finished_at}


async def at_step(store, invocation_id, name) -> bool:
    return (await query.get_workflow(store, invocation_id)).current_step_type == name


@pytest.mark.parametrize("from_step", [0, 1, 2, 3, 4])
async def test_cancelled_workflow_completes_when_retried_from_any_step(settings, store, from_step):
    """What was interrupted or compensated below that step is not taken for a result."""
    gate = asyncio.Event()

    @workflow
    async def held(ctx):
        ctx.defer(step, ctx.invocation_id, "undo", name="undo")
        await ctx.gather(
            ctx.step(gate.wait, name="gate"), ctx.step(step, ctx.invocation_id, "x"), ctx.step(gate.wait, name="gate 2")
        )
        return "through"

    async with running_processor(settings, held):
        invocation_id = await start_workflow(store, held)
        await wait_until(lambda: ran[invocation_id]["x"])
        await wait_until(lambda: at_step(store, invocation_id, "gate"))
        await control.cancel(store, invocation_id)
        await wait_for_status(store, invocation_id, "cancelled")
        gate.set()
        await control.retry(store, invocation_id, from_step=from_step)
        assert await wait_for_output(store, invocation_id) == "through"


async def test_result_recorded_during_cancellation_is_kept(settings, store):
    """A cancellation at once while steps end: what the journal had taken, the record has."""

    @workflow
    async def wide(ctx):
        me = ctx.invocation_id
        await ctx.gather(*(ctx.step(step, me, f"s{n}", name=f"s{n}") for n in range(12)))
        await ctx.step(gate.wait)
        return ran[me].total()

    gate = asyncio.Event()
    async with running_processor(settings, wide):
        for _ in range(5):
            gate.clear()
            invocation_id = await start_workflow(store, wide)
            await wait_until(lambda i=invocation_id: ran[i].total())
            await control.cancel(store, invocation_id, now=True)
            gate.set()
            kept = {s.step_type: s.response for s in (await query.get_workflow(store, invocation_id)).journal}
            before = dict(ran[invocation_id])
            await control.retry(store, invocation_id)
            await wait_for_output(store, invocation_id)
            again = {name for name, times in ran[invocation_id].items() if times > before.get(name, 0)}
            assert not again & set(kept)
            view = await query.get_workflow(store, invocation_id)
            assert kept.items() <= {s.step_type: s.response for s in view.journal}.items()


async def test_a_restart_is_another_invocation_linked_with_the_old(settings, store):
    async with running_processor(settings, fragile):
        invocation_id = await fail_once(store)
        result = await control.restart(store, invocation_id)
        assert result.invocation_id != invocation_id
        healed.add(result.invocation_id)
        await wait_until(lambda: ended_at(store, result.invocation_id))
        old, new = [await query.get_workflow(store, i) for i in (invocation_id, result.invocation_id)]
    assert (old.status, old.restarted_as, new.restarted_from) == ("failed", new.invocation_id, invocation_id)
    assert (new.input, new.handler) == (old.input, old.handler)
    assert new.history == []
    assert old.journal


async def ended_at(store, invocation_id) -> int:
    return (await query.get_workflow(store, invocation_id)).finished_at


async def test_retry_restart_and_delete_refuse_wrong_status(settings, store):
    @workflow
    async def quick(_):
        return "done"

    @workflow
    async def sleeping(ctx):
        await ctx.sleep(60)

    async with running_processor(settings, quick, sleeping):
        completed = (await run_to_end(store, quick)).invocation_id
        suspended = await start_workflow(store, sleeping)
        await wait_for_status(store, suspended, "suspended")
        with pytest.raises(InvalidStateError, match="completed and cannot be retried"):
            await control.retry(store, completed)
        for operation in (control.retry, control.restart, control.delete):
            with pytest.raises(InvalidStateError, match="suspended"):
                await operation(store, suspended)
        await control.delete(store, completed)
        with pytest.raises(NotFoundError):
            await query.get_workflow(store, completed)
        assert await index_groups(store, completed) == []


async def test_next_retry_finishes_an_interrupted_retry(settings, store, monkeypatch):
    """A journal too big to fold: the steps are noted as dropped, some are removed, the workflow is not reopened."""

    async def heavy(me: str, number: int) -> str:
        ran[me][f"heavy {number}"] += 1
        return str(number) * 100_000

    @workflow
    async def big(ctx):
        me = ctx.invocation_id
        results = [await ctx.step(heavy, me, number) for number in range(4)]
        if me not in healed:
            raise ValueError("broken")
        return [result[0] for result in results]

    async with running_processor(settings, big):
        invocation_id = (await run_to_end(store, big)).invocation_id
    with monkeypatch.context() as patch:
        patch.setattr(import_module("durablectl.control.retry"), "_reopen", die)
        with pytest.raises(Died):
            await control.retry(store, invocation_id, from_step=2)
    view = await query.get_workflow(store, invocation_id)
    assert (view.status, [s.step_number for s in view.journal]) == ("failed", [0, 1])
    healed.add(invocation_id)
    await asyncio.gather(*(control.retry(store, invocation_id) for _ in range(3)), return_exceptions=True)
    async with running_processor(settings, big):
        assert await wait_for_output(store, invocation_id) == ["0", "1", "2", "3"]
    view = await query.get_workflow(store, invocation_id)
    assert ran[invocation_id] == {"heavy 0": 1, "heavy 1": 1, "heavy 2": 2, "heavy 3": 2}
    assert [[s.step_number for s in dropped.steps] for dropped in view.history] == [[2, 3]]
    assert [s.step_number for s in view.journal] == [0, 1, 2, 3]


class Died(BaseException):
    """A process that ends right there."""


def die(*_: object) -> None:
    raise Died


async def test_retry_from_step_0_runs_what_compensations_undid(settings, store):
    @workflow
    async def books(ctx):
        me = ctx.invocation_id
        booking = await ctx.step(step, me, "book", name="book")
        ctx.defer(step, me, "undo", name="undo")
        if ran[me]["undo"] == 0:
            raise ValueError("no room")
        return booking

    async with running_processor(settings, books):
        invocation_id = await start_workflow(store, books)
        await wait_for_status(store, invocation_id, "failed")
        found = await query.explain_workflow(store, invocation_id)
        first = remedies(found)[0]
        assert first.command == f"durablectl wf retry {invocation_id} --from-step 0"
        result = await control.retry(store, invocation_id, from_step=0)
        assert result.message == "Retrying from step 0."
        assert await wait_for_output(store, invocation_id) == "book 2"
    assert ran[invocation_id] == {"book": 2, "undo": 1}
