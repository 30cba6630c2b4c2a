"""Workflows by their index entries: rows in the order of the list, and counts."""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.records import INDEX_LAG
from durablectl.model.status import Status
from durablectl.storage.index import time_buckets
from durablectl.storage.index.time_buckets import Scope, SortKey
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from durablectl.model.filters import Filters
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import Stored
    from durablectl.storage.subjects import IndexEntry

_LOAD_AT_ONCE = 250


class IndexRow(NamedTuple):
    """A record of the list, and where it stands there."""

    key: SortKey
    execution: Execution
    revision: int


async def first_rows(
    store: Store,
    filters: Filters,
    running: Sequence[IndexRow],
    wanted: int,
    *,
    total: int,
    after: SortKey | None = None,
    skip: int = 0,
    oldest_first: bool = False,
) -> list[IndexRow]:
    """At least ``wanted`` in their order if there are as many; ``moving`` is what running_within says."""
    rows: list[IndexRow] = []
    scope = scope_of(filters)
    if scope is not None:
        traversal = Traversal(
            store,
            scope,
            since=filters.since,
            until=filters.until,
            after=after,
            oldest_first=oldest_first,
            skip=skip,
            total=None if filters.is_bounded else total,
        )
        async for row in _confirmed(store, traversal.entries(), filters, wanted):
            rows.append(row)
            if len(rows) >= wanted:
                break
    after_cursor = [row for row in running if after is None or (row.key > after if oldest_first else row.key < after)]
    after_cursor.sort(key=_key, reverse=not oldest_first)
    return list(merge(rows, after_cursor, key=_key, reverse=not oldest_first))


def _key(row: IndexRow) -> SortKey:
    return row.key


def scope_of(filters: Filters) -> Scope | None:
    """The index entries that say when the last change was; None for none.

    Of what runs, an entry says when it was so at the latest, which is enough where only ``since`` is asked for.
    """
    groups, handlers = tuple(sorted(filters.statuses)), tuple(sorted(filters.handlers))
    if not filters.until:
        return Scope(groups, handlers, filters.partition_key)
    if not groups:
        return Scope((), handlers, filters.partition_key, excluded=Status.RUNNING)
    still = tuple(group for group in groups if group != Status.RUNNING)
    return Scope(still, handlers, filters.partition_key) if still else None


async def load_running_rows(store: Store, filters: Filters) -> list[IndexRow]:
    """What runs and matches, of which that cannot be told by the index: it has changed since it was entered.

    Where only ``since`` is asked for, those that were entered shortly before; with ``until`` all that run.
    """
    if not filters.is_bounded or (filters.statuses and Status.RUNNING not in filters.statuses):
        return []
    scope = Scope((Status.RUNNING,), tuple(filters.handlers), filters.partition_key)
    traversal = Traversal(store, scope, since=earliest_entry(filters), until=filters.until or filters.since)
    return [row async for row in _confirmed(store, traversal.entries(), filters, _LOAD_AT_ONCE)]


def earliest_entry(filters: Filters) -> int:
    """Nothing that runs and was entered before this moment has changed since ``since``."""
    return max(filters.since - INDEX_LAG, 0)


async def count_indexed(store: Store, filters: Filters, running: Sequence[IndexRow]) -> int:
    """How many match, by the index; ``moving`` is what running_within says."""
    scope = scope_of(filters)
    if scope is None:
        return len(running)
    if filters.is_bounded:
        return len(running) + await time_buckets.count_between(store, scope, filters.since, filters.until)
    return await time_buckets.count_all(store, scope)


async def _confirmed(
    store: Store, entries: AsyncIterator[IndexEntry], filters: Filters, at_once: int
) -> AsyncIterator[IndexRow]:
    """The records of index entries, in their order, without those that have moved on."""
    batch: list[IndexEntry] = []
    async for entry in entries:
        batch.append(entry)
        if len(batch) >= min(at_once, _LOAD_AT_ONCE):
            for row in await load_rows(store, batch, filters):
                yield row
            batch = []
    for row in await load_rows(store, batch, filters):
        yield row


async def load_rows(store: Store, entries: Sequence[IndexEntry], filters: Filters) -> list[IndexRow]:
    if not entries:
        return []
    found = await states.load_many(store, [entry.invocation_id for entry in entries])
    rows = []
    for entry in entries:
        stored = found.get(entry.invocation_id)
        if stored is not None and _agrees(entry, stored) and filters.match(stored.execution, entry.timestamp_us):
            rows.append(IndexRow(SortKey(entry.timestamp_us, entry.invocation_id), *stored))
    return rows


def _agrees(entry: IndexEntry, stored: Stored) -> bool:
    execution = stored.execution
    # A record of another implementation does not say when it entered its status: any time will do.
    return entry.group == execution.index_group and (
        execution.indexed_at == entry.timestamp_us or not execution.updated_at
    )
