"""What a processor did not come to after its last state write, and what it reads while others write."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from durablectl import control, query, workflow
from durablectl.engine.worker import execute
from durablectl.model.status import Status
from durablectl.storage.index import index_entries
from durablectl.storage.records import journal, leases, states
from helpers.in_process import running_processor
from helpers.index_listing import index_groups
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_status


@workflow
async def unclaimed(ctx):
    await ctx.sleep(60)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.SUSPENDED, Status.PAUSED])
async def test_missing_index_entry_of_dead_processor_is_written_later(settings, store, status):
    """It died between the write of a state that let go of the invocation and that of the index."""
    invocation_id = await start_workflow(store, unclaimed)
    execution, revision = await states.load(store, invocation_id)
    execution.mark_started(execution.created_at + 1)
    execution.owner, execution.attempt = "dead", 1
    execution.enter_status(Status.RUNNING, execution.created_at + 2)
    revision = await states.replace(store, execution, revision)
    await index_entries.update_entry(store, execution)
    execution.enter_status(status, execution.created_at + 3)
    await states.replace(store, execution, revision)
    assert await index_groups(store, invocation_id) == ["running"]

    @workflow
    async def other(_):
        pass

    async with running_processor(settings, other):
        await leases.renew(store, leases.Lease("dead"))
        await wait_until(lambda: is_entered(store, invocation_id, status))


async def is_entered(store, invocation_id, status) -> bool:
    return await index_groups(store, invocation_id) == [status]


async def test_journal_purged_by_cancellation_is_not_read_as_empty(settings, store, monkeypatch):
    ran, cancelled = [], asyncio.Event()

    @workflow
    async def counted(ctx):
        await ctx.step(ran.append, 1)
        await ctx.awakeable("go")

    async with running_processor(settings, counted):
        invocation_id = await start_workflow(store, counted)
        await wait_for_status(store, invocation_id, "suspended")

        async def read_late(*args):
            """An operator's cancellation comes between the claim and the reading."""
            monkeypatch.setattr(execute, "journal", journal)
            await control.cancel(store, invocation_id, now=True)
            cancelled.set()
            return await journal.read(*args)

        monkeypatch.setattr(execute, "journal", SimpleNamespace(read=read_late))
        await control.resolve(store, f"{invocation_id}.go", 1)
        await asyncio.wait_for(cancelled.wait(), 60)
    view = await query.get_workflow(store, invocation_id)
    assert ran == [1]
    assert [step.step_type for step in view.journal] == ["append", "awakeable:go"]
    assert view.status == "cancelled"
