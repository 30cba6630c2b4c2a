"""Commands that were delivered to nobody are taken up again within seconds, whatever ``--ack-wait`` is."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from urllib.parse import urlsplit

from durablectl import control, query, workflow
from durablectl.engine.recovery.undelivered import UndeliveredScanner
from durablectl.errors import ConnectionFailedError
from durablectl.model.clock import to_datetime
from durablectl.model.codec import decode_command
from durablectl.model.kinds import CommandKind
from durablectl.model.records import Command
from durablectl.storage.commands import command_queue
from durablectl.storage.commands.notifications import notify_processor
from durablectl.storage.commands.pulls import LocalDelivery
from durablectl.storage.records import states
from durablectl.storage.streams.direct_get import messages
from durablectl.storage.streams.stored_messages import DELIVERY_PREFIX
from helpers.in_process import running_processor
from helpers.link_proxy import Link
from helpers.stored_commands import publish_command
from helpers.waiting import PATIENCE, wait_until
from helpers.workflow_runs import start_workflow, wait_for_output, wait_for_status

ACK_WAIT = 300


@workflow
async def asks(ctx):
    return await ctx.signal("go")


@workflow
async def small(ctx, value):
    async def note():
        return value

    return await ctx.step(note)


@workflow
async def holds(ctx):
    async def hold():
        await asyncio.sleep(3600)

    await ctx.step(hold)


async def lose(store, handler, count=1) -> None:
    """Have commands delivered to a reader that is gone."""
    name = command_queue.consumer_name(handler.name)
    await command_queue.ensure_consumer(store, name, store.subjects.handler_commands(handler.name), ACK_WAIT)
    inbox = store.nats.new_inbox()
    lost = asyncio.Queue()

    async def take(message) -> None:
        lost.put_nowait(message)

    subscription = await store.nats.subscribe(inbox, cb=take)
    body = json.dumps({"batch": count, "expires": 60_000_000_000}).encode()
    subject = f"{store.api}.CONSUMER.MSG.NEXT.{store.subjects.commands_stream}.{name}"
    await store.nats.publish(subject, body, reply=inbox)
    for _ in range(count):
        message = await asyncio.wait_for(lost.get(), PATIENCE)
        assert message.reply.startswith(DELIVERY_PREFIX)
    await subscription.unsubscribe()


async def suspended(settings, store) -> str:
    async with running_processor(settings, asks, ack_wait=ACK_WAIT):
        invocation_id = await start_workflow(store, asks)
        await wait_for_status(store, invocation_id, "suspended")
    return invocation_id


async def test_lost_start_runs_with_or_without_its_state(settings, store):
    await start_workflow(store, small, 1, id="with")
    await publish_command(store, Command("without", "small"))
    await lose(store, small, 2)
    async with running_processor(settings, small, ack_wait=ACK_WAIT):
        assert await wait_for_output(store, "with") == 1
        await wait_until(lambda: ends(store, "without"))
        assert (await query.get_workflow(store, "without")).attempt == 1


async def ends(store, invocation_id) -> bool:
    found = await query.list_workflows(store, query.Filters.parse(statuses=["completed"]), 10)
    return invocation_id in [view.invocation_id for view in found.workflows]


async def test_lost_signal_to_suspended_workflow(settings, store):
    waiting = await suspended(settings, store)
    await control.signal(store, waiting, "go", "on")
    await lose(store, asks)
    async with running_processor(settings, asks, ack_wait=ACK_WAIT):
        assert await wait_for_output(store, waiting) == "on"


async def test_lost_cancellation_of_a_child(settings, store):
    waiting = await suspended(settings, store)
    await publish_command(store, Command(waiting, "asks", kind="cancel"))
    await lose(store, asks)
    async with running_processor(settings, asks, ack_wait=ACK_WAIT):
        await wait_for_status(store, waiting, "cancelled")


async def test_lost_start_of_fired_schedule(settings, store):
    """It starts what is named after the moment at which it fired, not at which that was found."""
    await control.create_schedule(store, "seldom", "small", every=3600)
    fire = Command("seldom", "small", kind=CommandKind.FIRE, schedule="seldom")
    await publish_command(store, fire, subject=store.subjects.fires("small", "seldom"))
    (stored_one,) = [each async for each in messages(store, store.subjects.commands_stream, commands_of_small(store))]
    await lose(store, small)
    stamp = to_datetime(stored_one.timestamp_us).strftime("%Y%m%dT%H%M%S")
    async with running_processor(settings, small, ack_wait=ACK_WAIT):
        await wait_until(lambda: ends(store, f"seldom-{stamp}"))


def commands_of_small(store) -> str:
    return store.subjects.handler_commands("small")


async def stored(store) -> list[Command]:
    stream = store.subjects.commands_stream
    return [decode_command(each.data) async for each in messages(store, stream, commands_of_small(store))]


async def test_delivery_into_breaking_connection_is_recovered(settings, store, port):
    """To a processor that works on: it looks once it is connected again."""
    target = urlsplit(settings.url).port
    async with Link(port, target) as link:
        near = replace(settings, url=f"nats://127.0.0.1:{port}")
        async with running_processor(near, asks, ack_wait=ACK_WAIT) as running:
            waiting = await start_workflow(store, asks)
            await wait_for_status(store, waiting, "suspended")
            link.cut()
            await control.signal(store, waiting, "go", "on")
            await wait_until(lambda: is_delivered(store))
            link.sever()
            link.heal()
            assert await wait_for_output(store, waiting) == "on"
            assert running.store.reconnects


async def is_delivered(store) -> bool:
    info = await command_queue.consumer_info(store, command_queue.consumer_name("asks"))
    return info["num_ack_pending"] > 0


class Looking:
    """Without a processor around it; ``taken`` are the commands that it took, as long as it has slots."""

    def __init__(self, store, slots=100):
        self.taken = []
        self.dropped = []
        self._slots = slots
        self.scanner = UndeliveredScanner(store, self._take, self.dropped.__contains__)

    def _take(self, command, moment) -> bool:
        if len(self.taken) >= self._slots:
            return False
        self.taken.append((command.invocation_id, moment))
        return True

    async def look(self, times=2) -> None:
        """So often, and until there is nothing more to look for."""
        for _ in range(times):
            self.scanner._next_scan = 0
            await self.scanner.scan_if_due()


async def looking(store, *handlers, slots=100) -> Looking:
    made = Looking(store, slots)
    assert await made.scanner.prepare([handler.name for handler in handlers])
    made.scanner.schedule_scans()
    return made


async def test_running_and_queued_deliveries_are_not_taken(settings, store):
    async with running_processor(settings, holds, max_concurrent=1, ack_wait=ACK_WAIT):
        running = await start_workflow(store, holds)
        await wait_for_status(store, running, "running")
        await start_workflow(store, holds)
        made = await looking(store, holds)
        await made.look(4)
        assert made.taken == []


async def test_command_is_taken_once_and_not_before_second_scan(store):
    await start_workflow(store, small, 1, id="w")
    await lose(store, small)
    made = await looking(store, small)
    await made.look(1)
    assert made.taken == []
    await made.look(5)
    assert [invocation_id for invocation_id, _ in made.taken] == ["w"]
    made.scanner.schedule_scans()
    await made.look(3)
    assert len(made.taken) == 1


async def test_running_workflow_is_taken_only_by_processor_that_dropped_it(store):
    await start_workflow(store, small, 1, id="w")
    await lose(store, small)
    execution, revision = await states.load(store, "w")
    execution.mark_started(store.clock.now())
    await states.replace(store, execution, revision)
    made = await looking(store, small)
    await made.look(3)
    assert made.taken == []
    made.dropped.append((await states.load(store, "w")).execution)
    made.scanner.schedule_scans()
    await made.look(3)
    assert [invocation_id for invocation_id, _ in made.taken] == ["w"]


async def test_scanner_without_slot_redelivers_command_once(store):
    await start_workflow(store, small, 1, id="w")
    await lose(store, small)
    both = [await looking(store, small, slots=0) for _ in range(2)]
    for each in itertools.chain(both, both):
        await each.look(2)
    first, copy = await stored(store)
    assert first == copy


async def test_processor_recovers_claim_whose_reply_was_lost(settings, store, monkeypatch):
    replace, claims = states.replace, []

    async def lossy(*args):
        revision = await replace(*args)
        claims.append(revision)
        if len(claims) == 1:
            raise ConnectionFailedError("Lost before it answered.")
        return revision

    await start_workflow(store, small, 1, id="w")
    await lose(store, small)
    monkeypatch.setattr(states, "replace", lossy)
    async with running_processor(settings, small, ack_wait=ACK_WAIT):
        assert await wait_for_output(store, "w") == 1
    assert (await query.get_workflow(store, "w")).attempt == 2


async def test_nack_of_taken_commands_waits_for_the_server(store, monkeypatch):
    exchange, tries = store.requests.exchange, []

    async def flaky(*args, **options):
        tries.append(None)
        if len(tries) < 3:
            raise ConnectionFailedError("No server answers.")
        return await exchange(*args, **options)

    monkeypatch.setattr(store.requests, "exchange", flaky)
    command = Command("w", "small", kind="wake")
    await LocalDelivery(store, command).nak()
    assert await stored(store) == [command]


async def test_processor_runs_dropped_workflow_when_notified(settings, store):
    async with running_processor(settings, small, ack_wait=ACK_WAIT) as running:
        await start_workflow(store, "elsewhere", 1, id="w")
        execution, revision = await states.load(store, "w")
        execution.handler = "small"
        execution.mark_started(store.clock.now())
        execution.owner, execution.attempt = running.id, 1
        await states.replace(store, execution, revision)
        for invalid in ("no such", "", "a.b c"):
            await notify_processor(store, running.id, invalid)
        await notify_processor(store, running.id, "w")
        assert await wait_for_output(store, "w") == 1


async def test_commands_that_cannot_be_read_are_left_to_their_own_delivery(store):
    await store.requests.publish(store.subjects.command("small", ""), b"\xff\xff")
    await publish_command(store, Command("w", "other"), subject=store.subjects.command("small", ""))
    await lose(store, small, 2)
    made = await looking(store, small)
    await made.look(3)
    assert made.taken == []
