"""Random programs on a real server, stopped and killed at random: they end with the output that their journals give."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from typing import Any

import pytest

from durablectl import control
from durablectl.engine.metrics import HandlerMetrics
from durablectl.engine.operations.operation_registry import received_in_vain
from durablectl.engine.operations.sleep import LoopTimer
from durablectl.engine.replay.control_flow import Suspended
from durablectl.engine.replay.ownership import Ownership
from durablectl.engine.replay.run import Run
from durablectl.engine.sdk.context import Context
from durablectl.errors import DurableError
from durablectl.model.names import awakeable_id_of
from durablectl.model.status import is_terminal
from durablectl.model.text import message_of
from durablectl.model.values import decode_value, encode_value
from durablectl.storage.records import journal, states
from durablectl.storage.records.message_types import SchemaWriter
from helpers.in_process import running_processor
from helpers.paths import APPS, TESTS
from helpers.processor_processes import alive, kill
from helpers.random_programs import nodes_of
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow
from random_app import program, random_child, random_program

APP = str(APPS / "random_app.py")
HELPERS = {"PYTHONPATH": str(TESTS)}
_VALUE = re.compile(r"[ab]\d+(?:-undo)?:[0-9a-f]{8}")


async def start(store, seeds) -> dict[str, int]:
    """Start a workflow per seed, and give each what it waits for; the seeds by invocation id."""

    async def start_one(seed: int) -> tuple[str, int]:
        invocation_id = await start_workflow(store, random_program, seed, id=f"seed-{seed}")
        made = program(seed)
        for node in nodes_of(made, "awakeable"):
            await answer(control.resolve(store, awakeable_id_of(invocation_id, node.name, 1), f"answer {node.name}"))
        for number, _ in enumerate(nodes_of(made, "signal")):
            await answer(control.signal(store, invocation_id, "note", number))
        return invocation_id, seed

    return dict(await asyncio.gather(*(start_one(seed) for seed in seeds)))


async def answer(operation) -> None:
    """Give an answer, which a workflow that has ended no longer takes."""
    with contextlib.suppress(DurableError):
        await operation


async def have_ended(store, ids) -> bool:
    found = await states.load_many(store, list(ids))
    stuck = {i: s.execution.reason for i, s in found.items() if s.execution.status == "paused"}
    assert not stuck
    return len(found) == len(ids) and all(is_terminal(stored.execution.status) for stored in found.values())


class Replay(Run):
    """A run that executes nothing: it stops where its entries end."""

    def __init__(self, store, execution, revision, entries) -> None:
        super().__init__(
            store,
            Ownership(store, execution, revision),
            entries,
            schemas=SchemaWriter(store),
            metrics=HandlerMetrics(),
            jitter=random.Random(0),
            make_timer=LoopTimer,
            received_in_vain=received_in_vain,
        )
        self.asked: list[tuple[int, str, str, bytes]] = []
        begin = self.runner.begin

        def begin_and_note(operation: Any) -> Any:
            before = self.state.step_count
            future = begin(operation)
            if self.state.step_count > before:
                self.asked.append((before, operation.kind, operation.step_type, operation._request.data))
            return future

        self.runner.begin = begin_and_note

    def begin(self, pending) -> None:
        pass

    def idle(self) -> None:
        self.exit(Suspended([], 0))

    async def outcome(self, seed: int) -> Any:
        """The output, the exception, or None where the entries end before the handler."""
        try:
            task = await self.run_handler(random_program.function(Context(self), seed), None)
        except Suspended:
            return None
        finally:
            self.close()
        if task.cancelled():
            # asyncio of Python before 3.13 cancels once more a task whose timeout strikes as its block ends.
            return "The handler raised CancelledError."
        error = task.exception()
        return message_of(error) if error is not None else decode_value(encode_value(task.result(), "output"))


async def check(store, invocation_id: str, seed: int) -> None:
    execution, revision = await states.load(store, invocation_id)
    entries = execution.journal or await journal.read(store, invocation_id)
    recorded = {value: entry for entry in entries if (value := entry.response.data.decode().strip('"'))}
    steps = Counter(entry.step_type for entry in entries if entry.kind == "step")
    assert max(steps.values(), default=1) == 1, f"recorded twice: {steps}"
    own = {entry.step_number for entry in entries}
    output = decode_value(execution.output) if execution.status == "completed" else execution.error
    for value in _VALUE.findall(str(output)):
        assert value in recorded, f"{value} is in the output, and not in the journal"
    ends = sorted((entry for entry in entries if entry.finished_at), key=lambda entry: entry.order)
    assert [entry.order for entry in ends] == sorted({entry.order for entry in ends} - {0})
    whole = Replay(store, execution, revision, entries)
    outcome = await whole.outcome(seed)
    assert outcome == output
    asked = [number for number, *_ in whole.asked]
    assert asked == list(range(len(asked)))
    cancelled = {pending.number for pending in whole.runner.cancelled_in_replay}
    # What a task that nothing awaits had asked for when the handler ended.
    unfinished = set(whole.runner.pending)
    left = [each for each in whole.asked if each[0] not in own | cancelled | unfinished]
    assert not left, "without an entry, and not cancelled"
    for length in range(len(ends)):
        part = Replay(store, execution, revision, ends[:length])
        await part.outcome(seed)
        assert part.asked == whole.asked[: len(part.asked)]


async def check_all(store, ids) -> None:
    for invocation_id, seed in ids.items():
        await check(store, invocation_id, seed)


async def run_with_stops(settings, store, seeds, choices) -> None:
    """Run the programs on processors that are stopped at random times."""
    ids = None
    for _ in range(40):
        async with running_processor(settings, random_program, random_child, grace=0.0):
            ids = ids or await start(store, seeds)
            await asyncio.sleep(choices.choice((0.02, 0.1, 0.3)))
            if await have_ended(store, ids):
                break
    async with running_processor(settings, random_program, random_child):
        await wait_until(lambda: have_ended(store, ids), detail=lambda: ids)
    await check_all(store, ids)


async def run_without_stops(settings, store, seeds) -> None:
    async with running_processor(settings, random_program, random_child):
        ids = await start(store, seeds)
        await wait_until(lambda: have_ended(store, ids))
    await check_all(store, ids)


async def run_with_kills(store, spawn, seeds, kills: int, choices) -> None:
    """Run the programs in processes that are killed at random times."""
    ids = None
    for _ in range(kills):
        process = spawn("run", "processor", APP, "--ack-wait", "5", env=HELPERS)
        await alive(store, process)
        ids = ids or await start(store, seeds)
        await asyncio.sleep(choices.choice((0.05, 0.2, 0.5)))
        kill(process)
    spawn("run", "processor", APP, "--ack-wait", "5", env=HELPERS)
    await wait_until(lambda: have_ended(store, ids))
    await check_all(store, ids)


async def test_random_programs_without_interruption(settings, store):
    await run_without_stops(settings, store, range(40))


async def test_random_programs_on_processors_that_stop(settings, store):
    await run_with_stops(settings, store, range(100, 140), random.Random(1))


async def test_random_programs_on_processors_that_are_killed(store, spawn):
    await run_with_kills(store, spawn, range(200, 240), 2, random.Random(2))


async def test_random_programs_suspended_at_every_wait(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.engine.replay.wait_registry._KEPT_IN_MEMORY_OTHERWISE_US", -1)
    await run_without_stops(settings, store, range(300, 340))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1000, 3000, 200))
async def test_two_thousand_random_programs(settings, store, spawn, monkeypatch, first):
    choices = random.Random(first)
    await run_without_stops(settings, store, range(first, first + 50))
    await run_with_stops(settings, store, range(first + 50, first + 100), choices)
    await run_with_kills(store, spawn, range(first + 100, first + 150), 4, choices)
    monkeypatch.setattr("durablectl.engine.replay.wait_registry._KEPT_IN_MEMORY_OTHERWISE_US", -1)
    await run_with_stops(settings, store, range(first + 150, first + 200), choices)
