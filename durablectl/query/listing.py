"""Lists of workflows, those first whose status changed last."""

from __future__ import annotations

import base64
import binascii
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import NotFoundError, UsageError
from durablectl.model.ending import children
from durablectl.model.names import validate_invocation_id
from durablectl.model.status import Status
from durablectl.query import scanning
from durablectl.query.building import payloads, workflow_view
from durablectl.query.filters import Filters
from durablectl.query.views import WorkflowPage
from durablectl.storage import buckets, journal, states
from durablectl.storage.buckets import Key, Scope, Walk
from durablectl.storage.provision import require_provisioned
from durablectl.storage.schemas import load_schemas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from durablectl.model.records import Execution
    from durablectl.query.views import WorkflowView
    from durablectl.storage.states import Stored
    from durablectl.storage.store import Store
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
    """At most ``limit`` (up to 1,000) of those that match, after ``cursor`` or the first ``offset``.

    The order is that in which they entered their status. ``total`` counts all matches. Only ``created_*``, ``error``,
    ``parent`` and ``scan`` read more than the page; ``progress`` is told how many. Raises NotProvisionedError on a
    server that holds no workflows, UsageError for a bad limit or cursor, NotFoundError for a parent that is not there.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"The limit {limit} is out of range.", hint=f"Use 1 to {MAX_LIMIT:,}.")
    if offset < 0:
        raise UsageError(f"The offset {offset} is out of range.", hint="It is 0 or more.")
    filters = filters or Filters()
    after = _read_cursor(cursor, oldest_first=oldest_first)
    await require_provisioned(store)
    if not (filters.needs_states or scan or await scanning.has_strays(store)):
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
    store: Store, filters: Filters, progress: Callable[[int], None] | None = None, *, scan: bool = False
) -> list[Row]:
    """Every record that matches, in no order, where the index does not say enough."""
    if filters.parent:
        return await _children(store, filters)
    if scan or await scanning.has_strays(store):
        return await _scanned(store, filters, progress)
    return await _searched(store, filters, progress)


async def count_workflows(store: Store, filters: Filters | None = None) -> int:
    """How many match. Raises what list_workflows raises."""
    filters = filters or Filters()
    if filters.needs_states or await scanning.has_strays(store):
        return (await list_workflows(store, filters, 1)).total
    await require_provisioned(store)
    return await _total(store, filters)


async def _page(store: Store, rows: Sequence[Row], total: int, *, has_more: bool, oldest_first: bool) -> WorkflowPage:
    next_cursor = _write_cursor(rows[-1].key, oldest_first=oldest_first) if rows and has_more else ""
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
    groups = _still(filters)
    scope = Scope(groups or (), tuple(filters.handlers), filters.partition_key)
    total = await _total(store, filters, moving)
    # Beside those that keep changing, how many entries come before the offset is not known.
    skip = 0 if moving else offset
    walk = Walk(
        store,
        scope,
        since=filters.since,
        until=filters.until,
        after=after,
        oldest_first=oldest_first,
        skip=skip,
    )
    rows: list[Row] = []
    wanted = limit + 1 + (offset - skip)
    behind = [row for row in moving if after is None or (row.key > after if oldest_first else row.key < after)]
    confirmed = _confirmed(store, walk.entries(), filters, wanted) if groups is not None else _nothing()
    async for row in confirmed:
        rows.append(row)
        if len(rows) >= wanted:
            break
    ordered = list(merge(rows, sorted(behind, key=_key, reverse=not oldest_first), key=_key, reverse=not oldest_first))
    start = offset - skip
    shown = ordered[start : start + limit]
    return await _page(store, shown, total, has_more=len(ordered) > start + limit, oldest_first=oldest_first)


def _key(row: Row) -> Key:
    return row.key


async def _nothing() -> AsyncIterator[Row]:
    return
    yield


def _still(filters: Filters) -> tuple[str, ...] | None:
    """The index groups whose entries say when the last change was; None for none. Of what runs, its record says it."""
    groups = tuple(sorted(filters.statuses))
    if not filters.is_bounded:
        return groups
    still = tuple(sorted(set(filters.statuses or Status) - {Status.RUNNING}))
    return still or None


async def running_within(store: Store, filters: Filters) -> list[Row]:
    """What runs and matches, where the time of the last change is asked for."""
    if not filters.is_bounded or (filters.statuses and Status.RUNNING not in filters.statuses):
        return []
    walk = Walk(store, Scope((Status.RUNNING,), tuple(filters.handlers), filters.partition_key))
    return [row async for row in _confirmed(store, walk.entries(), filters, _LOAD_AT_ONCE)]


async def _total(store: Store, filters: Filters, moving: Sequence[Row] | None = None) -> int:
    if moving is None:
        moving = await running_within(store, filters)
    groups = _still(filters)
    if groups is None:
        return len(moving)
    scope = Scope(groups, tuple(filters.handlers), filters.partition_key)
    if filters.is_bounded:
        return len(moving) + await buckets.count_between(store, scope, filters.since, filters.until)
    if not filters.handlers and not filters.partition_key:
        return await buckets.count_groups(store, groups)
    return await buckets.count_all(store, scope)


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
    return entry.group == execution.index_group and execution.indexed_at in {0, entry.moment}


async def _searched(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> list[Row]:
    """Every match, found by reading the states that the index leaves over."""
    statuses = filters.statuses
    if filters.error:
        statuses = (statuses or frozenset(Status)) & {Status.FAILED}
        if not statuses:
            return []
    # What was created after a moment has changed after it, too.
    since = max(filters.since if Status.RUNNING not in (statuses or {Status.RUNNING}) else 0, filters.created_since)
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
    async for scanned in scanning.scan(store, progress):
        execution = scanned.execution
        if filters.match(execution, scanned.moment):
            key = Key(execution.indexed_at or execution.created_at or scanned.moment, execution.invocation_id)
            rows.append(Row(key, execution, scanned.revision))
    return rows


def _write_cursor(key: Key, *, oldest_first: bool) -> str:
    text = f"{'+' if oldest_first else '-'}{key.moment}~{key.invocation_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, *, oldest_first: bool) -> Key | None:
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, separator, invocation_id = text[1:].partition("~")
        key = Key(int(moment), invocation_id)
    except (binascii.Error, ValueError):
        separator, text, key = "", "", Key(0, "")
    if not separator or text[0] not in "+-" or not key.invocation_id:
        raise UsageError(f"The cursor {cursor[:80]!r} is none of ours.", hint="Use the next_cursor of a list.")
    if (text[0] == "+") != oldest_first:
        raise UsageError("The cursor is that of a list in the other order.", hint="Keep --oldest-first as it was.")
    return key
