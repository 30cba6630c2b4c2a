"""A server whose messages hold 64 kB: all that goes over it works, or is refused with a sentence. Nothing loops."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import Retry, control, query, workflow
from durablectl.embedded import EmbeddedServer
from durablectl.errors import PayloadTooLargeError, WorkflowFailedError
from durablectl.model.codec import encode_execution
from durablectl.model.records import Execution, JournalEntry
from durablectl.settings import Settings
from durablectl.storage.connection.requests import Request
from durablectl.storage.index import index_entries
from durablectl.storage.records import journal, states
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.stored_commands import no_commands_left
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

LIMIT = 65_536
LONG = "i" * 123


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with EmbeddedServer(tmp_path_factory.mktemp("small"), config=f"max_payload: {LIMIT}") as started:
        yield started


@pytest.fixture
def settings(server, namespace):
    return Settings(url=server.url, namespace=namespace, timeout=30)


@workflow
async def echo(_ctx, value=None):
    return value


@workflow
async def many_steps(ctx, number):
    return len([await ctx.step(str.ljust, "x", 3_000, name="pad") for _ in range(number)])


@workflow
async def failing(ctx, size):
    async def fail():
        raise ValueError("e" * size)

    await ctx.step(fail, retry=Retry(max_attempts=1))


@workflow
async def receiving(ctx, number):
    ctx.set("kept", "k" * 20_000)
    await ctx.signal("begin")
    return [len(await ctx.signal("data")) for _ in range(number)]


@workflow
async def asking(ctx, size):
    ctx.set("kept", "k" * size)
    return len(await ctx.awakeable("approval"))


async def test_journal_too_large_for_the_record_stays_in_its_entries(store, settings):
    async with running_processor(settings, many_steps):
        invocation_id = await start_workflow(store, many_steps, 40)
        assert (await wait_for_outcome(store, invocation_id)).output() == 40
        await wait_until(lambda: no_commands_left(store))
    view = await query.get_workflow(store, invocation_id)
    assert len(view.journal) == 40
    await wait_for_index_group(store, invocation_id, "completed")
    await control.delete(store, invocation_id)


async def test_an_error_of_any_size_ends_the_workflow(store, settings):
    async with running_processor(settings, failing):
        for size in (5_000, 60_000, 200_000):
            invocation_id = await start_workflow(store, failing, size)
            with pytest.raises(WorkflowFailedError, match="eee"):
                (await wait_for_outcome(store, invocation_id)).output()
        await wait_until(lambda: no_commands_left(store))


async def test_signal_too_large_for_record_is_refused_and_workflow_runs(store, settings):
    async with running_processor(settings, receiving):
        name = await start_workflow(store, receiving, 3)
        await wait_for_status(store, name, "suspended")
        for _ in range(3):
            await control.signal(store, name, "data", "d" * 9_000)
        with pytest.raises(PayloadTooLargeError, match="maximum payload"):
            await control.signal(store, name, "data", "d" * 9_000)
        await control.signal(store, name, "begin")
        assert (await wait_for_outcome(store, name)).output() == [9_000] * 3
        await wait_until(lambda: no_commands_left(store))


async def test_an_answer_that_does_not_fit_is_refused_and_another_is_taken(store, settings):
    async with running_processor(settings, asking):
        name = await start_workflow(store, asking, 30_000)
        await wait_for_status(store, name, "suspended")
        with pytest.raises(PayloadTooLargeError, match="maximum payload"):
            await control.resolve(store, f"{name}.approval", "a" * 60_000)
        await control.resolve(store, f"{name}.approval", "a" * 18_000)
        assert (await wait_for_outcome(store, name)).output() == 18_000
        await wait_until(lambda: no_commands_left(store))


@workflow
async def hoarding(ctx, _input=None):
    ctx.set("kept", "k" * 40_000)
    await ctx.signal("begin")


@workflow
async def slow_hoarding(ctx, _input=None):
    ctx.set("kept", "k" * 40_000)
    await ctx.step(asyncio.sleep, 0.1)
    return await ctx.signal("begin")


@pytest.mark.parametrize("handler", [hoarding, slow_hoarding])
async def test_a_record_that_state_and_signals_make_too_big_fails_the_workflow(store, settings, handler):
    name = await start_workflow(store, handler)
    for _ in range(3):
        await control.signal(store, name, "data", "d" * 12_000)
    async with running_processor(settings, hoarding, slow_hoarding):
        with pytest.raises(WorkflowFailedError, match="over the server's maximum payload"):
            (await wait_for_outcome(store, name)).output()
        await wait_until(lambda: no_commands_left(store))
    await wait_for_index_group(store, name, "failed")


async def test_requests_naming_a_thousand_long_ids_are_split(store):
    ids = [f"{number:05}{LONG}" for number in range(1_100)]
    records = [Execution(name, "h", "failed", created_at=10, updated_at=10, indexed_at=10, error="e") for name in ids]
    for first in range(0, len(records), 200):
        some = records[first : first + 200]
        await store.requests.exchange(
            [Request(store.subjects.state(e.invocation_id), encode_execution(e)) for e in some]
        )
        await store.requests.exchange([write for e in some for write in index_entries.addition(store, e)])
    assert len(await states.load_many(store, ids)) == 1_100
    page = await query.list_workflows(store, limit=1000)
    assert (len(page.workflows), page.total) == (1_000, 1_100)
    found = await query.get_errors(store)
    assert found.failures == 1_100
    diagnosis = await query.diagnose(store)
    assert next(check for check in diagnosis.checks if check.name == "index").count == 0
    await index_removed(store, records[0])
    assert (await control.repair(store)).entered == 1


async def index_removed(store, execution) -> None:
    await store.requests.exchange(
        [index_entries.removal(store, index_entries.index_subject(store.subjects, execution))]
    )


async def test_a_journal_of_thousands_under_a_long_id_is_read_whole(store):
    name = "n" * 128
    revision = await states.create(store, Execution(name, "h", "running"))
    for first in range(0, 2_100, 300):
        numbers = range(first, min(first + 300, 2_100))
        await asyncio.gather(*(journal.append(store, name, JournalEntry(n, f"s{n}"), revision) for n in numbers))
    entries = await journal.read(store, name, revision)
    assert [entry.step_number for entry in entries] == list(range(2_100))
