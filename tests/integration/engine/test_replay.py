"""Replay: recorded steps do not run again, the handler sees the same again, and changed code is noticed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from durablectl import Retry, StepError, query, workflow
from durablectl.demo._proto.hello_pb2 import HelloResponse
from durablectl.engine.worker import outcome
from helpers.in_process import running_processor
from helpers.index_listing import index_groups, wait_for_index_group
from helpers.stored_commands import no_commands_left
from helpers.stored_records import list_journal_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_output, wait_for_status

ONCE = Retry(max_attempts=1)


class Gate:
    """A step that holds until it is opened; a processor that stops meanwhile hands the workflow back."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self) -> str:
        self.reached.set()
        await self.opened.wait()
        return "opened"


async def interrupted(settings, store, handler, gate: Gate, input=None) -> str:
    """Start the workflow on a processor that stops while the gate holds it."""
    async with running_processor(settings, handler, grace=0.05):
        invocation_id = await start_workflow(store, handler, input)
        await asyncio.wait_for(gate.reached.wait(), 60)
    assert (await query.get_workflow(store, invocation_id)).status == "pending"
    gate.opened.set()
    return invocation_id


async def test_a_recorded_step_does_not_run_again(settings, store, tmp_path):
    gate, effects = Gate(), tmp_path / "effects"

    def effect(name: str) -> list[str]:
        with effects.open("a") as file:
            file.write(name + "\n")
        return [name, name]

    @workflow
    async def handler(ctx, value):
        first = await ctx.step(effect, value)
        second = await ctx.step(effect, "second")
        held = await ctx.step(gate)
        return [ctx.attempt, first, second, held, await ctx.step(effect, "third")]

    invocation_id = await interrupted(settings, store, handler, gate, "first")
    async with running_processor(settings, handler) as second:
        assert await wait_for_output(store, invocation_id) == [
            2,
            ["first"] * 2,
            ["second"] * 2,
            "opened",
            ["third"] * 2,
        ]
    assert effects.read_text().splitlines() == ["first", "second", "third"]
    view = await query.get_workflow(store, invocation_id)
    assert (view.attempt, view.owner, view.total_steps, view.output[0]) == (2, second.id, 4, 2)
    assert [s.step_number for s in view.journal] == [0, 1, 2, 3]
    assert await list_journal_subjects(store, invocation_id) == []
    await wait_for_index_group(store, invocation_id, "completed")


async def test_the_handler_sees_the_same_values_again(settings, store):
    """The moment, randomness, messages, tuples that are lists, and the error of a step that failed for good."""
    gate, seen = Gate(), []

    async def fails():
        raise ValueError("for good")

    async def values():
        return {"tuple": (1, 2), 3: None}

    async def message():
        return HelloResponse(message="hi")

    @workflow
    async def handler(ctx):
        notes = [ctx.now().isoformat(), ctx.random(), str(ctx.uuid())]
        notes.append(await ctx.step(values))
        notes.append((await ctx.step(message)).message)
        try:
            await ctx.step(fails, retry=ONCE)
        except StepError as error:
            notes.append([str(error), error.step_number, error.attempts, error.error_type])
        notes += [ctx.now().isoformat(), ctx.random(), str(ctx.uuid()), ctx.invocation_id, ctx.handler]
        seen.append(list(notes))
        await ctx.step(gate)
        return notes

    invocation_id = await interrupted(settings, store, handler, gate)
    async with running_processor(settings, handler):
        output = await wait_for_output(store, invocation_id)
    assert len(seen) == 2
    assert seen[0] == seen[1] == output
    assert output[3] == {"tuple": [1, 2], "3": None}
    assert output[5] == ["Step 2 'fails' failed at its first attempt: for good", 2, 1, "ValueError"]
    assert output[0] < output[6]
    assert len({output[1], output[7]}) == len({output[2], output[8]}) == 2


async def test_two_invocations_have_their_own_randomness(settings, store):
    @workflow
    async def handler(ctx):
        identifier = ctx.uuid()
        return [ctx.random(), str(identifier), identifier.version]

    async with running_processor(settings, handler):
        outputs = [await wait_for_output(store, await start_workflow(store, handler)) for _ in range(3)]
    assert len({output[0] for output in outputs}) == len({output[1] for output in outputs}) == 3
    assert all(0 <= output[0] < 1 and output[2] == 4 for output in outputs)


async def test_state_is_rebuilt(settings, store):
    gate = Gate()

    @workflow
    async def handler(ctx, item):
        ctx.set("cart", [*ctx.get("cart", []), item])
        ctx.set("greeting", HelloResponse(message="hi"))
        await ctx.step(gate)
        ctx.set("cart", [*ctx.get("cart", []), "after"])
        return [ctx.get("cart"), ctx.get("greeting").message, ctx.get("missing"), ctx.get("missing", 0)]

    invocation_id = await interrupted(settings, store, handler, gate, "before")
    async with running_processor(settings, handler):
        assert await wait_for_output(store, invocation_id) == [["before", "after"], "hi", None, 0]
    view = await query.get_workflow(store, invocation_id)
    assert view.workflow_state == {"cart": ["before", "after"], "greeting": {"message": "hi"}}


@pytest.mark.parametrize("end", ["complete", "fail"])
async def test_state_is_kept_where_everything_was_recorded_before_the_end(settings, store, monkeypatch, end):
    """The last result is recorded by itself, and the processor dies before it writes the end."""
    monkeypatch.setattr("durablectl.engine.worker.slots._RETRY_SECONDS", 0.05)
    write_end, tries = getattr(outcome, end), []

    async def dies_once(*args):
        tries.append(args)
        if len(tries) == 1:
            raise RuntimeError("as if it had died")
        return await write_end(*args)

    monkeypatch.setattr(outcome, end, dies_once)

    async def large():
        return "x" * 10_000

    @workflow
    async def handler(ctx):
        ctx.set("early", 1)
        await ctx.step(large)
        ctx.set("late", 2)
        if end == "fail":
            raise ValueError("no")

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert (view.workflow_state, view.attempt, len(tries)) == ({"early": 1, "late": 2}, 2, 2)


async def test_logger_repeats_nothing_on_replay(settings, store, caplog):
    caplog.set_level(logging.INFO, "durablectl.workflow")
    gate, replaying = Gate(), []

    @workflow
    async def handler(ctx):
        replaying.append(ctx.is_replaying)
        ctx.log.info("before %s", "the step")
        await ctx.step(asyncio.sleep, 0)
        replaying.append(ctx.is_replaying)
        ctx.log.info("between")
        await ctx.step(gate)
        ctx.log.info("after", extra={"more": 1})

    invocation_id = await interrupted(settings, store, handler, gate)
    async with running_processor(settings, handler):
        await wait_for_output(store, invocation_id)
    records = [record for record in caplog.records if record.name == "durablectl.workflow"]
    # "between" stood behind the last recorded step: whether it was said before the crash, nobody knows.
    assert [record.getMessage() for record in records] == ["before the step", "between", "between", "after"]
    assert {(record.invocation_id, record.handler) for record in records} == {(invocation_id, "handler")}
    assert records[-1].more == 1
    assert replaying == [False, False, True, False]


def change(before, after):
    """The same handler name with two codes."""
    return workflow(name="changing")(before), workflow(name="changing")(after)


async def step_a():
    return "a"


async def step_b():
    return "b"


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (
            lambda ctx, _gate: ctx.step(step_b),
            "NonDeterminismError: step 0 is recorded as the step 'step_a', but the code now asks for the step 'step_b'",
        ),
        (
            lambda ctx, _gate: ctx.call("S", "go"),
            "NonDeterminismError: step 0 is recorded as the step 'step_a', but the code now asks for the call 'S.go'",
        ),
        (
            lambda ctx, _gate: ctx.gather(ctx.step(step_b), ctx.step(step_a)),
            "NonDeterminismError: step 0 is recorded as the step 'step_a', but the code now asks for the step 'step_b'",
        ),
        (
            lambda _ctx, _gate: asyncio.sleep(0),
            "NonDeterminismError: step 0 is recorded as 'step_a', but the code now ends after 0 steps",
        ),
        (
            lambda ctx, _gate: ctx.step(step_a),
            "NonDeterminismError: step 1 is recorded as 'step_b', but the code now ends after 1 steps",
        ),
    ],
    ids=["another step", "another kind", "gathered", "no steps", "fewer steps"],
)
async def test_changed_code_pauses_the_workflow_with_the_reason(settings, store, after, reason):
    gate = Gate()

    async def old(ctx):
        await ctx.step(step_a)
        await ctx.step(step_b)
        await ctx.step(gate)

    async def new(ctx):
        await after(ctx, gate)

    before, changed = change(old, new)
    invocation_id = await interrupted(settings, store, before, gate)
    async with running_processor(settings, changed):
        view = await wait_for_status(store, invocation_id, "paused")
        await wait_until(lambda: no_commands_left(store))
    assert (view.reason, view.error, view.output) == (reason, "", None)
    assert [s.step_type for s in view.journal] == ["step_a", "step_b"]
    assert (view.total_steps, view.attempt, view.waiting_for) == (3, 2, None)
    assert await index_groups(store, invocation_id) == ["paused"]


async def test_changed_code_that_fails_before_its_recorded_steps_loses_nothing(settings, store):
    """Whether this is a failure or a mismatch: the recorded steps stay readable and none is left in the stream."""
    gate = Gate()

    async def old(ctx):
        await ctx.step(step_a)
        await ctx.step(step_b)
        await ctx.step(gate)

    async def new(ctx):
        await ctx.step(step_a)
        raise ValueError("changed")

    before, changed = change(old, new)
    invocation_id = await interrupted(settings, store, before, gate)
    async with running_processor(settings, changed):
        await wait_until(lambda: no_commands_left(store))
    view = await query.get_workflow(store, invocation_id)
    assert view.status in {"failed", "paused"}
    assert [s.step_type for s in view.journal] == ["step_a", "step_b"]
    if view.status == "failed":
        assert await list_journal_subjects(store, invocation_id) == []


async def test_code_extended_past_the_journal_is_no_mismatch(settings, store):
    gate = Gate()

    async def old(ctx):
        await ctx.step(step_a)
        await ctx.step(gate)

    async def new(ctx):
        await ctx.step(step_a)
        return await ctx.step(step_b)

    before, changed = change(old, new)
    invocation_id = await interrupted(settings, store, before, gate)
    async with running_processor(settings, changed):
        assert await wait_for_output(store, invocation_id) == "b"
