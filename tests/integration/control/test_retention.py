"""Retention: what has ended goes away by itself, with its index entry and journal; what goes on stays."""

from __future__ import annotations

import pytest

from durablectl import TerminalError, control, query, workflow
from durablectl.errors import NotFoundError
from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.records import states
from helpers.in_process import running_processor
from helpers.index_listing import index_groups, wait_for_index_group
from helpers.stored_records import list_journal_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_output, wait_for_status


async def big(number: int) -> str:
    return str(number) * 100_000


healed: set[str] = set()


async def breaks(me: str) -> str:
    if me not in healed:
        raise TerminalError("not yet")
    return "mended"


@workflow
async def heavy(ctx):
    """A journal that is too big to fold."""
    for number in range(4):
        await ctx.step(big, number)
    return await ctx.step(breaks, ctx.invocation_id)


@workflow
async def quick(_):
    return "done"


@workflow
async def sleeper(ctx):
    await ctx.sleep(60)


async def is_gone(store, invocation_id: str) -> bool:
    try:
        await query.get_workflow(store, invocation_id)
    except NotFoundError:
        return not await index_groups(store, invocation_id) and not await list_journal_subjects(store, invocation_id)
    return False


async def test_nothing_expires_without_retention(settings, store):
    async with running_processor(settings, quick):
        assert (await run_to_end(store, quick)).expires_at == 0


async def test_completed_workflow_expires_with_its_index_entry(settings, store):
    async with running_processor(settings, quick, retention=5):
        view = await run_to_end(store, quick)
        assert view.expires_at == view.finished_at + 5 * MICROSECONDS
        assert view.to_json()["expires_at"]
        await wait_until(lambda: is_gone(store, view.invocation_id))
    assert (await query.get_stats(store)).total == 0


async def test_a_journal_too_big_to_fold_goes_along(settings, store):
    async with running_processor(settings, heavy, retention=8):
        invocation_id = (await run_to_end(store, heavy)).invocation_id
        assert len(await list_journal_subjects(store, invocation_id)) == 5
        await wait_until(lambda: is_gone(store, invocation_id))


async def test_a_retry_undoes_the_expiry_of_record_and_journal(settings, store):
    async with running_processor(settings, heavy, sleeper, retention=8):
        invocation_id = (await run_to_end(store, heavy)).invocation_id
    await control.retry(store, invocation_id)
    healed.add(invocation_id)
    async with running_processor(settings, heavy):
        assert await wait_for_output(store, invocation_id) == "mended"
        view = await query.get_workflow(store, invocation_id)
        assert view.expires_at == 0
        first = view.finished_at
        # Longer than what was left of the first retention.
        await wait_until(lambda: passed(first + 9 * MICROSECONDS))
        view = await query.get_workflow(store, invocation_id)
    assert [len(step.response or "") for step in view.journal[:4]] == [100_000] * 4
    await wait_for_index_group(store, invocation_id, "completed")


def passed(moment: int) -> bool:
    return moment < SYSTEM_CLOCK.now()


@pytest.mark.parametrize("how", ["asked", "now", "before it began"])
async def test_cancelled_workflow_expires(settings, store, how):
    if how == "before it began":
        invocation_id = await start_workflow(store, sleeper)
        await control.cancel(store, invocation_id)
    async with running_processor(settings, sleeper, retention=2):
        if how != "before it began":
            invocation_id = await start_workflow(store, sleeper)
            await wait_for_status(store, invocation_id, "suspended")
            await control.cancel(store, invocation_id, now=how == "now")
        await wait_until(lambda: is_gone(store, invocation_id))


async def test_missing_expiry_of_index_entry_is_added_on_wake(settings, store):
    """A processor dies after the write of the record that will expire, before that of its index entry."""
    invocation_id = await start_workflow(store, sleeper)
    await control.cancel(store, invocation_id)
    execution, revision = await states.load(store, invocation_id)
    execution.expires_at = SYSTEM_CLOCK.now() + 2 * MICROSECONDS
    await states.replace(store, execution, revision)
    await store.requests.exchange([wake_request(store, execution)])
    async with running_processor(settings, sleeper, retention=2):
        await wait_until(lambda: is_gone(store, invocation_id))


async def test_restarted_workflow_keeps_its_expiry(settings, store):
    async with running_processor(settings, quick, retention=8):
        view = await run_to_end(store, quick)
        await control.restart(store, view.invocation_id)
        again = await query.get_workflow(store, view.invocation_id)
        assert again.restarted_as
        assert again.expires_at == view.expires_at
        await wait_until(lambda: is_gone(store, view.invocation_id))


@pytest.mark.parametrize("given", ["0", "soon", "500ms", "200000d"])
def test_a_retention_that_makes_no_sense_is_refused(runner, given):
    from durablectl.cli.main import app

    answer = runner.invoke(app, ["run", "processor", "--retention", given])
    assert answer.exit_code == 2
    assert "--retention" in answer.stderr


def test_retention_must_exceed_ack_wait(runner):
    from durablectl.cli.main import app

    answer = runner.invoke(app, ["run", "processor", "--retention", "2m"])
    assert answer.exit_code == 2
    assert answer.stderr == (
        "Error: The --retention 2m is not longer than the --ack-wait of 300 s. The command of a processor that died "
        "comes again only after that, and would start anew what has been removed by then.\n"
        "Keep what has ended for longer, or lower --ack-wait.\n"
    )
