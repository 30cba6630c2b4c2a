"""Lists, counts and statistics of what processors did, against reading every record."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from durablectl import DurableError, TerminalError, control, query, workflow
from durablectl.errors import NotFoundError
from durablectl.storage.commands import command_queue
from durablectl.storage.index import index_entries
from helpers.in_process import running_processor
from helpers.naive_queries import ENDED, anything, compare, every_record, random_filters
from helpers.random_index import HOUR, PARTITIONS, Times, chance
from helpers.stored_records import list_subjects
from helpers.waiting import wait_until


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
    """Until every workflow has come to where it stays and is entered there, and no command is left to change it."""
    moving: list[object] = []

    async def still() -> bool:
        commands = await commands_in_work(store)
        records = await every_record(store)
        entries = {index_entries.index_subject(store.subjects, record.execution) for record in records}
        listed = set(await list_subjects(store, store.subjects.index_stream, ">"))
        moving[:] = [record.execution for record in records if not stays(record)] or sorted(entries ^ listed)
        if any(commands.values()):
            moving.append(commands)
        return not moving

    try:
        await wait_until(still, every=0.4)
    except AssertionError:
        pytest.fail(f"still moving: {moving}")


async def commands_in_work(store) -> dict[str, int]:
    """How many commands of each handler are still to be delivered, or acknowledged where the gates do not hold them."""
    found = {}
    for handler in ("quick", "pay", "ask", "busy", "ship"):
        info = await command_queue.consumer_info(store, command_queue.consumer_name(handler))
        found[handler] = info["num_pending"] + (info["num_ack_pending"] if handler != "busy" else 0)
    return found


def stays(record) -> bool:
    execution = record.execution
    if record.status == "suspended":
        return execution.waiting_for.kind != "sleep"
    if record.status == "running":
        return execution.handler == "busy" and not execution.indexed_as and not execution.cancel_requested
    if record.status == "pending":
        return execution.handler == "nobodys"
    return record.status == "paused" or record.status in ENDED


@pytest.mark.parametrize("number", range(3))
async def test_workflows_list_and_count_like_a_full_scan(settings, store, number):
    random = chance(number)
    times = Times(random, HOUR)
    gates = Gates()
    defined = handlers(random, gates)
    patient = {"ack_wait": 600}
    async with (
        running_processor(settings, *defined, **patient) as stopping,
        running_processor(settings, *defined, **patient),
    ):
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


async def test_children_of_missing_workflow_are_an_error(store):
    with pytest.raises(NotFoundError):
        await query.list_workflows(store, query.Filters.parse(parent="gone"))
