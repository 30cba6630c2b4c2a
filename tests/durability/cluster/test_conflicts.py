"""Replicated streams refuse a second conditional publish in flight (10164): that costs retries, never correctness."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
import pytest_asyncio

from durablectl import control, query, workflow
from durablectl.errors import InvalidStateError
from durablectl.model.records import JournalEntry, Payload
from durablectl.storage.connection import requests
from durablectl.storage.connection.rejections import BusyError, NoAnswerError, WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import consistent_reads, journal, leases, states
from durablectl.storage.streams import direct_get
from durablectl.storage.streams.provision import provision
from helpers.cluster import cluster
from helpers.in_process import running_processor
from helpers.stored_records import list_journal_subjects, list_subjects, write_state
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_output, wait_for_status

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clustered(tmp_path_factory):
    async with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def settings(clustered, namespace):
    clustered.namespace = namespace
    return clustered.settings


@pytest_asyncio.fixture(loop_scope="module")
async def store(settings):
    async with open_store(settings) as opened:
        await provision(opened, replicas=3)
        yield opened


@pytest.fixture
def conflicts(monkeypatch):
    """How many answers were a 10164, by the first token of what was asked."""
    counted: Counter[str] = Counter()
    answer_of = requests.answer_of

    def counting(reply, subject):
        try:
            return answer_of(reply, subject)
        except BusyError:
            counted[subject.split(".")[0]] += 1
            raise

    monkeypatch.setattr(requests, "answer_of", counting)
    return counted


async def test_of_concurrent_changes_of_one_subject_none_is_lost(store, conflicts):
    """Ten writers count to two hundred by compare-and-set, without any lock."""
    subject = store.subjects.state("counter")

    async def increment() -> None:
        while True:
            found = await direct_get.get_last(store, store.subjects.state_stream, subject)
            number, revision = (int(found.data), found.sequence) if found else (0, 0)
            try:
                await store.requests.publish(subject, str(number + 1).encode(), {EXPECTED: str(revision)})
            except WrongSequenceError:
                continue
            return

    async def increments() -> None:
        for _ in range(20):
            await increment()

    await asyncio.gather(*(increments() for _ in range(10)))

    async def counted() -> bool:
        found = await direct_get.get_last(store, store.subjects.state_stream, subject)
        return found.data == b"200"

    await wait_until(counted)
    assert conflicts.total() > 0


async def test_concurrent_appends_under_one_ownership_are_all_stored(store, conflicts):
    revision = await write_state(store, "crowded")
    entries = [JournalEntry(number, "s", "step", response=Payload(str(number).encode())) for number in range(100)]
    stored = await asyncio.gather(*(journal.append(store, "crowded", entry, revision) for entry in entries))
    assert stored == [True] * 100
    assert await journal.read(store, "crowded", revision) == entries
    assert conflicts.total() > 0
    print("concurrent appends: 10164 conflicts", dict(conflicts))


async def test_workflows_with_steps_and_answers_at_the_same_moment(settings, store, conflicts):
    """Of each, ten steps end at once while ten answers come in and an operator pauses and resumes it."""
    runs: Counter[str] = Counter()
    together: defaultdict[str, asyncio.Barrier] = defaultdict(lambda: asyncio.Barrier(10))

    async def step(key: str) -> str:
        runs[key] += 1
        await together[key.rpartition("-")[0]].wait()
        return key

    @workflow
    async def crowd(ctx):
        numbers = range(10)
        steps = await ctx.gather(*(ctx.step(step, f"{ctx.invocation_id}-{n}") for n in numbers))
        return steps, await ctx.gather(*(ctx.awakeable(f"a{n}") for n in numbers))

    async def operate(operation, invocation_id: str) -> None:
        with contextlib.suppress(InvalidStateError):  # It may have completed before.
            await operation(store, invocation_id)

    async def answer(invocation_id: str) -> None:
        await wait_for_status(store, invocation_id, "suspended")
        view = await query.get_workflow(store, invocation_id)
        awakeables = [step.awaited_id for step in view.journal if step.kind == "awakeable"]
        await asyncio.gather(
            *(control.resolve(store, awakeable, number) for number, awakeable in enumerate(awakeables)),
            *(operate(operation, invocation_id) for operation in (control.pause, control.resume)),
        )
        await operate(control.resume, invocation_id)

    async with running_processor(settings, crowd), running_processor(settings, crowd):
        ids = [await start_workflow(store, crowd) for _ in range(10)]
        await asyncio.gather(*map(answer, ids))
        for invocation_id in ids:
            steps, answers = await wait_for_output(store, invocation_id)
            assert steps == [f"{invocation_id}-{n}" for n in range(10)]
            assert answers == list(range(10))
            view = await query.get_workflow(store, invocation_id)
            assert [entry.step_number for entry in view.journal] == list(range(20))
    assert set(runs.values()) == {1}
    assert conflicts.total() > 0
    print("workflows: 10164 conflicts", dict(conflicts))


async def test_a_timer_that_met_a_lagging_replica_is_not_lost(settings, store, monkeypatch):
    """Which says that the workflow still runs, when it is suspended."""

    @workflow
    async def napping(ctx):
        await ctx.sleep(6)
        return "awake"

    async with running_processor(settings, napping) as running:
        invocation_id = await start_workflow(store, napping)
        await wait_for_status(store, invocation_id, "suspended")
        execution, revision = await states.load(store, invocation_id)
        late = [(states.StoredState(replace(execution, status="running", owner=running.id), revision - 1), "")]
        load = states.load_or_tombstone

        async def lagging(store, invocation_id):
            return late.pop() if late else await load(store, invocation_id)

        monkeypatch.setattr(states, "load_or_tombstone", lagging)
        assert await wait_for_output(store, invocation_id) == "awake"
        assert not late


async def test_child_end_read_from_lagging_replica_is_not_lost(settings, store, monkeypatch):
    """The word that it has ended comes once: whoever says then that it runs must not be believed."""

    @workflow
    async def child(ctx):
        return await ctx.signal("go")

    @workflow
    async def parent(ctx):
        return await ctx.invoke(child)

    asked: list[int] = []
    get_many_last = consistent_reads.get_many_last

    async def lagging(store, stream, subjects, with_each=None):
        answer = await get_many_last(store, stream, subjects, with_each)
        if with_each == store.subjects.state(invocation_id):
            asked.append(answer.up_to_sequence)
            if len(asked) <= 3:
                return answer._replace(messages=[], up_to_sequence=1)
        return answer

    async with running_processor(settings, parent, child):
        invocation_id = await start_workflow(store, parent)
        await wait_for_status(store, invocation_id, "suspended")
        (entry,) = (await query.get_workflow(store, invocation_id)).journal
        await wait_for_status(store, entry.awaited_id, "suspended")
        monkeypatch.setattr(consistent_reads, "get_many_last", lagging)
        await control.signal(store, entry.awaited_id, "go", "gone")
        assert await wait_for_output(store, invocation_id) == "gone"
        assert len(asked) > 3


async def test_command_is_nacked_until_the_cluster_receives_the_nack(settings, store, monkeypatch):
    """The claim fails, and the word that it did gets lost: nobody waits for ack_wait, which is 30 s here."""
    lost: list[bytes] = []
    failures = [NoAnswerError("no")]
    load = states.load_or_tombstone

    @workflow
    async def plain(ctx):
        return ctx.invocation_id

    async def failing(store, invocation_id):
        if failures:
            raise failures.pop()
        return await load(store, invocation_id)

    async def losing(subject, payload=b"", **options):
        if payload.startswith(b"-NAK") and not lost:
            lost.append(payload)
        else:
            await publish(subject, payload, **options)

    async with running_processor(settings, plain) as running:
        publish = running.store.nats.publish
        monkeypatch.setattr(running.store.nats, "publish", losing)
        monkeypatch.setattr(states, "load_or_tombstone", failing)
        invocation_id = await start_workflow(store, plain)
        assert await wait_for_output(store, invocation_id) == invocation_id
        assert (len(lost), failures) == (1, [])


@pytest.mark.parametrize("number", [1, 4])
async def test_processor_starts_though_answers_of_the_cluster_are_lost(settings, store, monkeypatch, number):
    """One after the other; too many are reported."""
    lost = [NoAnswerError("no")] * number
    renew = leases.renew

    @workflow
    async def plain(ctx):
        return ctx.invocation_id

    async def losing(*args):
        if lost:
            raise lost.pop()
        await renew(*args)

    monkeypatch.setattr(leases, "renew", losing)
    if number > 3:
        with pytest.raises(NoAnswerError):
            async with running_processor(settings, plain):
                pass
        return
    async with running_processor(settings, plain):
        invocation_id = await start_workflow(store, plain)
        assert await wait_for_output(store, invocation_id) == invocation_id
    assert not lost


async def test_a_long_journal_goes_away_with_its_workflow(settings, store, conflicts):
    """Each entry gets its time to live on condition of the same state, all of them at once."""

    async def big() -> str:
        return "x" * 100_000

    @workflow
    async def long(ctx):
        await ctx.gather(*(ctx.step(big) for _ in range(10)))

    async with running_processor(settings, long, retention=10):
        invocation_id = await start_workflow(store, long)
        await wait_for_output(store, invocation_id)
        assert len(await list_journal_subjects(store, invocation_id)) == 10
        everything = (store.subjects.state(invocation_id), store.subjects.journal(invocation_id, "*"))

        async def gone() -> bool:
            return not [each for s in everything for each in await list_subjects(store, store.subjects.state_stream, s)]

        await wait_until(gone, every=0.2)
    assert conflicts.total() > 0
