"""Errors of the engine itself: counted, and the workflow paused when another delivery does not help."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from durablectl import control, query, workflow
from durablectl.engine.replay.ownership import Ownership
from durablectl.engine.worker.failure_limit import pause_seconds
from durablectl.errors import PermissionDeniedError, StorageError
from helpers.in_process import running_processor
from helpers.stored_commands import no_commands_left
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_output, wait_for_status


@pytest.fixture(autouse=True)
def quick_redelivery(monkeypatch):
    monkeypatch.setattr("durablectl.engine.worker.slots._RETRY_SECONDS", 0.05)


@workflow
async def handler(ctx):
    await ctx.step(asyncio.sleep, 0)
    return await ctx.signal("go")


async def broken(*_, **__):
    raise RuntimeError("a bug")


def broken_now(*_, **__):
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("target", "replacement"),
    [
        ("durablectl.engine.worker.slots.process_command", broken),
        ("durablectl.engine.worker.execute.claim", broken),
        ("durablectl.engine.worker.execute._read_journal", broken),
        ("durablectl.engine.replay.wait_registry.WaitRegistry._poll_one", broken_now),
        ("durablectl.engine.replay.wait_registry.WaitRegistry.suspend_if_idle", broken_now),
        ("durablectl.engine.replay.journal_writer.JournalWriter.may_defer", broken_now),
        ("durablectl.engine.replay.ownership.journal.append", broken),
        ("durablectl.engine.replay.handler_runner.HandlerRunner._apply", broken_now),
        ("durablectl.engine.replay.run.Run.idle", broken_now),
        ("durablectl.engine.worker.outcome.suspend", broken),
    ],
)
async def test_engine_error_pauses_after_five_deliveries(settings, store, monkeypatch, caplog, target, replacement):
    async with running_processor(settings, handler):
        with monkeypatch.context() as patched:
            patched.setattr(target, replacement)
            invocation_id = await start_workflow(store, handler)
            view = await wait_for_status(store, invocation_id, "paused")
            await wait_until(lambda: no_commands_left(store))
        assert (view.reason_code, view.reason) == (
            "engine_failed",
            "durablectl failed on it 5 times: RuntimeError: a bug",
        )
        assert "in broken" in view.traceback
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
        *repeated, last = errors
        assert set(repeated) == {"A bug in durablectl; the command will be delivered again."}
        # A step that is recorded before a later failure starts the count again.
        assert 4 <= len(repeated) <= 4 * 3
        assert last.startswith("Paused: ")
        await control.resume(store, invocation_id)
        await control.signal(store, invocation_id, "go", "done")
        assert await wait_for_output(store, invocation_id) == "done"
    assert (await query.get_workflow(store, invocation_id)).traceback == ""


async def test_refused_write_pauses_after_five_deliveries(settings, store, monkeypatch):
    async def refuse(*_):
        raise StorageError("JetStream refused it (error 1).")

    async with running_processor(settings, handler):
        with monkeypatch.context() as patched:
            patched.setattr("durablectl.engine.replay.ownership.journal.append", refuse)
            invocation_id = await start_workflow(store, handler)
            view = await wait_for_status(store, invocation_id, "paused")
        assert view.reason == "durablectl failed on it 5 times: StorageError: JetStream refused it (error 1)."
        await control.resume(store, invocation_id)
        await control.signal(store, invocation_id, "go", "done")
        assert await wait_for_output(store, invocation_id) == "done"


async def test_engine_error_with_progress_in_between_is_not_counted(settings, store, monkeypatch):
    append = Ownership.append

    async def append_then_fail(self, entry):
        await append(self, entry)
        raise RuntimeError("a bug")

    @workflow
    async def seven(ctx):
        for number in range(7):
            await ctx.step(asyncio.sleep, 0, name=f"step {number}")
        return "done"

    monkeypatch.setattr(Ownership, "append", append_then_fail)
    async with running_processor(settings, seven):
        assert await wait_for_output(store, await start_workflow(store, seven)) == "done"


async def test_schedule_whose_fire_cannot_be_carried_out_is_set_aside(settings, store, monkeypatch, caplog):
    monkeypatch.setattr("durablectl.engine.worker.execute.fire", broken)
    async with running_processor(settings, handler):
        await control.create_schedule(store, "often", handler.name, every=1)
        await wait_until(lambda: "Set aside the command" in caplog.text)
        await control.delete_schedule(store, "often")
        await wait_until(lambda: no_commands_left(store))


@pytest.mark.parametrize(
    "target",
    ["durablectl.engine.worker.execute._read_journal", "durablectl.engine.replay.run.Run.idle"],
    ids=["before the run", "in the run"],
)
@pytest.mark.parametrize(
    ("processors", "most"),
    [(1, 5), (2, 4 + 5), (3, 10), (8, 10 + 8)],
    ids=["one", "two: neither fails five times before", "three: one has failed twice by the tenth", "eight"],
)
async def test_many_processors_do_not_multiply_the_deliveries(settings, store, monkeypatch, target, processors, most):
    failures = []

    def fail(*_, **__):
        failures.append(1)
        raise RuntimeError("a bug")

    async with contextlib.AsyncExitStack() as stack:
        for _ in range(processors):
            await stack.enter_async_context(running_processor(settings, handler, max_concurrent=1))
        with monkeypatch.context() as patched:
            patched.setattr(target, fail)
            invocation_id = await start_workflow(store, handler)
            view = await wait_for_status(store, invocation_id, "paused")
            await wait_until(lambda: no_commands_left(store))
        # One that takes it from another one counts that as a crash of the other.
        assert view.reason_code in {"engine_failed", "crashed_processor"}
        assert view.reason
        # Ten, and another one of each processor until one of them has failed twice. A step that is recorded in the run
        # before it fails starts the count of a processor again.
        again = processors if target.endswith("idle") else 0
        assert 5 <= len(failures) <= min(most + again, 10 + processors)


async def test_missing_permission_pauses_after_five_deliveries(settings, store, monkeypatch):
    async def deny(*_):
        raise PermissionDeniedError("The server allows no publish to durable.x.")

    async with running_processor(settings, handler):
        with monkeypatch.context() as patched:
            patched.setattr("durablectl.engine.worker.execute._read_journal", deny)
            invocation_id = await start_workflow(store, handler)
            view = await wait_for_status(store, invocation_id, "paused")
    assert view.reason == (
        "durablectl failed on it 5 times: PermissionDeniedError: The server allows no publish to durable.x."
    )


async def test_result_waits_for_a_permission_and_the_log_names_it(settings, store, monkeypatch, caplog):
    """The step has run: its result is kept until it may be stored."""
    began = []

    async def count():
        began.append(1)
        return "kept"

    @workflow
    async def keeps(ctx):
        kept = await ctx.step(count)
        await ctx.step(asyncio.sleep, 0)
        return kept

    async def deny(*_):
        raise PermissionDeniedError("The server allows no publish to durable.x.")

    monkeypatch.setattr("durablectl.engine.replay.ownership._FULL_SECONDS", 0.05)
    async with running_processor(settings, keeps):
        with monkeypatch.context() as patched:
            patched.setattr("durablectl.engine.replay.ownership.journal.append", deny)
            invocation_id = await start_workflow(store, keeps)
            waiting = f"Waiting to store what {invocation_id} has done: The server allows no publish to durable.x."
            await wait_until(lambda: waiting in caplog.text)
        assert await wait_for_output(store, invocation_id) == "kept"
    assert began == [1]


def test_delivery_of_what_cannot_be_paused_slows_down():
    assert [pause_seconds(failures, 0.5) for failures in (1, 5, 6, 7, 8, 12, 10**9)] == [0.5, 0.5, 1, 2, 4, 60, 60]
