"""Lists, counts and statistics of records written directly, against reading every record."""

from __future__ import annotations

import asyncio

import pytest

from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.records import INDEX_LAG, Execution, PendingWait
from durablectl.query import full_scan
from durablectl.storage.commands import wake
from durablectl.storage.connection.requests import Request
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from durablectl.storage.streams.direct_get import messages
from helpers.naive_queries import STATUSES, anything, compare, every_record, random_filters
from helpers.random_index import DAY, HOUR, MINUTE, SPANS, Times, chance, random_entries

FOREIGN = "exotic"


def random_records(random, times, number) -> list[Execution]:
    records = []
    for entry in random_entries(random, times, number, [*STATUSES, FOREIGN]):
        later = random.choice((0, 1, MINUTE, INDEX_LAG - 1)) if entry.group == "running" else 0
        records.append(
            Execution(
                entry.invocation_id,
                entry.handler,
                entry.group,
                partition_key=entry.partition_key,
                indexed_at=entry.timestamp_us,
                updated_at=entry.timestamp_us + later if entry.timestamp_us else 0,
                created_at=max(0, entry.timestamp_us - random.choice((0, 1, MINUTE, HOUR, DAY))),
                error=f"Card {random.randrange(5)} was declined" if entry.group == "failed" else "",
            )
        )
        add_waits(records[-1], random, times)
    return records


def add_waits(record, random, times) -> None:
    """Some name their waits in the index, others do not, as records of earlier versions."""
    soon = random.choice((times.now - MINUTE, times.now + HOUR))
    if record.status == "suspended":
        kinds = random.sample(["sleep", "awakeable", "signal", "child", "retry"], random.choice((1, 1, 2, 3)))
        record.waits = [PendingWait(kind, f"{kind}:x", 3, random.choice((0, soon))) for kind in kinds]
        record.waiting_for = record.waits[0]
        if random.random() < 0.7:
            record.name_waits_in_index()
    elif record.status == "running" and random.random() < 0.2:
        record.waiting_for = PendingWait("retry", "charge", 2, soon, 1, "no")
    elif record.status == "pending" and random.random() < 0.3:
        record.waiting_for = PendingWait("start", record.handler, -1, soon)
        record.start_at = soon


async def write(store, records) -> None:
    for start_at in range(0, len(records), 500):
        batch = records[start_at : start_at + 500]
        assert all(await asyncio.gather(*(states.create(store, record) for record in batch)))
    now = SYSTEM_CLOCK.now()
    await store.requests.exchange(
        [
            wake.wake_request(store, record)
            if record.due_at <= now
            else Request(store.subjects.timer(record.invocation_id, "start"))
            for record in records
            if record.due_at and (record.due_at <= now or record.status == "pending")
        ]
    )


async def write_indexed(store, records) -> dict[str, int]:
    """Returns the times of those that do not say theirs: a few have none, others have that of the record."""
    await write(store, records)
    entries = [request for record in records if record.indexed_at for request in index_entries.addition(store, record)]
    entered = {record.invocation_id: 0 for record in records if not record.indexed_at}
    async for change in messages(store, store.subjects.state_stream, store.subjects.all_states):
        invocation_id = store.subjects.state_key(change.subject)
        if invocation_id in entered:
            entered[invocation_id] = change.timestamp_us
    for record in records:
        if not record.indexed_at:
            record.indexed_at = entered[record.invocation_id]
            entries += index_entries.addition(store, record)
    await store.requests.exchange(entries)
    return entered


CASES = [(span, number) for span in SPANS for number in (0, 30, 280, 900)]


@pytest.mark.parametrize(("span", "number"), CASES)
async def test_records_of_any_time_list_and_count_like_a_full_scan(store, span, number):
    random = chance(CASES.index((span, number)))
    times = Times(random, span)
    entered = await write_indexed(store, random_records(random, times, number))
    records = await every_record(store, entered)
    for _ in range(6 if span else 3):
        await compare(store, records, random_filters(random, times), random)
        await compare(store, records, random_filters(random, times), random, scan=True)


async def test_entries_without_a_time_are_listed_last(store):
    random = chance(0)
    times = Times(random, DAY)
    records = random_records(random, times, 500)
    for record in records[:350]:
        record.indexed_at = record.updated_at = record.created_at = 0
    await write(store, records)
    await store.requests.exchange([request for each in records for request in index_entries.addition(store, each)])
    records = await every_record(store, {record.invocation_id: 0 for record in records})
    for _ in range(8):
        # What waits for a processor is found by its command, which does not lead to the entry.
        await compare(store, records, {**random_filters(random, times), "waiting_for": []}, random)


@pytest.mark.parametrize("number", [60, 700])
async def test_entries_that_their_state_disowns_are_never_shown(store, number):
    random = chance(number)
    times = Times(random, 3 * DAY)
    written = random_records(random, times, number)
    entered = await write_indexed(store, written)
    wrong = []
    for record in written:
        group = random.choice([status for status in STATUSES if status != record.status])
        names = record.handler, record.partition_key
        if random.random() < 0.3:
            wrong.append(store.subjects.index(group, record.indexed_at, *names, record.invocation_id))
        if random.random() < 0.3:
            wrong.append(store.subjects.index(group, times.pick(), *names, record.invocation_id))
        if random.random() < 0.3 and record.invocation_id not in entered:
            moment = record.indexed_at + random.choice((-1, 1, MINUTE))
            wrong.append(store.subjects.index(record.index_group, moment, *names, record.invocation_id))
        if random.random() < 0.1:
            wrong.append(store.subjects.index(group, times.pick(), *names, f"gone-{record.invocation_id}"))
    await store.requests.exchange([Request(subject) for subject in wrong])
    records = await every_record(store, entered)
    for _ in range(8):
        await compare(store, records, random_filters(random, times), random, is_exact=False)


async def test_invalid_index_subjects_are_ignored(store):
    random = chance(0)
    times = Times(random, DAY)
    entered = await write_indexed(store, random_records(random, times, 40))
    prefix = store.subjects.index_filter().removesuffix(">")
    await store.requests.exchange([Request(prefix + "completed.hello"), Request(prefix + "x")])
    records = await every_record(store, entered)
    for _ in range(10):
        asked = random_filters(random, times)
        await compare(store, records, asked, random, is_exact=False)


@pytest.mark.parametrize("number", [40, 600])
async def test_records_without_an_entry_are_found_in_a_small_store(store, number):
    random = chance(number)
    times = Times(random, 3 * DAY)
    written = random_records(random, times, number)
    for record in written[: number // 3]:
        record.indexed_at = record.updated_at = record.created_at = 0
    await write(store, written)
    await store.requests.exchange(
        [request for record in written[number // 3 :] for request in index_entries.addition(store, record)]
    )
    stored_at = {}
    async for change in messages(store, store.subjects.state_stream, store.subjects.all_states):
        stored_at[store.subjects.state_key(change.subject)] = change.timestamp_us
    records = await every_record(store, stored_at)
    for _ in range(8):
        await compare(store, records, random_filters(random, times), random)
        await compare(store, records, random_filters(random, times), random, scan=True)


async def test_in_a_big_store_records_without_an_entry_are_found_by_a_scan(store, monkeypatch):
    monkeypatch.setattr(full_scan, "_SMALL_STORE", 20)
    random = chance(0)
    times = Times(random, DAY)
    written = [record for record in random_records(random, times, 60) if record.indexed_at]
    await write(store, written)
    indexed, stray = written[:40], written[40:]
    await store.requests.exchange([request for each in indexed for request in index_entries.addition(store, each)])
    records = await every_record(store)
    ids = {record.invocation_id for record in stray}
    await compare(store, [record for record in records if record.id not in ids], anything(), random)
    for _ in range(10):
        await compare(store, records, random_filters(random, times), random, scan=True)
