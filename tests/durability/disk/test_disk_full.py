"""A server that has no room: a limit of a stream, one of the server, a disk that takes no more. Nothing is lost."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from durablectl import control, query, workflow
from durablectl.cli.main import app
from durablectl.embedded import EmbeddedServer
from durablectl.errors import DurableError
from durablectl.settings import Settings
from durablectl.storage.connection.rejections import StorageFullError
from helpers.in_process import provisioned_store, running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import wait_for_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from durablectl.storage.connection.store import Store

PAD = "x" * 2_000
STEPS = 3


class Limited:
    """A server of which the room can be taken away, and given back."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.server = EmbeddedServer(directory, jetstream=False, config=self._config(""))
        self.server.start()

    @property
    def settings(self) -> Settings:
        return Settings(url=self.server.url, timeout=5)

    def _config(self, limit: str) -> str:
        return f'jetstream {{store_dir: "{self._directory}"{limit}}}'

    async def restart(self, limit: str = "") -> None:
        port = self.server.port
        await asyncio.to_thread(self.server.stop)
        self.server = EmbeddedServer(self._directory, port=port, jetstream=False, config=self._config(limit))
        await asyncio.to_thread(self.server.start)


@pytest.fixture
def limited(tmp_path):
    made = Limited(tmp_path / "nats")
    yield made
    made.server.stop()


async def limit_stream(store: Store, most: int) -> None:
    stream = store.subjects.state_stream
    config = (await store.requests.call(f"{store.api}.STREAM.INFO.{stream}"))["config"]
    await store.requests.call(f"{store.api}.STREAM.UPDATE.{stream}", {**config, "max_bytes": most})


def working(effects: Counter[str], gate: asyncio.Event):
    async def step(name: str) -> str:
        effects[name] += 1
        if name.endswith("-1"):
            await gate.wait()
        return PAD

    @workflow
    async def work(ctx, _pad=None):
        for number in range(STEPS):
            await ctx.step(step, f"{ctx.invocation_id}-{number}")
        return "done"

    return work


async def start_until_full(store) -> tuple[list[str], DurableError]:
    """The ids of those whose start was reported, and the error that the next one met."""
    started: list[str] = []
    while len(started) < 1_000:
        name = f"w{len(started)}"
        try:
            await control.start(store, control.StartRequest("work", PAD, name))
        except DurableError as error:
            return started, error
        started.append(name)
    raise AssertionError("there was room for everything")


async def all_have_ended(store, started, effects) -> None:
    for each in started:
        await wait_for_outcome(store, each)
        view = await query.get_workflow(store, each)
        assert (view.status, view.output) == ("completed", "done")
        assert [step.step_number for step in view.journal] == [*range(STEPS)]
    assert {effects[f"{each}-{number}"] for each in started for number in range(STEPS)} == {1}


async def test_results_wait_until_a_full_stream_has_room(limited):
    effects, gate = Counter(), asyncio.Event()
    work = working(effects, gate)
    async with (
        provisioned_store(limited.settings) as store,
        running_processor(limited.settings, work, max_concurrent=10),
    ):
        await limit_stream(store, 200_000)
        started, error = await start_until_full(store)
        assert isinstance(error, StorageFullError)
        assert "has no room left for $KV.EXECUTION_STATE.w" in error.message
        assert error.hint.startswith("Free its disk, or raise")
        gate.set()
        begun = time.process_time()
        await asyncio.sleep(3)
        assert time.process_time() - begun < 1.5
        ended = await query.list_workflows(store, query.Filters.parse(["completed"]), 1_000)
        for view in ended.workflows:
            assert all(effects[f"{view.invocation_id}-{number}"] == 1 for number in range(STEPS))
        runner = CliRunner(env={"NATS_URL": limited.settings.url})
        told = await asyncio.to_thread(
            runner.invoke, app, ["wf", "start", "work", "--input", f'"{PAD}"', "--id", "more"]
        )
        assert (told.exit_code, "Traceback" in told.output) == (1, False), told.output
        assert "has no room left for" in told.output
        assert "Free its disk, or raise" in " ".join(told.output.split())
        await limit_stream(store, -1)
        await all_have_ended(store, started, effects)
        # Its command was stored: it starts after all, as the error has said.
        await wait_for_outcome(store, f"w{len(started)}")


async def test_full_server_loses_nothing_and_resumes_with_more_room(limited):
    effects, gate = Counter(), asyncio.Event()
    gate.set()
    work = working(effects, gate)
    async with provisioned_store(limited.settings) as store, running_processor(limited.settings, work):
        await limited.restart(", max_file_store: 600KB")
        await wait_until(lambda: store.is_connected)
        started, error = await start_until_full(store)
        assert isinstance(error, StorageFullError)
        assert "insufficient resources" in error.message
        await limited.restart()
        await all_have_ended(store, started, effects)


async def test_full_disk_is_reported_and_survived(limited):
    """nats-server answers no write any more, until it is restarted."""
    effects, gate = Counter(), asyncio.Event()
    gate.set()
    work = working(effects, gate)
    async with provisioned_store(limited.settings) as store, running_processor(limited.settings, work):
        await control.start(store, control.StartRequest("work", PAD, "first"))
        await wait_for_outcome(store, "first")
        most = 300_000
        resource.prlimit(limited.server.pid, resource.RLIMIT_FSIZE, (most, most))
        started, error = await start_until_full(store)
        assert "Look into its log" in error.hint or isinstance(error, StorageFullError)
        view = await query.get_workflow(store, "first")
        assert view.status == "completed"
        await limited.restart()
        await wait_until(lambda: store.is_connected)
        await all_have_ended(store, started, effects)


async def test_processor_waiting_for_room_stops_on_request(limited):
    effects, gate = Counter(), asyncio.Event()
    work = working(effects, gate)
    async with provisioned_store(limited.settings) as store:
        async with running_processor(limited.settings, work, max_concurrent=5, grace=0.2):
            await limit_stream(store, 100_000)
            started, _ = await start_until_full(store)
            gate.set()
            await wait_until(lambda: any(name.endswith("-1") for name in effects))
        await limit_stream(store, -1)
        async with running_processor(limited.settings, work):
            for each in started:
                assert (await wait_for_outcome(store, each)).output() == "done"


async def test_full_store_is_no_dead_processor_and_deletion_needs_no_room(limited):
    effects, gate = Counter(), asyncio.Event()
    gate.set()
    work = working(effects, gate)
    runner = CliRunner(env={"NATS_URL": limited.settings.url})
    async with provisioned_store(limited.settings) as store, running_processor(limited.settings, work) as processor:
        for number in range(20):
            await control.start(store, control.StartRequest("work", PAD, f"first-{number}"))
        await wait_until(lambda: have_completed(store, 20))
        gate.clear()
        await limited.restart(", max_file_store: 900KB")
        await wait_until(lambda: store.is_connected and processor.store.is_connected)
        await start_until_full(store)
        await wait_until(lambda: no_processors(store))
        await wait_until(lambda: query.get_full_store(store))  # once the processor follows the leases again

        async def told(*command: str) -> str:
            result = await asyncio.to_thread(runner.invoke, app, command)
            assert "Traceback" not in result.output
            return " ".join(result.output.split())

        assert "The file store is full: insufficient resources" in await told("processors")
        doctor = await told("doctor")
        assert "1 processor cannot store its lease, and looks dead though it lives." in doctor
        assert "No live processor" not in doctor
        status = await told("status")
        assert "The file store is full" in status
        assert "no live processor" not in status
        active = await query.list_workflows(store, query.Filters.parse(["active"]), 1)
        assert "The file store is full" in await told("wf", "why", active.workflows[0].invocation_id)
        deleted = await told("wf", "delete", "--status", "completed", "--yes")
        assert "20 workflows: 20 changed." in deleted, deleted
        await wait_until(lambda: query.live_processors(store))
        await limited.restart()
        gate.set()
        await wait_until(lambda: is_all_completed(store))


async def no_processors(store):
    return not await query.live_processors(store)


async def have_completed(store, number):
    return dict((await query.get_stats(store)).by_status) == {"completed": number}


async def is_all_completed(store):
    try:
        return set((await query.get_stats(store)).by_status) <= {"completed"}
    except DurableError:
        return False
