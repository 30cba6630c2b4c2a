"""Processors that die at one exact place: what was begun is finished once, and what kills them again is taken out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from durablectl import control, query
from helpers import chaos_judge as judging
from helpers.paths import APPS
from helpers.processor_processes import Fleet, alive, every_workflow
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_output, wait_for_status
from lifecycle_app import DIE

APP = str(APPS / "lifecycle_app.py")


@pytest.fixture
def fleet(spawn, tmp_path):
    return Fleet(spawn, tmp_path / "fleet", APP)


@contextlib.asynccontextmanager
async def kept_alive(store, fleet):
    """One processor, started again whenever it dies; yields the processes so far."""
    processes = [fleet.start()]
    await alive(store, processes[0])

    async def guard() -> None:
        while True:
            await asyncio.sleep(0.02)
            if processes[-1].poll() is not None:
                processes.append(fleet.start())

    guarding = asyncio.create_task(guard())
    try:
        yield processes
    finally:
        guarding.cancel()


async def test_child_is_started_once_when_processor_dies_after_start(store, fleet):
    """By send, spawn and invoke: their ids follow from the parent's step, so the replay finds them."""
    async with kept_alive(store, fleet) as processes:
        ids = {how: await start_workflow(store, "bearing", how) for how in ("send", "spawn", "invoke")}
        outputs = {how: await wait_for_output(store, ids[how]) for how in ids}
        await wait_until(lambda: len(judging.read_effects(fleet.effects)) >= 3)
        await wait_until(lambda: all_completed(store, 6))
    assert [p.returncode for p in processes][:1] == [DIE]
    views = await every_workflow(store)
    below = {view.parent_id: view for view in views.values() if view.parent_id}
    assert set(below) == set(ids.values())
    for how, invocation_id in ids.items():
        parent, child = views[invocation_id], below[invocation_id]
        assert list(parent.children) == [child.invocation_id]
        assert parent.attempt >= 2
        assert outputs[how] in (None, child.invocation_id)
    assert set(Counter(e.invocation_id for e in judging.read_effects(fleet.effects)).values()) == {1}


async def all_completed(store, count) -> bool:
    views = await every_workflow(store)
    return [view.status for view in views.values()] == ["completed"] * count


async def test_compensations_resume_after_crash_between_them(store, fleet):
    async with kept_alive(store, fleet) as processes:
        invocation_id = await start_workflow(store, "compensating")
        await wait_until(lambda: has_run(fleet, "do-u3"))
        await control.cancel(store, invocation_id, "stop it")
        view = await wait_for_status(store, invocation_id, "cancelled")
    assert [p.returncode for p in processes][:1] == [DIE]
    undone = [s.step_type for s in view.journal if s.kind == "compensation"]
    assert undone == ["u3", "u2", "u1"]
    numbers = [s.step_number for s in view.journal if s.kind == "compensation"]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    assert numbers[0] == 1 + max(s.step_number for s in view.journal if s.kind != "compensation")
    ran = Counter(e.step for e in judging.read_effects(fleet.effects))
    assert {name: ran[name] for name in ("u1", "u2", "u3")} == {"u1": 1, "u2": 2, "u3": 1}
    assert not list(judging.repeated([view], judging.read_effects(fleet.effects)))
    assert (view.reason, view.error) == ("stop it", "")


async def has_run(fleet, step: str) -> bool:
    return any(effect.step == step for effect in judging.read_effects(fleet.effects))


@pytest.mark.timeout(600)
async def test_crash_looping_workflow_is_paused_and_others_complete(store, fleet):
    async with kept_alive(store, fleet) as processes:
        deadly = await start_workflow(store, "poisonous", "cured")
        harmless = [await start_workflow(store, "small", n) for n in range(5)]
        view = await wait_for_status(store, deadly, "paused", 300)
        assert view.reason == "crashed its processor 5 times"
        assert [p.returncode for p in processes].count(DIE) == 5
        ran = Counter(e.step for e in judging.read_effects(fleet.effects) if e.invocation_id == deadly)
        assert ran == {"before": 1, "poison": 5}
        for invocation_id in harmless:
            await wait_for_output(store, invocation_id)
        fleet.effects.with_name("cured").touch()
        await control.resume(store, deadly)
        await wait_for_output(store, deadly)
    view = await query.get_workflow(store, deadly)
    assert (view.reason, [s.step_type for s in view.journal]) == ("", ["before", "poison"])
