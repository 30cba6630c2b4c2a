"""A part of a journal: long ones are not read as a whole."""

from __future__ import annotations

import pytest

from durablectl import query, workflow
from durablectl.model.codec import encode_entry
from durablectl.model.records import Execution, JournalEntry, Payload
from durablectl.storage.connection.requests import Request
from durablectl.storage.records import states
from helpers.in_process import running_processor
from helpers.workflow_runs import run_to_end


async def same(value):
    return value


@workflow
async def counting(ctx):
    for number in range(12):
        await ctx.step(same, number)


def numbers(view) -> list[int]:
    return [step.step_number for step in view.journal]


PARTS = [
    ((0, 5), range(5)),
    ((-3, None), range(9, 12)),
    ((4, -6), range(4, 6)),
    ((None, None), range(12)),
    ((10, 99), range(10, 12)),
    ((50, 60), range(0)),
    ((-99, 2), range(2)),
]


@pytest.mark.parametrize(("steps", "expected"), PARTS)
async def test_a_part_of_a_folded_journal(settings, store, steps, expected):
    async with running_processor(settings, counting):
        invocation_id = (await run_to_end(store, counting)).invocation_id
    view = await query.get_workflow(store, invocation_id, steps=steps)
    assert numbers(view) == [*expected]
    assert (view.journal_length, view.total_steps) == (12, 12)
    assert view.journal_start == (expected.start if expected else min(steps[0], 12))


async def long_running(store, length: int) -> str:
    execution = Execution("long", "h", "running", attempt=1, owner="p", total_steps=length)
    await states.create(store, execution)
    entries = [JournalEntry(n, f"s{n}", "step", response=Payload(b"1")) for n in range(length)]
    await store.requests.exchange(
        [Request(store.subjects.journal("long", entry.step_number), encode_entry(entry)) for entry in entries]
    )
    return "long"


@pytest.mark.parametrize("length", [1000, 1001, 3500])
async def test_a_part_of_a_journal_in_the_stream(store, length):
    invocation_id = await long_running(store, length)
    for steps, expected in (
        ((-50, None), range(length - 50, length)),
        ((0, 50), range(50)),
        ((900, 1100), range(900, min(1100, length))),
        ((None, None), range(length)),
    ):
        view = await query.get_workflow(store, invocation_id, steps=steps)
        assert numbers(view) == [*expected]
        assert (view.journal_length, view.journal_start) == (length, expected.start)
        assert view.to_json()["journal_length"] == length


async def test_window_of_long_journal_transfers_little_more_than_itself(store):
    invocation_id = await long_running(store, 3500)
    before = store.nats.stats["in_bytes"]
    await query.get_workflow(store, invocation_id, steps=(-50, None))
    part = store.nats.stats["in_bytes"] - before
    await query.get_workflow(store, invocation_id)
    whole = store.nats.stats["in_bytes"] - before - part
    assert part * 10 < whole
