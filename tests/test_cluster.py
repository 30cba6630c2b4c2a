"""Three replicas: under load the stream's leader dies by kill -9, or is cut off, then the next one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter

import pytest

from clustering import cluster
from durablectl import query, workflow
from durablectl.errors import DurableError
from durablectl.storage.provision import provision
from durablectl.storage.store import open_store
from support import processing, start, until


async def leader_is_lost_twice(tmp_path, count: int, how: str) -> None:
    """After a death steps go on within 10 s; that a server is frozen, its clients have to find out first."""
    loop = asyncio.get_running_loop()
    moments: list[float] = []
    runs: Counter = Counter()

    async def step(key: str) -> str:
        runs[key] += 1
        moments.append(loop.time())
        await asyncio.sleep(0.01)
        return key

    @workflow
    async def replicated(ctx, number):
        first = await ctx.step(step, f"{number}-0")
        await ctx.sleep(1.5)
        both = await ctx.gather(ctx.step(step, f"{number}-1"), ctx.step(step, f"{number}-2"))
        return [first, *both]

    async with cluster(tmp_path) as made, open_store(made.settings) as store:
        await provision(store, replicas=3)
        async with processing(made.settings, replicated), processing(made.settings, replicated):
            ids = await _start_all(store, replicated, count)

            async def ended(least: int) -> bool:
                return (await query.get_stats(store)).by_status.get("completed", 0) >= least

            for part in (4, 2):
                await until(lambda part=part: patiently(ended(count // part)), 120, 0.2)
                name = await until(lambda: made.leader(store.subjects.state_stream), 30)
                lost = loop.time()
                await lose(made.servers[name], how)
                await until(lambda lost=lost: moments[-1] > lost + 0.5, 10 if how == "killed" else 30, 0.05)
                await find(made.servers[name], how)
                await until(lambda: made.current(store.subjects.state_stream), 60, 0.2)
            await until(lambda: patiently(ended(count)), 120, 0.2)
        for number, invocation_id in enumerate(ids):
            view = await query.get_workflow(store, invocation_id)
            assert (view.status, view.output) == ("completed", [f"{number}-{step}" for step in range(3)])
            assert [entry.step_number for entry in view.journal] == [0, 1, 2, 3]
        assert len(runs) == 3 * count


async def lose(server, how: str) -> None:
    if how == "killed":
        server.kill()
    else:
        os.kill(server.pid, signal.SIGSTOP)


async def find(server, how: str) -> None:
    if how == "killed":
        await asyncio.to_thread(server.start)
    else:
        os.kill(server.pid, signal.SIGCONT)


async def patiently(question) -> bool:
    """False while the cluster has no leader to answer."""
    try:
        return await question
    except DurableError:
        return False


async def _start_all(store, handler, count: int) -> list[str]:
    return [await start(store, handler, number) for number in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_the_leader_is_lost_twice_under_a_thousand(tmp_path, how):
    await leader_is_lost_twice(tmp_path, 1000, how)
