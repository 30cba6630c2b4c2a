"""Reading while others write: every workflow once in a list, and a watcher that always sees the end."""

from __future__ import annotations

import asyncio

from durablectl import query, workflow
from durablectl.model.records import Execution, Payload
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import states
from helpers.in_process import running_processor
from helpers.waiting import PATIENCE
from helpers.workflow_runs import start_workflow, wait_for_outcome


@workflow
async def quick(ctx):
    await ctx.step(asyncio.sleep, 0)


async def test_workflow_changing_during_list_is_listed_once(settings, store):
    """Records so large that reading them takes a while, and one that is written all the time meanwhile."""
    padding = Payload(b'"' + b"x" * 50_000 + b'"')
    names = [f"i{number:03d}" for number in range(200)]
    for created, name in enumerate(names, 1):
        await states.create(store, Execution(name, "h", "running", input=padding, created_at=created))
    stopping = asyncio.Event()

    async def keep_writing(other) -> None:
        execution, revision = await states.load(other, "i000")
        while not stopping.is_set():
            execution.attempt += 1
            revision = await states.replace(other, execution, revision)

    async with open_store(settings) as other:
        writer = asyncio.create_task(keep_writing(other))
        for _ in range(6):
            page = await query.list_workflows(store, limit=1000)
            assert [view.invocation_id for view in page.workflows] == names[::-1]
            assert page.total == 200
            assert (await query.get_stats(store)).total == 200
        stopping.set()
        await writer


async def test_watcher_sees_an_end_before_or_after_it_begins(settings, store):
    """The end folds the journal away: what was counted when the watch began may never come."""

    async def watch(number: int) -> None:
        invocation_id = await start_workflow(store, quick)
        await asyncio.sleep(number % 12 / 1000)
        async with asyncio.timeout(PATIENCE):
            views = [view async for view in query.watch_workflow(store, invocation_id)]
        assert (views[-1].status, len(views[-1].journal)) == ("completed", 1)

    async with running_processor(settings, quick):
        for _ in range(20):
            await asyncio.gather(*(watch(number) for number in range(24)))


async def test_get_is_consistent_while_the_workflow_ends(settings, store):
    async def look() -> None:
        invocation_id = await start_workflow(store, quick)
        while True:
            view = await query.get_workflow(store, invocation_id)
            if view.status == "completed":
                assert len(view.journal) == view.total_steps == 1
                return
            assert view.status in {"pending", "running"}

    async with running_processor(settings, quick):
        for _ in range(10):
            await asyncio.gather(*(look() for _ in range(10)))


async def test_result_is_available_at_once_and_wakes_waiters(settings, store):
    waiting = await start_workflow(store, quick)
    waiters = [asyncio.create_task(wait_for_outcome(store, waiting)) for _ in range(20)]
    async with running_processor(settings, quick):
        assert {(await waiter).execution.status for waiter in waiters} == {"completed"}
        assert (await wait_for_outcome(store, waiting)).error is None
