"""Which workflows match, however many they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import to_rfc3339
from durablectl.model.filters import Filters
from durablectl.query.full_scan import find_matching_rows, has_unindexed_states
from durablectl.query.list import MAX_LIMIT, list_workflows
from durablectl.storage.records import states
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from durablectl.model.records import Execution
    from durablectl.query.views import WorkflowPage, WorkflowView
    from durablectl.storage.connection.store import Store


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


async def select_ids(store: Store, invocation_ids: Sequence[str]) -> list[SelectedWorkflow]:
    """Those of these workflows that exist, in the order given."""
    stored = await states.load_many(store, invocation_ids)
    return [_to_selected(stored[each].execution) for each in invocation_ids if each in stored]


def _to_selected(of: Execution | WorkflowView) -> SelectedWorkflow:
    return SelectedWorkflow(of.invocation_id, of.handler, of.status, of.created_at)
