"""Lists of workflows, those first whose status changed last."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from durablectl.errors import UsageError
from durablectl.model.filters import Filters
from durablectl.query.full_scan import find_matching_rows, has_unindexed_states
from durablectl.query.index_rows import IndexRow, count_indexed, first_rows, make_plan
from durablectl.query.view_builder import payloads, workflow_view
from durablectl.query.views import WorkflowPage
from durablectl.storage.index.time_buckets import SortKey
from durablectl.storage.records.message_types import load_schemas
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store

MAX_LIMIT = 1000


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
    if type(limit) is not int or limit < 1 or (limit > MAX_LIMIT and not (filters.needs_states or scan)):
        raise UsageError(f"The limit {limit} is out of range.", hint=f"Use 1 to {MAX_LIMIT:,}.")
    if offset < 0:
        raise UsageError(f"The offset {offset} is out of range.", hint="It is 0 or more.")
    after = read_cursor(cursor, oldest_first=oldest_first)
    await require_provisioned(store)
    scan = scan or await has_unindexed_states(store)
    if not (filters.needs_states or scan):
        return await _indexed(store, filters, limit, after, offset, oldest_first=oldest_first, progress=progress)
    found = await find_matching_rows(store, filters, progress, scan=scan)
    found.sort(key=lambda row: row.key, reverse=not oldest_first)
    if after is not None:
        after_cursor = [row for row in found if (row.key > after if oldest_first else row.key < after)]
    else:
        after_cursor = found
    rows = after_cursor[offset : offset + limit]
    has_more = len(after_cursor) > offset + limit
    return await _page(store, rows, len(found), has_more=has_more, oldest_first=oldest_first)


async def count_workflows(store: Store, filters: Filters | None = None) -> int:
    """How many match. Raises what list_workflows raises."""
    filters = filters or Filters()
    if filters.needs_states or await has_unindexed_states(store):
        return (await list_workflows(store, filters, 1)).total
    await require_provisioned(store)
    return await count_indexed(store, filters, await make_plan(store, filters))


async def _page(
    store: Store, rows: Sequence[IndexRow], total: int, *, has_more: bool, oldest_first: bool
) -> WorkflowPage:
    next_cursor = write_cursor(rows[-1].key, oldest_first=oldest_first) if rows and has_more else ""
    return WorkflowPage(await views(store, rows), total, next_cursor)


def write_cursor(key: SortKey, *, oldest_first: bool) -> str:
    text = f"{'+' if oldest_first else '-'}{key.timestamp_us}~{key.invocation_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, *, oldest_first: bool) -> SortKey | None:
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        timestamp, separator, invocation_id = text[1:].partition("~")
        key = SortKey(int(timestamp), invocation_id)
    except (binascii.Error, ValueError):
        separator, text, key = "", "", SortKey(0, "")
    if not separator or text[0] not in "+-" or not key.invocation_id:
        raise UsageError(f"The cursor {cursor[:80]!r} is none of ours.", hint="Use the next_cursor of a list.")
    if (text[0] == "+") != oldest_first:
        raise UsageError("The cursor is that of a list in the other order.", hint="Keep --oldest-first as it was.")
    return key


async def views(store: Store, rows: Sequence[IndexRow]) -> list[WorkflowView]:
    types = {payload.type_name for row in rows for payload in payloads(row.execution, ())}
    schemas = await load_schemas(store, types)
    return [workflow_view(row.execution, row.revision, schemas) for row in rows]


async def _indexed(
    store: Store,
    filters: Filters,
    limit: int,
    after: SortKey | None,
    offset: int,
    *,
    oldest_first: bool,
    progress: Callable[[int], None] | None,
) -> WorkflowPage:
    """A page by the index alone. An entry that its state does not confirm is left out."""
    plan = await make_plan(store, filters, progress)
    total = await count_indexed(store, filters, plan)
    # Beside what is read, how many entries come before the offset is not known.
    start = offset if plan.beside or plan.surplus else 0
    ordered = await first_rows(
        store,
        filters,
        plan,
        start + limit + 1,
        total=total,
        after=after,
        skip=offset - start,
        oldest_first=oldest_first,
    )
    has_more = len(ordered) > start + limit
    return await _page(store, ordered[start : start + limit], total, has_more=has_more, oldest_first=oldest_first)
