"""Real processors, killed with -9 in the middle of their work: all completes, and no journaled step runs again."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from durablectl import query
from durablectl.storage.records import states
from helpers.index_listing import list_index_entries
from helpers.paths import APPS
from helpers.stored_commands import count_commands
from helpers.stored_records import list_journal_subjects, wait_for_quiet_state_stream
from helpers.waiting import PATIENCE, wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome

if TYPE_CHECKING:
    from pathlib import Path

APP = str(APPS / "crash_app.py")


class Effects:
    """What the steps have left in the file, whichever process ran them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, word: str) -> list[tuple[str, int, int]]:
        text = self.path.read_text() if self.path.exists() else ""
        rows = [line.split() for line in text.splitlines()]
        return [(row[1], int(row[2]), int(row[3])) for row in rows if row[0] == word]


@pytest.fixture
def effects(tmp_path):
    return Effects(tmp_path / "effects")


@pytest.fixture
def processor(spawn, effects):
    def run(*options: str):
        return spawn("run", "processor", APP, *options, env={"EFFECTS": str(effects.path)})

    return run


async def recorded_steps(store, ids) -> set[tuple[str, int]]:
    """Every step that the store holds as done, once nothing moves any more."""
    await wait_for_quiet_state_stream(store)
    steps = set()
    for subject in await list_journal_subjects(store):
        _, invocation_id, number = subject.rsplit(".", 2)
        steps.add((invocation_id, int(number)))
    for invocation_id, stored in (await states.load_many(store, ids)).items():
        steps |= {(invocation_id, entry.step_number) for entry in stored.execution.journal}
    return steps


async def all_well(store, ids, steps: int) -> None:
    """Completed, with every step recorded once; listed once; the index agrees; nothing left over."""
    for one in ids:
        ended = (await wait_for_outcome(store, one)).execution
        assert (ended.status, [e.step_number for e in ended.journal]) == ("completed", list(range(steps))), one
    await wait_until(lambda: nothing_left(store))
    page = await query.list_workflows(store, limit=1000)
    assert sorted(view.invocation_id for view in page.workflows) == sorted(ids)
    assert (page.total, {view.status for view in page.workflows}) == (len(ids), {"completed"})
    entries = await list_index_entries(store)
    assert sorted(entry.invocation_id for entry in entries) == sorted(ids)
    assert {entry.group for entry in entries} == {"completed"}
    stats = await query.get_stats(store)
    assert (stats.total, dict(stats.by_status)) == (len(ids), {"completed": len(ids)})


async def nothing_left(store) -> bool:
    return (await count_commands(store), await list_journal_subjects(store)) == (0, [])


def gone_wrong(effects: Effects, recorded_by_kill) -> list[tuple[str, int]]:
    """Steps that began in a later process although an earlier one had recorded them."""
    return [
        (name, number)
        for name, number, process in effects.lines("begin")
        for dead, recorded in recorded_by_kill
        if process not in dead and (name, number) in recorded
    ]


async def kill_over_and_over(store, processor, effects, *, runs: int, steps: int, kills: int, handlers) -> list[str]:
    """Start the runs, kill the processor ``kills`` times on the way, and prove that nothing recorded ran again."""
    order = {"steps": steps, "seconds": 0.2}
    ids = await asyncio.gather(*(start_workflow(store, handlers[n % len(handlers)], order) for n in range(runs)))
    total, dead, recorded_by_kill = runs * steps, set(), []
    for kill in range(1, kills + 1):
        victim = processor("--ack-wait", "2")
        share = total * kill // (kills + 1) - runs // 4
        await wait_until(lambda share=share: len(effects.lines("end")) >= share)
        victim.kill()
        victim.wait()
        dead |= {victim.pid}
        recorded = await recorded_steps(store, ids)
        assert 0 < len(recorded) < total
        recorded_by_kill.append((frozenset(dead), recorded))
    processor("--ack-wait", "2")
    await all_well(store, ids, steps)
    assert gone_wrong(effects, recorded_by_kill) == []
    ran = Counter((name, number) for name, number, _ in effects.lines("begin"))
    assert len(ran) == total
    # What ran twice was in flight when its processor was killed.
    again = {step for step, times in ran.items() if times > 1}
    assert not again & recorded_by_kill[0][1]
    assert max(ran.values()) <= kills + 1
    return list(ids)


async def test_kill_9_in_the_middle_of_200_runs(store, processor, effects):
    ids = await kill_over_and_over(
        store, processor, effects, runs=200, steps=4, kills=1, handlers=["chain", "chain", "chain", "fan"]
    )
    processes = defaultdict(set)
    for name, _, process in effects.lines("begin"):
        processes[name].add(process)
    assert sum(len(seen) == 2 for seen in processes.values()) >= 10, "some went on in the second process"
    for one in ids[:20]:
        view = await query.get_workflow(store, one)
        assert [step.response for step in view.journal] == view.output
        assert set(view.output) <= processes[one]


@pytest.mark.long
async def test_repeated_kill_9_loses_no_run(store, processor, effects):
    await kill_over_and_over(store, processor, effects, runs=400, steps=10, kills=6, handlers=["chain", "fan"])


async def test_second_processor_runs_workflows_of_killed_one(store, processor, effects):
    """Both alive and sharing; one is killed, the other goes on with everything."""
    both = first, _ = [processor("--ack-wait", "2", "--max-concurrent", "10") for _ in range(2)]
    for process in both:
        await wait_until(lambda process=process: "takes commands" in process.err())
    ids = await asyncio.gather(*(start_workflow(store, "chain", {"steps": 3, "seconds": 0.3}) for _ in range(40)))
    await wait_until(lambda: len({process for *_, process in effects.lines("end")}) == 2)
    first.kill()
    first.wait()
    # The other one writes on, so this is what the journals hold at the least.
    began_before = len(effects.lines("begin"))
    await all_well(store, ids, 3)
    ended_by_first = {(name, number) for name, number, process in effects.lines("end") if process == first.pid}
    later = {(name, number) for name, number, process in effects.lines("begin")[began_before:]}
    assert len(later & ended_by_first) <= 10, "only what had ended and was not yet recorded may run again"


async def test_sigterm_hands_back_and_nothing_runs_twice(store, processor, effects):
    gate = effects.path.with_name("gate")
    order = {"steps": 3, "seconds": 0.0, "gate": str(gate)}
    ids = await asyncio.gather(*(start_workflow(store, "chain", order) for _ in range(30)))
    first = processor("--ack-wait", "600", "--max-concurrent", "20", "--grace", "60")
    await wait_until(lambda: len(effects.lines("begin")) == 20)
    first.terminate()
    await wait_until(lambda: "go to their next step" in first.err())
    gate.touch()
    assert await asyncio.to_thread(first.wait, PATIENCE) == 0, first.err()
    executions = [stored.execution for stored in (await states.load_many(store, ids)).values()]
    assert {execution.status for execution in executions} == {"pending"}
    assert Counter(execution.attempt for execution in executions) == {1: 20, 0: 10}
    processor("--ack-wait", "600")
    await all_well(store, ids, 3)
    ran = Counter((name, number) for name, number, _ in effects.lines("begin"))
    assert (len(ran), set(ran.values())) == (90, {1})


@pytest.mark.parametrize("handler", ["holds_a_thread", "holds_a_thread_of_asyncio"])
async def test_sigterm_does_not_wait_for_a_thread_that_will_not_end(store, processor, effects, handler):
    invocation_id = await start_workflow(store, handler, 3600)
    first = processor("--grace", "0.5", "--ack-wait", "600")
    await wait_until(lambda: effects.lines("begin"))
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, PATIENCE) == 0, first.err()
    assert (await query.get_workflow(store, invocation_id)).status == "pending"


@pytest.mark.parametrize("handler", ["swallows_its_cancellation", "swallows_all_around"])
async def test_code_that_does_not_let_go_does_not_hold_up_a_stop(store, processor, effects, handler):
    invocation_id = await start_workflow(store, handler, 0)
    first = processor("--grace", "0.5", "--ack-wait", "600")
    await wait_until(lambda: effects.lines("begin"))
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, PATIENCE) == 0, first.err()
    assert (await query.get_workflow(store, invocation_id)).status == "pending"
    assert "destroyed" not in first.err()
    processor("--ack-wait", "600")
    assert (await wait_for_outcome(store, invocation_id)).execution.status == "completed"


@pytest.mark.parametrize("where", ["handler", "step"])
async def test_workflow_that_calls_exit_fails_alone(store, processor, where):
    running = processor()
    invocation_id = await start_workflow(store, "exits", where)
    ended = (await wait_for_outcome(store, invocation_id)).execution
    assert (ended.status, f"from {'the' if where == 'handler' else 'a'} {where}" in ended.error) == ("failed", True)
    alive = await start_workflow(store, "says", "still here")
    assert (await wait_for_outcome(store, alive)).output() == "still here"
    assert running.poll() is None


async def test_the_log_is_json_on_stderr_and_stdout_stays_empty(store, processor):
    running = processor("--log-format", "json")
    invocation_id = await start_workflow(store, "says", "hello\nworld")
    assert (await wait_for_outcome(store, invocation_id)).output() == "hello\nworld"
    running.terminate()
    await asyncio.to_thread(running.wait, PATIENCE)
    records = [json.loads(line) for line in running.err().splitlines()]
    said = [record for record in records if "It says hello\nworld." in record.values()]
    assert len(said) == 1
    assert invocation_id in said[0].values()
    assert running.out() == ""
