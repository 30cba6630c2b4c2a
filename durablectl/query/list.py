"""Lists of workflows, those first whose status changed last."""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import NotFoundError, UsageError
from durablectl.model.filters import Filters
from durablectl.model.names import validate_invocation_id
from durablectl.model.records import INDEX_LAG
from durablectl.model.status import Status
from durablectl.model.termination import children
from durablectl.query import full_scan
from durablectl.query.cursors import read_cursor, write_cursor
from durablectl.query.view_builder import payloads, workflow_view
from durablectl.query.views import WorkflowPage
from durablectl.storage.index import time_buckets
from durablectl.storage.index.time_buckets import Key, Scope
from durablectl.storage.index.traversal import Walk
from durablectl.storage.records import journal, states
from durablectl.storage.records.message_types import load_schemas
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from durablectl.model.records import Execution
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import Stored
    from durablectl.storage.subjects import IndexEntry

MAX_LIMIT = 1000
_LOAD_AT_ONCE = 250


class Row(NamedTuple):
    """A record of the list, and where it stands there."""

    key: Key
    execution: Execution
    revision: int


async def list_workflows(
    store: Store,
    filters: Filters | None = None,
    limit: int = 50,
    *,
    cursor: str = "",
    offset: int = 0,
    oldest_first: bool = False,
    scan: bool = False,
    progress: Callable[[int], None] | None = None,
) -> WorkflowPage:
    """At most ``limit`` of those that match, after ``cursor`` or the first ``offset``; up to 1,000, unless all is read.

    The order is that in which they entered their status. ``total`` counts all matches. Only ``created_*``, ``error``,
    ``parent`` and ``scan`` read more than the page; ``progress`` is told how many. Raises NotProvisionedError on a
    server that holds no workflows, UsageError for a bad limit or cursor, NotFoundError for a parent that is not there.
    """
    filters = filters or Filters()
    if limit < 1 or (limit > MAX_LIMIT and not (filters.needs_states or scan)):
        raise UsageError(f"The limit {limit} is out of range.", hint=f"Use 1 to {MAX_LIMIT:,}.")
    if offset < 0:
        raise UsageError(f"The offset {offset} is out of range.", hint="It is 0 or more.")
    after = read_cursor(cursor, oldest_first=oldest_first)
    await require_provisioned(store)
    scan = scan or await full_scan.has_strays(store)
    if not (filters.needs_states or scan):
        return await _indexed(store, filters, limit, after, offset, oldest_first=oldest_first)
    found = await matches(store, filters, progress, scan=scan)
    found.sort(key=lambda row: row.key, reverse=not oldest_first)
    if after is not None:
        behind = [row for row in found if (row.key > after if oldest_first else row.key < after)]
    else:
        behind = found
    rows = behind[offset : offset + limit]
    has_more = len(behind) > offset + limit
    return await _page(store, rows, len(found), has_more=has_more, oldest_first=oldest_first)


async def matches(
    store: Store, filters: Filters, progress: Callable[[int], None] | None = None, *, scan: bool
) -> list[Row]:
    """Every record that matches, in no order, where the index does not say enough, or with ``scan`` is not asked."""
    if filters.parent:
        return await _children(store, filters)
    if scan:
        return await _scanned(store, filters, progress)
    return await _searched(store, filters, progress)


async def count_workflows(store: Store, filters: Filters | None = None) -> int:
    """How many match. Raises what list_workflows raises."""
    filters = filters or Filters()
    if filters.needs_states or await full_scan.has_strays(store):
        return (await list_workflows(store, filters, 1)).total
    await require_provisioned(store)
    return await count_indexed(store, filters, await running_within(store, filters))


async def _page(store: Store, rows: Sequence[Row], total: int, *, has_more: bool, oldest_first: bool) -> WorkflowPage:
    next_cursor = write_cursor(rows[-1].key, oldest_first=oldest_first) if rows and has_more else ""
    return WorkflowPage(await views(store, rows), total, next_cursor)


async def views(store: Store, rows: Sequence[Row]) -> list[WorkflowView]:
    types = {payload.type_name for row in rows for payload in payloads(row.execution, ())}
    schemas = await load_schemas(store, types)
    return [workflow_view(row.execution, row.revision, schemas) for row in rows]


async def _indexed(
    store: Store, filters: Filters, limit: int, after: Key | None, offset: int, *, oldest_first: bool
) -> WorkflowPage:
    """A page by the index alone. An entry that its state does not confirm is left out."""
    moving = await running_within(store, filters)
    total = await count_indexed(store, filters, moving)
    # Beside those that keep changing, how many entries come before the offset is not known.
    start = offset if moving else 0
    ordered = await first_rows(
        store,
        filters,
        moving,
        start + limit + 1,
        total=total,
        after=after,
        skip=offset - start,
        oldest_first=oldest_first,
    )
    has_more = len(ordered) > start + limit
    return await _page(store, ordered[start : start + limit], total, has_more=has_more, oldest_first=oldest_first)


async def first_rows(
    store: Store,
    filters: Filters,
    moving: Sequence[Row],
    wanted: int,
    *,
    total: int,
    after: Key | None = None,
    skip: int = 0,
    oldest_first: bool = False,
) -> list[Row]:
    """At least ``wanted`` in their order if there are as many; ``moving`` is what running_within says."""
    rows: list[Row] = []
    scope = scope_of(filters)
    if scope is not None:
        walk = Walk(
            store,
            scope,
            since=filters.since,
            until=filters.until,
            after=after,
            oldest_first=oldest_first,
            skip=skip,
            total=None if filters.is_bounded else total,
        )
        async for row in _confirmed(store, walk.entries(), filters, wanted):
            rows.append(row)
            if len(rows) >= wanted:
                break
    behind = [row for row in moving if after is None or (row.key > after if oldest_first else row.key < after)]
    behind.sort(key=_key, reverse=not oldest_first)
    return list(merge(rows, behind, key=_key, reverse=not oldest_first))


def _key(row: Row) -> Key:
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


async def running_within(store: Store, filters: Filters) -> list[Row]:
    """What runs and matches, of which that cannot be told by the index: it has changed since it was entered.

    Where only ``since`` is asked for, those that were entered shortly before; with ``until`` all that run.
    """
    if not filters.is_bounded or (filters.statuses and Status.RUNNING not in filters.statuses):
        return []
    scope = Scope((Status.RUNNING,), tuple(filters.handlers), filters.partition_key)
    walk = Walk(store, scope, since=_earliest_entry(filters), until=filters.until or filters.since)
    return [row async for row in _confirmed(store, walk.entries(), filters, _LOAD_AT_ONCE)]


def _earliest_entry(filters: Filters) -> int:
    """Nothing that runs and was entered before this moment has changed since ``since``."""
    return max(filters.since - INDEX_LAG, 0)


async def count_indexed(store: Store, filters: Filters, moving: Sequence[Row]) -> int:
    """How many match, by the index; ``moving`` is what running_within says."""
    scope = scope_of(filters)
    if scope is None:
        return len(moving)
    if filters.is_bounded:
        return len(moving) + await time_buckets.count_between(store, scope, filters.since, filters.until)
    return await time_buckets.count_all(store, scope)


async def _confirmed(
    store: Store, entries: AsyncIterator[IndexEntry], filters: Filters, at_once: int
) -> AsyncIterator[Row]:
    """The records of index entries, in their order, without those that have moved on."""
    batch: list[IndexEntry] = []
    async for entry in entries:
        batch.append(entry)
        if len(batch) >= min(at_once, _LOAD_AT_ONCE):
            for row in await _rows(store, batch, filters):
                yield row
            batch = []
    for row in await _rows(store, batch, filters):
        yield row


async def _rows(store: Store, entries: Sequence[IndexEntry], filters: Filters) -> list[Row]:
    if not entries:
        return []
    found = await states.load_many(store, [entry.invocation_id for entry in entries])
    rows = []
    for entry in entries:
        stored = found.get(entry.invocation_id)
        if stored is not None and _agrees(entry, stored) and filters.match(stored.execution, entry.moment):
            rows.append(Row(Key(entry.moment, entry.invocation_id), *stored))
    return rows


def _agrees(entry: IndexEntry, stored: Stored) -> bool:
    execution = stored.execution
    # A record of another implementation does not say when it entered its status: any time will do.
    return entry.group == execution.index_group and (execution.indexed_at == entry.moment or not execution.updated_at)


async def _searched(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> list[Row]:
    """Every match, found by reading the states that the index leaves over."""
    statuses = filters.statuses
    if filters.error:
        statuses = (statuses or frozenset(Status)) & {Status.FAILED}
        if not statuses:
            return []
    # What was created after a moment has changed after it, too.
    since = max(_earliest_entry(filters), filters.created_since)
    scope = Scope(tuple(sorted(statuses)), tuple(filters.handlers), filters.partition_key)
    walk = Walk(store, scope, since=since)
    rows: list[Row] = []
    batch: list[IndexEntry] = []
    read = 0
    async for entry in walk.entries():
        batch.append(entry)
        if len(batch) == MAX_LIMIT:
            rows += await _rows(store, batch, filters)
            read += len(batch)
            batch = []
            if progress is not None:
                progress(read)
    return rows + await _rows(store, batch, filters)


async def _children(store: Store, filters: Filters) -> list[Row]:
    """A parent's journal names its children, those of steps that a retry dropped included."""
    parent = await states.load(store, validate_invocation_id(filters.parent))
    if parent is None:
        raise NotFoundError(f"There is no workflow {filters.parent}.", hint="Check --parent, and --namespace.")
    entries = await journal.whole(store, parent.execution, parent.revision)
    dropped = [entry for steps in parent.execution.history for entry in steps.entries]
    found = await states.load_many(store, children([*entries, *dropped]))
    return _matching(found.values(), filters)


def _matching(found: Iterable[Stored], filters: Filters) -> list[Row]:
    return [
        Row(Key(stored.execution.indexed_at, stored.execution.invocation_id), *stored)
        for stored in found
        if filters.match(stored.execution)
    ]


async def _scanned(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> list[Row]:
    rows = []
    async for scanned in full_scan.scan(store, progress):
        execution = scanned.execution
        if filters.match(execution, scanned.moment):
            key = Key(execution.indexed_at or execution.created_at or scanned.moment, execution.invocation_id)
            rows.append(Row(key, execution, scanned.revision))
    return rows
