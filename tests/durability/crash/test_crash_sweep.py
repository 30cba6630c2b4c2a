"""Whoever dies before or after any write of the engine or of steering, another leads to the end that was promised.

The list of these points comes from the source: a new write that no scenario reaches fails here.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from durablectl.storage.connection import connect
from helpers.crash.forking import Zygote
from helpers.crash.points import Point, points, sources
from helpers.crash.scenarios import CLIENTS, PROCESSORS
from helpers.crash.sweep import run_case
from helpers.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from helpers.crash.case import Scenario


@pytest.fixture(autouse=True)
def patient_connections(monkeypatch):
    """A machine that is busy with many processes connects later than a user is made to wait."""
    monkeypatch.setattr(connect, "CONNECT_SECONDS", PATIENCE)


AT_A_TIME = 20
TOO_BIG = "only where the record does not fit into a message; the same write as without that"
FROM_A_TASK = "traced as storage.commands.pulls.Delivery.nak, from a task of its own"
BY_TASK = "its requests leave from tasks of their own, and are traced as storage.streams.provision._ensure"
ENGINE_FAILED = "only after the engine itself has failed five times, or a write was refused for good"
BY_FLUSH = "writes from a task of its own: the append is swept"
BY_WATCHDOG = "over a connection without crash points, while the event loop is blocked; the lease is renewed by time"
UPKEEP = "only after a stream or a message was lost; the next look finds what a death has left undone"
BY_JOB = "only a bulk job does it; tests/durability/jobs goes through its writes"
REFUSED = "only after an error of the server, which is the death of nobody; the command comes again in any case"
NOT_SWEPT = {
    "engine.worker.failure_limit._pause>create": ENGINE_FAILED,
    "engine.worker.failure_limit._pause>update_entry": ENGINE_FAILED,
    "engine.worker.failure_limit._replace>replace": ENGINE_FAILED,
    "engine.worker.failure_limit.give_up>ack": ENGINE_FAILED,
    "engine.worker.slots.ActiveRuns._failed>nak": ENGINE_FAILED,
    "engine.replay.run.Run.idle>start_flush": BY_FLUSH,
    "engine.replay.run.Run._exit_at_rest>start_flush": BY_FLUSH,
    "control.index_repair._Repairs._repair>enter": "the second only where a processor moves what is being entered",
    "control.command_removal.remove_dead_commands>remove_command": "a repetition removes the rest",
    "engine.recovery.failover.Failover._mark_lost>mark_lost": "for people to see; another survivor writes it, too",
    "engine.worker.outcome.settle>flush": BY_FLUSH,
    "engine.worker.watchdog.LoopWatchdog._end_process>release": BY_WATCHDOG,
    "control.change_delivery.write_and_deliver>notify_processor": "may be lost: its processor looks by itself",
    "control.index_repair.repair>arm_again": UPKEEP,
    "control.stream_repair._change>call": UPKEEP,
    "control.stream_repair.repair_streams>create_stream": UPKEEP,
    "control.stream_repair._repair_consumers>repair_consumer": UPKEEP,
    "engine.recovery.index_filler.IndexFiller._fill>enter_all": UPKEEP,
    "engine.recovery.index_filler.IndexFiller.settle>replace_marker": UPKEEP,
    "engine.recovery.upkeep.Upkeep._look_at_streams>create_stream": UPKEEP,
    "engine.recovery.upkeep.Upkeep._recall>recall_all": UPKEEP,
    "engine.recovery.upkeep.Upkeep._search>arm_again": UPKEEP,
    "engine.recovery.upkeep.Upkeep._search>call_for": UPKEEP,
    "engine.recovery.upkeep.Upkeep._search>notify_processor": UPKEEP,
    "control.jobs._store_ids>provision": BY_TASK,
    "control.jobs._store_ids>store_ids": BY_JOB,
    "control.jobs.start_job>provision_jobs": BY_JOB,
    "control.jobs.cancel_job>exchange": BY_JOB,
    "control.retry._restart_for_job>replace": BY_JOB,
    "control.schedules.create_schedule>exchange": "takes back what the server has refused",
    "control.schedules.create_schedule>provision": BY_TASK,
    "control.start._start>provision": BY_TASK,
    "engine.worker.processor.Processor._prepare>provision": BY_TASK,
    "engine.worker.claim._is_start_due>exchange": "only where a processor is handed a command before its time",
    "engine.worker.claim._may_take_over>request_child_cancel": "only between two processors; swept in ActiveRuns, too",
    "engine.worker.claim._may_take_over>notify_processor": "a word that may be lost, between two processors",
    "engine.recovery.failover.Failover._adopt_or_wake>exchange": "only where no slot is free",
    "engine.worker.outcome._end>_write": TOO_BIG,
    "engine.worker.outcome._end>append": TOO_BIG,
    "engine.worker.outcome._end>describe_types": "only for a message that nothing but the state of the workflow holds",
    "engine.worker.outcome._end>take_deferred": "writes only while an append is under way: the append is swept",
    "engine.worker.outcome.suspend>exchange": "the second only where a child ends at the suspension",
    "engine.worker.slots.ActiveRuns._apply_to_running>ack": "only where a command comes for what runs; may be lost",
    "engine.worker.slots.ActiveRuns._apply_to_running>nak": REFUSED,
    "engine.worker.slots.ActiveRuns._apply_to_running>request_child_cancel": "only where the cancelled child runs",
    "engine.worker.slots.ActiveRuns._process>nak": REFUSED,
    "engine.worker.slots.ActiveRuns.start>nak": FROM_A_TASK,
    "engine.worker.watchdog.LoopWatchdog._renew>renew": BY_WATCHDOG,
    "engine.worker.watchdog.LoopWatchdog._renew>report_progress": BY_WATCHDOG,
    "engine.worker.command_pump.CommandPump._on_delivery>nak": FROM_A_TASK,
    "engine.worker.command_pump.CommandPump._route>nak": REFUSED,
    "engine.replay.current_step.CurrentStepTracker._write>describe_types": "only for a message new in the state",
    "engine.worker.quarantine.quarantine_command>nak": REFUSED,
    "engine.recovery.undelivered.UndeliveredScanner._redeliver>exchange": "only where no slot is free",
    "engine.worker.crash_loop_guard.CrashLoopGuard.admit>_write": "the second writes the same again",
    "engine.worker.execute.process_command>ack": "one of them only where it was fenced out, and the others are swept",
}
"""Points, by name, of which one or the other need not be reached by a scenario, and why."""
READERS = ("follow", "list_indexed_ids", "audit")
"""Their consumers go away by themselves."""


async def _trace(zygote: Zygote, url: str, directory: Path, gate: asyncio.Semaphore) -> dict[str, list[str]]:
    """The points that each scenario reaches when nobody dies; it must end well, too."""
    found = {}

    async def trace(scenario: Scenario) -> list[str]:
        file = directory / f"trace-{scenario.name}"
        async with gate:
            _, problems = await run_case(zygote, url, directory, scenario, f"?{file}")
        lines = file.read_text().splitlines() if file.exists() else []
        found[scenario.name] = [line for line in dict.fromkeys(lines) if not line.endswith(READERS)]
        return problems

    problems = await asyncio.gather(*map(trace, PROCESSORS + CLIENTS))
    assert not any(problems), told(problems)
    return {scenario.name: found[scenario.name] for scenario in PROCESSORS + CLIENTS}


def _deaths(traced: list[str]) -> list[str]:
    """Of an exchange, before its first request and after its last."""
    last: dict[str, int] = defaultdict(int)
    for point in traced:
        if found := re.search(r"\[(\d+)\]$", point):
            base = point[: found.start()]
            last[base] = max(last[base], int(found[1]))
    deaths = []
    for point in traced:
        found = re.search(r"\[(\d+)\]$", point)
        if not found or found[1] == "0":
            deaths.append(f"{point}:before")
        if not found or int(found[1]) == last[point[: found.start()]]:
            deaths.append(f"{point}:after")
    return deaths


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", [2, pytest.param(1, marks=pytest.mark.long)], ids=["before or after", "both"])
async def test_dying_before_and_after_every_write_of_the_engine_and_of_steering(nats_server, tmp_path, share):
    """In CI every second of these deaths: of each point, that before or that after it."""
    known = points(sources())
    async with Zygote() as zygote:
        gate = asyncio.Semaphore(AT_A_TIME)
        traced = await _trace(zygote, nats_server.url, tmp_path, gate)
        everything = {point for some in traced.values() for point in some}
        assert not unswept(known, everything)
        assert not unlisted(known, everything)
        scenarios = {scenario.name: scenario for scenario in PROCESSORS + CLIENTS}
        deaths: dict[str, list[Scenario]] = defaultdict(list)
        for name, some in traced.items():
            for death in _deaths(some):
                if (crc32(death.rpartition(":")[0].encode()) + death.endswith("after")) % share == 0:
                    deaths[death].append(scenarios[name])
        missed: list[str] = []

        async def die(death: str) -> list[str]:
            problems: list[str] = []
            for scenario in deaths[death][:3]:
                async with gate:
                    died, more = await run_case(zygote, nats_server.url, tmp_path, scenario, death)
                problems += more
                if died or more:
                    return problems
            missed.append(death)
            return problems

        problems = await asyncio.gather(*map(die, deaths))
    print(f"{len(deaths)} deaths, {len(missed)} not reached again: {missed}")
    assert not any(problems), told(problems)
    assert len(missed) <= len(deaths) // 20, missed


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_dying_at_every_request_of_every_scenario(nats_server, tmp_path):
    async with Zygote() as zygote:
        gate = asyncio.Semaphore(AT_A_TIME)
        traced = await _trace(zygote, nats_server.url, tmp_path, gate)

        async def die(scenario: Scenario, death: str) -> tuple[bool, list[str]]:
            async with gate:
                return await run_case(zygote, nats_server.url, tmp_path, scenario, death)

        results = await asyncio.gather(
            *(
                die(scenario, f"{point}:{when}")
                for scenario in PROCESSORS + CLIENTS
                for point in traced[scenario.name]
                for when in ("before", "after")
            )
        )
    problems = [some for _, some in results]
    print(f"{sum(died for died, _ in results)} deaths of {len(results)}")
    assert not any(problems), told(problems)
    assert sum(died for died, _ in results) >= 0.9 * len(results)


def told(problems: Iterable[list[str]]) -> str:
    return "\n".join(sorted(problem for some in problems for problem in some))


def unswept(known: list[Point], traced: set[str]) -> list[str]:
    """The points that no scenario reaches, and that nothing excuses."""
    return [
        f"{point.name}, line {point.first_line}"
        for point in known
        if point.name not in NOT_SWEPT and not any(point.is_reached_by(each) for each in traced)
    ]


def unlisted(known: list[Point], traced: set[str]) -> list[str]:
    """What is written at a place where the list sees no write."""
    return [
        each
        for each in traced
        if each.startswith(("engine.", "control.")) and not any(point.is_reached_by(each) for point in known)
    ]


def test_every_excluded_crash_point_exists():
    assert NOT_SWEPT.keys() <= {point.name for point in points(sources())}


def test_a_new_write_is_noticed():
    texts = sources()
    before = points(texts)
    texts["control.lifecycle"] += (
        "\nasync def hush(store, execution):\n"
        "    await store.requests.exchange([wake(store, execution)])\n"
        "    await states.replace(store, execution, 1)\n"
        "    await _quietly(store)\n"
    )
    texts["storage.quietly"] = "async def whisper(store):\n    await store.requests.publish('a', b'')\n"
    texts["engine.worker.schedule_firing"] += (
        "\nfrom durablectl.storage import quietly\n\nasync def hum(store):\n    await quietly.whisper(store)\n"
    )
    new = [point for point in points(texts) if point not in before]
    assert [point.name for point in new] == [
        "control.lifecycle.hush>exchange",
        "control.lifecycle.hush>replace",
        "engine.worker.schedule_firing.hum>whisper",
    ]
    assert unswept(new, set())
    assert not unswept(new, {point.traced for point in new})
