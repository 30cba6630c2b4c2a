"""Compare-and-set on states, the fence on the journal, and complete reads of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from durablectl.embedded import EmbeddedServer
from durablectl.errors import PayloadTooLargeError
from durablectl.model.records import Execution, JournalEntry, Payload
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import journal, states
from helpers.in_process import provisioned_store
from helpers.stored_records import list_journal_subjects


async def test_a_state_is_created_once(store):
    first = await states.create(store, Execution("a", "h", owner="one"))
    assert first
    assert await states.create(store, Execution("a", "h", owner="two")) is None
    stored = await states.load(store, "a")
    assert (stored.execution.owner, stored.revision) == ("one", first)
    assert await states.load(store, "b") is None


async def test_of_many_that_create_one_wins(store):
    made = await asyncio.gather(*(states.create(store, Execution("a", "h", owner=str(n))) for n in range(20)))
    winners = [n for n, revision in enumerate(made) if revision is not None]
    assert len(winners) == 1
    assert (await states.load(store, "a")).execution.owner == str(winners[0])


async def test_a_state_is_replaced_only_at_its_revision(store):
    execution = Execution("a", "h")
    first = await states.create(store, execution)
    second = await states.replace(store, replace(execution, owner="x"), first)
    assert second > first
    assert await states.replace(store, replace(execution, owner="late"), first) is None
    assert await states.replace(store, replace(execution, owner="never"), second + 1) is None
    assert (await states.load(store, "a")).execution.owner == "x"


async def test_of_many_that_replace_one_wins_each_round(store):
    revision = await states.create(store, Execution("a", "h"))
    for _ in range(20):
        answers = await asyncio.gather(
            *(states.replace(store, Execution("a", "h", owner=str(n)), revision) for n in range(5))
        )
        assert sum(answer is not None for answer in answers) == 1
        revision = max(answer for answer in answers if answer)
        assert (await states.load(store, "a")).revision == revision


async def test_a_key_that_another_tool_deleted_can_be_created_again(store):
    await states.create(store, Execution("a", "h"))
    bucket = await store.nats.jetstream().key_value(store.subjects.state_bucket)
    await bucket.delete("a")
    assert await states.load(store, "a") is None
    revision = await states.create(store, Execution("a", "again"))
    assert (await states.load(store, "a")).revision == revision


async def test_many_are_loaded_together_and_missing_ones_left_out(store):
    ids = [f"i-{n}" for n in range(1100)]
    await asyncio.gather(*(states.create(store, Execution(one, "h")) for one in ids))
    found = await states.load_many(store, [*ids, "missing"])
    assert set(found) == set(ids)
    assert all(found[one].execution.invocation_id == one for one in ids)


async def test_an_append_is_refused_once_another_has_written_the_state(store):
    execution = Execution("a", "h")
    revision = await states.create(store, execution)
    assert await journal.append(store, "a", JournalEntry(0, "s", response=Payload(b"1")), revision)
    taken_over = await states.replace(store, replace(execution, owner="other"), revision)
    assert not await journal.append(store, "a", JournalEntry(1, "s"), revision)
    assert not await journal.append(store, "a", JournalEntry(0, "s", response=Payload(b"2")), revision)
    assert await journal.append(store, "a", JournalEntry(1, "by the new owner"), taken_over)
    entries = await journal.read(store, "a", taken_over)
    assert [(e.step_type, e.response.data) for e in entries] == [("s", b"1"), ("by the new owner", b"")]


async def test_another_invocations_state_does_not_fence(store):
    mine = await states.create(store, Execution("a", "h"))
    other = await states.create(store, Execution("ab", "h"))
    await states.replace(store, Execution("ab", "h", owner="x"), other)
    assert await journal.append(store, "a", JournalEntry(0, "s"), mine)
    assert await journal.read(store, "ab") == []


async def test_in_forced_takeovers_no_stale_append_survives(settings, store):
    """Two owners append as fast as they can while the ownership goes back and forth between them."""
    async with open_store(settings) as second:
        execution = Execution("a", "h")
        revision = await states.create(store, execution)
        for turn in range(30):
            stale, fresh = (store, second) if turn % 2 else (second, store)
            old = revision
            late = [
                asyncio.create_task(journal.append(stale, "a", JournalEntry(0, f"old-{turn}"), old)) for _ in range(5)
            ]
            revision = await states.replace(fresh, replace(execution, owner=f"o{turn}"), old)
            assert revision
            assert await journal.append(fresh, "a", JournalEntry(0, f"new-{turn}"), revision)
            await asyncio.gather(*late)
            assert [e.step_type for e in await journal.read(fresh, "a", revision)] == [f"new-{turn}"]


async def test_an_entry_sent_again_is_stored_once(store):
    revision = await states.create(store, Execution("a", "h"))
    entry = JournalEntry(0, "s", response=Payload(b"1"))
    for _ in range(3):
        assert await journal.append(store, "a", entry, revision)
    assert await journal.read(store, "a") == [entry]
    assert len(await list_journal_subjects(store, "a")) == 1


async def test_a_long_journal_is_read_whole_and_in_order(store):
    """More than the 1,024 results of one direct get, and more than two blocks of a thousand."""
    revision = await states.create(store, Execution("a", "h"))
    for first in range(0, 2100, 300):
        numbers = range(first, min(first + 300, 2100))
        await asyncio.gather(*(journal.append(store, "a", JournalEntry(n, f"s{n}"), revision) for n in numbers))
    entries = await journal.read(store, "a", revision)
    assert [e.step_number for e in entries] == list(range(2100))
    assert entries[2099].step_type == "s2099"
    some = await journal.read_range(store, "a", 1020, 1030)
    assert [e.step_number for e in some] == list(range(1020, 1030))


async def test_oversized_record_is_refused_exactly_above_the_limit(tmp_path):
    """The server counts the headers too and closes the connection over one byte too many: the sizes on both sides."""
    with EmbeddedServer(tmp_path, config="max_payload: 65536") as server:
        async with provisioned_store(Settings(url=server.url, timeout=30)) as store:
            outcomes = []
            for size in range(65_000, 65_560, 7):
                try:
                    revision = await states.create(store, Execution(f"i{size}", "h", input=Payload(b"x" * size)))
                    assert len((await states.load(store, f"i{size}")).execution.input.data) == size
                    outcomes.append(revision is not None)
                except PayloadTooLargeError as error:
                    assert "maximum payload of 65,536 bytes" in error.message  # noqa: PT017 - either side is right
                    outcomes.append(False)
            assert outcomes == sorted(outcomes, reverse=True)
            assert True in outcomes
            assert False in outcomes
            assert store.nats.stats["reconnects"] == 0


async def test_leftover_journal_is_purged_before_a_deleted_id_is_reused(store):
    """Whoever deleted it died in the middle; the steps of the new one must all run."""
    ended = Execution("again", "h", status="completed", journal_length=2)
    revision = await states.create(store, ended)
    for number in range(2):
        await journal.append(store, "again", JournalEntry(number, "step"), revision)
    assert await states.delete(store, ended, revision)
    assert len(await journal.read(store, "again")) == 2
    assert await states.create(store, Execution("again", "h"))
    assert await journal.read(store, "again") == []
