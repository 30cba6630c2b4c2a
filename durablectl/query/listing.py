"""Lists of workflows, newest first."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from durablectl.errors import UsageError
from durablectl.query.building import payloads, workflow_view
from durablectl.query.filters import Filters
from durablectl.query.scanning import scan
from durablectl.query.views import WorkflowPage
from durablectl.storage.schemas import load_schemas

if TYPE_CHECKING:
    from durablectl.model.records import Execution
    from durablectl.storage.store import Store

MAX_LIMIT = 1000


async def list_workflows(store: Store, filters: Filters | None = None, limit: int = 50) -> WorkflowPage:
    """The newest ``limit`` (at most 1,000) by creation; a record without a time of creation counts by its last change.

    Raises NotProvisionedError on a server that holds no workflows.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"The limit {limit} is out of range.", hint=f"Use 1 to {MAX_LIMIT:,}.")
    filters = filters or Filters()
    newest: list[tuple[int, int, Execution]] = []
    total = 0
    async for scanned in scan(store):
        if filters.match(scanned.execution):
            total += 1
            row = (scanned.execution.created_at or scanned.moment, scanned.revision, scanned.execution)
            if len(newest) < limit:
                heapq.heappush(newest, row)
            else:
                heapq.heappushpop(newest, row)
    rows = sorted(newest, reverse=True)
    types = {payload.type_name for _, _, execution in rows for payload in payloads(execution, ())}
    schemas = await load_schemas(store, types)
    return WorkflowPage([workflow_view(execution, revision, schemas) for _, revision, execution in rows], total)
