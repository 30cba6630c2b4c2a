"""A server that comes back with an older copy of its store, while processors, watchers and clients stay connected."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from durablectl import control, query, workflow
from durablectl.embedded import EmbeddedServer
from durablectl.engine.replay.control_flow import FencedOut
from durablectl.engine.replay.ownership import Ownership
from durablectl.errors import NotFoundError
from durablectl.model.records import JournalEntry
from durablectl.query import Filters
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import states
from durablectl.storage.streams.feed import StreamRestoredError
from helpers.in_process import provisioned_store, running_processor
from helpers.stored_records import list_journal_subjects, write_state
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_output, wait_for_status

if TYPE_CHECKING:
    from pathlib import Path


class Backed:
    """A server whose data can be copied, and put back; both stop it for a moment."""

    def __init__(self, directory: Path) -> None:
        self._live, self._copy = directory / "nats", directory / "copy"
        self.server = EmbeddedServer(self._live)
        self.server.start()

    @property
    def settings(self) -> Settings:
        return Settings(url=self.server.url, timeout=4)

    async def back_up(self) -> None:
        await asyncio.to_thread(self.server.stop)
        shutil.copytree(self._live / "jetstream", self._copy)
        await asyncio.to_thread(self.server.start)

    async def put_back(self, *streams: str) -> None:
        """All of it, or these streams alone."""
        await asyncio.to_thread(self.server.stop)
        below = ["$G/streams/" + stream for stream in streams] or ["."]
        for part in below:
            shutil.rmtree(self._live / "jetstream" / part)
            shutil.copytree(self._copy / part, self._live / "jetstream" / part)
        await asyncio.to_thread(self.server.start)


@pytest.fixture
def backed(tmp_path):
    made = Backed(tmp_path)
    yield made
    made.server.stop()


class Gates:
    """Steps that wait until their gate is opened, and how often each was begun."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.begun: list[str] = []

    async def step(self, name: str) -> str:
        self.begun.append(name)
        await wait_until(lambda: name in self.open, 60)
        return name


def defined(gates: Gates):
    @workflow
    async def two(ctx):
        first = await ctx.step(gates.step, f"{ctx.invocation_id}-0")
        return [first, await ctx.step(gates.step, f"{ctx.invocation_id}-1")]

    @workflow
    async def approved(ctx):
        return await ctx.awakeable("approval")

    return two, approved


async def awakeable_of(store, invocation_id: str) -> str:
    return (await wait_for_status(store, invocation_id, "suspended")).waiting_for.awaited_id


async def test_processor_continues_from_restored_backup_only(backed, caplog):
    gates = Gates()
    two, approved = defined(gates)
    async with provisioned_store(backed.settings) as store, running_processor(backed.settings, two, approved):
        for name in ("before", "ran", "asleep", "deleted"):
            await start_workflow(store, approved if name == "asleep" else two, id=name)
        gates.open |= {"before-0", "before-1", "deleted-0", "deleted-1", "ran-0"}
        for name in ("before", "deleted"):
            await wait_for_outcome(store, name)
        await wait_until(lambda: "ran-1" in gates.begun)
        await awakeable_of(store, "asleep")
        await wait_for_status(store, "ran", "running")
        await backed.back_up()

        await control.resolve(store, await awakeable_of(store, "asleep"), "yes")
        gates.open.add("ran-1")
        assert await wait_for_output(store, "asleep") == "yes"
        assert await wait_for_output(store, "ran") == ["ran-0", "ran-1"]
        await control.delete(store, "deleted")
        for number in range(5):
            gates.open |= {f"later{number}-0", f"later{number}-1"}
            await start_workflow(store, two, id=f"later{number}")
            await wait_for_outcome(store, f"later{number}")
        await start_workflow(store, two, id="lost")
        await wait_until(lambda: "lost-0" in gates.begun)
        gates.begun.clear()
        await backed.put_back()

        assert await wait_for_output(store, "ran") == ["ran-0", "ran-1"]
        assert (await query.get_workflow(store, "asleep")).status == "suspended"
        await control.resolve(store, await awakeable_of(store, "asleep"), "again")
        assert await wait_for_output(store, "asleep") == "again"
        gates.open |= {"lost-0", "lost-1"}
        for name in ("lost", "later0"):
            with pytest.raises(NotFoundError):
                await query.get_workflow(store, name)
        assert (await query.get_workflow(store, "deleted")).status == "completed"
        assert set(gates.begun) <= {"ran-1"}
        await start_workflow(store, two, id="lost")
        assert await wait_for_output(store, "lost") == ["lost-0", "lost-1"]
        assert "was put back to an older state" in caplog.text
        await control.repair(store)
        assert (await query.diagnose(store)).is_healthy


async def test_restore_resumes_running_workflow_from_backup(backed):
    """Pending, or at an earlier step, in the copy; further, or ended, in the processor's memory."""
    gates = Gates()
    two, _ = defined(gates)
    async with provisioned_store(backed.settings) as store:
        await start_workflow(store, two, id="waited")
        async with running_processor(backed.settings, two):
            pass
        await start_workflow(store, two, id="pending")
        await backed.back_up()
        async with running_processor(backed.settings, two):
            gates.open |= {"pending-0", "waited-0"}
            await wait_until(lambda: {"pending-1", "waited-1"} <= set(gates.begun))
            await backed.put_back()
            gates.open |= {"pending-1", "waited-1"}
            for name in ("pending", "waited"):
                assert await wait_for_output(store, name) == [f"{name}-0", f"{name}-1"]
                view = await query.get_workflow(store, name)
                assert [step.step_number for step in view.journal] == [0, 1]


async def write(store, number: int) -> None:
    """Something else that takes a sequence of the stream of states."""
    await store.requests.publish(store.subjects.rejected(number), b"")


async def test_repeated_revision_after_restore_grants_no_ownership(backed):
    """The sequence of a lost claim is given to that of another processor: the first must not write under it."""
    async with provisioned_store(backed.settings) as store, provisioned_store(backed.settings) as other:
        await write_state(store, "w", status="pending")
        await backed.back_up()
        await wait_until(lambda: store.is_connected and other.is_connected)
        execution, revision = await states.load(store, "w")
        execution.owner, execution.attempt, execution.status = "first", 1, "running"
        mine = Ownership(store, execution, await states.replace(store, execution, revision))
        assert await query.get_workflow(store, "w")
        await backed.put_back()
        await wait_until(lambda: store.is_connected and other.is_connected)
        execution, revision = await states.load(other, "w")
        assert execution.status == "pending"
        number = 0
        while (await states_info(other))["last_seq"] < mine.revision - 1:
            number += 1
            await write(other, number)
        execution.owner, execution.attempt, execution.status = "second", 1, "running"
        assert await states.replace(other, execution, revision) == mine.revision
        with pytest.raises(FencedOut):
            await mine.append(JournalEntry(0, "stale"))
        assert await list_journal_subjects(store, "w") == []


async def states_info(store) -> dict[str, int]:
    answer = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
    return answer["state"]


async def test_watcher_reports_restored_backup(backed):
    gates = Gates()
    two, approved = defined(gates)
    async with provisioned_store(backed.settings) as store:
        async with running_processor(backed.settings, two, approved):
            await start_workflow(store, approved, id="early")
            await awakeable_of(store, "early")
        await backed.back_up()
        async with running_processor(backed.settings, two, approved):
            await start_workflow(store, approved, id="late")
            await awakeable_of(store, "late")
            page = await query.list_workflows(store, Filters(), 1)
            assert [view.invocation_id for view in page.workflows] == ["late"]
            async with query.tail(store) as changes:
                seen, told = [], []

                async def watch():
                    async for view in query.watch_workflow(store, "late"):
                        seen.append(view)  # noqa: PERF401  # as above

                async def read():
                    async for change in changes:
                        told.append(change)  # noqa: PERF401  # it is looked at meanwhile

                watching = [
                    asyncio.create_task(watch()),
                    asyncio.create_task(read()),
                    asyncio.create_task(wait_for_outcome(store, "late")),
                ]
                await wait_until(lambda: seen)
                before = len(seen)
                await control.signal(store, "late", "more", 1)
                await wait_until(lambda: told and len(seen) > before)
                await backed.put_back()
                ends = await asyncio.gather(*watching, return_exceptions=True)
    assert [type(end) for end in ends[:2]] == [StreamRestoredError] * 2
    # It looks by itself before it follows the stream.
    assert isinstance(ends[2], StreamRestoredError | NotFoundError)
    assert "was put back to an older state" in ends[0].message
    assert ends[0].hint.startswith("Run it again")
    async with open_store(backed.settings) as store:
        rest = await query.list_workflows(store, Filters(), 1, cursor=page.next_cursor)
        assert ([view.invocation_id for view in rest.workflows], rest.total) == (["early"], 1)
        async with query.tail(store, from_revision=1_000_000):
            pass


INDEX, STATES, COMMANDS = "EXECUTION_INDEX", "KV_EXECUTION_STATE", "COMMANDS"


@pytest.mark.parametrize(
    "streams", [(INDEX,), (STATES,), (COMMANDS,), (STATES, INDEX), (COMMANDS, INDEX)], ids="+".join
)
async def test_doctor_repairs_loss_in_single_streams(backed, streams):
    """All that had not ended ends after a repair, each step recorded once."""
    gates = Gates()
    two, approved = defined(gates)

    @workflow
    async def naps(ctx):
        await ctx.sleep(6)
        return "rested"

    app = (two, approved, naps)
    gates.open |= {f"{stem}{number}-{step}" for stem in ("early", "late") for number in range(3) for step in (0, 1)}
    async with provisioned_store(backed.settings) as store:
        async with running_processor(backed.settings, *app):
            await start_workflow(store, approved, id="early-approved")
            await awakeable_of(store, "early-approved")
            await start_workflow(store, two, id="early0")
            await wait_for_outcome(store, "early0")
        await start_workflow(store, two, id="early1")
        await backed.back_up()
        async with running_processor(backed.settings, *app):
            await wait_for_outcome(store, "early1")
            await start_workflow(store, approved, id="late-approved")
            await start_workflow(store, naps, id="late-naps")
            await awakeable_of(store, "late-approved")
            await wait_for_status(store, "late-naps", "suspended")
            await control.delete(store, "early0")
        await start_workflow(store, two, id="late0")
        await backed.put_back(*streams)
        await wait_until(lambda: store.is_connected)
        before = await query.diagnose(store)
        assert any(check.severity != "ok" and check.name in {"index", "calls"} for check in before.checks)
        await control.repair(store)
        views = await query.list_workflows(store, Filters(), 50)
        async with running_processor(backed.settings, *app):
            for view in views.workflows:
                if view.handler == "approved":
                    await control.resolve(store, await awakeable_of(store, view.invocation_id), "yes")
                await wait_for_outcome(store, view.invocation_id)
            assert {view.invocation_id for view in views.workflows} >= {"early-approved", "early1"}
            if STATES not in streams:
                assert {view.invocation_id for view in views.workflows} == {
                    "early-approved",
                    "early1",
                    "late-approved",
                    "late-naps",
                    "late0",
                }
            await wait_until(lambda: healthy(store))


async def healthy(store) -> bool:
    await control.repair(store)
    return (await query.diagnose(store)).is_healthy
