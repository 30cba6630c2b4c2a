"""Processors that die, or only seem dead, and a server that restarts: others go on, nothing is done or lost twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import replace

import pytest

from durablectl import query
from durablectl.embedded import EmbeddedServer
from durablectl.model.codec import decode_entry
from durablectl.storage.records import states
from helpers import chaos_judge as judging
from helpers.in_process import provisioned_store
from helpers.processor_processes import Fleet, alive, every_workflow, failover_gaps, journal_watch, kill, start_many
from helpers.waiting import PATIENCE, wait_until
from helpers.workflow_runs import start_workflow, wait_for_output

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def fleet(spawn, tmp_path):
    return Fleet(spawn, tmp_path / "fleet")


async def owners(store, ids) -> Counter[str]:
    found = await states.load_many(store, ids)
    return Counter(stored.execution.owner for stored in found.values())


async def test_frozen_processor_is_fenced_and_runs_other_workflows(store, fleet):
    """SIGSTOP for longer than its lease, SIGCONT once another has taken over and got further."""
    first = fleet.start()
    first_id = await alive(store, first)
    async with journal_watch(store) as written:
        steps = 40  # So many that they are not over before the second processor is there.
        ids = await start_many(store, "chain", [steps, 0.5], 5, "c")
        await wait_until(lambda: all_owned_by(store, ids, first_id))
        second = fleet.start()
        second_id = await alive(store, second)
        await wait_until(lambda: all(len(written.get(i, ())) >= 1 for i in ids))
        os.killpg(first.pid, signal.SIGSTOP)
        stopped = time.time() * 1e6
        await wait_until(lambda: all_owned_by(store, ids, second_id))
        claims = {i: (await states.load(store, i)).revision for i in ids}
        before = Counter({i: len(entries) for i, entries in written.items()})
        await wait_until(lambda: all(len(written.get(i, ())) >= before[i] + 2 for i in ids))
        os.killpg(first.pid, signal.SIGCONT)
        await wait_until(lambda: first.err().count("Fenced out") == len(ids))
        views = [await query.get_workflow(store, i) for i in await all_end(store, ids)]
    effects = judging.read_effects(fleet.effects)
    pid_of = {effect.token: effect.pid for effect in effects}
    for view in views:
        assert (view.status, view.attempt, view.output) == ("completed", 2, [s.response for s in view.journal])
        by_first = [s.step_number for s in view.journal if pid_of[s.response] == first.pid]
        by_second = [s.step_number for s in view.journal if pid_of[s.response] == second.pid]
        assert [*by_first, *by_second] == list(range(steps))
        assert by_first
        # In the stream, too, what came after the claim came from the second alone; the last went with the end.
        in_stream = [pid_of[token(data)] for data in written[view.invocation_id]]
        assert in_stream[1 - len(by_second) :] == [second.pid] * (len(by_second) - 1)
        assert view.revision > claims[view.invocation_id]
    assert not list(judging.repeated(views, [e for e in effects if e.pid == second.pid or e.at < stopped]))
    kill(second)
    other = await start_workflow(store, "chain", [2, 0.0])
    await wait_for_output(store, other)
    assert {e.pid for e in judging.read_effects(fleet.effects) if e.invocation_id == other} == {first.pid}
    assert first.poll() is None


def token(data: bytes) -> str:
    return decode_entry(data).response.data.decode().strip('"')


async def all_owned_by(store, ids, processor_id) -> bool:
    return await owners(store, ids) == {processor_id: len(ids)}


async def all_end(store, ids, timeout: float = 3 * PATIENCE):
    async def ended() -> bool:
        found = await states.load_many(store, ids)
        return all(found[i].execution.status == "completed" for i in ids)

    await wait_until(ended, timeout, every=0.1)
    return ids


async def test_unclaimed_deliveries_of_dead_processor_run_elsewhere(store, fleet):
    """Commands in the pocket of a processor that never got to claim them: nobody waits for their ack_wait of 300 s."""
    first, second = fleet.start(), fleet.start()
    await asyncio.gather(alive(store, first), alive(store, second))
    os.killpg(first.pid, signal.SIGSTOP)
    ids = await start_many(store, "chain", [1, 0.0], 40, "p")
    await wait_until(lambda: some_ended(store, ids, 15))
    kill(first)
    await all_end(store, ids)


async def some_ended(store, ids, count) -> bool:
    found = await states.load_many(store, ids)
    return sum(stored.execution.status == "completed" for stored in found.values()) >= count


async def test_workflows_of_killed_processor_resume_on_another(store, fleet):
    """Long before the ack_wait of 300 s."""
    assert len(await failover_gaps_of_killed_processor(store, fleet)) >= 10
    assert not list(judging.repeated((await every_workflow(store)).values(), judging.read_effects(fleet.effects)))


@pytest.mark.timing
async def test_workflows_of_killed_processor_resume_within_five_seconds(store, fleet):
    assert max(await failover_gaps_of_killed_processor(store, fleet)) < 5


async def failover_gaps_of_killed_processor(store, fleet) -> list[float]:
    """Seconds that each workflow of the killed one stood still."""
    processes = [fleet.start(), fleet.start()]
    await asyncio.gather(*(alive(store, process) for process in processes))
    ids = await start_many(store, "chain", [80, 0.1], 60, "k")
    await wait_until(lambda: len({e.invocation_id for e in judging.read_effects(fleet.effects)}) == len(ids))
    # The busier one: a lease does not say that commands are taken yet.
    busy = Counter(effect.pid for effect in judging.read_effects(fleet.effects))
    victim = max(processes, key=lambda process: busy[process.pid])
    kill(victim)
    await all_end(store, ids)
    return failover_gaps(judging.read_effects(fleet.effects), victim.pid)


async def agrees(store, views) -> bool:
    """The index is written a moment after the end."""
    return not await judging.disagreements(store, views)


@pytest.mark.parametrize("how", ["restart", "kill -9"])
async def test_a_restart_of_the_server_in_the_middle_of_a_load(settings, spawn, tmp_path, how):
    await outage(settings, spawn, tmp_path, how=how, count=75)


@pytest.mark.long
@pytest.mark.parametrize("how", ["restart", "kill -9"])
async def test_a_restart_of_the_server_in_the_middle_of_five_hundred(settings, spawn, tmp_path, how):
    await outage(settings, spawn, tmp_path, how=how, count=500)


async def outage(settings, spawn, tmp_path, *, how: str, count: int) -> None:
    with EmbeddedServer(tmp_path / "own") as server:
        settings = replace(settings, url=server.url)
        async with provisioned_store(settings) as store:
            fleet = Fleet(spawn, tmp_path / "fleet", url=server.url)
            await asyncio.gather(*(alive(store, process) for process in [fleet.start(), fleet.start()]))
            starting = asyncio.create_task(start_many(store, "nap_chain", [5, 1.5], count, "r", every=3 / count))
            await wait_until(lambda: some_ended(store, [f"r{n}" for n in range(count)], count // 10), every=0.1)
            if how == "restart":
                await asyncio.to_thread(server.restart)
            else:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            ids = await starting
            await all_end(store, ids)
            views = await every_workflow(store)
            effects = judging.read_effects(fleet.effects)
            assert not list(judging.repeated(views.values(), effects))
            await wait_until(lambda: agrees(store, views), every=0.5)
            for view in views.values():
                assert [s.step_type for s in view.journal] == ["s0", "s1", "s2", "s3", "s4", "sleep", "end"]
                assert view.output == [s.response for s in view.journal if s.kind == "step"]
            assert len(views) == count
