"""Counts of workflows, by the index: the server counts, nothing is transferred."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Self

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.filters import Filters
from durablectl.model.status import ACTIVE, OTHER, Status
from durablectl.query.full_scan import find_matching_rows, has_unindexed_states
from durablectl.query.index_rows import first_rows, make_plan
from durablectl.query.list import views
from durablectl.query.trouble import RECENT_MICROSECONDS
from durablectl.query.views import StatsView
from durablectl.storage.commands.command_queue import count_quarantined
from durablectl.storage.index import index_entries, time_buckets
from durablectl.storage.index.time_buckets import GROUPS, Scope
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from durablectl.query.index_rows import IndexRow, Plan
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store

_MINUTE = 60 * MICROSECONDS
_HOUR = 60 * _MINUTE
_SAMPLE = 50
_READ_AT_ONCE = 2000


async def get_stats(
    store: Store, filters: Filters | None = None, *, progress: Callable[[int], None] | None = None
) -> StatsView:
    """Raises NotProvisionedError on a server that holds no workflows.

    Only filters by creation, error or parent read records; ``progress`` is told how many.
    """
    filters = filters or Filters()
    await require_provisioned(store)
    scan = await has_unindexed_states(store)
    if filters.needs_states or scan:
        return await _stats_from_states(store, filters, progress, scan=scan)
    return await _stats_from_index(store, filters, progress)


async def count_by_status(store: Store, filters: Filters) -> Mapping[str, int]:
    """That part of the statistics alone, for fewer requests."""
    await require_provisioned(store)
    if filters.needs_states or await has_unindexed_states(store):
        return (await get_stats(store, filters)).by_status
    if filters.waiting_for:
        return _ordered(
            sum((await _cells_of_waiting(store, filters, await make_plan(store, filters))).values(), Counter())
        )
    waits = await index_entries.load_waits(store, filters.handlers) if filters.handlers else {}
    return _ordered(await _by_status(store, filters, waits, (await make_plan(store, filters)).beside))


async def _stats_from_index(store: Store, filters: Filters, progress: Callable[[int], None] | None) -> StatsView:
    plan = await make_plan(store, filters, progress)
    running = plan.beside
    if filters.waiting_for:
        statuses_of = await _cells_of_waiting(store, filters, plan)
        by_status: Counter[str] = sum(statuses_of.values(), Counter())
        oldest = await _oldest_active(store, filters, plan, by_status)
        return _view(by_status, statuses_of, oldest, _Rates(), await count_quarantined(store))
    waits = await index_entries.load_waits(store, filters.handlers)
    by_status, rates, set_aside = await asyncio.gather(
        _by_status(store, filters, waits, running), _rates(store, filters), count_quarantined(store)
    )
    if filters.is_bounded and by_status.total() <= _READ_AT_ONCE:
        statuses_of = await _count_entries(store, filters, plan)
    else:
        statuses_of = await _cells(store, filters, waits, by_status, running)
    return _view(by_status, statuses_of, await _oldest_active(store, filters, plan, by_status), rates, set_aside)


async def _cells_of_waiting(store: Store, filters: Filters, plan: Plan) -> dict[str, Counter[str]]:
    """The statuses of each handler's workflows that wait for what is asked."""
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    for row in plan.beside:
        statuses_of[row.execution.handler][row.execution.status] += 1
    if plan.scope is None:
        return statuses_of
    names = sorted(filters.handlers) or await index_entries.list_handlers(store)
    cells = [(group, name) for name in names for group in plan.scope.groups]
    scopes = [replace(plan.scope, groups=(group,), handlers=(name,)) for group, name in cells]
    for (group, name), number in zip(cells, await _count_scopes(store, filters, scopes), strict=True):
        if number:
            statuses_of[name][group] += number
    for row in plan.surplus:
        statuses_of[row.execution.handler][row.execution.status] -= 1
    return statuses_of


async def _by_status(
    store: Store, filters: Filters, waits: Mapping[str, Sequence[str]], running: Sequence[IndexRow]
) -> Counter[str]:
    wanted = sorted(filters.statuses or GROUPS)
    is_open = not (filters.is_bounded or filters.handlers or filters.partition_key)
    # Most have completed: where all others are counted, those are what is left.
    asked = sorted(GROUPS - {Status.COMPLETED}) if is_open and Status.COMPLETED in wanted else wanted
    cells = [(status, "") for status in asked]
    numbers = Counter(dict(zip(asked, await _numbers(store, filters, waits, cells), strict=True)))
    if asked != wanted:
        numbers[Status.COMPLETED] = await time_buckets.count_all(store, Scope()) - numbers.total()
    if Status.RUNNING in wanted:
        numbers[Status.RUNNING] = len(running) + (0 if filters.until else numbers[Status.RUNNING])
    return Counter({status: numbers[status] for status in wanted})


async def _numbers(
    store: Store, filters: Filters, waits: Mapping[str, Sequence[str]], cells: Sequence[tuple[str, str]]
) -> list[int]:
    """How many there are of each status and handler, which is empty for all that the filters admit."""
    scopes = [
        Scope((status,), (handler,) if handler else tuple(filters.handlers), filters.partition_key, waits=waits)
        for status, handler in cells
    ]
    return await _count_scopes(store, filters, scopes)


async def _count_scopes(store: Store, filters: Filters, scopes: Sequence[Scope]) -> list[int]:
    """How many entries of each there are within the bounds of the filters."""
    if not filters.is_bounded:
        return await asyncio.gather(*(time_buckets.count_all(store, scope) for scope in scopes))
    bounds = filters.since, filters.until
    return await asyncio.gather(*(time_buckets.count_between(store, scope, *bounds) for scope in scopes))


async def _cells(
    store: Store,
    filters: Filters,
    waits: Mapping[str, Sequence[str]],
    by_status: Counter[str],
    running: Sequence[IndexRow],
) -> dict[str, Counter[str]]:
    """The statuses of each handler. The most frequent pair is what is left when all others are counted."""
    present = [
        status for status, number in by_status.items() if number and not (status == Status.RUNNING and filters.until)
    ]
    names = sorted(filters.handlers) or await index_entries.list_handlers(store)
    rest = await _most_frequent_cell(store, filters, names, by_status)
    cells = [(status, name) for name in names for status in present if (status, name) != rest]
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    for (status, name), number in zip(cells, await _numbers(store, filters, waits, cells), strict=True):
        statuses_of[name][status] = number
    for row in running:
        statuses_of[row.execution.handler][Status.RUNNING] += 1
    if rest is not None:
        status, name = rest
        statuses_of[name][status] = by_status[status] - sum(each[status] for each in statuses_of.values())
    return statuses_of


async def _count_entries(store: Store, filters: Filters, plan: Plan) -> dict[str, Counter[str]]:
    """The same of a few, by reading their index entries."""
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    for row in plan.beside:
        statuses_of[row.execution.handler][Status.RUNNING] += 1
    if plan.scope is not None:
        async for entry in Traversal(store, plan.scope, since=filters.since, until=filters.until).entries():
            statuses_of[entry.handler][entry.group] += 1
    return statuses_of


async def _most_frequent_cell(
    store: Store, filters: Filters, names: Sequence[str], by_status: Counter[str]
) -> tuple[str, str] | None:
    """The status and handler of most workflows, by a sample."""
    if filters.is_bounded or filters.handlers or filters.partition_key or not by_status[Status.COMPLETED]:
        return None
    seen: Counter[str] = Counter()
    total = by_status[Status.COMPLETED]
    newest = Traversal(store, Scope((Status.COMPLETED,)), total=total, most_per_second=_SAMPLE)
    async for entry in newest.entries():
        seen[entry.handler] += 1
        if seen.total() == _SAMPLE:
            break
    likely = [name for name, _ in seen.most_common() if name in names]
    return (Status.COMPLETED, likely[0]) if likely else None


async def _oldest_active(
    store: Store, filters: Filters, plan: Plan, by_status: Mapping[str, int]
) -> WorkflowView | None:
    statuses = frozenset(filters.statuses or ACTIVE) & ACTIVE
    total = sum(by_status[status] for status in statuses)
    if not total:
        return None
    active = replace(filters, statuses=statuses)
    # What is read for the plan is read once; the index entries are those of what is active.
    plan = plan if filters.waiting_for else await make_plan(store, active)
    rows = await first_rows(store, active, plan, 1, total=total, oldest_first=True, is_sample=True)
    return (await views(store, rows[:1]))[0] if rows else None


class _Rates(NamedTuple):
    """Completions per minute, in the last five minutes and in the last hour."""

    recent: float = 0.0
    in_last_hour: float = 0.0


class _Recent(NamedTuple):
    """The part of a time until now that filters are about: microseconds, ``until`` 0 for no end."""

    since: int
    until: int
    minutes: float

    @classmethod
    def from_filters(cls, filters: Filters, span: int) -> Self:
        now = SYSTEM_CLOCK.now()
        minutes = max(0, min(filters.until or now, now) - max(filters.since, now - span)) / _MINUTE
        # From the begin of a second: what lies in whole seconds is counted, and not read.
        since = max(filters.since, (now - span) // MICROSECONDS * MICROSECONDS)
        return cls(since, filters.until, minutes)

    def per_minute(self, number: int) -> float:
        return number / self.minutes if self.minutes else 0.0


async def _rates(store: Store, filters: Filters) -> _Rates:
    """Completions per minute."""
    spans = [_Recent.from_filters(filters, span) for span in (RECENT_MICROSECONDS, _HOUR)]
    if filters.statuses and Status.COMPLETED not in filters.statuses:
        return _Rates()
    scope = Scope((Status.COMPLETED,), tuple(filters.handlers), filters.partition_key)
    numbers = await asyncio.gather(
        *(time_buckets.count_between(store, scope, span.since, span.until) for span in spans if span.minutes)
    )
    found = iter(numbers)
    return _Rates(*(span.per_minute(next(found)) if span.minutes else 0.0 for span in spans))


async def _stats_from_states(
    store: Store, filters: Filters, progress: Callable[[int], None] | None, *, scan: bool
) -> StatsView:
    """The same, of records that the index does not have, or does not say enough about."""
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    oldest: IndexRow | None = None
    ended: list[int] = []
    for row in await find_matching_rows(store, filters, progress, scan=scan):
        execution = row.execution
        status = execution.status if execution.status in GROUPS else OTHER
        statuses_of[execution.handler][status] += 1
        if status == Status.COMPLETED:
            ended.append(row.key.timestamp_us)
        if status in ACTIVE and (oldest is None or row.key < oldest.key):
            oldest = row
    by_status: Counter[str] = sum(statuses_of.values(), Counter())
    view = None if oldest is None else (await views(store, [oldest]))[0]
    spans = [_Recent.from_filters(filters, span) for span in (RECENT_MICROSECONDS, _HOUR)]
    rates = _Rates(*(span.per_minute(sum(moment >= span.since for moment in ended)) for span in spans))
    return _view(by_status, statuses_of, view, rates, await count_quarantined(store))


def _view(
    by_status: Mapping[str, int],
    statuses_of: Mapping[str, Mapping[str, int]],
    oldest: WorkflowView | None,
    rates: _Rates,
    set_aside: int,
) -> StatsView:
    by_handler = {handler: sum(counts.values()) for handler, counts in statuses_of.items()}
    return StatsView(
        sum(by_status.values()),
        _ordered(by_status),
        _ordered(by_handler),
        {handler: _ordered(statuses_of[handler]) for handler in _ordered(by_handler)},
        oldest,
        *rates,
        set_aside,
    )


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in Counter(counts).most_common() if number}
