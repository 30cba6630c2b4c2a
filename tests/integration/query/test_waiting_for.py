"""What workflows wait for, by the waits that their index entries name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from durablectl import Context, Retry, control, query, workflow
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.kinds import WaitingFor
from durablectl.model.records import Execution, PendingWait
from durablectl.query.doctor import diagnose
from durablectl.storage.commands import wake
from durablectl.storage.connection.store import purge_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.in_process import running_processor
from helpers.stored_records import list_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

HOUR = timedelta(hours=1)


@workflow
async def napping(ctx: Context, _: object) -> None:
    await ctx.sleep(HOUR)


@workflow
async def asking(ctx: Context, _: object) -> None:
    await ctx.awakeable("approval")


@workflow
async def listening(ctx: Context, _: object) -> None:
    await ctx.race(ctx.signal("go"), ctx.sleep(HOUR))


@workflow
async def failing(ctx: Context, _: object) -> None:
    async def charge() -> None:
        raise ConnectionError("refused")

    await ctx.step(charge, retry=Retry(max_attempts=9, initial=3600, cap=3600))


@workflow
async def parent(ctx: Context, _: object) -> None:
    await ctx.invoke(napping, None)


async def ids(store, *kinds: str, **others) -> list[str]:
    page = await query.list_workflows(store, query.Filters.parse(waiting_for=kinds, **others))
    assert page.total == len(page.workflows)
    assert page.total == await query.count_workflows(store, query.Filters.parse(waiting_for=kinds, **others))
    stats = await query.get_stats(store, query.Filters.parse(waiting_for=kinds, **others))
    assert stats.total == page.total == sum(stats.by_handler.values())
    return sorted(view.invocation_id for view in page.workflows)


async def test_each_kind_of_wait_finds_its_workflows(settings, store):
    async with running_processor(settings, napping, asking, listening, failing, parent):
        for handler in (napping, asking, listening, failing, parent):
            await start_workflow(store, handler, id=f"{handler.name}-1")
        await start_workflow(store, "unknown", id="unknown-1")
        await control.start(
            store, control.StartRequest("napping", None, "later-1", start_at=SYSTEM_CLOCK.now() + 10**10)
        )
        for name in ("napping", "asking", "listening", "failing", "parent"):
            await wait_for_status(store, f"{name}-1", "suspended")
        children = [
            view.invocation_id
            for view in (await query.list_workflows(store, query.Filters.parse(parent="parent-1"))).workflows
        ]
        await wait_for_status(store, children[0], "suspended")
        assert await ids(store, "retry") == ["failing-1"]
        assert await ids(store, "awakeable") == ["asking-1"]
        assert await ids(store, "signal") == ["listening-1"]
        assert await ids(store, "child") == ["parent-1"]
        assert await ids(store, "timer") == sorted(["later-1", "listening-1", "napping-1", *children])
        assert await ids(store, "processor") == ["unknown-1"]
        assert await ids(store, "retry", "signal") == ["failing-1", "listening-1"]
        assert await ids(store, "timer", handlers=["listening"]) == ["listening-1"]
        assert await ids(store, "timer", statuses=["pending"]) == ["later-1"]
        assert await ids(store, "signal", statuses=["running"]) == []
        assert len(await ids(store, *WaitingFor)) == 8
        for handler in ("napping", "listening"):
            found = await query.list_workflows(store, query.Filters.parse((), [handler]))
            assert {view.handler for view in found.workflows} == {handler}
            assert found.total == len(found.workflows)
        await control.signal(store, "listening-1", "go", 1)
        await wait_for_outcome(store, "listening-1")
        await wait_until(lambda: is_unlisted(store, "listening-1", "signal"))
        diagnosis = await diagnose(store)
        assert [check.name for check in diagnosis.checks if check.name == "index" and check.hint] == []


async def is_unlisted(store, invocation_id: str, kind: str) -> bool:
    return invocation_id not in await ids(store, kind)


async def test_what_is_due_without_a_processor_waits_for_one(settings, store):
    @workflow(name="brief")
    async def brief(ctx: Context, _: object) -> None:
        await ctx.sleep(1.5)

    async with running_processor(settings, brief, asking):
        await start_workflow(store, brief, id="brief-1")
        await start_workflow(store, asking, id="asking-1")
        await wait_for_status(store, "brief-1", "suspended")
        awakeable = (await wait_for_status(store, "asking-1", "suspended")).waiting_for.awaited_id
    await control.resolve(store, awakeable, "yes")

    async def both() -> bool:
        page = await query.list_workflows(store, query.Filters.parse(waiting_for=["processor"]))
        return sorted(view.invocation_id for view in page.workflows) == ["asking-1", "brief-1"]

    await wait_until(both)
    assert await ids(store, "processor") == ["asking-1", "brief-1"]
    assert await ids(store, "timer") == ["brief-1"]


def suspended(number: int, *kinds: str, handler: str = "old") -> Execution:
    now = SYSTEM_CLOCK.now()
    waits = [PendingWait(kind, kind, 1, now + 10**10) for kind in kinds]
    return Execution(
        f"w{number}",
        handler,
        "suspended",
        waits=waits,
        waiting_for=waits[0],
        indexed_at=now,
        updated_at=now,
        created_at=now,
        attempt=1,
    )


async def put(store, *records: Execution) -> None:
    for record in records:
        assert await states.create(store, record)
        await store.requests.exchange(index_entries.addition(store, record))


async def test_entries_of_an_earlier_version_are_found_and_repaired(store):
    old = [suspended(n, kind) for n, kind in enumerate(["sleep", "signal", "retry"])]
    new = suspended(3, "signal", "sleep", handler="new")
    new.name_waits_in_index()
    await put(store, *old, new)
    await store.requests.exchange([wake.wake_request(store, each) for each in old])
    before = await list_subjects(store, store.subjects.index_stream, ">")
    assert sum("~s" in subject for subject in before) == 1
    assert await ids(store, "signal") == ["w1", "w3"]
    assert await ids(store, "timer") == ["w0", "w3"]
    check = next(check for check in (await diagnose(store)).checks if check.name == "index")
    assert (check.severity, check.count, check.details["unnamed_waits"]) == ("ok", 0, 3)
    assert "3 entries of an earlier version" in check.hint
    assert (await control.repair(store, dry_run=True)).waits_named == 3
    repaired = await control.repair(store)
    assert (repaired.waits_named, repaired.entered, repaired.removed) == (3, 0, 0)
    assert len(await list_subjects(store, store.subjects.index_stream, ">")) == 4
    assert await ids(store, "signal") == ["w1", "w3"]
    assert await ids(store, "retry", handlers=["old"]) == ["w2"]
    assert not (await control.repair(store)).changes
    assert not next(check for check in (await diagnose(store)).checks if check.name == "index").hint


@pytest.mark.parametrize("repaired", [False, True])
async def test_leaving_an_entry_of_an_earlier_version_removes_it(store, repaired):
    record = suspended(1, "signal")
    await put(store, record)
    await store.requests.exchange([wake.fallback_timer_request(store, record)])
    if repaired:
        await control.repair(store)
    await control.pause(store, "w1")
    (subject,) = await list_subjects(store, store.subjects.index_stream, ">")
    assert store.subjects.index_entry(subject).group == "paused"


async def test_records_that_an_older_client_rewrites_keep_their_entry(store):
    """It knows the field that marks the entry as one of ours, and writes it back."""
    record = suspended(1, "signal")
    record.name_waits_in_index()
    await put(store, record)
    assert store.subjects.index_entry(index_entries.index_subject(store.subjects, record)).waits == "signal"
    stored = await states.load(store, "w1")
    assert stored.execution.indexed_as == stored.execution.index_group == "suspended"
    assert await ids(store, "signal") == ["w1"]


async def test_an_entry_in_both_forms_is_listed_once(store):
    record = suspended(1, "signal")
    earlier = index_entries.addition(store, replace(record))
    record.name_waits_in_index()
    await put(store, record)
    await store.requests.exchange(earlier)
    page = await query.list_workflows(store, query.Filters())
    assert [view.invocation_id for view in page.workflows] == ["w1"]
    found = await query.list_workflows(store, query.Filters.parse(waiting_for=["signal"]))
    assert [view.invocation_id for view in found.workflows] == ["w1"]
    assert (await control.repair(store)).removed == 1


async def test_a_handler_whose_waits_are_not_known_by_name_is_repaired(store):
    record = suspended(1, "signal")
    record.name_waits_in_index()
    await put(store, record)
    subject = store.subjects.handler_waits("old", "signal")
    await store.requests.exchange([purge_request(store, store.subjects.state_stream, subject)])
    store.known_handlers.clear()
    check = next(check for check in (await diagnose(store)).checks if check.name == "handler_names")
    assert check.details["handlers"] == ["old"]
    assert (await control.repair(store)).handlers == 1
    assert await ids(store, "signal", handlers=["old"]) == ["w1"]
    await asyncio.gather(*(ids(store, kind) for kind in WaitingFor))
