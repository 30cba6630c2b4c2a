"""`wf pause`, `resume`, `cancel`, `retry` and `delete` of one workflow: what they print, do and refuse."""

from __future__ import annotations

import asyncio
import json

import pytest_asyncio

from durablectl import control, query
from durablectl.storage.records import states
from helpers import operations
from helpers.in_process import running_processor
from helpers.operations import new_key
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_status


@pytest_asyncio.fixture
async def desk(settings):
    async with operations.operator_cli(settings) as opened:
        yield opened


async def test_one_id_is_answered_with_a_sentence(desk):
    one = await desk.start_in_status("suspended")
    assert await desk.ok("wf", "pause", one, "--reason", "lunch") == "Paused.\n"
    assert await desk.ok("wf", "pause", one) == "It was paused already.\n"
    assert await desk.ok("wf", "pause", one, "-o", "name") == f"{one}\n"
    assert await desk.ok("wf", "resume", one) == "Resumed.\n"
    await wait_for_status(desk.store, one, "suspended")
    assert await desk.ok("wf", "cancel", one, "--reason", "no more") == "Cancelled.\n"
    refused = await desk.cli("wf", "resume", one)
    assert (refused.exit_code, refused.stdout) == (7, "")
    assert refused.stderr == (
        f"Error: The workflow {one} is cancelled and cannot be resumed.\n"
        "A failed or cancelled workflow goes on with `wf retry`.\n"
    )
    missing = await desk.cli("wf", "pause", "nope", "--json")
    assert (missing.exit_code, json.loads(missing.stderr)["error"]["code"]) == (3, "not_found")


async def test_a_step_in_flight_is_named_and_shown(desk):
    one = await desk.in_flight(operations.busy)
    assert await desk.ok("wf", "pause", one, "--reason", "a look") == (
        "Paused; step 0 hold is in flight and ends first.\n"
    )
    told = await desk.ok("wf", "get", one)
    assert "Now\tpaused: a look (step 0 hold is in flight and ends first)\n" in told
    assert f"{one}\tbusy\tpaused\t0\thold" in await desk.ok("wf", "list")
    operations.release(one)
    await wait_until(lambda: is_idle(desk, one))
    assert "Now\tpaused: a look\n" in await desk.ok("wf", "get", one)


async def is_idle(desk, invocation_id: str) -> bool:
    return not (await query.get_workflow(desk.store, invocation_id)).owner


async def test_cancel_waits_for_the_compensations(desk):
    one = await desk.in_flight(operations.booking)
    late = await desk.cli("wf", "cancel", one, "--reason", "wrong date", "--wait", "--timeout", "200ms")
    assert (late.exit_code, "had not ended after 0.2 s" in late.stderr) == (5, True)
    await wait_until(lambda: is_at(desk, one, 1))
    shown = await desk.ok("wf", "get", one)
    assert "Now\tcancelling: wrong date, running step 1 hold\n" in shown
    assert await desk.ok("wf", "cancel", one) == "It is being cancelled already.\n"
    refused = await desk.cli("wf", "pause", one)
    assert (refused.exit_code, "being cancelled" in refused.stderr) == (7, True)
    waiting = asyncio.create_task(desk.ok("wf", "cancel", one, "--wait"))
    assert not (await asyncio.wait([waiting], timeout=0.5))[0]
    operations.release(f"undo-{one}")
    assert await waiting == "Cancelled.\n"
    view = await query.get_workflow(desk.store, one)
    assert (view.status, view.reason) == ("cancelled", "wrong date")
    assert [(step.step_type, step.kind, bool(step.error)) for step in view.journal] == [
        ("hold", "step", True),
        ("hold", "compensation", False),
        ("undo", "compensation", False),
    ]
    assert f"undone {one}" in operations.effects
    result = await desk.cli("wf", "cancel", one, "--timeout", "3s")
    assert (result.exit_code, "--timeout is about --wait" in result.stderr) == (2, True)


async def is_at(desk, invocation_id: str, step: int) -> bool:
    return (await query.get_workflow(desk.store, invocation_id)).current_step == step


async def test_now_skips_the_compensations(desk):
    one = await desk.in_flight(operations.booking)
    assert await desk.ok("wf", "cancel", one, "--now", "--wait") == "Cancelled.\n"
    assert (await query.get_workflow(desk.store, one)).status == "cancelled"
    await wait_until(lambda: is_not_running(desk))
    assert f"undone {one}" not in operations.effects


async def is_not_running(desk) -> bool:
    return all(processor.busy == 0 for processor in await query.live_processors(desk.store))


async def test_retry_resumes_and_keeps_dropped_steps_as_history(desk):
    one = await desk.start_in_status("failed")
    assert await desk.ok("wf", "retry", one) == "Retrying from step 1.\n"
    await wait_until(lambda: has_tried(desk, one, 2))
    operations.healed.add(one)
    assert await desk.ok("wf", "retry", one, "--from-step", "0") == "Retrying from step 0.\n"
    await wait_for_status(desk.store, one, "completed")
    assert operations.effects.count(f"noted {one}") == 2
    plain = await desk.ok("wf", "get", one)
    assert "Retried\t2 times\n" in plain
    assert "Dropped" not in plain
    dropped = (await desk.ok("wf", "get", one, "--history")).split("Dropped\t")[1:]
    assert [part.count("no money") for part in dropped] == [2, 2]
    assert [len(part.strip().splitlines()) - 2 for part in dropped] == [1, 2]
    history = json.loads(await desk.ok("wf", "get", one, "--json"))["history"]
    assert [[step["step_number"] for step in each["steps"]] for each in history] == [[1], [0, 1]]
    assert "no money" in history[0]["reason"]


async def has_tried(desk, invocation_id: str, attempts: int) -> bool:
    view = await query.get_workflow(desk.store, invocation_id)
    return (view.status, view.attempt) == ("failed", attempts)


async def test_retry_refuses_a_step_that_was_never_reached(desk):
    one = await desk.start_in_status("failed")
    result = await desk.cli("wf", "retry", one, "--from-step", "9")
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: The workflow {one} has no step 9.\nIts steps are 0 to 1.\n",
    )
    result = await desk.cli("wf", "retry", one, "--from-step", "0", "--restart")
    assert (result.exit_code, "A restart begins at the first step." in result.stderr) == (2, True)
    assert (await query.get_workflow(desk.store, one)).status == "failed"


async def test_a_restart_is_linked_both_ways(desk):
    old = await desk.start_in_status("completed")
    told = json.loads(await desk.ok("wf", "retry", old, "--restart", "--json"))
    assert (told["restarted_from"], told["status"]) == (old, "pending")
    new = told["invocation_id"]
    await wait_for_status(desk.store, new, "completed")
    assert f"Restarted\tas {new}\n" in await desk.ok("wf", "get", old)
    assert f"Restart of\t{old}\n" in await desk.ok("wf", "get", new)
    line = json.loads((await desk.ok("wf", "retry", old, new, "--restart", "--json")).splitlines()[0])
    assert (line["restarted_from"], line["ok"]) == (old, True)


async def test_delete_removes_workflow_and_frees_its_id(desk):
    one = await desk.start_in_status("completed")
    assert await desk.ok("wf", "delete", one) == "Deleted.\n"
    assert (await desk.cli("wf", "get", one)).exit_code == 3
    assert await desk.ok("wf", "start", "quick", "--input", '"again"', "--id", one, "--wait") == '"again"\n'


LATE = ["noted deleted", "noted deleted too", "noted anew"]


@operations.workflow(name="late")
async def late(ctx, what):
    return await ctx.step(operations.note, what)


async def test_workflow_deleted_before_it_ran_never_runs(desk, settings):
    """Its start command may lie there until a processor comes."""
    await start_workflow(desk.store, "late", "deleted", id="one")
    await desk.ok("wf", "cancel", "one")
    await desk.ok("wf", "delete", "one")
    await start_workflow(desk.store, "late", "deleted too", id="two")
    await desk.ok("wf", "cancel", "two")
    await desk.ok("wf", "delete", "two")
    assert await desk.ok("wf", "start", "late", "--input", '"anew"', "--id", "two") == "two\n"
    async with running_processor(settings, late):
        assert await desk.ok("wf", "result", "two", "--timeout", "60s") == '"anew"\n'
        await wait_until(lambda: is_not_running(desk))
    assert [effect for effect in operations.effects if effect in LATE] == LATE[-1:]
    assert (await desk.cli("wf", "get", "one")).exit_code == 3


async def test_retry_of_parent_restarts_its_cancelled_children(desk):
    parent = await desk.start_and_wait(operations.delegating, "suspended")
    (first,) = (await query.get_workflow(desk.store, parent)).children
    shown = await desk.ok("wf", "get", parent)
    assert f"Children\t{first}\n" in shown
    assert f"Answer\tdurablectl wf get {first}\n" in shown
    assert f"Parent\t{parent}\n" in await desk.ok("wf", "get", first)
    await desk.ok("wf", "cancel", parent)
    await wait_for_status(desk.store, first, "cancelled")
    assert await desk.ok("wf", "retry", parent) == "Retrying from step 0.\n"
    await wait_for_status(desk.store, parent, "suspended")
    (second,) = (await query.get_workflow(desk.store, parent)).children
    assert second != first
    await wait_for_status(desk.store, second, "suspended")
    await desk.ok("wf", "resolve", f"{second}.approval", "--data", "7")
    assert await desk.ok("wf", "result", parent, "--timeout", "60s") == "7\n"


async def test_an_operation_needs_no_processor(desk):
    one = await start_workflow(desk.store, operations.UNSERVED_HANDLER)
    assert (await control.pause(desk.store, one)).status == "paused"
    assert await desk.ok("wf", "resume", one) == "Resumed.\n"
    assert (await query.get_workflow(desk.store, one)).waiting_for.kind == "processor"


async def test_step_of_dead_processor_is_not_shown_in_flight(desk):
    one = await desk.start_in_status("paused")
    execution, revision = await states.load(desk.store, one)
    execution.owner, execution.current_step, execution.current_step_type = "gone-1-abcdef", 2, "charge"
    await states.replace(desk.store, execution, revision)
    assert "Now\tpaused\n" in await desk.ok("wf", "get", one)
    assert await desk.ok("wf", "resume", one) == "Resumed.\n"
    await wait_for_status(desk.store, one, "suspended")


async def test_a_journal_too_big_for_the_record_can_be_retried(desk):
    one = new_key()
    await start_workflow(desk.store, operations.hoarding, one, id=one)
    await wait_for_status(desk.store, one, "failed")
    operations.healed.add(one)
    assert await desk.ok("wf", "retry", one, "--from-step", "2") == "Retrying from step 2.\n"
    view = await wait_for_status(desk.store, one, "completed")
    assert [step.step_number for step in view.journal] == list(range(13))
    (dropped,) = view.history
    assert [step.step_number for step in dropped.steps] == list(range(2, 13))
    assert all(step.response is None for step in dropped.steps)
    assert operations.effects.count(f"hoarded {one}") == 12 + 10
