"""Workflows that match, found by reading state records: where the index does not say enough, or is not asked."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import NotFoundError, StorageError
from durablectl.model.codec import decode_execution
from durablectl.model.names import validate_invocation_id
from durablectl.model.termination import started_children
from durablectl.query.index_rows import (
    IndexRow,
    Plan,
    earliest_entry,
    keep_matching_inputs,
    load_rows,
    make_plan,
    matching,
)
from durablectl.storage.index.time_buckets import SortKey
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import journal, states
from durablectl.storage.streams.direct_get import count, messages
from durablectl.storage.streams.feed import read_snapshot
from durablectl.storage.streams.provision import require_provisioned, stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from durablectl.model.filters import Filters
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.subjects import IndexEntry


_log = logging.getLogger(__name__)

_SMALL_STORE = 10_000
_PROGRESS_EVERY = 1000
_LOAD_AT_ONCE = 1000


class ScannedState(NamedTuple):
    """A record, its revision, and when it was last written (microseconds, by the server's clock)."""

    execution: Execution
    revision: int
    timestamp_us: int


async def has_unindexed_states(store: Store) -> bool:
    """Whether there are records without an index entry, as other implementations write them.

    Asked of small stores only: where there are many records, `durablectl doctor` tells, and can enter them.
    """
    subjects = store.subjects
    infos = await asyncio.gather(*(stream_info(store, s) for s in (subjects.state_stream, subjects.index_stream)))
    stored, indexed = (int(info["state"]["messages"]) if info is not None else 0 for info in infos)
    if stored > _SMALL_STORE:
        return False
    return await count(store, subjects.state_stream, subjects.all_states) > indexed if stored else False


async def scan(store: Store, progress: Callable[[int], None] | None = None) -> AsyncIterator[ScannedState]:
    """Every state record, in the order of last change; one that cannot be read is logged and left out.

    ``progress`` is told now and then how many were read. A record that is written meanwhile is seen once; what is
    written for the first time meanwhile may be seen or not. A small store is read without making a consumer.
    """
    await require_provisioned(store)
    subjects = store.subjects
    stream, everything = subjects.state_stream, subjects.all_states
    is_small = await count(store, stream, everything) <= _SMALL_STORE
    stored = messages(store, stream, everything) if is_small else read_snapshot(store, stream, [everything])
    seen: set[str] = set()
    async for change in stored:
        if change.subject in seen:
            continue
        seen.add(change.subject)
        if progress is not None and len(seen) % _PROGRESS_EVERY == 0:
            progress(len(seen))
        if change.deleted:
            continue
        try:
            execution = decode_execution(change.data, subjects.state_key(change.subject))
        except StorageError as error:
            _log.warning("Left out: %s", error)
        else:
            yield ScannedState(execution, change.sequence, change.timestamp_us)


async def find_matching_rows(
    store: Store, filters: Filters, progress: Callable[[int], None] | None = None, *, scan: bool
) -> list[IndexRow]:
    """Every record that matches, in no order, where the index does not say enough, or with ``scan`` is not asked."""
    if filters.parent:
        return await _matching_children(store, filters)
    if scan:
        return await _scan_states(store, filters, progress)
    return await _search_index(store, filters, progress)


async def plan_search(
    store: Store, filters: Filters, progress: Callable[[int], None] | None = None
) -> tuple[Plan, int]:
    """How to find what may match by the index, where records are read, and since when it has changed (microseconds).

    What lies beside the index is matched already.
    """
    statuses = filters.possible_statuses
    if statuses is None:
        return Plan(None), 0
    # What was created after a moment has changed after it, too.
    since = max(earliest_entry(filters), filters.created_since)
    plan = await make_plan(store, replace(filters, statuses=statuses, since=0, until=0), progress)
    rows = [row for row in plan.beside if filters.match(row.execution, row.key.timestamp_us)]
    return plan._replace(beside=await keep_matching_inputs(store, rows, filters)), since


async def _search_index(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> list[IndexRow]:
    """Every match, found by reading the states that the index leaves over."""
    plan, since = await plan_search(store, filters, progress)
    rows = list(plan.beside)
    if plan.scope is None:
        return rows
    traversal = Traversal(store, plan.scope, since=since)
    batch: list[IndexEntry] = []
    read = 0
    async for entry in traversal.entries():
        if entry.invocation_id.startswith(filters.id_prefix):
            batch.append(entry)
        if len(batch) == _LOAD_AT_ONCE:
            rows += await load_rows(store, batch, filters)
            read += len(batch)
            batch = []
            if progress is not None:
                progress(read)
    if progress is not None:
        progress(read + len(batch))
    return rows + await load_rows(store, batch, filters)


async def _matching_children(store: Store, filters: Filters) -> list[IndexRow]:
    """A parent's journal names its children, those of steps that a retry dropped included."""
    parent = await states.load(store, validate_invocation_id(filters.parent))
    if parent is None:
        raise NotFoundError(f"There is no workflow {filters.parent}.", hint="Check --parent, and --namespace.")
    entries = await journal.load_journal(store, parent.execution, parent.revision)
    dropped = [entry for steps in parent.execution.history for entry in steps.entries]
    children_by_id = await states.load_many(store, started_children([*entries, *dropped]))
    return await keep_matching_inputs(store, matching(children_by_id.values(), filters), filters)


async def _scan_states(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> list[IndexRow]:
    rows = []
    async for scanned in scan(store, progress):
        execution = scanned.execution
        if filters.match(execution, scanned.timestamp_us):
            key = SortKey(execution.indexed_at or execution.created_at or scanned.timestamp_us, execution.invocation_id)
            rows.append(IndexRow(key, execution, scanned.revision))
    return await keep_matching_inputs(store, rows, filters)
