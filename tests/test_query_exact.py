"""Lists, counts and statistics under random filters, against reading every record."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from durablectl import DurableError, TerminalError, control, query, workflow
from durablectl.errors import NotFoundError
from durablectl.model.records import Execution
from durablectl.query import scanning
from durablectl.storage import index, states
from durablectl.storage.counting import messages
from durablectl.storage.requests import Request
from index_support import DAY, HANDLERS, HOUR, MINUTE, PARTITIONS, SPANS, Times, chance, random_entries
from naive_queries import ENDED, STATUSES, anything, compare, every_record
from support import processing, provisioned, until

FOREIGN = "exotic"
WORDS = ("declined", "CARD 3", "no such text")


@pytest.fixture
async def store(settings):
    async with provisioned(settings) as opened:
        yield opened


def random_filters(random, times, ids=()) -> dict:
    """What may be asked; each only now and then."""
    asked = anything()
    if random.random() < 0.5:
        asked["statuses"] = random.sample([*sorted(STATUSES)], random.choice((1, 1, 2, 4, 7)))
    if random.random() < 0.3:
        asked["handlers"] = random.sample([*HANDLERS, "unknown"], random.choice((1, 1, 2)))
    if random.random() < 0.2:
        asked["partition_key"] = random.choice(("p1", "p2", "p3"))
    if random.random() < 0.5:
        asked["since"], asked["until"] = times.bounds()
    if random.random() < 0.15:
        asked["created_since"], asked["created_until"] = times.bounds()
    if random.random() < 0.15:
        asked["error"] = random.choice(WORDS)
    if ids and random.random() < 0.15:
        asked["parent"] = random.choice(ids)
    return asked


# Records that are written directly.


def random_records(random, times, number) -> list[Execution]:
    records = []
    for entry in random_entries(random, times, number, [*STATUSES, FOREIGN]):
        later = random.choice((0, 1, MINUTE, DAY)) if entry.group == "running" else 0
        records.append(
            Execution(
                entry.invocation_id,
                entry.handler,
                entry.group,
                partition_key=entry.partition_key,
                indexed_at=entry.moment,
                updated_at=entry.moment + later if entry.moment else 0,
                created_at=max(0, entry.moment - random.choice((0, 1, MINUTE, HOUR, DAY))),
                error=f"Card {random.randrange(5)} was declined" if entry.group == "failed" else "",
            )
        )
    return records


async def write(store, records) -> None:
    for start_at in range(0, len(records), 500):
        batch = records[start_at : start_at + 500]
        assert all(await asyncio.gather(*(states.create(store, record) for record in batch)))


async def write_indexed(store, records) -> dict[str, int]:
    """Returns the times of those that do not say theirs: a few have none, others have that of the record."""
    await write(store, records)
    entries = [request for record in records if record.indexed_at for request in index.addition(store, record)]
    entered = {record.invocation_id: 0 for record in records if not record.indexed_at}
    async for change in messages(store, store.subjects.state_stream, store.subjects.all_states):
        invocation_id = store.subjects.state_key(change.subject)
        if invocation_id in entered:
            entered[invocation_id] = change.moment
    for record in records:
        if not record.indexed_at:
            record.indexed_at = entered[record.invocation_id]
            entries += index.addition(store, record)
    await store.requests.exchange(entries)
    return entered


CASES = [(span, number) for span in SPANS for number in (0, 30, 280, 900)]


@pytest.mark.parametrize(("span", "number"), CASES)
async def test_records_of_any_time_are_listed_and_counted_as_reading_them_all_does(store, span, number):
    random = chance(CASES.index((span, number)))
    times = Times(random, span)
    entered = await write_indexed(store, random_records(random, times, number))
    records = await every_record(store, entered)
    for _ in range(12 if span else 4):
        await compare(store, records, random_filters(random, times), random)
        await compare(store, records, random_filters(random, times), random, scan=True)


async def test_entries_without_a_time_are_listed_last(store):
    random = chance(0)
    times = Times(random, DAY)
    records = random_records(random, times, 500)
    for record in records[:350]:
        record.indexed_at = record.updated_at = record.created_at = 0
    await write(store, records)
    await store.requests.exchange([request for each in records for request in index.addition(store, each)])
    records = await every_record(store, {record.invocation_id: 0 for record in records})
    for _ in range(15):
        await compare(store, records, random_filters(random, times), random)


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
    for _ in range(15):
        await compare(store, records, random_filters(random, times), random, is_exact=False)


async def test_subjects_in_the_index_that_are_no_entries_disturb_nobody(store):
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
        [request for record in written[number // 3 :] for request in index.addition(store, record)]
    )
    stored_at = {}
    async for change in messages(store, store.subjects.state_stream, store.subjects.all_states):
        stored_at[store.subjects.state_key(change.subject)] = change.moment
    records = await every_record(store, stored_at)
    for _ in range(15):
        await compare(store, records, random_filters(random, times), random)
        await compare(store, records, random_filters(random, times), random, scan=True)


async def test_in_a_big_store_records_without_an_entry_are_found_by_a_scan(store, monkeypatch):
    monkeypatch.setattr(scanning, "_FEW", 20)
    random = chance(0)
    times = Times(random, DAY)
    written = [record for record in random_records(random, times, 60) if record.indexed_at]
    await write(store, written)
    indexed, stray = written[:40], written[40:]
    await store.requests.exchange([request for each in indexed for request in index.addition(store, each)])
    records = await every_record(store)
    ids = {record.invocation_id for record in stray}
    await compare(store, [record for record in records if record.id not in ids], anything(), random)
    for _ in range(10):
        await compare(store, records, random_filters(random, times), random, scan=True)


# Workflows on processors.


class Gates:
    """What the steps of ``busy`` wait for."""

    def __init__(self):
        self.open = asyncio.Event()


def handlers(random, gates):
    async def note(value):
        return value

    async def charge(value):
        if random.random() < 0.6:
            raise TerminalError(f"Card {value % 5} was declined")
        return value

    async def hold():
        await gates.open.wait()

    @workflow
    async def quick(ctx, value):
        return await ctx.step(note, value)

    @workflow
    async def pay(ctx, value):
        await ctx.step(note, value)
        return await ctx.step(charge, value)

    @workflow
    async def ask(ctx, value):
        ctx.defer(note, value)
        answer = await ctx.awakeable("approval")
        return [answer, await ctx.signal("more")]

    @workflow
    async def busy(ctx, value):
        await ctx.step(note, value)
        await ctx.step(hold)

    @workflow
    async def ship(ctx, value):
        first = await ctx.invoke(quick, value)
        await ctx.send(pay, value)
        await ctx.sleep(1.1)
        return [first, await ctx.invoke(random.choice((ask, pay)), value)]

    return quick, pay, ask, busy, ship


OPERATIONS = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
    "cancel now": lambda store, key: control.cancel(store, key, now=True),
    "retry": control.retry,
    "restart": control.restart,
    "delete": control.delete,
    "signal": lambda store, key: control.signal(store, key, "more", 1),
    "resolve": lambda store, key: control.resolve(store, f"{key}.approval", 1),
    "reject": lambda store, key: control.reject(store, f"{key}.approval", "Card 3 says no"),
}


async def operate(store, random, ids) -> None:
    with contextlib.suppress(DurableError):
        await OPERATIONS[random.choice(sorted(OPERATIONS))](store, random.choice(ids))


async def known_ids(store) -> list[str]:
    return [record.id for record in await every_record(store)]


async def standing_still(store) -> None:
    """Until every workflow has come to where it stays, and neither states nor index change any more."""
    seen = [()]

    async def still() -> bool:
        infos = [
            await store.requests.call(f"{store.api}.STREAM.INFO.{stream}")
            for stream in (store.subjects.state_stream, store.subjects.index_stream)
        ]
        seen.append(tuple((info["state"]["last_seq"], info["state"]["messages"]) for info in infos))
        return seen[-1] == seen[-2] and all(map(stays, await every_record(store)))

    await until(still, timeout=30, every=0.4)


def stays(record) -> bool:
    execution = record.execution
    if record.status == "suspended":
        return execution.waiting_for.kind != "sleep"
    if record.status == "running":
        return execution.handler == "busy" and not execution.indexed_as and not execution.cancel_requested
    if record.status == "pending":
        return execution.handler == "nobodys"
    return record.status == "paused" or record.status in ENDED


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", range(3))
async def test_workflows_are_listed_and_counted_as_reading_them_all_does(settings, store, number):
    random = chance(number)
    times = Times(random, HOUR)
    gates = Gates()
    defined = handlers(random, gates)
    async with processing(settings, *defined) as stopping, processing(settings, *defined):
        for value in range(40):
            handler = random.choice((*defined, "nobodys"))
            partition = random.choice(PARTITIONS) or None
            name = handler if isinstance(handler, str) else handler.name
            await control.start(store, control.StartRequest(name, value, f"w{value}", partition))
            if value % 4 == 3:
                await operate(store, random, await known_ids(store))
        for round_number in range(12):
            ids = await known_ids(store)
            await asyncio.gather(*(operate(store, random, ids) for _ in range(8)))
            if round_number == 6:
                await stopping.stop()
        await standing_still(store)
        records = await every_record(store)
        times.used = [record.execution.updated_at for record in records]
        ids = [record.id for record in records]
        await compare(store, records, anything(), random)
        for _ in range(40):
            await compare(store, records, random_filters(random, times, ids), random)
            await compare(store, records, random_filters(random, times, ids), random, scan=True)
        gates.open.set()


async def test_the_children_of_a_workflow_that_is_gone_cannot_be_asked_for(store):
    with pytest.raises(NotFoundError):
        await query.list_workflows(store, query.Filters.parse(parent="gone"))
