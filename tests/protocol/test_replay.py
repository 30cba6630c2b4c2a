"""The real engine, control and storage code does, operation by operation, what the model of the protocol does."""

from __future__ import annotations

import asyncio
import contextlib
import statistics

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.in_process import provisioned_store
from helpers.index_listing import index_groups, wait_for_index_group
from helpers.protocol.explorer import Scenario, System
from helpers.protocol.interleavings import chosen, covering, steered
from helpers.protocol.stage import staged
from helpers.workflow_runs import start_workflow

STEPS, WAITS, FAILS = ("step", "step"), ("step", "wait"), ("step", "fail")
FAILS_THEN_WAITS = ("step", "fail", "wait")
HANDLERS = [STEPS, WAITS, FAILS, FAILS_THEN_WAITS]

SYSTEMS = {
    "a processor dies": System(Scenario(STEPS, deaths=1)),
    "it is frozen": System(Scenario(STEPS, expiries=1)),
    "a command comes twice": System(Scenario(STEPS, repeats=1)),
    "start": System(Scenario(STEPS, (("start",),), started=False, deaths=1)),
    "pause and resume": System(Scenario(STEPS, (("pause", "resume"),))),
    "cancel beside pause": System(Scenario(STEPS, (("cancel",), ("pause",)))),
    "cancel at once and retry": System(Scenario(STEPS, (("cancel_now", "retry"),), deaths=1)),
    "resolve": System(Scenario(WAITS, (("resolve",),), deaths=1)),
    "retry": System(Scenario(FAILS_THEN_WAITS, (("retry",), ("resolve",)), deaths=1)),
    "everything": System(
        Scenario(WAITS, (("pause", "resume"), ("resolve",), ("cancel",)), deaths=1, expiries=1, repeats=1, early=True)
    ),
}
SHALLOW = {"cancel at once and retry": 3, "resolve": 3, "retry": 3, "everything": 2}
LONG = [
    "start",
    "pause and resume",
    "cancel beside pause",
    "cancel at once and retry",
    "resolve",
    "retry",
    "everything",
]


async def follow_all(settings, system: System, depth: int) -> int:
    count = 0
    async with staged(settings, HANDLERS) as stage:
        for schedule in covering(system, depth):
            await stage.play(system, schedule)
            count += 1
    print(f"{count} schedules, {stage.operations} operations")
    return count


@pytest.mark.parametrize("name", SYSTEMS)
async def test_the_code_follows_every_move_of_the_model_up_to_a_depth(settings, name):
    assert await follow_all(settings, SYSTEMS[name], SHALLOW.get(name, 4)) >= 10


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "depth"), [("a processor dies", 99), ("a command comes twice", 99), ("it is frozen", 99)]
)
async def test_the_code_follows_every_move_of_a_whole_model(settings, name, depth):
    assert await follow_all(settings, SYSTEMS[name], depth) >= 100


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", LONG)
async def test_the_code_follows_every_move_of_the_model_up_to_a_greater_depth(settings, name):
    assert await follow_all(settings, SYSTEMS[name], SHALLOW.get(name, 4) + 2) >= 40


def follow_chosen(settings, examples: int) -> None:
    """Hypothesis decides who acts next, and who dies; a schedule that fails is made as short as it can be."""
    with asyncio.Runner() as runner, contextlib.ExitStack() as cleanup:
        context = staged(settings, HANDLERS)
        stage = runner.run(context.__aenter__())
        cleanup.callback(lambda: runner.run(context.__aexit__(None, None, None)))
        lengths = []

        @effort(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(LONG), st.lists(st.integers(0, 30), min_size=60, max_size=150))
        def follow(name: str, choices: list[int]) -> None:
            system = SYSTEMS[name]
            schedule = chosen(system, choices)
            lengths.append(len(schedule))
            runner.run(stage.play(system, schedule))

        follow()
    print(f"{len(lengths)} schedules of {sum(lengths) // len(lengths)} moves, {stage.operations} operations")
    # Deeper than what is explored exhaustively; the longest one depends on what Hypothesis happens to choose.
    assert statistics.median(lengths) > 10


def test_the_code_follows_long_schedules_of_the_model(settings):
    follow_chosen(settings, 30)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_code_follows_thousands_of_long_schedules_of_the_model(settings):
    follow_chosen(settings, 3000)


async def test_late_purge_after_retry_keeps_recorded_steps(settings):
    """The processor that ended it is slow: it purges the journal when another has read it and gone on."""
    system = System(Scenario(FAILS_THEN_WAITS, (("retry",),)))
    orders = [("deliver", 0, ""), ("act", 0, "purge"), ("act", 2, ""), ("deliver", 1, ""), ("act", 1, "")]
    schedule = steered(system, orders)
    asked = []
    place = system.begin()
    for move in schedule:
        if move.kind == "act":
            asked.append((move.who, system.asks(place, move.who)[0]))
        place = system.after(place, move)
    assert asked.index((1, "read")) < asked.index((0, "purge"))
    assert [entry.number for entry in system.world(place).journal] == [0, 1, 2]
    async with staged(settings, HANDLERS) as stage:
        await stage.play(system, schedule)


async def test_pause_seen_while_recording_starts_no_further_step(settings):
    system = SYSTEMS["pause and resume"]
    schedule = steered(system, [("deliver", 0, ""), ("act", 0, "append"), ("act", 2, "enter")])
    async with staged(settings, HANDLERS) as stage:
        await stage.play(system, schedule)


async def test_cancellation_before_the_first_step_begins_records_no_step(settings):
    """Found by a random schedule: another processor claims, and the request to cancel comes before it has read."""
    choices = [13, 10, 19, 0, 0, 0, 4, 7, 17, 22, 26, 0, 0, 4, 4, 13, 19, 20, 26, 26, 0, 0, 0, 0, 0, 0, 14, 20]
    system = SYSTEMS["everything"]
    async with staged(settings, HANDLERS) as stage:
        await stage.play(system, chosen(system, [*choices, *[0] * 32]))


async def test_late_writer_keeps_the_previous_index_entry(settings):
    """The one that ended it may have died before it entered that: by the entry that is there others find it."""
    async with provisioned_store(settings) as store:
        invocation_id = await start_workflow(store, "h")
        seen = await states.load(store, invocation_id)
        ended = await states.load(store, invocation_id)
        ended.execution.enter_status("completed", ended.execution.created_at + 1)
        assert await states.replace(store, ended.execution, ended.revision)
        await index_entries.update_entry(store, seen.execution)
        assert await index_groups(store, invocation_id) == ["pending"]
        await index_entries.update_entry(store, ended.execution)
        await index_entries.update_entry(store, seen.execution)
        await wait_for_index_group(store, invocation_id, "completed")
