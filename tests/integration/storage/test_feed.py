"""Feeds: the past, then every change, in order, through a restart of the server, and nothing left behind."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from nats.aio.msg import Msg

from durablectl.embedded import EmbeddedServer
from durablectl.model.codec import decode_execution
from durablectl.model.records import Execution
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store, purge_request
from durablectl.storage.records import states
from durablectl.storage.streams.feed import LAST, NEW, follow, read_snapshot
from helpers.in_process import provisioned_store
from helpers.stored_records import write_state
from helpers.tail import consumers, no_consumers
from helpers.waiting import PATIENCE, wait_until


async def take(feed, count: int, timeout: float = PATIENCE) -> list:
    async with asyncio.timeout(timeout):
        return [await anext(feed) for _ in range(count)]


def seen(store, change) -> tuple[str, str]:
    name = store.subjects.state_key(change.subject)
    return name, decode_execution(change.data, name).owner


async def test_the_last_of_each_key_then_changes(store):
    for owner in "12":
        for name in ("a", "b"):
            await write_state(store, name, owner)
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states], LAST) as feed:
        assert feed.snapshot == 2
        past = await take(feed, 2)
        assert [seen(store, change) for change in past] == [("a", "2"), ("b", "2")]
        assert [change.remaining for change in past] == [1, 0]
        revision = await write_state(store, "a", "3")
        [change] = await take(feed, 1)
        assert (seen(store, change), change.sequence, change.deleted) == (("a", "3"), revision, False)


async def test_a_past_that_the_server_overlooked_is_found(store, monkeypatch):
    """Where the only message is being replaced at that very moment, nats-server counts none; once in 2,000 tries."""
    await write_state(store, "a", "1")
    call = store.requests.call

    async def counts_none(subject, body=None):
        answer = await call(subject, body)
        return {**answer, "num_pending": 0} if ".CONSUMER.CREATE." in subject else answer

    monkeypatch.setattr(store.requests, "call", counts_none)
    for name, expected in (("a", 1), ("b", 0)):
        async with follow(store, store.subjects.state_stream, [store.subjects.state(name)], LAST) as feed:
            assert feed.snapshot == expected


async def test_feed_yields_only_new_messages(store):
    await write_state(store, "a", "1")
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states], NEW) as feed:
        assert feed.snapshot == 0
        await write_state(store, "b", "2")
        assert [seen(store, change) for change in await take(feed, 1)] == [("b", "2")]


async def test_from_a_sequence_on(store):
    revisions = [await write_state(store, f"k{n}", "x") for n in range(5)]
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states], revisions[2]) as feed:
        assert [change.sequence for change in await take(feed, 3)] == revisions[2:]


async def test_a_deleted_key_is_marked(store):
    await write_state(store, "a", "1")
    bucket = await store.nats.jetstream().key_value(store.subjects.state_bucket)
    async with follow(store, store.subjects.state_stream, [store.subjects.state("a")]) as feed:
        await take(feed, 1)
        await bucket.delete("a")
        assert (await take(feed, 1))[0].deleted


async def test_only_its_subjects(store):
    await write_state(store, "a", "1")
    await write_state(store, "ab", "1")
    async with follow(store, store.subjects.state_stream, [store.subjects.state("a")]) as feed:
        assert feed.snapshot == 1
        await write_state(store, "ab", "2")
        await write_state(store, "a", "2")
        assert [seen(store, change) for change in await take(feed, 2)] == [("a", "1"), ("a", "2")]


async def test_consumer_is_deleted_when_the_feed_closes(store):
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states]):
        assert len(await consumers(store)) == 1
    await wait_until(lambda: no_consumers(store))


async def test_consumer_is_deleted_when_the_reader_fails(store):
    with pytest.raises(RuntimeError, match="reader"):
        async with follow(store, store.subjects.state_stream, [store.subjects.all_states]):
            raise RuntimeError("reader")
    await wait_until(lambda: no_consumers(store))


async def test_thousands_arrive_in_order_and_once(store):
    names = [f"k{number}" for number in range(3000)]
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states], NEW) as feed:
        made = await asyncio.gather(*(states.create(store, Execution(name, "h")) for name in names))
        changes = await take(feed, 3000)
    assert [change.sequence for change in changes] == sorted(made)
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states]) as feed:
        assert [change.sequence for change in await take(feed, 3000)] == sorted(made)


async def test_a_key_that_changes_fast_is_seen_in_order_up_to_its_last_value(store):
    """The stream holds only the last value of a key, so some may be skipped; none is seen late."""
    revision = await states.create(store, Execution("hot", "h"))
    async with follow(store, store.subjects.state_stream, [store.subjects.state("hot")], NEW) as feed:
        for number in range(300):
            revision = await states.replace(store, Execution("hot", "h", attempt=number), revision)
        attempts = [-1]
        while attempts[-1] != 299:
            attempts += [decode_execution(change.data, "hot").attempt for change in await take(feed, 1)]
    assert attempts == sorted(set(attempts))


@pytest.mark.parametrize("start", [LAST, NEW])
@pytest.mark.parametrize("crash", [True, False], ids=["killed", "stopped"])
async def test_nothing_is_missed_or_repeated_over_a_restart_of_the_server(tmp_path, start, crash):
    """Keys are written before and after; what the server stored is what the reader sees, each once."""
    server = EmbeddedServer(tmp_path, sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=30)
    try:
        async with provisioned_store(settings) as store, open_store(settings) as writer:
            first = await states.create(store, Execution("a", "h", attempt=-1))
            async with follow(store, store.subjects.state_stream, [store.subjects.all_states], start) as feed:
                changes = await take(feed, 1) if start == LAST else []
                stored = await write_new(writer, range(20))
                await wait_until(lambda: feed._queue.qsize() >= 5)
                await asyncio.to_thread(server.kill if crash else server.stop)
                changes += await take(feed, 5)
                await asyncio.to_thread(server.start)
                # The writer is back before the reader has noticed: these are what a new consumer would miss.
                stored += await write_new(writer, range(20, 40))
                changes += await take(feed, 40 + (start == LAST) - len(changes))
                assert [change.sequence for change in changes] == ([first] if start == LAST else []) + stored
            await wait_until(lambda: no_consumers(store))
    finally:
        server.stop()


async def write_new(writer, numbers) -> list[int]:
    return [await write_state(writer, f"b{number}", "x") for number in numbers]


async def test_idle_feed_is_awaited_without_polling(store):
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states]) as feed:
        pending = asyncio.ensure_future(anext(feed))
        done, _ = await asyncio.wait([pending], timeout=1.2)
        assert not done
        await write_state(store, "late", "1")
        assert seen(store, await pending) == ("late", "1")


@pytest.mark.parametrize("turns", range(5))
async def test_reader_cancelled_as_a_message_arrives_is_cancelled(store, turns):
    """Otherwise whoever stops a processor waits for ever."""
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states], NEW) as feed:

        async def read() -> None:
            async for _ in feed:
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        feed._queue.put_nowait(heartbeat(feed))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=60)
        assert done
        assert reading.cancelled()


def heartbeat(feed) -> Msg:
    """One that says nothing new."""
    return Msg(feed._store.nats, feed._inbox, "", b"", {"Status": "100", "Nats-Last-Consumer": "0"})


async def test_many_feeds_at_once(store):
    seen: dict[int, list[int]] = {number: [] for number in range(12)}

    async def one(number: int) -> None:
        async with follow(store, store.subjects.state_stream, [store.subjects.state(f"k{number % 3}")], NEW) as feed:
            ready[number].set()
            for _ in range(10):
                seen[number] += [change.sequence for change in await take(feed, 1)]

    ready = [asyncio.Event() for _ in range(12)]
    readers = [asyncio.create_task(one(number)) for number in range(12)]
    await asyncio.gather(*(event.wait() for event in ready))
    written: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for turn, key in itertools.product(range(10), range(3)):
        written[key].append(await write_state(store, f"k{key}", str(turn)))
        # The stream holds only the last value of a key: one that is not sent yet would be skipped.
        await wait_until(lambda key=key: all(seen[number] == written[key] for number in range(key, 12, 3)))
    await asyncio.gather(*readers)
    assert list(seen.values()) == [written[number % 3] for number in range(12)]


@pytest.mark.parametrize("value", ["1", "x" * 20_000], ids=["small", "too-big-to-be-sent-at-once"])
async def test_history_read_ends_although_messages_are_removed(store, value):
    """What was counted at the beginning never comes; nothing else is written that would end the wait."""
    for number in range(300):
        await write_state(store, f"k{number}", value)
    names = []
    async with asyncio.timeout(60):
        async for change in read_snapshot(store, store.subjects.state_stream, [store.subjects.all_states]):
            if not names:
                everything = purge_request(store, store.subjects.state_stream, store.subjects.all_states)
                await store.requests.exchange([everything])
            names.append(store.subjects.state_key(change.subject))
    assert len(names) == len(set(names)) >= 1


async def test_history_has_each_key_once_despite_concurrent_writes(store):
    for name in "abc":
        await write_state(store, name, "1")
    found = []
    async for change in read_snapshot(store, store.subjects.state_stream, [store.subjects.all_states]):
        await write_state(store, "a", "2")
        await write_state(store, f"new-{len(found)}", "1")
        found.append(store.subjects.state_key(change.subject))
    assert len(found) == len(set(found)) == 3
    assert "b" in found
