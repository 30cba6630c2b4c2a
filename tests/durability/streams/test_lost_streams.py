"""A stream that is deleted or purged under running processors: it comes back, and so does the work in it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from durablectl import control, query, workflow
from durablectl.demo._proto.hello_pb2 import HelloResponse
from durablectl.embedded import EmbeddedServer
from durablectl.engine.recovery.index_filler import IndexFiller
from durablectl.errors import DurableError
from durablectl.model.status import Status
from durablectl.settings import Settings
from durablectl.storage.diagnosis.recall import CommandsMarker, load_marker, recall_all
from durablectl.storage.index import entering
from durablectl.storage.index.index_entries import list_indexed_ids
from durablectl.storage.records.armed_schedules import armed_names
from durablectl.storage.streams.direct_get import get_last
from durablectl.storage.streams.index_marker import IndexMarker, replace_marker
from durablectl.storage.streams.provision import provision, stream_config, stream_info
from helpers.in_process import provisioned_store, running_processor
from helpers.operations import quick
from helpers.paths import APPS
from helpers.processor_processes import alive, kill
from helpers.waiting import wait_until
from helpers.workflow_runs import run_workflow, start_workflow

APP = str(APPS / "lost_streams_app.py")
WORKS, NAPS = 20, 5


@pytest.fixture
def site(tmp_path):
    with EmbeddedServer(tmp_path / "nats") as server:
        yield Settings(url=server.url, timeout=30)


def environment_of(site):
    return {"NATS_URL": site.url, "DURABLECTL_NAMESPACE": ""}


async def delete_stream(store, name):
    await store.requests.call(f"{store.api}.STREAM.DELETE.{getattr(store.subjects, name)}")


async def start_all(store):
    requests = [control.StartRequest("work", None, f"w{number}") for number in range(WORKS)]
    requests += [control.StartRequest("nap", 4, f"n{number}") for number in range(NAPS)]
    return [await control.start(store, request) for request in requests]


async def statuses(store, ids):
    try:
        return [(await query.get_workflow(store, each)).status for each in ids]
    except DurableError:
        return []


async def have_completed(store, ids):
    return set(await statuses(store, ids)) == {Status.COMPLETED}


async def test_work_continues_after_commands_are_deleted_under_load(site, spawn):
    async with provisioned_store(site) as store:
        processes = [spawn("run", "processor", APP, env=environment_of(site)) for _ in range(2)]
        for process in processes:
            await alive(store, process)
        await control.create_schedule(store, "tick", "quick", every=3600)
        ids = await start_all(store)
        await wait_until(lambda: has_running(store))
        await delete_stream(store, "commands_stream")
        await wait_until(lambda: stream_config(store, store.subjects.commands_stream))
        await wait_until(lambda: have_completed(store, ids), timeout=150, detail=processes[0].err)
        await wait_until(lambda: is_armed(store, "tick"))
        for process in processes:
            assert process.err().count("cannot be made again yet") <= 1
        await wait_until(lambda: is_well(store))


async def test_new_namespace_has_complete_commands_and_lost_ones_are_recalled(site):
    async with provisioned_store(site) as store:
        assert await load_marker(store) == CommandsMarker(0)
        await control.start(store, control.StartRequest("nap", 600, "n"))
        await delete_stream(store, "commands_stream")
        await provision(store)
        assert await load_marker(store) is None
        assert (await recall_all(store)).workflows == 1
        marker = await load_marker(store)
        assert marker is not None
        assert 0 < marker.recalled_at <= store.clock.now()


async def has_running(store):
    return (await query.get_stats(store)).by_status.get(Status.RUNNING)


async def is_armed(store, name):
    return name in await armed_names(store)


@pytest.mark.parametrize("name", ["index_stream", "processors_stream"])
async def test_running_processor_recreates_stream_and_completes_its_work(site, spawn, name):
    async with provisioned_store(site) as store:
        process = spawn("run", "processor", APP, env=environment_of(site))
        await alive(store, process)
        ids = await start_all(store)
        await delete_stream(store, name)
        await wait_until(lambda: have_completed(store, ids), timeout=120, detail=process.err)
        await wait_until(lambda: stream_config(store, getattr(store.subjects, name)))
        await alive(store, process)
        await wait_until(lambda: is_well(store))


async def is_well(store):
    return (await query.diagnose(store)).is_healthy


async def test_lost_records_are_told_and_the_index_is_kept(site, spawn, cli):
    env = environment_of(site)
    async with provisioned_store(site) as store:
        process = spawn("run", "processor", APP, env=environment_of(site))
        await alive(store, process)
        for number in range(3):
            await control.start(store, control.StartRequest("nap", 600, f"n{number}"))
        await wait_until(lambda: is_everything(store, Status.SUSPENDED, 3))
        await delete_stream(store, "state_stream")
        await wait_until(lambda: stream_config(store, store.subjects.state_stream))
        await wait_until(
            lambda: "still lists 3: restore the records from a backup" in process.err(), detail=process.err
        )
        told = await asyncio.to_thread(cli, "doctor", env=env)
        assert told.returncode == 1
        assert "3 workflows of the index have no record: KV_EXECUTION_STATE looks purged, or lost." in told.stdout
        assert "Restore KV_EXECUTION_STATE from a backup first" in told.stdout
        repaired = await asyncio.to_thread(cli, "doctor", "--repair", env=env)
        assert "Kept 3 workflows of the index whose records look lost" in repaired.stdout
        info = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.index_stream}")
        assert info["state"]["messages"] == 3
        forgotten = await asyncio.to_thread(cli, "doctor", "--repair", "--forget-lost", env=env)
        assert (forgotten.returncode, "Removed 3 wrong entries" in forgotten.stdout) == (0, True)
        await control.start(store, control.StartRequest("quick", None, "new"))
        await wait_until(lambda: have_completed(store, ["new"]))


@workflow
async def wait(ctx):
    return await ctx.signal("go")


async def start_waiting(store, number):
    return [await start_workflow(store, wait, id=f"s{each}") for each in range(number)]


async def indexed(store):
    return sorted([each async for each in list_indexed_ids(store, list(Status))])


async def lose_index(store):
    """Have another index stream, which lacks the workflows of the one before."""
    await delete_stream(store, "index_stream")
    await provision(store)


@pytest.fixture
def fills(monkeypatch):
    """The connections over which the index was filled; upkeep looks often."""
    monkeypatch.setattr("durablectl.engine.recovery.upkeep._STREAMS_SECONDS", 0.05)
    begun, enter_all = [], entering.enter_all

    async def fill(store):
        begun.append(store)
        return await enter_all(store)

    monkeypatch.setattr(entering, "enter_all", fill)
    return begun


async def is_index_complete(store):
    return (await entering.load_marker(store))[0].is_complete


async def test_starting_processor_fills_an_index_that_was_lost_before(settings, store, fills):
    ids = await start_waiting(store, 5)
    await lose_index(store)
    later = await start_workflow(store, quick, id="later")  # whose entry is the only one
    async with running_processor(settings, quick, wait):
        await wait_until(lambda: has_entries(store, [later, *ids]))
        await wait_until(lambda: have_completed(store, [later]))
        for each in ids:
            await control.signal(store, each, "go", "on")
        await wait_until(lambda: have_completed(store, ids))
    assert len(fills) == 1


async def has_entries(store, ids):
    return await indexed(store) == sorted(ids)


async def test_complete_index_is_not_read_by_a_starting_processor(settings, store, fills):
    await start_waiting(store, 3)
    for _ in range(2):
        async with running_processor(settings, wait) as running:
            filler = IndexFiller(running.store, running.id)
            await wait_until(lambda filler=filler: is_settled(store, filler))
    assert not fills


async def is_settled(store, filler):
    return await filler.settle((await stream_info(store, store.subjects.index_stream))["created"])


async def test_index_whose_filler_died_is_filled_by_another(settings, store, fills):
    ids = await start_waiting(store, 5)
    await lose_index(store)
    created = (await stream_info(store, store.subjects.index_stream))["created"]
    _, revision = await entering.load_marker(store)
    assert await replace_marker(store, IndexMarker(created, filler="gone-1"), revision)
    async with running_processor(settings, quick):
        await wait_until(lambda: is_index_complete(store))
        assert await has_entries(store, ids)
    assert len(fills) == 1


async def test_index_is_filled_by_one_of_several_processors(settings, store, fills):
    ids = await start_waiting(store, 5)
    async with running_processor(settings, quick), running_processor(settings, quick):
        before = (await entering.load_marker(store))[0].created
        await lose_index(store)

        async def is_complete_again():
            marker, _ = await entering.load_marker(store)
            return marker.is_complete and marker.created != before

        await wait_until(is_complete_again)
        assert await has_entries(store, ids)
    assert len(fills) == 1


async def test_two_fillers_at_once_enter_each_workflow_once(store):
    ids = await start_waiting(store, 20)
    await lose_index(store)
    entered = await asyncio.gather(*(entering.enter_all(store) for _ in range(3)))
    assert sum(entered) == 20
    assert await has_entries(store, ids)


@workflow
async def greet(ctx):
    return await ctx.step(greeting)


async def greeting():
    return HelloResponse(message="Hello!")


@pytest.mark.parametrize("is_own", [True, False], ids=["created by it", "created by another"])
async def test_message_types_are_stored_again_after_the_records_are_lost(settings, store, monkeypatch, is_own):
    name = HelloResponse.DESCRIPTOR.full_name
    monkeypatch.setattr("durablectl.engine.recovery.upkeep._STREAMS_SECONDS", 0.05 if is_own else 0.5)
    async with running_processor(settings, greet) as running:
        await run_workflow(store, greet)
        assert await is_described(store, name)
        await delete_stream(store, "state_stream")
        if not is_own:
            await provision(store)
        await wait_until(lambda: stream_config(store, store.subjects.state_stream))
        await wait_until(lambda: not running.processor._resources.schemas.knows(name))
        assert not await is_described(store, name)
        await run_workflow(store, greet)
        assert await is_described(store, name)


async def is_described(store, name):
    """Whether readers can show messages of this type."""
    return await get_last(store, store.subjects.state_stream, store.subjects.type(name))


async def is_everything(store, status, number):
    return dict((await query.get_stats(store)).by_status) == {status: number}


async def make_running(store, invocation_id, owner):
    """Write the state of a run that its processor has dropped."""
    from durablectl.storage.records import states

    execution, revision = await states.load(store, invocation_id)
    execution.enter_status(Status.RUNNING, store.clock.now() - 60_000_000)
    execution.updated_at = store.clock.now() - 60_000_000
    execution.owner, execution.attempt, execution.current_step = owner, 1, 0
    execution.current_step_type = "step"
    assert await states.replace(store, execution, revision)


async def test_processors_take_what_none_of_them_works_on(site, spawn):
    async with provisioned_store(site) as store:
        process = spawn("run", "processor", APP, env=environment_of(site))
        owner = await alive(store, process)
        os.killpg(process.pid, signal.SIGSTOP)
        await control.start(store, control.StartRequest("quick", None, "dropped"))
        await make_running(store, "dropped", owner)
        subjects = store.subjects
        await store.requests.call(f"{store.api}.STREAM.PURGE.{subjects.commands_stream}")
        os.killpg(process.pid, signal.SIGCONT)
        await wait_until(lambda: have_completed(store, ["dropped"]), timeout=120, detail=process.err)
        kill(process)
