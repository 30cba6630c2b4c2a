"""Repairs beside what changes at the same time, and of much at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from durablectl import control, query, workflow
from durablectl.model.status import Status
from durablectl.storage.connection.store import open_store
from durablectl.storage.diagnosis import index_audit
from durablectl.storage.diagnosis.index_audit import audit, confirm
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.doctor import MINUTE, NOW, add, agrees_with_a_scan, disagreements, entries, entry, put, record
from helpers.in_process import running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow


async def test_records_too_large_for_one_reply_are_not_treated_as_missing(store):
    """More than one answer to a direct get of many holds."""
    big = "x" * 600_000
    records = [record(n, Status.FAILED, error=big) for n in range(130)]
    for first in range(0, len(records), 10):
        await put(store, *records[first : first + 10], entered=False)
    assert await disagreements(store) == {"missing": 130}
    await add(store, *(store.subjects.index("running", NOW, "pay", "", each.invocation_id) for each in records))
    assert await disagreements(store) == {"missing": 130, "outdated": 130}
    repaired = await control.repair(store)
    assert (repaired.entered, repaired.removed) == (130, 130)
    assert await entries(store) == sorted(entry(store, each) for each in records)


async def test_twenty_thousand_records_are_repaired_in_batches(store):
    records = [record(n % 5000 + n, handler=f"h{n % 7}") for n in range(20_000)]
    for n, each in enumerate(records):
        each.invocation_id = f"w{n}"
    await put(store, *records, entered=False)
    repaired = await control.repair(store)
    assert (repaired.entered, repaired.handlers) == (20_000, 7)
    info = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.index_stream}")
    assert info["state"]["messages"] == 20_000
    assert (await control.repair(store)).changes == 0
    stats = await query.get_stats(store)
    assert (stats.total, stats.by_status) == (20_000, {"completed": 20_000})
    assert stats.by_handler == dict(Counter(each.handler for each in records))


def meanwhile(store, monkeypatch, act, *, before: bool) -> None:
    """``act`` beside the first write of a repair, right before or after it."""
    write = store.requests.exchange
    calls = 0

    async def exchange(requests):
        nonlocal calls
        calls += 1
        if before and calls == 1:
            await act()
        answers = await write(requests)
        if not before and calls == 1:
            await act()
        return answers

    monkeypatch.setattr(store.requests, "exchange", exchange)


async def test_entry_added_after_a_status_change_is_removed(store, monkeypatch):
    await put(store, record(1, Status.PAUSED), entered=False)
    await index_entries.add_handlers(store, ["pay"])

    async def move_on():
        execution, revision = await states.load(store, "w1")
        execution.enter_status(Status.CANCELLED, NOW + 5 * MINUTE)
        assert await states.replace(store, execution, revision)
        await index_entries.update_entry(store, execution)

    meanwhile(store, monkeypatch, move_on, before=True)
    assert (await control.repair(store)).changes == 0
    assert await entries(store) == [store.subjects.index("cancelled", NOW + 5 * MINUTE, "pay", "", "w1")]


@pytest.mark.parametrize("before", [True, False])
async def test_entry_whose_state_arrives_during_removal_is_kept(store, monkeypatch, before):
    """A start that takes its time: it enters the workflow first."""
    await put(store, record(2))
    await add(store, entry(store, record(1)))

    async def store_state():
        await put(store, record(1), entered=False)

    meanwhile(store, monkeypatch, store_state, before=before)
    await control.repair(store)
    assert await entries(store) == [entry(store, record(1)), entry(store, record(2))]


@pytest.fixture
def patient(monkeypatch):
    """On a busy machine a change reaches the index later than operators are made to wait for it."""
    monkeypatch.setattr(index_audit, "PAUSE_SECONDS", 5)


@pytest.mark.usefixtures("patient")
async def test_a_start_that_takes_a_moment_is_no_disagreement(store):
    await put(store, record(2))
    await add(store, entry(store, record(1)))

    async def later():
        await asyncio.sleep(0.2)
        await put(store, record(1), entered=False)

    storing = asyncio.create_task(later())
    assert await disagreements(store) == {}
    await storing


@pytest.mark.timeout(600)
async def test_repairs_during_a_running_load_leave_a_consistent_index(store, settings):
    """Workflows that run, sleep, fail and end, while damage is done to others and mended again and again."""
    gate = asyncio.Event()

    async def step(value):
        await asyncio.sleep(0.03 * (value % 4))
        return value

    @workflow
    async def busy(ctx, number):
        for each in range(3):
            await ctx.step(step, number + each)
        if number % 5 == 0:
            raise ValueError(number)
        return number

    await put(store, *(record(n) for n in range(200)))
    await put(store, *(record(n) for n in range(200, 300)), entered=False)
    runs = 0

    async def repairing():
        nonlocal runs
        async with open_store(settings) as other:
            while not gate.is_set() or runs < 2:
                await add(other, *(other.subjects.index("paused", NOW + runs, "pay", "", f"w{n}") for n in range(20)))
                await control.repair(other)
                runs += 1

    async with running_processor(settings, busy, max_concurrent=50):
        mending = asyncio.create_task(repairing())
        ids = []
        for number in range(200):
            ids.append(await start_workflow(store, busy, number))
            if number % 20 == 0:
                await asyncio.sleep(0.05)
        await asyncio.gather(*(control.wait_for_outcome(store, each, 300) for each in ids))
        gate.set()
        await mending
        await wait_until(lambda: is_agreed(store))
    assert runs
    assert len(await entries(store)) == 500
    await agrees_with_a_scan(store)


async def is_agreed(store) -> bool:
    found = await audit(store)
    return not await confirm(store, found)


@pytest.mark.usefixtures("patient")
async def test_a_workflow_that_is_changing_is_no_disagreement(store, settings):
    @workflow
    async def hot(ctx):
        for number in range(60):
            await ctx.step(asyncio.sleep, 0.025, name=f"s{number}")

    async with running_processor(settings, hot):
        ids = [await start_workflow(store, hot) for _ in range(20)]
        while not all([(await states.load(store, each)).execution.status == "completed" for each in ids]):
            assert await disagreements(store) == {}
        assert await disagreements(store) == {}
