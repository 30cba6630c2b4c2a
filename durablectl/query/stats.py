"""Counts of workflows, by the index: the server counts, nothing is transferred."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.status import ACTIVE, OTHER, Status
from durablectl.query import scanning
from durablectl.query.filters import Filters
from durablectl.query.listing import list_workflows, matches, running_within, views
from durablectl.query.views import StatsView
from durablectl.storage import buckets, handlers
from durablectl.storage.buckets import Scope, Walk
from durablectl.storage.commands import count_set_aside
from durablectl.storage.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from durablectl.query.listing import Row
    from durablectl.query.views import WorkflowView
    from durablectl.storage.store import Store

_HOUR = 3600 * MICROSECONDS
_MINUTES = 60
_SAMPLE = 50


async def get_stats(
    store: Store, filters: Filters | None = None, *, progress: Callable[[int], None] | None = None
) -> StatsView:
    """Raises NotProvisionedError on a server that holds no workflows.

    Only filters by creation, error or parent read records; ``progress`` is told how many.
    """
    filters = filters or Filters()
    await require_provisioned(store)
    if filters.needs_states or await scanning.has_strays(store):
        return await _scanned(store, filters, progress)
    return await _counted(store, filters)


async def _counted(store: Store, filters: Filters) -> StatsView:
    moving = Counter(row.execution.handler for row in await running_within(store, filters))
    statuses = sorted(filters.statuses or {*Status, OTHER})
    names = sorted(filters.handlers) or await handlers.known(store)
    rest = await _remainder(store, filters, names)
    cells = [(name, status) for name in names for status in statuses if (name, status) != rest]
    counts, totals, oldest, recent, set_aside = await asyncio.gather(
        asyncio.gather(*(_cell(store, filters, name, status, moving) for name, status in cells)),
        asyncio.gather(*(_of_status(store, filters, status, moving) for status in statuses)),
        _oldest_active(store, filters),
        _completed_in_the_last_hour(store, filters),
        count_set_aside(store),
    )
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    for (name, status), number in zip(cells, counts, strict=True):
        statuses_of[name][status] = number
    by_status = dict(zip(statuses, totals, strict=True))
    if rest is not None:
        name, status = rest
        statuses_of[name][status] = by_status[status] - sum(each[status] for each in statuses_of.values())
    return _view(by_status, statuses_of, oldest, recent, set_aside)


async def _cell(store: Store, filters: Filters, handler: str, status: str, moving: Mapping[str, int]) -> int:
    return await _count(store, filters, Scope((status,), (handler,), filters.partition_key), moving.get(handler, 0))


async def _of_status(store: Store, filters: Filters, status: str, moving: Mapping[str, int]) -> int:
    if not (filters.is_bounded or filters.handlers or filters.partition_key):
        return await buckets.count_groups(store, [status])
    scope = Scope((status,), tuple(filters.handlers), filters.partition_key)
    return await _count(store, filters, scope, sum(moving.values()))


async def _count(store: Store, filters: Filters, scope: Scope, moving: int) -> int:
    """What runs changes without an index entry, and has been counted."""
    if not filters.is_bounded:
        return await buckets.count_all(store, scope)
    if Status.RUNNING in scope.groups:
        return moving
    return await buckets.count_between(store, scope, filters.since, filters.until)


async def _remainder(store: Store, filters: Filters, names: Sequence[str]) -> tuple[str, str] | None:
    """What is probably the most frequent pair of handler and status: it is left over when the others are counted."""
    is_open = not (filters.is_bounded or filters.handlers or filters.partition_key)
    if not is_open or not names or (filters.statuses and Status.COMPLETED not in filters.statuses):
        return None
    seen: Counter[str] = Counter()
    async for entry in Walk(store, Scope((Status.COMPLETED,))).entries():
        seen[entry.handler] += 1
        if seen.total() == _SAMPLE:
            break
    likely = [name for name, _ in seen.most_common() if name in names]
    return (likely[0], Status.COMPLETED) if likely else None


async def _oldest_active(store: Store, filters: Filters) -> WorkflowView | None:
    statuses = frozenset(filters.statuses or ACTIVE) & ACTIVE
    if not statuses:
        return None
    page = await list_workflows(store, replace(filters, statuses=statuses), 1, oldest_first=True)
    return page.workflows[0] if page.workflows else None


async def _completed_in_the_last_hour(store: Store, filters: Filters) -> float:
    if filters.statuses and Status.COMPLETED not in filters.statuses:
        return 0.0
    scope = Scope((Status.COMPLETED,), tuple(filters.handlers), filters.partition_key)
    return await buckets.count_between(store, scope, SYSTEM_CLOCK.now() - _HOUR, 0) / _MINUTES


async def _scanned(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> StatsView:
    """The same, of records that the index does not have, or does not say enough about."""
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    oldest: Row | None = None
    recent = 0
    hour_ago = SYSTEM_CLOCK.now() - _HOUR
    for row in await matches(store, filters, progress):
        execution = row.execution
        statuses_of[execution.handler][execution.status] += 1
        recent += execution.status == Status.COMPLETED and row.key.moment >= hour_ago
        if execution.status in ACTIVE and (oldest is None or row.key < oldest.key):
            oldest = row
    by_status: Counter[str] = sum(statuses_of.values(), Counter())
    view = None if oldest is None else (await views(store, [oldest]))[0]
    return _view(by_status, statuses_of, view, recent / _MINUTES, await count_set_aside(store))


def _view(
    by_status: Mapping[str, int],
    statuses_of: Mapping[str, Mapping[str, int]],
    oldest: WorkflowView | None,
    recent: float,
    set_aside: int,
) -> StatsView:
    by_handler = {handler: sum(counts.values()) for handler, counts in statuses_of.items()}
    return StatsView(
        sum(by_status.values()),
        _ordered(by_status),
        _ordered(by_handler),
        {handler: _ordered(statuses_of[handler]) for handler in _ordered(by_handler)},
        oldest,
        recent,
        set_aside,
    )


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in Counter(counts).most_common() if number}
