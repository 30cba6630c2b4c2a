"""Walking and counting the index by time, against sorting and counting all of it."""

from __future__ import annotations

import contextlib
import itertools
import time

import pytest

from durablectl.model.status import OTHER, Status
from durablectl.storage.index import time_buckets
from durablectl.storage.index.time_buckets import Scope, SortKey
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.subjects import IndexEntry
from helpers.random_index import DAY, HANDLERS, HOUR, SECOND, SPANS, Times, chance, enter, random_entries

GROUPS = (*Status, OTHER)


def random_scope(random) -> Scope:
    return Scope(
        tuple(random.sample(GROUPS, random.choice((0, 0, 1, 2, 7)))),
        tuple(random.sample(HANDLERS, random.choice((0, 0, 1, 2)))),
        random.choice(("", "", "p1")),
    )


def is_in(entry: IndexEntry, scope: Scope, since: int, until: int) -> bool:
    return (
        (not scope.groups or entry.group in scope.groups)
        and (not scope.handlers or entry.handler in scope.handlers)
        and (not scope.partition_key or entry.partition_key == scope.partition_key)
        and entry.timestamp_us >= since
        and (not until or entry.timestamp_us < until)
    )


def key(entry: IndexEntry) -> SortKey:
    return SortKey(entry.timestamp_us, entry.invocation_id)


async def walked(walk: Traversal, limit: int) -> list[IndexEntry]:
    found = []
    async with contextlib.aclosing(walk.entries()) as entries:
        async for entry in entries:
            found.append(entry)
            if len(found) == limit:
                break
    return found


CASES = [*itertools.product(SPANS, (0, 20, 250, 1500))]


def rounds(span: int) -> int:
    """Ten years have many days to count."""
    return 10 if span else 3


@pytest.mark.parametrize(("span", "number"), CASES)
async def test_counts_between_any_two_moments_are_exact(store, span, number):
    random = chance(CASES.index((span, number)))
    times = Times(random, span)
    entries = random_entries(random, times, number, GROUPS)
    await enter(store, entries)
    for _ in range(rounds(span)):
        scope, (since, until) = random_scope(random), times.bounds()
        expected = sum(is_in(entry, scope, since, until) for entry in entries)
        assert await time_buckets.count_between(store, scope, since, until) == expected, (scope, since, until)


@pytest.mark.parametrize(("span", "number"), CASES)
async def test_walk_yields_entries_in_sorted_order(store, span, number):
    random = chance(CASES.index((span, number)))
    times = Times(random, span)
    entries = random_entries(random, times, number, GROUPS)
    await enter(store, entries)
    for _ in range(rounds(span)):
        scope, (since, until) = random_scope(random), times.bounds()
        oldest_first = random.random() < 0.5
        after = random.choice((None, SortKey(times.pick(), "w7"), key(random.choice(entries)) if entries else None))
        skip, limit = random.choice((0, 0, 1, 40, 400, 5000)), random.choice((1, 51, 10_000))
        expected = sorted(
            (
                entry
                for entry in entries
                if is_in(entry, scope, since, until)
                and (after is None or (key(entry) > after if oldest_first else key(entry) < after))
            ),
            key=key,
            reverse=not oldest_first,
        )
        walk = Traversal(store, scope, since=since, until=until, after=after, oldest_first=oldest_first, skip=skip)
        asked = (scope, since, until, after, oldest_first, skip, limit)
        assert await walked(walk, limit) == expected[skip : skip + limit], asked


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_more_entries_within_one_second_than_one_answer_holds(store, oldest_first):
    moment = time.time_ns() // 1000 // SECOND * SECOND
    entries = [IndexEntry("completed", moment + n * 300, "pay", "", f"w{n:04}") for n in range(3000)]
    await enter(store, entries)
    expected = entries if oldest_first else entries[::-1]
    after = key(expected[1700])
    walk = Traversal(store, Scope(), after=after, oldest_first=oldest_first)
    assert await walked(walk, 10_000) == expected[1701:]
    assert await time_buckets.count_between(store, Scope(), moment + 300_000, moment + 600_000) == 1000


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_entries_of_records_without_a_time_come_last(store, oldest_first):
    now = time.time_ns() // 1000
    entries = [IndexEntry("completed", 0, "pay", "", f"z{n:03}") for n in range(400)]
    entries += [IndexEntry("completed", now - n * HOUR, "pay", "", f"w{n:03}") for n in range(400)]
    await enter(store, entries)
    expected = sorted(entries, key=key, reverse=not oldest_first)
    for skip in (0, 390, 401, 799):
        assert await walked(Traversal(store, Scope(), oldest_first=oldest_first, skip=skip), 10_000) == expected[skip:]


async def test_entries_added_late_by_repair_are_found_in_their_bucket(store):
    """The walk begins at the day of the entry that was stored first; older ones may have come after it."""
    now = time.time_ns() // 1000
    recent = [IndexEntry("completed", now - n * SECOND, "pay", "", f"w{n:03}") for n in range(400)]
    old = [IndexEntry("completed", now - (100 + n) * DAY, "pay", "", f"z{n:03}") for n in range(400)]
    await enter(store, [*recent, *old])
    assert await walked(Traversal(store, Scope()), 10_000) == recent + old
    assert await walked(Traversal(store, Scope(), oldest_first=True), 10_000) == (recent + old)[::-1]


class Requests:
    """Counts what a walk asks of the server."""

    def __init__(self, store, monkeypatch):
        self.number = 0
        send_many = store.requests.send_many

        async def counting(*args):
            self.number += 1
            return await send_many(*args)

        monkeypatch.setattr(store.requests, "send_many", counting)


async def test_the_first_page_of_a_long_list_takes_few_requests(store, monkeypatch):
    now = time.time_ns() // 1000
    entries = [IndexEntry("completed", now - n * HOUR // 3, "pay", "", f"w{n:04}") for n in range(4000)]
    await enter(store, entries[::-1])
    asked = Requests(store, monkeypatch)
    assert await walked(Traversal(store, Scope()), 51) == entries[:51]
    assert asked.number <= 250
    asked.number = 0
    assert await walked(Traversal(store, Scope(), after=key(entries[3980])), 51) == entries[3981:]
    assert asked.number <= 500
    asked.number = 0
    assert await walked(Traversal(store, Scope(), skip=2000), 51) == entries[2000:2051]
    assert asked.number <= 500
