"""How workflows end: outputs, failures with their traceback, limits, and nothing left behind."""

from __future__ import annotations

import asyncio
import json

import pytest

from durablectl import Retry, TerminalError, query, workflow
from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.embedded import EmbeddedServer
from durablectl.errors import InvalidValueError, WorkflowFailedError
from durablectl.settings import Settings
from helpers.in_process import provisioned_store, running_processor
from helpers.index_listing import index_groups, list_index_entries
from helpers.stored_commands import no_commands_left
from helpers.stored_records import list_journal_subjects, read_journal
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow, wait_for_outcome, wait_for_output


async def same(value=None):
    return value


async def clean(store, invocation_id: str, status: str) -> None:
    """Its command is done with, its journal folded away, and the index has it once."""
    await wait_until(lambda: no_commands_left(store))
    assert await index_groups(store, invocation_id) == [status]
    assert await list_journal_subjects(store, invocation_id) == []


@pytest.mark.parametrize("output", [None, "text", 0, False, [1, {"a": "Grüße"}], {"b": 1.5}])
async def test_any_json_is_an_output(settings, store, output):
    @workflow
    async def handler(_ctx):
        return output

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "completed")
        assert await wait_for_output(store, view.invocation_id) == output
    assert (view.status, view.output, view.error, view.journal) == ("completed", output, "", [])
    assert view.created_at <= view.started_at <= view.finished_at


async def test_messages_as_input_and_output(settings, store):
    @workflow
    async def handler(_ctx, request: HelloRequest) -> HelloResponse:
        return HelloResponse(message=f"Hello, {request.name}!")

    async with running_processor(settings, handler):
        for given, name in ((HelloRequest(name="Ada"), "Ada"), ({"name": "Bob"}, "Bob"), (None, "")):
            view = await run_to_end(store, handler, given)
            assert view.output == {"message": f"Hello, {name}!"}
            assert await wait_for_output(store, view.invocation_id) == HelloResponse(message=f"Hello, {name}!")


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 30])
async def test_nothing_is_left_of_a_journal_that_is_folded(settings, store, steps):
    @workflow
    async def handler(ctx):
        for number in range(steps):
            await ctx.step(same, number)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "completed")
    assert [step.response for step in view.journal] == list(range(steps))


async def test_large_journal_stays_in_its_entries_and_is_readable(settings, store):
    @workflow
    async def handler(ctx):
        for letter in "abc":
            await ctx.step(same, letter * 200_000)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert [step.response[:1] for step in view.journal] == ["a", "b", "c"]
    assert [len(step.response) for step in view.journal] == [200_000] * 3
    assert len(await read_journal(store, view.invocation_id)) == 3
    page = await query.list_workflows(store)
    assert [(v.status, v.total_steps) for v in page.workflows] == [("completed", 3)]


async def test_uncaught_exception_fails_workflow_with_traceback(settings, store):
    def innermost():
        raise LookupError("no such user")

    @workflow
    async def handler(ctx):
        await ctx.step(same, 1)
        try:
            innermost()
        except LookupError as error:
            raise RuntimeError("gave up") from error

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "failed")
        with pytest.raises(WorkflowFailedError, match=f"{view.invocation_id} failed: gave up") as caught:
            await wait_for_output(store, view.invocation_id)
    assert caught.value.exit_code == 10
    assert (view.status, view.error, view.error_type, view.output) == ("failed", "gave up", "RuntimeError", None)
    assert [step.response for step in view.journal] == [1]
    assert "in innermost" in view.traceback
    assert "LookupError: no such user" in view.traceback
    assert view.traceback.rstrip().endswith("RuntimeError: gave up")
    assert "durablectl/engine" not in view.traceback


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no text")


HOSTILE = [
    UnprintableError(),
    ValueError("a name from the disk \udcff"),
    ValueError("x" * 3_000_000),
    ValueError("\x00\x1b[31m"),
    asyncio.CancelledError(),
    ExceptionGroup("several", [ValueError("one"), ValueError("two")]),
    TerminalError("enough"),
]


@pytest.mark.parametrize("error", HOSTILE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["handler", "step", "thread"])
async def test_any_exception_ends_only_its_workflow(settings, store, where, error):
    async def raises():
        raise error

    def raises_in_thread():
        raise error

    @workflow
    async def handler(ctx):
        if where == "handler":
            raise error
        await ctx.step(raises if where == "step" else raises_in_thread, name="bad", retry=Retry(max_attempts=1))

    @workflow
    async def bystander(ctx):
        return await ctx.step(same, "fine")

    async with running_processor(settings, handler, bystander):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "failed")
        assert await run_workflow(store, bystander) == "fine"
    assert view.error
    json.dumps(view.to_json(), ensure_ascii=False).encode()


async def test_a_swallowed_step_error_is_no_failure(settings, store):
    async def bad():
        raise ValueError

    @workflow
    async def handler(ctx):
        try:
            await ctx.step(bad, retry=Retry(max_attempts=1))
        except Exception:  # noqa: BLE001 - what many handlers do
            return "went on"

    async with running_processor(settings, handler):
        assert await run_workflow(store, handler) == "went on"


async def test_an_output_that_json_cannot_hold_is_a_sentence(settings, store):
    @workflow
    async def handler(_ctx):
        return {1, 2}

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert (view.status, view.error_type) == ("failed", "InvalidValueError")
    assert view.error.startswith("The result of workflow 'handler' is a set that JSON cannot hold")


async def test_an_output_over_the_maximum_payload_is_a_sentence(settings, store):
    @workflow
    async def handler(ctx):
        await ctx.step(same, "kept")
        return "x" * 1_100_000

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "failed")
    assert view.error.startswith("The output of 1,100,002 bytes cannot be stored: ")
    assert "maximum payload of 1,048,576 bytes" in view.error
    assert [step.response for step in view.journal] == ["kept"]


async def test_a_step_result_over_the_maximum_payload_is_a_step_error(settings, store):
    @workflow
    async def handler(ctx):
        await ctx.step(str.ljust, "x", 1_100_000, name="huge")

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.status == "failed"
    assert view.error.startswith("Step 0 'huge' failed at its first attempt: its request and result cannot be stored")
    assert [(s.attempts, s.response) for s in view.journal] == [(1, None)]


async def test_sizes_around_the_limit_all_end(tmp_path):
    """One byte over what the server takes, headers included, and it closes the connection."""

    @workflow
    async def output(_ctx, size):
        return "x" * size

    @workflow
    async def step(ctx, size):
        await ctx.step(str.ljust, "x", size, name="s", retry=Retry(max_attempts=1))

    with EmbeddedServer(tmp_path, config="max_payload: 65536") as server:
        settings = Settings(url=server.url, timeout=30)
        async with provisioned_store(settings) as store, running_processor(settings, output, step) as running:
            for handler in (output, step):
                ids = [await start_workflow(store, handler, size) for size in range(65_000, 65_560, 16)]
                statuses = [(await wait_for_outcome(store, one)).execution.status for one in ids]
                assert statuses == sorted(statuses)
                assert set(statuses) == {"completed", "failed"}
            await wait_until(lambda: no_commands_left(store))
            assert {e.group for e in await list_index_entries(store)} == {"completed", "failed"}
            assert running.store.nats.stats["reconnects"] == 0


async def test_unserializable_state_is_refused_when_set(settings, store):
    @workflow
    async def handler(ctx):
        refused = []
        for key, value in (("k", {1}), ("k", "x" * 1_100_000), (5, 1), ("\ud800", 1), ("k" * 1_100_000, 1)):
            with pytest.raises(InvalidValueError) as caught:
                ctx.set(key, value)
            refused.append(caught.value.message[:40])
        ctx.set("k", "fine")
        await ctx.step(asyncio.sleep, 0.05)
        return refused

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "completed")
    assert len(view.output) == 5
    assert view.workflow_state == {"k": "fine"}


async def test_many_keys_that_together_are_too_much_are_refused_too(settings, store):
    @workflow
    async def handler(ctx):
        for number in range(900):
            ctx.set(f"{number:04d}" * 250, number)
            if number == 800:
                await ctx.step(asyncio.sleep, 0.05)
        with pytest.raises(InvalidValueError, match="the server's limit"):
            ctx.set("k", "x" * 100_000)
        raise ValueError("and failing with it still works")

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
        await clean(store, view.invocation_id, "failed")
    assert view.error == "and failing with it still works"
