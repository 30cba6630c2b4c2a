"""Paging to the end while workflows are added, change and go: what did not change comes exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from durablectl import query
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.codec import encode_execution
from durablectl.model.records import Execution
from durablectl.model.status import Status
from durablectl.model.termination import end_execution
from durablectl.storage.connection.store import open_store
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.random_index import DAY, MINUTE, SECOND, chance
from helpers.waiting import wait_until

ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
STATUSES = (*Status, *ENDS * 3)


def now() -> int:
    return SYSTEM_CLOCK.now()


async def fill(store, random, number) -> dict[str, Execution]:
    """Half of them lie within the last minute."""
    begun = now()
    filled = {}
    for count in range(number):
        moment = begun - random.randrange(random.choice((MINUTE, 40 * DAY)))
        execution = Execution(
            f"w{random.randrange(16**10):010x}",
            random.choice(("pay", "ship")),
            random.choice(STATUSES),
            indexed_at=moment,
            updated_at=moment,
            created_at=moment - SECOND,
        )
        filled[execution.invocation_id] = execution
        await store.nats.publish(store.subjects.state(execution.invocation_id), encode_execution(execution))
        await store.nats.publish(index_entries.index_subject(store.subjects, execution), b"")
        if count % 2000 == 0:
            await until_stored(store, len(filled))
    await until_stored(store, len(filled))
    return filled


async def until_stored(store, number) -> None:
    async def stored() -> bool:
        streams = store.subjects.state_stream, store.subjects.index_stream
        infos = [await store.requests.call(f"{store.api}.STREAM.INFO.{stream}") for stream in streams]
        return all(info["state"]["messages"] >= number for info in infos)

    await wait_until(stored, timeout=60)


class Traffic:
    """Adds workflows, changes their status, and deletes some; ``touched`` are the ids."""

    def __init__(self, store, random, ids, *, deletes: bool) -> None:
        self.touched: set[str] = set()
        self._store = store
        self._random = random
        self._ids = list(ids)
        self._deletes = deletes

    async def run(self, a_minute: int = 0) -> None:
        """So many a minute, or as many as go."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            kind = self._random.choice(("add", "change", "change", "delete" if self._deletes else "add"))
            await (self._add() if kind == "add" else self._change(kind))
            if a_minute:
                due += 60 / a_minute
                await asyncio.sleep(max(0, due - loop.time()))

    async def _add(self) -> None:
        invocation_id = f"new{len(self._ids)}"
        execution = Execution(invocation_id, "pay", created_at=now(), updated_at=now(), indexed_at=now())
        self.touched.add(invocation_id)
        self._ids.append(invocation_id)
        await self._store.requests.exchange(index_entries.addition(self._store, execution))
        await states.create(self._store, execution)

    async def _change(self, kind: str) -> None:
        invocation_id = self._random.choice(self._ids)
        self.touched.add(invocation_id)
        stored = await states.load(self._store, invocation_id)
        if stored is None:
            return
        execution, revision = stored
        if kind == "delete":
            if await states.delete(self._store, execution, revision):
                entry = index_entries.index_subject(self._store.subjects, execution)
                await self._store.requests.exchange([index_entries.removal(self._store, entry)])
            return
        status = self._random.choice([*Status])
        if status in ENDS:
            end_execution(execution, status, now(), journal_length=0)
        else:
            execution.enter_status(status, now())
        assert await states.replace(self._store, execution, revision) is not None
        await self._store.requests.exchange(index_entries.update_requests(self._store, execution))


@contextlib.asynccontextmanager
async def traffic(settings, random, ids, *, deletes=False, a_minute=0):
    """On a connection of its own, while the block runs."""
    async with open_store(settings) as store:
        busy = Traffic(store, random, ids, deletes=deletes)
        task = asyncio.create_task(busy.run(a_minute))
        try:
            yield busy
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def paged(store, asked, limit, busy, *, oldest_first) -> tuple[Counter[str], int]:
    """How often each came, and the number of pages; more has changed before each page."""
    seen: Counter[str] = Counter()
    cursor, pages = "", 0
    while True:
        touched = len(busy.touched)
        await wait_until(lambda touched=touched: len(busy.touched) > touched + 1)
        page = await query.list_workflows(store, asked, limit, cursor=cursor, oldest_first=oldest_first)
        seen.update(view.invocation_id for view in page.workflows)
        cursor, pages = page.next_cursor, pages + 1
        if not cursor:
            return seen, pages


async def check(settings, store, filled, random, limit, *, oldest_first, deletes=False, a_minute=0, **asked) -> int:
    """Page through it; how many have changed meanwhile."""
    filters = query.Filters.parse(**asked)
    # What has changed in an earlier pass stands elsewhere by now.
    records = await load_all(store, filled)
    expected = {each for each, execution in records.items() if filters.match(execution)}
    async with traffic(settings, random, filled, deletes=deletes, a_minute=a_minute) as busy:
        seen, pages = await paged(store, filters, limit, busy, oldest_first=oldest_first)
    unchanged = expected - busy.touched
    assert {each: seen[each] for each in unchanged if seen[each] != 1} == {}
    assert set(seen) - expected <= busy.touched
    assert pages >= len(unchanged) // limit
    return len(busy.touched)


async def load_all(store, ids) -> dict[str, Execution]:
    ids = list(ids)
    loaded: dict[str, Execution] = {}
    for start in range(0, len(ids), 1000):
        found = await states.load_many(store, ids[start : start + 1000])
        loaded |= {each: stored.execution for each, stored in found.items()}
    return loaded


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("asked", [{}, {"statuses": ["completed", "running"]}, {"handlers": ["pay"]}, {"since": DAY}])
async def test_unchanged_workflows_are_paged_once_while_others_change(settings, store, asked, oldest_first):
    random = chance(oldest_first)
    filled = await fill(store, random, 2000)
    if "since" in asked:
        asked = {"since": now() - asked["since"]}
    changed = await check(settings, store, filled, random, 100, oldest_first=oldest_first, **asked)
    assert changed > 10


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_unchanged_workflows_are_paged_once_while_others_are_deleted(settings, store, oldest_first):
    random = chance(oldest_first)
    filled = await fill(store, random, 500)
    assert await check(settings, store, filled, random, 50, oldest_first=oldest_first, deletes=True) > 10


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_paging_through_100_000_while_1_000_a_minute_are_added_and_change(settings, store, oldest_first):
    random = chance(oldest_first)
    filled = await fill(store, random, 100_000)
    changed = await check(settings, store, filled, random, 100, oldest_first=oldest_first, a_minute=1000)
    print(f"{changed} have changed meanwhile")
    assert changed > 100
