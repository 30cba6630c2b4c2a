"""Random times and index entries for the tests of listing and counting."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from durablectl.model.clock import MICROSECONDS
from durablectl.storage.connection.requests import Request
from durablectl.storage.subjects import IndexEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store

SECOND = MICROSECONDS
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
EDGES = (SECOND, MINUTE, HOUR, DAY)
YEAR_2016 = 1_451_606_400 * SECOND
SPANS = (HOUR, 3 * DAY, 40 * DAY, 0)
"""How far back times go; 0 for 2016."""
HANDLERS = ("pay", "ship", "ask")
PARTITIONS = ("", "", "p1", "p2")

_AT_ONCE = 2000


def chance(number: int) -> Random:
    """Random choices, others each time: QUERY_SEED repeats those of a run, and ``number`` tells a test's runs apart."""
    seed = os.environ.get("QUERY_SEED") or str(secrets.randbelow(1_000_000))
    print(f"QUERY_SEED={seed} repeats this ({number})")
    return Random(f"{seed}/{number}")


class Times:
    """Random times, in clusters and on the edges of buckets; ``pick`` takes them up again, or their neighbours."""

    def __init__(self, random: Random, span: int) -> None:
        self._random = random
        self.now = time.time_ns() // 1000
        # Up to where clocks may be ahead, but for what the test itself takes.
        self._newest = self.now + 2 * DAY
        self._oldest = self.now - span if span else YEAR_2016
        self.used: list[int] = []

    def cluster(self, number: int) -> list[int]:
        """So many times: spread, within one second, all the same, or on an edge; a few have none."""
        shape = self._random.choice(("spread", "spread", "second", "minute", "same", "edge", "recent", "none"))
        if shape == "none":
            return self._remember([0] * min(number, 5))
        base = self._anywhere()
        if shape == "spread":
            return self._remember([self._anywhere() for _ in range(number)])
        if shape == "recent":
            return self._remember([self.now - self._random.randrange(10 * MINUTE) for _ in range(number)])
        if shape == "same":
            return self._remember([base] * number)
        if shape == "edge":
            edge = base // self._random.choice(EDGES) * self._random.choice(EDGES)
            edge = base // (size := self._random.choice(EDGES)) * size
            return self._remember([edge + self._random.choice((-1, 0, 0, 1)) for _ in range(number)])
        width = SECOND if shape == "second" else MINUTE
        start = base // width * width
        return self._remember([min(start + self._random.randrange(width), self._newest) for _ in range(number)])

    def pick(self) -> int:
        """A time to ask for: one that is used, beside it, an edge, or any."""
        kind = self._random.randrange(4)
        if kind == 0 or not self.used:
            return self._anywhere()
        moment = self._random.choice(self.used)
        if kind == 1:
            return max(1, moment + self._random.choice((-1, 1)))
        if kind == 2:
            return max(1, moment // (size := self._random.choice(EDGES)) * size)
        return max(1, moment)

    def bounds(self) -> tuple[int, int]:
        """Since and until; each may be 0 for none."""
        since, until = sorted((self.pick(), self.pick()))
        if since == until:
            until += 1
        return self._random.choice(((0, 0), (since, 0), (0, until), (since, until), (since, until)))

    def _anywhere(self) -> int:
        return self._random.randrange(self._oldest, self._newest + 1)

    def _remember(self, moments: list[int]) -> list[int]:
        self.used += moments
        return moments


def random_entries(random: Random, times: Times, number: int, groups: Sequence[str]) -> list[IndexEntry]:
    entries: list[IndexEntry] = []
    common = random.choice(groups)
    while len(entries) < number:
        size = random.choice((1, 3, 10, 40, 350))
        entries += [
            IndexEntry(
                random.choice((common, common, *groups)),
                moment,
                random.choice(HANDLERS),
                random.choice(PARTITIONS),
                f"w{random.randrange(16**6):06x}-{len(entries) + n}",
            )
            for n, moment in enumerate(times.cluster(min(size, number - len(entries))))
        ]
    random.shuffle(entries)
    return entries


async def enter(store: Store, entries: Sequence[IndexEntry]) -> None:
    for start in range(0, len(entries), _AT_ONCE):
        await store.requests.exchange(
            [
                Request(store.subjects.index(*entry[:-1], waits=entry.waits))
                for entry in entries[start : start + _AT_ONCE]
            ]
        )


def counted(words: Sequence[str]) -> dict[str, int]:
    return dict(Counter(words))
