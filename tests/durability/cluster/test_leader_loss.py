"""Three replicas under load: the leader dies by kill -9 or freezes, twice; all three are restarted one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from helpers.cluster_load import Load, load, longest_gap
from helpers.waiting import wait_until

MOST_SECONDS_WITHOUT_PROGRESS = 10


@pytest.fixture
def loaded(tmp_path, spawn, namespace):
    return lambda: load(tmp_path, spawn, namespace)


async def lose_the_leader(loaded: Load, how: str) -> tuple[float, float]:
    """From when to when it was gone: until steps, starts and commands have gone on without it."""
    made, stream = loaded.cluster, loaded.near.store.subjects.state_stream
    server = made.servers[await wait_until(lambda: made.leader(stream), every=0.1)]
    lost = time.time()
    if how == "killed":
        server.kill()
    else:
        os.kill(server.pid, signal.SIGSTOP)

    def has_gone_on() -> bool:
        return all(any(moment > lost + 1 for moment in moments) for moments in progress(loaded).values())

    await wait_until(has_gone_on, 60, 0.1)
    found = time.time()
    if how == "killed":
        await asyncio.to_thread(server.start)
    else:
        os.kill(server.pid, signal.SIGCONT)
    await wait_until(made.healthy, 60, 0.2)
    return lost, found


def progress(loaded: Load) -> dict[str, list[float]]:
    """When a step began, a workflow was started, and a command was carried out."""
    return {
        "steps": [effect.at / 1e6 for effect in loaded.effects],
        "starts": [each.ended for side in loaded.sides for each in side.starts if not each.error],
        "commands": [each.ended for side in loaded.sides for each in side.steerings if not each.error],
    }


async def leader_is_lost(loaded: Load, count: int, how: str, times: int, *, is_timed: bool = True) -> None:
    outages = []

    async def trouble() -> None:
        for number in range(times):
            await loaded.completed(count * (number + 1) // 8)
            outages.append(await lose_the_leader(loaded, how))

    await loaded.run(count, trouble, every=3 / count)
    for lost, found in outages:
        gaps = {what: longest_gap(moments, lost, found) for what, moments in progress(loaded).items()}
        print(f"{how}: seconds without progress", {what: round(gap, 1) for what, gap in gaps.items()})
        if not is_timed:
            continue
        # That a server is frozen, its clients have to find out first. And a command is several requests, of which one
        # that nobody has heard is waited for.
        most = MOST_SECONDS_WITHOUT_PROGRESS + (20 if how == "frozen" else 0)
        assert max(gaps["steps"], gaps["starts"]) < most
        assert gaps["commands"] < most + loaded.cluster.settings.timeout


async def test_the_leader_is_killed_under_sixty(loaded):
    async with loaded() as load:
        await leader_is_lost(load, 60, "killed", 1, is_timed=False)


@pytest.mark.timing
async def test_progress_resumes_within_ten_seconds_of_leader_loss(loaded):
    async with loaded() as load:
        await leader_is_lost(load, 60, "killed", 1)


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")  # nats-py leaves a frozen server so
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_the_leader_is_lost_twice_under_a_thousand(loaded, how):
    async with loaded() as load:
        await leader_is_lost(load, 1000, how, 2)


@pytest.mark.cluster
@pytest.mark.timeout(600)
async def test_all_three_are_restarted_one_by_one_under_a_thousand(loaded):
    async with loaded() as load:

        async def trouble() -> None:
            for number, server in enumerate(load.cluster.servers.values()):
                await load.completed(1000 * (number + 1) // 8)
                await asyncio.to_thread(server.restart)
                await wait_until(load.cluster.healthy, 60, 0.2)

        began = time.time()
        await load.run(1000, trouble, every=0.02)
        gaps = {what: longest_gap(moments, began, max(moments)) for what, moments in progress(load).items()}
        print("restarted: seconds without progress", {what: round(gap, 1) for what, gap in gaps.items()})
