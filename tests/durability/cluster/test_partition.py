"""A server that is cut off from the two others, with clients and a processor still connected to it."""

from __future__ import annotations

import time

import pytest

from helpers.cluster_load import Load, load
from helpers.waiting import wait_until

NOTICED_SECONDS = 12
"""A leader without the others notices it after 10 s: before, it takes what it cannot store; after, it refuses."""


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("leader", ["n0", "n1"])
async def test_a_server_is_cut_off_under_a_thousand(tmp_path, spawn, namespace, leader):
    """The near side is that of n0, which is cut off: the leader of all streams, or a follower."""
    async with load(tmp_path, spawn, namespace, near="n0", far="n1") as loaded:
        await loaded.cluster.lead(leader)
        cut = []

        async def trouble() -> None:
            await loaded.completed(250)
            loaded.cluster.cut_off("n0")
            cut.append(time.time())
            await wait_until(lambda: has_gone_on(loaded, cut[0]), 120, 0.2)
            loaded.cluster.heal()
            cut.append(time.time())
            await wait_until(loaded.cluster.healthy, 60, 0.2)

        await loaded.run(1000, trouble, every=0.05)
        during = [
            each
            for each in (*loaded.near.starts, *loaded.near.steerings)
            if each.began > cut[0] and each.ended < cut[1]
        ]
        print(f"cut off for {cut[1] - cut[0]:.1f} s;", sorted({each.error for each in during}))
        assert during
        assert all(each.error for each in during)


def has_gone_on(loaded: Load, cut: float) -> bool:
    """The far side starts, steers and executes; the near side has heard from a server that knows itself cut off."""
    done = [[each for each in tries if each.began > cut and not each.error] for tries in tries_of(loaded.far)]
    refused = [[each for each in tries if each.began > cut + NOTICED_SECONDS] for tries in tries_of(loaded.near)]
    steps = [effect for effect in loaded.effects if effect.at / 1e6 > cut + NOTICED_SECONDS]
    return all(len(each) >= 10 for each in done) and all(refused) and len(steps) >= 10


def tries_of(side):
    return side.starts, side.steerings
