"""Processors that meet damaged records and journals: they stop what cannot go on, and go on with the rest."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest

from durablectl import StepError, TerminalError, control, query, workflow
from durablectl.model.codec import encode_entry, encode_execution
from durablectl.model.records import JournalEntry, Payload
from durablectl.storage.connection.store import purge_request
from durablectl.storage.diagnosis import inspection
from durablectl.storage.records import states
from durablectl.storage.streams import direct_get
from helpers.damage import DAMAGED, HANDLER, put_damaged, sound, wake_command
from helpers.in_process import running_processor
from helpers.index_listing import index_groups, wait_for_index_group
from helpers.stored_commands import no_commands_left
from helpers.stored_records import list_journal_subjects, read_journal
from helpers.waiting import PATIENCE, wait_until
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow, wait_for_status

runs = itertools.count()


async def count_up(number: int) -> int:
    next(runs)
    return number


@workflow(name=HANDLER)
async def mended(ctx, number=1):
    ctx.defer(count_up, 100)
    return [await ctx.step(count_up, step) for step in range(number)]


@workflow
async def waiting(ctx, _input=None):
    ctx.defer(count_up, 100)
    first = [await ctx.step(count_up, step, name="count") for step in range(3)]
    await ctx.signal("go")
    return [*first, await ctx.step(count_up, 3, name="count")]


async def test_commands_for_damaged_records_are_quarantined_with_reason(store, settings, caplog):
    await put_damaged(store)
    for name in DAMAGED:
        await store.requests.publish(store.subjects.command(HANDLER, ""), wake_command(name))
    async with running_processor(settings, mended, max_concurrent=3) as running:
        assert await run_workflow(store, mended, 2) == [0, 1]
        await wait_until(lambda: no_commands_left(store))
        assert running.store.nats.stats["reconnects"] == 0
    aside = await inspection.newest_quarantined(store, 100)
    assert len(aside) == len(DAMAGED)
    for name, data in DAMAGED.items():
        assert any(each.reason.startswith(f"The state of {name} cannot be ") for each in aside), name
        raw = await direct_get.get_last(store, store.subjects.state_stream, store.subjects.state(name))
        assert raw.data == data, "what is stored is left to the operator"
    assert "Traceback" not in caplog.text


async def test_damaged_record_does_not_block_failover_of_others(store, settings):
    await put_damaged(store)
    await store.requests.publish(store.subjects.index("running", 5, HANDLER, "", "*"), b"")
    await store.requests.publish(store.subjects.index("running", 5, HANDLER, "", ">"), b"")
    orphan = sound("orphan", input=Payload(b"2"), indexed_as="pending")
    await store.requests.publish(store.subjects.state("orphan"), encode_execution(orphan))
    await store.requests.publish(store.subjects.index("pending", orphan.indexed_at, HANDLER, "", "orphan"), b"")
    # Something in work, as a processor that died leaves it, makes the next one look.
    async with running_processor(settings, mended) as dead:
        holding = await store.nats.jetstream().pull_subscribe_bind(f"handler-{HANDLER}", store.subjects.commands_stream)
        await dead.stop()
        await store.requests.publish(store.subjects.command(HANDLER, ""), wake_command("absent"))
        await holding.fetch(1)
    async with running_processor(settings, mended):
        assert (await wait_for_status(store, "orphan", "completed")).output == [0, 1]


async def stopped(store, settings) -> str:
    """Three steps recorded, waiting for a signal; no processor is there any more."""
    async with running_processor(settings, waiting):
        invocation_id = await start_workflow(store, waiting, id="w-1")
        await wait_for_status(store, invocation_id, "suspended")
    return invocation_id


def foreign_entry(**fields) -> bytes:
    return encode_entry(JournalEntry(**{"step_number": 1, "step_type": "count", **fields}))


BAD_ENTRIES = {
    "torn": foreign_entry(response=Payload(b"[1]"))[:-2],
    "garbage": b"\xff\xffgarbage",
    "of another step": foreign_entry(step_number=2),
}


@pytest.mark.parametrize("damage", BAD_ENTRIES)
async def test_damaged_journal_pauses_workflow_until_it_is_repaired(store, settings, damage):
    name = await stopped(store, settings)
    subject = store.subjects.journal(name, 1)
    good = await direct_get.get_last(store, store.subjects.state_stream, subject)
    await store.requests.publish(subject, BAD_ENTRIES[damage])
    before = next(runs)
    await control.signal(store, name, "go")
    async with running_processor(settings, waiting):
        await wait_until(lambda: paused(store, name))
        await wait_until(lambda: no_commands_left(store))
        stored = (await states.load(store, name)).execution
        assert stored.reason.startswith(f"The message on {subject} cannot be read: ")
        assert await index_groups(store, name) == ["paused"]
        revision = stored.attempt
        await store.requests.publish(subject, good.data)
        await control.resume(store, name)
        assert (await wait_for_status(store, name, "completed")).output == [0, 1, 2, 3]
    assert next(runs) == before + 2, "only the last step ran"
    assert revision == 2, "it was claimed once, not again and again"


async def paused(store, name: str) -> bool:
    return (await states.load(store, name)).execution.status == "paused"


async def test_workflow_with_damaged_journal_can_be_cancelled_and_deleted(store, settings):
    name = await stopped(store, settings)
    await store.requests.publish(store.subjects.journal(name, 1), b"\xff")
    await control.signal(store, name, "go")
    async with running_processor(settings, waiting):
        await wait_until(lambda: paused(store, name))
        result = await control.cancel(store, name)
        assert result.message == "Cancelling."
        done = await control.wait_until_cancelled(store, result, PATIENCE)
        assert "No compensation was run: The message on" in done.message
        await wait_until(lambda: no_commands_left(store))
    await wait_for_index_group(store, name, "cancelled")
    await control.delete(store, name)
    assert await list_journal_subjects(store, name) == []
    assert await index_groups(store, name) == []


async def test_cancel_now_ends_damaged_workflow_without_processor(store, settings):
    name = await stopped(store, settings)
    await store.requests.publish(store.subjects.journal(name, 1), b"\xff")
    await control.cancel(store, name, now=True)
    assert (await states.load(store, name)).execution.status == "cancelled"
    await wait_for_index_group(store, name, "cancelled")
    assert len(await list_journal_subjects(store, name)) == 4, "what cannot be read is not thrown away"
    async with running_processor(settings, waiting):  # the timer that the cancellation left finds nothing to do
        await wait_until(lambda: no_commands_left(store))


async def test_only_the_step_missing_from_the_journal_runs_again(store, settings):
    """A hole is what parallel steps leave, too: the step counts as not recorded."""
    name = await stopped(store, settings)
    await store.requests.exchange([purge_request(store, store.subjects.state_stream, store.subjects.journal(name, 1))])
    before = next(runs)
    await control.signal(store, name, "go")
    async with running_processor(settings, waiting):
        view = await wait_for_status(store, name, "completed")
    assert view.output == [0, 1, 2, 3]
    assert [step.step_number for step in view.journal] == [0, 1, 2, 3, 4]
    assert next(runs) == before + 3


async def test_an_entry_of_another_type_pauses_and_names_both(store, settings):
    name = await stopped(store, settings)
    await store.requests.publish(store.subjects.journal(name, 1), foreign_entry(step_type="charge", kind="step"))
    await control.signal(store, name, "go")
    async with running_processor(settings, waiting):
        view = await wait_for_status(store, name, "paused")
    assert "step 1 is recorded as the step 'charge', but the code now asks for the step 'count'" in view.reason


async def test_foreign_subjects_in_a_journal_are_left_out(store, settings):
    name = await stopped(store, settings)
    before = next(runs)
    for token in ("abc", "-1", "007", "9" * 40, "1e3", "\u0661"):
        for data in (b"", b"\xff", foreign_entry(step_number=1)):
            await store.requests.publish(store.subjects.journal(name, token), data)
    assert len((await query.get_workflow(store, name)).journal) == 4
    await control.signal(store, name, "go")
    async with running_processor(settings, waiting):
        view = await wait_for_status(store, name, "completed")
        await wait_until(lambda: no_commands_left(store))
    assert (view.output, len(view.journal)) == ([0, 1, 2, 3], 5)
    assert next(runs) == before + 2


async def test_journal_missing_a_thousand_entries_reruns_no_other_step(store, settings):
    """Read in blocks, it would end before the gap."""
    async with running_processor(settings, mended):
        view = await run_to_end(store, mended, 2)
    entries = (JournalEntry(n, "count_up", "step", response=Payload(b"%d" % n)) for n in range(1000, 2100))
    writes = [store.requests.publish(store.subjects.journal("w-1", e.step_number), encode_entry(e)) for e in entries]
    await asyncio.gather(*writes)
    damaged = sound("w-1", input=Payload(b"2100"), total_steps=2100, status="pending", owner="")
    await store.requests.publish(store.subjects.state("w-1"), encode_execution(damaged))
    before = next(runs)
    await store.requests.publish(store.subjects.command(HANDLER, ""), wake_command("w-1"))
    async with running_processor(settings, mended):
        await wait_until(lambda: paused(store, "w-1"))
    assert "entries and more are missing" in (await states.load(store, "w-1")).execution.reason
    assert next(runs) == before + 1
    assert view.status == "completed"


async def test_repair_redelivers_workflow_once_its_record_is_valid(store, settings):
    name = await start_workflow(store, mended, 2)
    subject = store.subjects.state(name)
    good = await direct_get.get_last(store, store.subjects.state_stream, subject)
    await store.requests.publish(subject, good.data[:-3])
    async with running_processor(settings, mended):
        await wait_until(lambda: no_commands_left(store))
        assert len(await inspection.newest_quarantined(store, 5)) == 1
        await store.requests.publish(subject, good.data)
        assert (await control.repair(store)).called == 1
        assert (await wait_for_status(store, name, "completed")).output == [0, 1]


async def fails_with_details() -> None:
    error = TerminalError("no")
    error.details = {"code": 7}
    raise error


@workflow
async def racing(ctx, _input=None):
    won = list(await ctx.race(ctx.step(count_up, 1), ctx.sleep(3600)))
    try:
        await ctx.step(fails_with_details)
    except StepError as error:
        won.append(error.details)
    await ctx.signal("go")
    return won


UNUSABLE = {
    "winner beyond the contenders": (0, {"response": Payload(b"2")}, "is recorded with the winner 2, but the code now"),
    "winner that is no number": (0, {"response": Payload(b"[]")}, "is recorded with the winner [], but the code now"),
    "winner of many digits": (
        0,
        {"response": Payload(b"9" * 5000)},
        "is recorded with the winner 99999999999999999999",
    ),
    "result": (1, {"response": Payload(b"{")}, "The journal entry 1 ('count_up') of racing cannot be used: A stored"),
    "details": (3, {"error_details": b"{"}, "The journal entry 3 ('fails_with_details') of racing cannot be used: A"),
}


@pytest.mark.parametrize("damage", UNUSABLE)
async def test_unusable_value_pauses_workflow_until_it_is_repaired(store, settings, damage):
    number, changes, sentence = UNUSABLE[damage]
    async with running_processor(settings, racing):
        await start_workflow(store, racing, id="racing")
        await wait_for_status(store, "racing", "suspended")
    subject = store.subjects.journal("racing", number)
    good = await direct_get.get_last(store, store.subjects.state_stream, subject)
    entries = {entry.step_number: entry for entry in await read_journal(store, "racing")}
    await store.requests.publish(subject, encode_entry(replace(entries[number], **changes, encoded=b"")))
    await control.signal(store, "racing", "go")
    async with running_processor(settings, racing):
        await wait_until(lambda: paused(store, "racing"))
        stored = (await states.load(store, "racing")).execution
        assert sentence in stored.reason
        assert stored.reason_code == ("unreadable" if number else "mismatch")
        assert stored.attempt == 2, "it was claimed once, not again and again"
        await store.requests.publish(subject, good.data)
        await control.resume(store, "racing")
        assert (await wait_for_status(store, "racing", "completed")).output == [0, 1, {"code": 7}]
