"""Which workflows match, however many they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from durablectl.model.clock import to_rfc3339
from durablectl.model.filters import Filters
from durablectl.query.full_scan import find_matching_rows, has_unindexed_states, plan_search
from durablectl.query.index_rows import IndexRow, Plan, count_indexed, load_rows, make_plan
from durablectl.query.list import MAX_LIMIT, count_workflows, list_workflows
from durablectl.storage.index.time_buckets import SortKey
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import states
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from durablectl.model.records import Execution
    from durablectl.query.views import WorkflowPage, WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.subjects import IndexEntry

_ENTRIES_AT_ONCE = 1000
_LOAD_AT_ONCE = 250


class SelectedWorkflow(NamedTuple):
    """One workflow of a selection; ``created_at`` in microseconds."""

    invocation_id: str
    handler: str
    status: str
    created_at: int

    def to_json(self) -> dict[str, Any]:
        return {
            "invocation_id": self.invocation_id,
            "handler": self.handler,
            "status": self.status,
            "created_at": to_rfc3339(self.created_at),
        }


async def list_pages(
    store: Store,
    filters: Filters | None = None,
    limit: int | None = None,
    *,
    cursor: str = "",
    oldest_first: bool = False,
    scan: bool = False,
    progress: Callable[[int], None] | None = None,
) -> AsyncIterator[WorkflowPage]:
    """The list up to ``limit``, or the whole of it, a page after the other; what list_workflows takes and raises.

    What the index does not tell is read once and comes in one page.
    """
    filters = filters or Filters()
    most = sys.maxsize if filters.needs_states or scan else MAX_LIMIT
    left = sys.maxsize if limit is None else limit
    while True:
        page = await list_workflows(
            store,
            filters,
            min(left, most),
            cursor=cursor,
            oldest_first=oldest_first,
            scan=scan,
            progress=progress,
        )
        yield page
        left -= len(page.workflows)
        cursor = page.next_cursor
        if not cursor or not left:
            return


async def select_workflows(
    store: Store, filters: Filters, *, progress: Callable[[int], None] | None = None
) -> list[SelectedWorkflow]:
    """Every matching workflow, the oldest first. Raises what list_workflows raises."""
    found: dict[str, SelectedWorkflow] = {}
    if filters.needs_states:
        await require_provisioned(store)
        for row in await find_matching_rows(store, filters, progress, scan=await has_unindexed_states(store)):
            found[row.execution.invocation_id] = _to_selected(row.execution)
    else:
        # Oldest first, what changes its status meanwhile moves ahead of where this reads, and is not missed.
        async for page in list_pages(store, filters, oldest_first=True):
            found |= {view.invocation_id: _to_selected(view) for view in page.workflows}
    return sorted(found.values(), key=lambda selected: (selected.created_at, selected.invocation_id))


async def count_candidates(store: Store, filters: Filters) -> int:
    """How many match; where that takes reading records, how many may match by the index, which is more."""
    if not filters.needs_states or filters.parent or await has_unindexed_states(store):
        return await count_workflows(store, filters)
    await require_provisioned(store)
    statuses = filters.possible_statuses
    if statuses is None:
        return 0
    by_index = Filters(statuses=statuses, handlers=filters.handlers, partition_key=filters.partition_key)
    return await count_indexed(store, by_index, await make_plan(store, by_index))


class MatchPart(NamedTuple):
    """Matches among some index entries, and where the last of these stands; None for what is beside the index."""

    rows: Sequence[IndexRow]
    last: SortKey | None = None


class MatchWalk:
    """Every match in parts, however many there are: no more than a part is held.

    What the index tells comes in its order, the oldest first. The rest lies beside it, and is read at once.
    """

    def __init__(self, store: Store, filters: Filters, plan: Plan, since: int, until: int) -> None:
        self._store = store
        self._filters = filters
        self._plan = plan
        self._since = since
        self._until = until

    @classmethod
    async def prepare(cls, store: Store, filters: Filters) -> Self:
        """Raises what list_workflows raises."""
        await require_provisioned(store)
        is_unindexed = await has_unindexed_states(store)
        if filters.parent or is_unindexed:
            return cls(store, filters, Plan(None, await find_matching_rows(store, filters, scan=is_unindexed)), 0, 0)
        if filters.needs_states:
            plan, since = await plan_search(store, filters)
            return cls(store, filters, plan, since, 0)
        return cls(store, filters, await make_plan(store, filters), filters.since, filters.until)

    async def before(self, moment: int, after: SortKey | None) -> AsyncIterator[MatchPart]:
        """Those that entered their status before ``moment`` (microseconds), behind a key."""
        until = min(moment, self._until or moment)
        async for part in self._walk(self._since, until, after):
            yield part

    async def rest(self, moment: int) -> AsyncIterator[MatchPart]:
        """Those that entered their status later, and what is beside the index."""
        if self._plan.beside:
            yield MatchPart(self._plan.beside)
        async for part in self._walk(max(self._since, moment), self._until, None):
            yield part

    async def _walk(self, since: int, until: int, after: SortKey | None) -> AsyncIterator[MatchPart]:
        if self._plan.scope is None or (until and since >= until):
            return
        entries: list[IndexEntry] = []
        last: SortKey | None = None
        traversal = Traversal(self._store, self._plan.scope, since=since, until=until, after=after, oldest_first=True)
        async for entry in traversal.entries():
            if last == (last := SortKey(entry.timestamp_us, entry.invocation_id)):
                continue
            entries.append(entry)
            if len(entries) == _ENTRIES_AT_ONCE:
                yield MatchPart(await self._load(entries), last)
                entries = []
        if entries:
            yield MatchPart(await self._load(entries), last)

    async def _load(self, entries: Sequence[IndexEntry]) -> list[IndexRow]:
        wanted = [entry for entry in entries if entry.invocation_id.startswith(self._filters.id_prefix)]
        parts = [wanted[start : start + _LOAD_AT_ONCE] for start in range(0, len(wanted), _LOAD_AT_ONCE)]
        return [row for part in parts for row in await load_rows(self._store, part, self._filters)]


async def select_ids(store: Store, invocation_ids: Sequence[str]) -> list[SelectedWorkflow]:
    """Those of these workflows that exist, in the order given."""
    stored = await states.load_many(store, invocation_ids)
    return [_to_selected(stored[each].execution) for each in invocation_ids if each in stored]


def _to_selected(of: Execution | WorkflowView) -> SelectedWorkflow:
    return SelectedWorkflow(of.invocation_id, of.handler, of.status, of.created_at)
