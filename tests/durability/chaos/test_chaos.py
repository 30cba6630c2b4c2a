"""Operators steer at random while two processors execute and are killed at random: nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from durablectl import control, query
from durablectl.errors import InvalidStateError
from durablectl.model.status import TERMINAL
from helpers import chaos_judge as judging
from helpers.chaos_operator import Operator, voyage_plan
from helpers.in_process import provisioned_store
from helpers.processor_processes import Fleet, alive, every_workflow, journal_watch, kill
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


def seed() -> int:
    """CHAOS_SEED repeats the choices of a run; the timing is the machine's own."""
    return int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))


class Chaos:
    """One run: ``count`` workflows started over ``seconds``, steered and killed meanwhile."""

    def __init__(self, store: Store, fleet: Fleet, number: int, *, count: int, seconds: float) -> None:
        self._store = store
        self._fleet = fleet
        self._random = random.Random(number)
        self._count = count
        self._seconds = seconds
        self._started: list[str] = []
        self._end = time.monotonic() + seconds
        self.did: Counter[str] = Counter()

    async def run(self) -> None:
        processes = [self._fleet.start(), self._fleet.start()]
        await asyncio.gather(*(alive(self._store, process) for process in processes))
        self._end = time.monotonic() + self._seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_all())
            group.create_task(self._kill(processes))
            for number in range(4):
                group.create_task(self._operate(random.Random(f"{self._random.random()} {number}")))
        await asyncio.gather(*(alive(self._store, process) for process in processes))

    async def _start_all(self) -> None:
        pause = self._seconds * 0.8 / self._count
        for number in range(self._count):
            plan = voyage_plan(self._random)
            delay = self._random.choice([0, 0, 0, 1.0])
            start_at = int((time.time() + delay) * 1e6) if delay else 0
            request = control.StartRequest("voyage", plan, f"v{number}", start_at=start_at)
            started = await control.start(self._store, request)
            if number == 0:
                await control.cancel(self._store, started, "gently")
                self.did["cancel"] += 1
            self._started.append(started)
            await asyncio.sleep(pause)

    async def _kill(self, processes: list[Any]) -> None:
        while time.monotonic() < self._end - 1 or self.did["kill -9"] < 3:
            await asyncio.sleep(self._random.uniform(0.5, 2.5))
            victim = self._random.randrange(2)
            kill(processes[victim])
            self.did["kill -9"] += 1
            await asyncio.sleep(self._random.uniform(0.0, 1.0))
            processes[victim] = self._fleet.start()
            await alive(self._store, processes[victim])

    async def _operate(self, choices: random.Random) -> None:
        operator = Operator(self._store, self._fleet.effects.parent, choices)
        while time.monotonic() < self._end:
            await asyncio.sleep(choices.uniform(0.0, 0.02))
            if not self._started:
                continue
            # Mostly the recent ones: the others have ended.
            target = self._started[-1 - int(choices.expovariate(1 / 40)) % len(self._started)]
            if choices.random() < 0.15:
                children = (await query.get_workflow(self._store, target)).children
                target = choices.choice(children) if children else target
            self.did[await operator.act(target)] += 1


async def settle(store: Store, fleet: Fleet, timeout: float) -> None:
    """Resume what is paused and answer what is asked, until everything has ended."""
    fleet.healed.touch()

    async def all_ended() -> bool:
        going = [view for view in (await every_workflow(store)).values() if view.status not in TERMINAL]
        for view in going:
            if view.status == "paused":
                await control.resume(store, view.invocation_id)
            if any(step.step_type == "awakeable:approval" and not step.finished_at for step in view.journal or ()):
                try:
                    await control.resolve(store, f"{view.invocation_id}.approval", 1)
                except InvalidStateError:
                    continue
        return not going

    try:
        await wait_until(all_ended, timeout, every=0.3)
    except AssertionError:
        hanging = list(judging.not_ended((await every_workflow(store)).values()))
        pytest.fail("\n".join([f"not ended after {timeout} s:", *hanging]))


async def chaos(settings: Any, spawn: Any, directory: Any, *, count: int, seconds: float, patience: float) -> None:
    number = seed()
    fleet = Fleet(spawn, directory)
    async with provisioned_store(settings) as store, journal_watch(store) as seen:
        run = Chaos(store, fleet, number, count=count, seconds=seconds)
        await run.run()
        await settle(store, fleet, patience)
        views = await every_workflow(store)
        wrong = [
            *judging.repeated(views.values(), judging.read_effects(fleet.effects)),
            *judging.overwritten(views.values(), seen),
            *judging.illegal_journals(views.values()),
            *judging.orphans(views),
        ]
        disagreeing: list[str] = []

        async def agrees() -> bool:
            nonlocal disagreeing
            disagreeing = await judging.disagreements(store, views)
            return not disagreeing

        try:
            await wait_until(agrees, every=0.5)
        except AssertionError:
            wrong += disagreeing
    statuses = Counter(view.status for view in views.values())
    summary = f"CHAOS_SEED={number}: {dict(run.did)}; {len(views)} workflows: {dict(statuses)}"
    print(summary)
    assert not wrong, "\n".join([summary, *wrong])
    assert len([view for view in views.values() if not view.parent_id]) == count
    assert run.did["kill -9"] >= 3
    assert statuses["completed"] > 0, summary


async def test_sixty_workflows(settings, spawn, tmp_path):
    await chaos(settings, spawn, tmp_path / "chaos", count=60, seconds=12, patience=120)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_two_thousand_workflows(settings, spawn, tmp_path):
    await chaos(settings, spawn, tmp_path / "chaos", count=2000, seconds=240, patience=120)
